"""`spaces.GPU` as `spaces` 0.51 does it on a ZeroGPU, less the GPU.

A forked process that is kept for the next call, arguments and what is yielded pickled through
queues, errors told by the name of their class, and a Stop seen after what is yielded next.
"""

import inspect
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import gradio as gr

FORK = multiprocessing.get_context("fork")
durations: list[int] = []
refusal = ""


class Worker:
    def __init__(self, task: Callable[..., Any]) -> None:
        self.arguments, self.results = FORK.SimpleQueue(), FORK.SimpleQueue()
        self.stop = FORK.Event()
        self.process = FORK.Process(target=self._serve, args=(task,), daemon=True)
        self.process.start()
        threading.Thread(target=self._close, daemon=True).start()

    def _close(self) -> None:
        self.process.join()
        self.results.put(None)

    def _serve(self, task: Callable[..., Any]) -> None:
        while True:
            args = self.arguments.get()
            self.stop.clear()
            thread = threading.Thread(target=self._iterate, args=(task(*args),))
            thread.start()
            thread.join()
            self.results.put(("end", None))

    def _iterate(self, generator: Any) -> None:
        while True:
            try:
                value = next(generator)
            except StopIteration:
                return
            except Exception as error:
                self.results.put(("error", type(error).__name__))
                return
            if self.stop.is_set():
                generator.close()
                return
            self.results.put(("ok", value))


def GPU(*, duration: Callable[..., int]) -> Callable[..., Any]:
    def decorate(task: Callable[..., Any]) -> Callable[..., Any]:
        assert inspect.isgeneratorfunction(task)
        kept: list[Worker] = []

        @wraps(task)
        def handler(*args: Any) -> Iterator[Any]:
            durations.append(duration(*args))
            if refusal:
                raise gr.Error(refusal, print_exception=False)
            worker = kept.pop() if kept else None
            if worker is None or not worker.process.is_alive():
                worker = Worker(task)
            worker.arguments.put(args)
            closed = False
            while True:
                result = worker.results.get()
                if result is None:
                    raise gr.Error("GPU task aborted", print_exception=False)
                kind, value = result
                if kind == "end":
                    kept.append(worker)
                    if closed:
                        raise GeneratorExit
                    return
                if kind == "error":
                    raise gr.Error(value, print_exception=False)
                if not closed:
                    try:
                        yield value
                    except GeneratorExit:
                        worker.stop.set()
                        closed = True

        return handler

    return decorate
