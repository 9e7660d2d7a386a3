"""What is done where the model is, the same in all places."""

import os
import sys
import traceback
from collections.abc import Callable

from textloc.errors import Cancelled, TextlocError
from textloc.results import cache, gallery
from textloc.ui import settings
from textloc.ui.runner import loaded
from textloc.ui.runner.news import Count, Ended, Growth, Ready, Step, Tell
from textloc.ui.runner.orders import Order

FULL = (
    "the memory is full. What is finished stays. Ask for fewer pairs or seeds, a smaller size or a "
    "smaller model"
)


def to_the_end(order: Order, tell: Tell, cancelled: Callable[[], bool]) -> Ended:
    """Load the model, do what is ordered, and tell of it; whatever goes wrong is how it ended.

    On a public page nothing of a run is kept in the cell cache, unless its folder is named.
    """
    if settings.read().public:
        os.environ.setdefault(cache.VARIABLE, "off")
    try:
        _work(order, tell, cancelled)
    except Cancelled:
        return Ended("stopped", "stopped")
    except TextlocError as error:
        return Ended("failed", str(error))
    except Exception as error:
        if _out_of_memory(error):
            return Ended("failed", FULL, spoilt=True)
        said = f"{type(error).__name__}: {error}"
        return Ended("fault", said, traceback.format_exc(), spoilt=True)
    return Ended("complete")


def _work(order: Order, tell: Tell, cancelled: Callable[[], bool]) -> None:
    def on_step(step: int, steps: int) -> None:
        tell(Step(step, steps))

    def on_images(done: int, total: int, message: str) -> None:
        tell(Count(done, total, message))

    if cancelled():
        raise Cancelled("stopped before it began")
    model = loaded.load(order.model) if order.model else None
    tell(Ready())
    told = gallery.Pictures({})
    for event in order.stream(model, on_step, on_images, cancelled):
        now = gallery.pictures(event.images)
        new = {key: now[key] for key in now.changed(told)}
        how = (event.done, event.total, event.message)
        tell(Growth(*how, event.document, new, tuple(now), event.found))
        told = now


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from textloc.checkpoints.memory import is_out_of_memory

    return is_out_of_memory(error)
