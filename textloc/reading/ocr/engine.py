"""What an engine is: in go pictures, out come boxes with texts."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""RGB, shape (H, W, 3)."""
Polygon = tuple[tuple[float, float], ...]
"""Four corners (x, y) in pixels, y down, clockwise from the text's top left."""


@dataclass(frozen=True)
class Box:
    """One piece of text: what it says, how sure the engine is (0 to 1), and where it is."""

    text: str
    score: float
    polygon: Polygon


class Engine(ABC):
    """An OCR engine with its weights loaded. Making one raises OCRError where it cannot run."""

    package: ClassVar[str]
    """The distribution that holds the engine; its version is the engine's version."""
    aims: ClassVar[tuple[int, ...]]
    """Short sides in pixels, rising, to which a smaller picture is enlarged in turn."""

    @classmethod
    def has_weights(cls) -> bool:
        """Whether its weights are on this machine; they come with most packages."""
        return True

    @abstractmethod
    def detect(self, pictures: Sequence[Pixels]) -> list[list[Box]]:
        """The boxes of each picture, in any order, with polygons in that picture's pixels."""


def polygon(corners: Any) -> Polygon:
    """Plain floats from an engine's array or list of shape (4, 2)."""
    return tuple((float(x), float(y)) for x, y in corners)


@lru_cache
def importable(module: str) -> bool:
    """Whether a module is installed and imports without an error."""
    try:
        importlib.import_module(module)
    except Exception:  # see `easyocr.EasyOCR`
        return False
    return True


def first_line(error: Exception) -> str:
    """An error's kind and the first line of its message."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
