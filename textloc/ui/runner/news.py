"""What is told of a run, from wherever it is done: plain data that can be pickled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image


@dataclass(frozen=True)
class Ready:
    """The model is loaded, which may have taken a download."""


@dataclass(frozen=True)
class Step:
    """A denoising step of a call is done."""

    step: int
    steps: int


@dataclass(frozen=True)
class Count:
    """Pictures are done before there is a document."""

    done: int
    total: int
    message: str


@dataclass(frozen=True)
class Growth:
    """The document has grown. pictures: those that were not told of before. keys: of all that the
    document names. found: how many were made by an earlier run."""

    done: int
    total: int
    message: str
    document: dict[str, Any]
    pictures: Mapping[str, Image.Image]
    keys: tuple[str, ...]
    found: int


News = Ready | Step | Count | Growth
Tell = Callable[[News], None]


@dataclass(frozen=True)
class Ended:
    """How a run ended. message: what went wrong, in words. trace: of a `fault`, which is an error
    that should not be, for the log. spoilt: whether the process it was done in had better end."""

    state: Literal["complete", "stopped", "failed", "fault"]
    message: str = ""
    trace: str = ""
    spoilt: bool = False
