"""Runs in a process of their own, which loads torch and holds the models; the page does neither.

One that is killed, runs out of memory or hangs takes no more than its run with it: what it told of
is with the page, and the next run starts another. (Not by `multiprocessing`, which would begin with
running the script that serves the page once more.)
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from textloc.ui import settings
from textloc.ui.runner import wire
from textloc.ui.runner.news import Ended, Ready, Tell
from textloc.ui.runner.orders import Order
from textloc.ui.runner.work import FULL

GRACE = 20.0
"""Seconds within which a run that is stopped ends by itself."""
_POLL = 0.1
_TWICE = 2


class Gone(Exception):
    """The process has ended."""


class Worker:
    """A process that computes."""

    def __init__(self) -> None:
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "textloc.ui.runner.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._number = 0
        threading.Thread(target=self._listen, name="textloc-worker", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def load(self, model: str) -> None:
        """Have a model loaded before somebody asks for it."""
        self._send(wire.Load(model))

    def run(self, order: Order, tell: Tell, cancelled: Callable[[], bool]) -> Ended:
        """Run an order; `cancelled` ends it at its next step, or with the process.

        Raises:
            Gone: the process ended before it began with the order.
        """
        self._number += 1
        self._send(wire.Ask(self._number, order))
        silence, heard, stopping = settings.read().silence, time.monotonic(), None
        begun = ready = False
        while True:
            try:
                news = self._hear()
            except Gone:
                if not begun:
                    raise
                return Ended("failed", self.obituary(), spoilt=True)
            now = time.monotonic()
            if isinstance(news, Ended):
                return news
            if news is not None:
                heard, begun = now, True
            if news is not None and not isinstance(news, wire.Begun):
                tell(news)
            if stopping is None and cancelled():
                stopping = now
                self._send(wire.Stop(self._number), quietly=True)
            if stopping is not None and now - stopping > GRACE:
                self.end()
                return Ended("stopped", "stopped", spoilt=True)
            ready = ready or isinstance(news, Ready)
            if ready and now - heard > silence:
                self.end()
                return Ended("failed", _silent(silence), spoilt=True)

    def end(self) -> None:
        """End the process at once."""
        assert self._process.stdin is not None
        self._process.kill()
        self._process.wait()
        with suppress(OSError):  # what was not yet sent
            self._process.stdin.close()

    def _send(self, message: Any, quietly: bool = False) -> None:
        assert self._process.stdin is not None
        try:
            wire.send(self._process.stdin, message)
        except OSError as error:
            if not quietly:
                raise Gone from error

    def _hear(self) -> Any:
        """The next news of the run; None where there is none for a moment."""
        try:
            told = self._told.get(timeout=_POLL)
        except queue.Empty:
            return None
        if told is None:
            raise Gone
        number, news = pickle.loads(told)
        return news if number == self._number else None

    def _listen(self) -> None:
        assert self._process.stdout is not None
        try:
            while True:
                self._told.put(wire.receive(self._process.stdout))
        except (EOFError, OSError):
            self._told.put(None)
            self._process.stdout.close()

    def obituary(self) -> str:
        """How the process ended, in words."""
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return f"the process that computes was killed, most likely because {FULL}"
        how = f"by signal {-code}" if code < 0 else f"with status {code}"
        return (
            f"the process that computes has ended {how}; the log of the server has the details. "
            "What is finished stays. Run it again"
        )


def _silent(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    more = "" if settings.read().public else "; TEXTLOC_MAX_SILENCE gives it more minutes"
    return (
        f"nothing was heard of the run for {minutes} min, so it was ended. What is finished stays. "
        f"Run it again{more}"
    )


_worker: Worker | None = None
_starting = threading.Lock()


def started() -> Worker:
    """The process of this page, started where none runs."""
    global _worker
    with _starting:
        if _worker is not None and not _worker.alive:
            _worker.end()
            _worker = None
        if _worker is None:
            _worker = Worker()
        return _worker


def run(order: Order, tell: Tell, cancelled: Callable[[], bool]) -> Ended:
    """Run an order in the process of this page, as `work.to_the_end`."""
    for _ in range(_TWICE):
        worker = started()
        try:
            ended = worker.run(order, tell, cancelled)
        except Gone:
            worker.end()
            continue
        if ended.spoilt:
            worker.end()
        return ended
    return Ended("failed", worker.obituary())
