"""An attribute of a thing replaced for a while: a denoiser's `forward`, a scheduler's `step`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(thing: Any, name: str, value: Any) -> Iterator[None]:
    """Have `thing` hold `value` as its attribute `name` while the block lasts; afterwards it holds
    what it held itself before, or nothing, so that its class's is found again."""
    held = name in vars(thing)
    own = vars(thing).get(name)
    setattr(thing, name, value)
    try:
        yield
    finally:
        if held:
            setattr(thing, name, own)
        else:
            delattr(thing, name)
