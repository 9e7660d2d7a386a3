"""How long runs take on this machine, told by those that it has finished.

1. A run is so many *picture steps*: pictures times the denoising steps of each (`limits.Asked`).
   What one takes is told by the finished runs of the same kind and model; of several, the median.
2. The first run of a kind and model in a process takes longer: weights are loaded, and libraries
   get ready. Its pictures are timed from the first ones on; what it took beside them is `once`.
3. Of a run that found pictures of an earlier one (`jobs.keeping`), those that it made are timed;
   one that found most of them tells nothing.
4. Where the cell cache has a folder (`results.cache`), the newest runs are kept there for the next
   start, under the name of the machine. A public page keeps them only in a folder that is named.

No torch.
"""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from textloc.checkpoints import hardware
from textloc.files import replace_file
from textloc.results import cache
from textloc.ui import settings
from textloc.ui.runner.news import Growth, News, Ready
from textloc.ui.runner.orders import Order

NEWEST = 5
"""Finished runs of a kind and model that are remembered."""
MOST = 500
"""Finished runs of a machine that are kept in the file."""
_LOG = logging.getLogger(__name__)


def kind(order: Order) -> tuple[str, str]:
    """Kind and model of an order: those of the same pair take the same time a picture step. One
    that is read by an engine of its own is of a kind of its own."""
    engine = getattr(order, "ocr", "auto")
    name = type(order).__name__
    return name if engine == "auto" else f"{name} {engine}", order.model


@dataclass(frozen=True)
class Timing:
    """What a finished run took. each: seconds of a picture step. steps: denoising steps of a
    picture. once: seconds more that it took as the first of its kind and model, else 0."""

    kind: str
    model: str
    each: float
    steps: int
    once: float

    @classmethod
    def of(cls, said: Any) -> Timing | None:
        """One as it is kept; None for what is none."""
        try:
            made = cls(**said)
        except TypeError:
            return None
        texts = isinstance(made.kind, str) and isinstance(made.model, str)
        numbers = (made.each, made.steps, made.once)
        seconds = all(type(one) in (int, float) and 0 <= one < math.inf for one in numbers)
        return made if texts and seconds else None


class Watch:
    """Times a run while it is told of."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._ready: float | None = None
        self._first: tuple[float, int] | None = None
        self._pictures = self._found = 0

    def hear(self, news: News) -> None:
        """Something is told of the run."""
        now = time.monotonic()
        if isinstance(news, Ready):
            self._ready = now
        elif isinstance(news, Growth):
            self._found, self._pictures = news.found, news.done
            if news.done and self._first is None:
                self._first = now, news.done

    def took(self, first: bool) -> tuple[float, float] | None:
        """Seconds of the run that has just ended: what is done again in the next of its kind, had
        it to make all pictures, and what is not; None where most were found. first: whether it was
        the first one."""
        now = time.monotonic()
        ready = self._began if self._ready is None else self._ready
        again = whole = now - ready
        if first and self._first is not None and self._pictures > self._first[1]:
            each = (now - self._first[0]) / (self._pictures - self._first[1])
            again = min(whole, each * self._pictures)
        made = self._pictures - self._found
        if made < self._found:
            return None
        return again * (self._pictures / made if made else 1), ready - self._began + whole - again


class Timings:
    """The finished runs of this machine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: list[Timing] | None = None
        self._warm: set[tuple[str, str]] = set()

    def learn(self, order: Order, watch: Watch, document: Mapping[str, Any]) -> None:
        """A run has just been completed, with this document."""
        if not order.model:
            return
        steps = document["request"].get("steps") or order.asked.steps_each
        if not steps:
            return
        with self._lock:
            first = kind(order) not in self._warm
            self._warm.add(kind(order))
            if (took := watch.took(first)) is None:
                return
            again, once = took
            each = again / order.asked.picture_steps(steps)
            same = [*self._same(order), Timing(*kind(order), each, steps, once)]
            others = [one for one in self._known() if (one.kind, one.model) != kind(order)]
            self._made = [*others, *same[-NEWEST:]][-MOST:]
            self._keep()

    def cool(self) -> None:
        """The process that computes has ended: all models are loaded anew."""
        with self._lock:
            self._warm.clear()

    def seconds(self, order: Order) -> float | None:
        """Seconds that a run is likely to take once it begins; None while none of its kind and
        model was finished here."""
        with self._lock:
            same, warm = self._same(order), kind(order) in self._warm
        if not same:
            return None
        steps = order.asked.steps_each or same[-1].steps
        again = median(one.each for one in same) * order.asked.picture_steps(steps)
        return again + (0.0 if warm else max(one.once for one in same))

    def _same(self, order: Order) -> list[Timing]:
        return [one for one in self._known() if (one.kind, one.model) == kind(order)]

    # -- kept for the next start -----------------------------------------------------------

    def _known(self) -> list[Timing]:
        if self._made is None:
            found = [Timing.of(said) for said in _read(_file()).get(_machine()) or []]
            self._made = [one for one in found if one is not None]
        return self._made

    def _keep(self) -> None:
        file = _file()
        if file is None:
            return
        every = {**_read(file), _machine(): [asdict(one) for one in self._made or []]}
        text = json.dumps(every, indent=1)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(file, lambda new: new.write_text(text, encoding="utf-8"))
        except OSError as error:
            _LOG.warning("how long runs take is not kept: %s", error)


def _file() -> Path | None:
    """Where they are kept; None where nothing is."""
    if settings.read().public and not os.environ.get(cache.VARIABLE, "").strip():
        return None
    folder = cache.folder()
    return None if folder is None else folder / "timings.json"


def _read(file: Path | None) -> dict[str, Any]:
    """By machine; nothing where the file is not there or not ours."""
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file is not None else {}
    except (OSError, ValueError, RecursionError):
        return {}
    machines = found.items() if isinstance(found, dict) else ()
    return {name: one for name, one in machines if isinstance(one, list)}


def _machine() -> str:
    device = "cpu" if hardware.gpu_memory() is None else "gpu"
    return f"{platform.node()} {device}"


TIMINGS = Timings()
"""Those of this process."""
