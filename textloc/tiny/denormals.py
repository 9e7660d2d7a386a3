"""Numbers too small for a float's usual form, which processors compute many times as slowly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flushed() -> Iterator[None]:
    """Take them for zero in this thread, as sharp attention has many of them; afterwards they count
    again, also where onnxruntime has switched that on its own."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
