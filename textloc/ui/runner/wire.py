"""Messages between the page and the process that computes, over pipes.

Both are ours and the pipes have no name, so they are pickles; each is framed by its length, so one
that cannot be read does not spoil the next.
"""

import pickle
import struct
from dataclasses import dataclass
from typing import IO, Any

from textloc.ui.runner.orders import Order

_LENGTH = struct.Struct(">Q")


@dataclass(frozen=True)
class Ask:
    """Run this. number: by which what is told of it is known."""

    number: int
    order: Order


@dataclass(frozen=True)
class Begun:
    """The answer to `Ask`, before anything is done."""


@dataclass(frozen=True)
class Stop:
    """End the run of this number at its next step."""

    number: int


@dataclass(frozen=True)
class Load:
    """Have a model ready."""

    model: str


def send(file: IO[bytes], message: Any) -> None:
    """Send a message.

    Raises:
        OSError: there is nobody at the other end. Other errors: it cannot be pickled.
    """
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    file.write(_LENGTH.pack(len(content)) + content)
    file.flush()


def receive(file: IO[bytes]) -> bytes:
    """The next message, to be read with `pickle.loads`.

    Raises:
        EOFError: the other end is closed.
    """
    (length,) = _LENGTH.unpack(_exactly(file, _LENGTH.size))
    return _exactly(file, length)


def _exactly(file: IO[bytes], size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise EOFError
    return content
