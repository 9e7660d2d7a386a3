"""The process that computes, `python -m textloc.ui.runner.process`; `worker` starts it.

It reads what is asked from its standard input and tells its news on its standard output. It ends
when the page does, whatever it is doing.
"""

import logging
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from contextlib import suppress
from typing import BinaryIO

from textloc.ui.runner import wire
from textloc.ui.runner.news import Ended, News
from textloc.ui.runner.work import to_the_end

_LOG = logging.getLogger(__name__)


def main() -> None:
    """Do what is asked, one thing after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the page, whose end is ours
    told = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed goes to the log of the server
    _be_first_to_go()
    asked: queue.SimpleQueue[wire.Ask | wire.Load] = queue.SimpleQueue()
    stopped: set[int] = set()
    threading.Thread(target=_listen, args=(asked, stopped, told), daemon=True).start()
    while True:
        message = asked.get()
        if isinstance(message, wire.Load):
            _load(message.model)
        else:
            _run(message, stopped, told)


def _listen(
    asked: "queue.SimpleQueue[wire.Ask | wire.Load]", stopped: set[int], told: BinaryIO
) -> None:
    while True:
        try:
            content = wire.receive(sys.stdin.buffer)
        except EOFError:
            os._exit(0)  # the page has ended
        try:
            message = pickle.loads(content)
        except Exception:
            traceback.print_exc()
            os._exit(3)
        if isinstance(message, wire.Stop):
            stopped.add(message.number)
        else:
            asked.put(message)


def _run(asked: wire.Ask, stopped: set[int], told: BinaryIO) -> None:
    def tell(news: News | Ended | wire.Begun) -> None:
        try:
            wire.send(told, (asked.number, news))
        except OSError:
            os._exit(0)  # the page has ended

    tell(wire.Begun())
    tell(to_the_end(asked.order, tell, lambda: asked.number in stopped))
    stopped.discard(asked.number)


def _load(model: str) -> None:
    from textloc.ui.runner import loaded

    try:
        loaded.load(model)
    except Exception as error:  # whoever asks for it is told
        _LOG.warning("textloc: %s is not loaded: %s", model, error)


def _be_first_to_go() -> None:
    """Where memory runs out, Linux ends this process and not the page."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # noqa: PTH123
        score.write("800")


if __name__ == "__main__":
    main()
