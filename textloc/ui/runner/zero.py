"""Runs on a ZeroGPU (`spaces.GPU`): a GPU that a Space is lent for seconds at a time.

`spaces` forks a process for each call, moves there what was put on the GPU at the start, pickles
what is asked and yielded, and looks for a Stop after each thing that is yielded. Hooks are set, as
everywhere, where the model runs, which is in that process. What is raised there would arrive
without its words, so `work` makes it a value.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import lru_cache

from textloc.checkpoints import hardware
from textloc.checkpoints.known import find
from textloc.ui import models, settings
from textloc.ui.runner import loaded
from textloc.ui.runner.news import Ended, News, Tell
from textloc.ui.runner.orders import Order
from textloc.ui.runner.timing import kind
from textloc.ui.runner.work import to_the_end

LEAST = 15
"""Seconds of a GPU that are asked for at least: it takes some to have the model there."""
_BEAT = 0.5
"""Seconds after which something is yielded, so that a Stop is seen."""
_GIGABYTE_ROW = 0.015
"""Seconds of a denoising step of one row, 1024 pixels a side and guided, for each gigabyte of the
checkpoint: a guess, which counts until a run of that kind and model has been timed."""
_MARGIN = 1.5
"""Of the seconds that a run of the same kind and model took, for what differs."""

_timed: dict[tuple[str, str], float] = {}
"""By kind and model, the longest that a run took for each unit of `_units`."""


def prepare() -> None:
    """Have the models that are offered put on the GPU, before the page is launched and in the
    thread that launches it: the first, and of those that the owner lists as many as half of the GPU
    holds. Others are loaded when they are asked for, while the GPU is lent."""
    _on_gpu()
    room = hardware.ZERO_GPU / 2
    for number, name in enumerate(models.names()[: len(settings.read().models) or 1]):
        room -= 1e9 * _gigabytes(name)
        if number and room < 0:
            return
        loaded.load(name)


def run(order: Order, tell: Tell, cancelled: Callable[[], bool]) -> Ended:
    """Run an order on a GPU that it waits for, as `work.to_the_end`."""
    from gradio import Error

    ended, began = Ended("stopped", "stopped"), None
    try:
        with closing(_on_gpu()(order)) as told:
            for news in told:
                began = began or time.monotonic()
                if isinstance(news, Ended):
                    ended = news
                elif cancelled():
                    return ended
                elif news is not None:
                    tell(news)
    except Error as error:  # no GPU is given, or it was taken away
        return Ended("failed", _refused(str(error.message), began is not None))
    if ended.state == "complete" and began is not None:
        took = (time.monotonic() - began) / _units(order)
        _timed[kind(order)] = max(took, _timed.get(kind(order), 0.0))
    return ended


def seconds(order: Order) -> int:
    """Seconds of a GPU that an order is likely to take, at most those that the page asks for."""
    most = settings.read().gpu_seconds
    if (timed := _timed.get(kind(order))) is not None:
        return round(min(most, max(LEAST, _MARGIN * timed * _units(order))))
    guess = LEAST + _GIGABYTE_ROW * _gigabytes(order.model) * _units(order)
    return round(min(most, guess))


def _gigabytes(model: str) -> float:
    known = find(model)
    return known.gigabytes if known is not None else 10.0


def _units(order: Order) -> float:
    """Picture steps of an order, those counted that 1024 pixels a side would take."""
    asked, known = order.asked, find(order.model)
    size = asked.size or (known.size if known is not None else 1024) or 1024
    return asked.picture_steps(asked.steps_each or 30) * (size / 1024) ** 2


@lru_cache(maxsize=1)
def _on_gpu() -> Callable[[Order], Generator[News | Ended | None, None, None]]:
    import spaces

    decorated: Callable[[Order], Generator[News | Ended | None, None, None]]
    decorated = spaces.GPU(duration=seconds)(_news)
    return decorated


def _news(order: Order) -> Generator[News | Ended | None, None, None]:
    """What is told of an order, its end last; None where nothing is told for a moment. Closing
    stops the run, and waits for it."""
    told: queue.SimpleQueue[News | Ended] = queue.SimpleQueue()
    stop = threading.Event()

    def work() -> None:
        told.put(to_the_end(order, told.put, stop.is_set))

    thread = threading.Thread(target=work, name="textloc-gpu", daemon=True)
    thread.start()
    try:
        news: News | Ended | None = None
        while not isinstance(news, Ended):
            try:
                news = told.get(timeout=_BEAT)
            except queue.Empty:
                news = None
            yield news
    finally:
        stop.set()
        thread.join()


def _refused(said: str, began: bool) -> str:
    """Words for what `spaces` raises."""
    said = said.strip().rstrip(".")
    if began:
        return (
            f"the GPU was taken away before the run was complete ({said}). What is finished stays. "
            "Ask for fewer seeds or steps, or run it again"
        )
    return f"there is no GPU for this run: {said}"
