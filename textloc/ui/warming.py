"""Makes ready what first visitors need, in a thread, once the page is served.

Before that it would take the time in which Gradio asks whether its own page answers.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence

from textloc.results import removal, store
from textloc.ui import stored
from textloc.ui.gallery import cards
from textloc.ui.learn import tour
from textloc.ui.serving import plotlyjs
from textloc.ui.tab import Tab

_LOG = logging.getLogger(__name__)


def start(jobs: Sequence[Tab]) -> threading.Thread:
    """Begin, and return the thread; `jobs` are the tabs of the page."""
    thread = threading.Thread(target=_make_ready, args=(jobs,), name="textloc-warm", daemon=True)
    thread.start()
    return thread


def _make_ready(jobs: Sequence[Tab]) -> None:
    for step in _steps(jobs):
        try:
            step()
        except Exception:  # a visitor who needs it will be told; all others are served
            _LOG.exception("the page could not make something ready")


def _steps(jobs: Sequence[Tab]) -> Iterator[Callable[[], object]]:
    """What is needed soonest first; last, the store is tidied."""
    yield plotlyjs.script
    for job in jobs:
        if job.STORED:
            yield lambda job=job: _draw(job)  # type: ignore[misc]
    yield tour.make_ready
    yield lambda: stored.listing(stored.LOCALIZE)
    yield lambda: cards.listed(store.listing())
    yield removal.tidy


def _draw(job: Tab) -> None:
    """The result that a tab opens with."""
    view, _ = stored.opening(None, job.KIND)
    if view is not None:
        job.try_view(view)
