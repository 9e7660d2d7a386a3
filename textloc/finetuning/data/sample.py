"""What sources yield."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from textloc.errors import PromptError
from textloc.pictures import read_picture


@dataclass(frozen=True)
class Damaged:
    """A sample that cannot be used. key: its name in the source. reason: for people."""

    key: str
    reason: str


@dataclass(frozen=True)
class Sample:
    """A picture with its caption.

    key: its name in the source. caption: what describes it. open: gives the picture in RGB, or
    raises `PromptError`. texts: what is written in it, where the data says so; None where not.
    region: gives where it is written, bool (H, W), where the data says so.
    """

    key: str
    caption: str
    open: Callable[[], Image.Image]
    texts: tuple[str, ...] | None = None
    region: Callable[[], NDArray[np.bool_]] | None = None

    def picture(self) -> Image.Image | Damaged:
        """The picture, or what is wrong with it."""
        try:
            return self.open()
        except PromptError:
            return Damaged(self.key, "the picture cannot be read")


def of_file(path: Path) -> Callable[[], Image.Image]:
    """Opens a picture file."""
    return lambda: read_picture(path)


def of_bytes(content: bytes, name: str) -> Callable[[], Image.Image]:
    """Opens a picture that was read already."""
    return lambda: read_picture(io.BytesIO(content), name)


def as_text(path: Path) -> str | None:
    """The text of a file; None where it cannot be read."""
    try:
        return decoded(path.read_bytes())
    except OSError:
        return None


def decoded(content: bytes) -> str | None:
    """Text in UTF-8, or in UTF-16 where it begins with that mark, without the mark; else None."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        return None


def as_object(content: str) -> dict[str, Any] | None:
    """The JSON object that a text is; None where it is none."""
    try:
        found = json.loads(content.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
