"""Another class in an object's place, for a while: its special methods can be seen to.

Python looks `thing(...)` up in the class, so an attribute of the instance does not reach it, and
offloading exchanges `forward` as it likes. A subclass of the same name stands in for the class
instead; several users of one object share it, and the last that leaves gives the class back,
whatever the order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from textloc.errors import GuardError

Methods = Callable[[type], dict[str, Any]]
"""Gives the methods of the subclass, by name, from the class that it stands in for."""


@dataclass
class _Entry:
    """An object (kept, so that its id stays its own), its class, and how many use the stand-in."""

    thing: Any
    original: type
    users: int = 0


_entries: dict[int, _Entry] = {}
_lock = threading.RLock()


@contextmanager
def standing_in(thing: Any, methods: Methods, alone: str | None = None) -> Iterator[None]:
    """Have a subclass with these methods stand in for the class of `thing` while the block lasts.

    Args:
        thing: an object whose class can be exchanged. methods: of the subclass; the first user's
            count. alone: the message of the error if there is a user already; None shares.

    Raises:
        GuardError: it has a user and `alone` is given. Copying and pickling the object raise it
        too: a copy would keep the stand-in.
    """
    with _lock:
        entry = _entries.get(id(thing))
        if entry is None:
            original: Any = type(thing)
            entry = _entries[id(thing)] = _Entry(thing, original)
            own = {
                "__module__": original.__module__,  # diffusers finds a part's library by it
                "__qualname__": original.__qualname__,
                "__doc__": original.__doc__,
                "__reduce_ex__": _refuse,
                **methods(original),
            }
            try:
                thing.__class__ = _kind(original)(original.__name__, (original,), own)
            except BaseException:
                del _entries[id(thing)]
                raise
        elif alone is not None:
            raise GuardError(alone)
        entry.users += 1
    try:
        yield
    finally:
        with _lock:
            entry.users -= 1
            if not entry.users:
                thing.__class__ = entry.original
                del _entries[id(thing)]


def own_class(thing: Any) -> Any:
    """The class of an object, its stand-in aside."""
    with _lock:
        entry = _entries.get(id(thing))
    return type(thing) if entry is None else entry.original


def _kind(original: Any) -> Any:
    """The metaclass of a stand-in, which is equal to the class that it stands in for: diffusers
    looks whether `type(part)` is among the classes that a pipeline takes."""

    def equal(kind: Any, other: Any) -> bool:
        return other is original or other is kind

    own = {"__eq__": equal, "__hash__": lambda _kind: hash(original)}
    return type("StandIn", (type(original),), own)


def _refuse(thing: Any, _protocol: int) -> Any:
    """What copying and pickling call."""
    raise GuardError(
        f"a {type(thing).__name__} cannot be copied or pickled while it is guarded; do so before "
        "or after the block"
    )
