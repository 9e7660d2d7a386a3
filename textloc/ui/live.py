"""Runs what a form asks for beside the page, one at a time for the whole page.

A thread waits for the place where it is done (`runner`): the page hears of every denoising step,
and Stop takes effect at the next one, whether or not Gradio has closed the generator by then. A
page that is loaded anew follows the same run again (`runs`).
"""

import logging
import threading
import time
import traceback
from collections.abc import Generator, Mapping
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any, Literal

from PIL import Image

from textloc.errors import LimitError, StoreError
from textloc.results import store, unlisted
from textloc.results.gallery import Gallery
from textloc.ui import limits, own, settings
from textloc.ui.runner import places, timing
from textloc.ui.runner.news import Count, Growth, News, Step
from textloc.ui.runner.orders import Order as Order

State = Literal["waiting", "loading", "running", "complete", "stopped", "failed"]
_DEVICE = threading.Lock()
_RELOADING = 10.0
"""Seconds that a page has to be loaded again in, where others wait for the device."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Update:
    """How a run stands.

    done, total: pictures. step, steps: of the call that is under way. seconds: since the start.
    left: seconds to go at the pace of the pictures so far, None before that is known. before: runs
    in front of this one, when it was asked for.
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
    left: float | None = None
    before: int = 0
    message: str = ""
    document: dict[str, Any] | None = None
    images: Mapping[str, Image.Image] | None = None
    fresh: bool = False


class Pace:
    """Seconds to go, by the pictures made since the first were there: what came before them is
    loading, which is not done again."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self._newest = (0.0, 0)

    def left(self, update: Update, now: float) -> float | None:
        """Of an update at the time `now`."""
        if update.state != "running" or update.done >= update.total:
            return None  # how many there will be is not known yet
        if self._first is None:
            self._first = self._newest = (now, update.done)
        if update.done > self._newest[1]:
            self._newest = (now, update.done)
        seconds, pictures = (new - old for new, old in zip(self._newest, self._first, strict=True))
        if pictures <= 0:
            return None
        return max(0.0, seconds / pictures * (update.total - update.done) - (now - self._newest[0]))


class Job:
    """One run, with a place in the line.

    alone: seconds that it goes on while nobody follows it; a few at most where others wait.

    Raises:
        LimitError: it is more than the page gives, or the line is full.
    """

    def __init__(
        self, order: Order, visitor: limits.Visitor | None = None, alone: float = 0.0
    ) -> None:
        limits.check(order.asked)
        self.order = order
        self.visitor = visitor or limits.Visitor()
        self.alone = alone
        self.last = Update()
        self.began = False
        self.receipt = ""  # by which the browser may delete what this run stored
        self._stop = threading.Event()
        self._over = threading.Event()
        self._told = threading.Condition()  # guards all below
        self._now, self._number = Update(), 0  # what was told last, and how much was told before
        self._grown = 0  # the number of what told the newest document
        self._started, self._ended = 0.0, 0.0  # when it began and was over, on the clock of `time`
        self._followers, self._left_at = 0, 0.0
        self._pace = Pace()
        limits.LINE.enter(self, self.visitor)

    @property
    def over(self) -> bool:
        """Whether nothing of it is done any longer."""
        return self._over.is_set() or (self._stop.is_set() and not self.began)

    @property
    def left(self) -> float | None:
        """Seconds that it is likely to take from now on, but for waiting; None where that is not
        known."""
        if self.last.left is not None:
            return self.last.left
        whole = timing.TIMINGS.seconds(self.order)
        return None if whole is None else max(0.0, whole - self.last.seconds)

    def stop(self) -> None:
        """End the run at the next step; what is finished is kept."""
        self._stop.set()

    def updates(self, patience: float = 1.0) -> Generator[Update, None, None]:
        """Run, and tell how it stands after each step and at least every `patience` seconds.

        The last update is `complete`, `stopped` or `failed`; `stopped` does not wait for the step
        that is under way. Who asks again, or beside another, follows the same run, from what it
        has come to. Once all iterators are closed it goes on for `alone` seconds.
        """
        try:
            if not self.began:  # it may have waited too long for its place
                limits.LINE.enter(self, self.visitor)
        except LimitError as error:
            self._over.set()
            yield Update(state="failed", message=str(error))
            return
        self._follow()
        told = grown = 0
        try:
            while True:
                update, told, newest = self._after(told, patience)
                update, grown = replace(update, fresh=newest > grown), newest
                if self._stop.is_set() and update.state in ("waiting", "loading", "running"):
                    update = replace(update, state="stopped", message="stopped")
                now = time.monotonic()
                left = self._pace.left(update, now)
                seconds = (self._ended or now) - self._started
                self.last = replace(update, seconds=seconds, left=left)
                yield self.last
                if update.state in ("complete", "stopped", "failed"):
                    return
        finally:
            with self._told:
                self._followers -= 1
                self._left_at = time.monotonic()
            if not self.alone:
                self._stop.set()

    def _after(self, told: int, patience: float) -> tuple[Update, int, int]:
        """What is told next after so much, or what was told last; and the numbers of that and of
        what told the newest document."""
        with self._told:
            self._told.wait_for(lambda: self._number > told, patience)
            return self._now, self._number, self._grown

    def _follow(self) -> None:
        with self._told:
            self._followers += 1
            if self.began:
                return
            self.began, self._started = True, time.monotonic()
        run = copy_context().run  # whose request it is counts where a GPU is lent
        threading.Thread(target=run, args=(self._work,), name="textloc-run", daemon=True).start()

    # -- in the thread ---------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._wait_and_run()
        finally:
            self._over.set()

    def _stopped(self) -> bool:
        """Whether it is to end: it was stopped, or left alone for too long."""
        with self._told:
            alone = 0.0 if self._followers else time.monotonic() - self._left_at
        others = alone > _RELOADING and limits.LINE.waits(self)
        if alone > self.alone or others:
            self._stop.set()
        return self._stop.is_set()

    def _wait_and_run(self) -> None:
        while not (limits.LINE.turn(self) and _DEVICE.acquire(timeout=0.1)):
            if self._stopped():
                self._tell(state="stopped", message="stopped before it began")
                return
            time.sleep(0.05)
        try:
            self._run()
        except Exception as error:
            self._fault(f"{type(error).__name__}: {error}", traceback.format_exc())
        finally:
            _DEVICE.release()

    def _run(self) -> None:
        self._made = Gallery()
        doing = f"loading {self.order.model}" if self.order.model else "reading"
        self._tell(state="loading", message=doing)
        self._watch = timing.Watch()
        ended = places.run(self.order, self._hear, self._stopped)
        if ended.spoilt:
            timing.TIMINGS.cool()
        if ended.state == "complete":
            self._learn()
            self._save()
        elif ended.state == "fault":
            self._fault(ended.message, ended.trace)
        else:
            self._tell(state=ended.state, message=ended.message)

    def _fault(self, said: str, trace: str) -> None:
        """A fault of ours: told in words, with the trace in the log."""
        _LOG.error("the run failed\n%s", trace)
        if settings.read().public:
            said = said.partition(":")[0]
        self._tell(
            state="failed",
            message=f"something went wrong that should not ({said}); "
            "the log of the server has the details",
        )

    def _learn(self) -> None:
        document = self._now.document
        if document is not None and document["complete"]:
            timing.TIMINGS.learn(self.order, self._watch, document)

    def _hear(self, news: News) -> None:
        self._watch.hear(news)
        if isinstance(news, Growth):
            self._made.update(news.pictures)
            self._tell(
                state="running",
                done=news.done,
                total=news.total,
                step=0,
                message=news.message,
                document=news.document,
                images=self._made.snapshot().only(news.keys),
            )
        elif isinstance(news, Count):
            counted = {"done": news.done, "total": news.total, "message": news.message}
            self._tell(state="running", step=0, **counted)
        elif isinstance(news, Step):
            message = self._now.message if self._now.state == "running" else "generating pictures"
            self._tell(state="running", step=news.step, steps=news.steps, message=message)

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
        with self._told:
            self._now = replace(self._now, **changes)
            self._number += 1
            if self._now.state in ("complete", "stopped", "failed"):
                self._ended = time.monotonic()
            if "document" in changes:
                self._grown = self._number
            self._told.notify_all()
