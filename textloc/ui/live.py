"""Runs what a form asks for beside the page, one at a time for the whole process.

The work is done by a thread of its own: the page hears of every denoising step, and Stop takes
effect at the next one, whether or not Gradio has closed the generator by then. torch is imported
here and nowhere else in the page, when the first run begins.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from PIL import Image

from textloc.errors import Cancelled, LimitError, StoreError, TextlocError
from textloc.results import store, unlisted
from textloc.ui import limits, own, settings

State = Literal["waiting", "loading", "running", "complete", "stopped", "failed"]
_DEVICE = threading.Lock()
_LOG = logging.getLogger(__name__)
_loaded: tuple[object, Any] | None = None  # the model of the last run; owned by the device lock


class Order(Protocol):
    """What a form asks for."""

    @property
    def model(self) -> str:
        """Name of the checkpoint to load."""

    @property
    def stored(self) -> bool:
        """Whether the result is kept."""

    @property
    def asked(self) -> limits.Asked:
        """What it takes of the page."""

    def before(self) -> str | None:
        """ID of a stored result of just this run, or None."""

    def stream(
        self,
        model: Any,
        on_step: Callable[[int, int], None],
        on_images: Callable[[int, int, str], None],
        cancelled: Callable[[], bool],
    ) -> Iterator[Any]:
        """Do it with the loaded `model`; yields `localize.Event`s.

        on_step: told (steps done, steps) of a call. on_images: told (pictures done, expected, what
        is done) of work before the first event. cancelled: asked between steps.
        """


@dataclass(frozen=True)
class Update:
    """How a run stands.

    done, total: pictures. step, steps: of the call that is under way. seconds: since the start.
    document: the result so far, None before the first pictures. images: those so far. message:
    what is being done, or what went wrong. fresh: whether the document is newer than in the update
    before.
    """

    state: State = "waiting"
    done: int = 0
    total: int = 0
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    message: str = ""
    document: dict[str, Any] | None = None
    images: dict[str, Image.Image] | None = None
    fresh: bool = False


class Job:
    """One run, with a place in the line.

    Raises:
        LimitError: it is more than the page gives, or the line is full.
    """

    def __init__(self, order: Order, visitor: limits.Visitor | None = None) -> None:
        limits.check(order.asked)
        self.order = order
        self.visitor = visitor or limits.Visitor()
        self.last = Update()
        self.began = False
        self.receipt = ""  # by which the browser may delete what this run stored
        self._stop = threading.Event()
        self._news: queue.SimpleQueue[Update] = queue.SimpleQueue()
        self._over = threading.Event()
        limits.LINE.enter(self, self.visitor)

    @property
    def over(self) -> bool:
        """Whether nothing of it is done any longer."""
        return self._over.is_set() or (self._stop.is_set() and not self.began)

    def stop(self) -> None:
        """End the run at the next step; what is finished is kept."""
        self._stop.set()

    def updates(self, patience: float = 1.0) -> Generator[Update, None, None]:
        """Run, and tell how it stands after each step and at least every `patience` seconds.

        The last update is `complete`, `stopped` or `failed`; `stopped` does not wait for the step
        that is under way. Closing the iterator stops the run.
        """
        try:
            limits.LINE.enter(self, self.visitor)  # again, where it waited too long for its place
        except LimitError as error:
            self._over.set()
            yield Update(state="failed", message=str(error))
            return
        self.began = True
        began = time.monotonic()
        threading.Thread(target=self._work, name="textloc-run", daemon=True).start()
        try:
            while True:
                update = self._next(patience)
                if self._stop.is_set() and update.state in ("waiting", "loading", "running"):
                    update = replace(update, state="stopped", message="stopped")
                self.last = replace(update, seconds=time.monotonic() - began)
                yield self.last
                if update.state in ("complete", "stopped", "failed"):
                    return
        finally:
            self._stop.set()

    def _next(self, patience: float) -> Update:
        """The newest update; what was told in between is passed over, but not a new document."""
        try:
            update = self._news.get(timeout=patience)
        except queue.Empty:
            return replace(self.last, fresh=False)
        fresh = update.fresh
        while not self._news.empty():
            update = self._news.get()
            fresh = fresh or update.fresh
        return replace(update, fresh=fresh)

    # -- in the thread ---------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._wait_and_run()
        finally:
            self._over.set()

    def _wait_and_run(self) -> None:
        self._now = Update()
        while not _DEVICE.acquire(timeout=0.1):
            if self._stop.is_set():
                self._tell(state="stopped", message="stopped before it began")
                return
        try:
            self._run()
        except Cancelled:
            self._tell(state="stopped", message="stopped")
        except TextlocError as error:
            self._tell(state="failed", message=str(error))
        except Exception as error:  # a fault of ours: told in words, with the trace in the log
            _LOG.exception("the run failed")
            said = (
                type(error).__name__
                if settings.read().public
                else f"{type(error).__name__}: {error}"
            )
            self._tell(
                state="failed",
                message=f"something went wrong that should not ({said}); "
                "the log of the server has the details",
            )
        finally:
            _DEVICE.release()

    def _run(self) -> None:
        order = self.order
        self._tell(state="loading", message=f"loading {order.model}")
        model = _load(order.model)
        for event in order.stream(model, self._on_step, self._on_images, self._stop.is_set):
            self._tell(
                state="running",
                done=event.done,
                total=event.total,
                step=0,
                message=event.message,
                document=event.document,
                images=event.images,
                fresh=True,
            )
        self._save()

    def _on_step(self, step: int, steps: int) -> None:
        message = self._now.message if self._now.state == "running" else "generating pictures"
        self._tell(state="running", step=step, steps=steps, message=message)

    def _on_images(self, done: int, total: int, message: str) -> None:
        self._tell(state="running", done=done, total=total, step=0, message=message)

    def _save(self) -> None:
        """Keep the result; one that cannot be kept is still shown."""
        document, images = self._now.document, self._now.images
        if document is None or images is None or not document["complete"]:
            self._tell(state="failed", message="the run ended before it was complete; run it again")
            return
        if not self.order.stored:
            self._tell(state="complete", message="")
            return
        public = settings.read().public
        try:
            if public:
                unlisted.keep(document, images, self.visitor.key)
                new = None
            else:
                _, new = store.save_new(document, images)
        except StoreError as error:
            _LOG.warning("a result was not kept: %s", error)
            why = "It could not be kept on this page." if public else str(error)
            self._tell(state="complete", message=f"The result is shown, but has no link. {why}")
        else:
            if new:
                self.receipt = own.claim(document["id"])
            elif new is not None:
                own.share(document["id"])
            self._tell(state="complete", message="")

    def _tell(self, **changes: Any) -> None:
        self._now = replace(self._now, **{"fresh": False, **changes})
        self._news.put(self._now)


def _load(name: str) -> Any:
    """The model of that name, kept from the last run where its files are unchanged."""
    global _loaded
    from textloc.checkpoints import loading

    key = (name, _changed(Path(name)))
    if _loaded is None or _loaded[0] != key:
        _loaded = None  # frees its memory before the next one is loaded
        _loaded = (key, loading.load(name))
    return _loaded[1]


def _changed(folder: Path) -> float:
    """When a weight file of a local checkpoint was last written; 0 for any other name."""
    times = (file.stat().st_mtime for file in folder.glob("*/*.safetensors"))
    return max(times, default=0.0)
