"""Where this page's runs are done."""

from collections.abc import Callable

from textloc.checkpoints import hardware
from textloc.ui import models, settings
from textloc.ui.runner import work, worker, zero
from textloc.ui.runner.news import Ended, Tell
from textloc.ui.runner.orders import Order


def run(order: Order, tell: Tell, cancelled: Callable[[], bool]) -> Ended:
    """Run an order to its end and tell of it; `cancelled` is asked between steps."""
    if hardware.zero_gpu() and order.model:
        return zero.run(order, tell, cancelled)
    if settings.read().worker:
        return worker.run(order, tell, cancelled)
    return work.to_the_end(order, tell, cancelled)


def prepare() -> None:
    """Before the page is launched: on a public page with a GPU the first model is loaded, so that
    the first visitor need not wait for it."""
    here = settings.read()
    if hardware.zero_gpu():
        zero.prepare()
    elif here.public and here.worker and hardware.gpu_memory() is not None:
        worker.started().load(models.names()[0])
