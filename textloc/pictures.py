"""Picture files of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps

from textloc.errors import PromptError
from textloc.runs import Sampling

LARGEST = 40_000_000
"""Pixels of the largest picture that is opened."""


def read_picture(file: Path | BinaryIO, name: str | None = None) -> Image.Image:
    """A picture file in RGB, the right way up; `name` is how errors call it.

    Raises:
        PromptError: it cannot be read, or is larger than `LARGEST`.
    """
    name = name or (file.name if isinstance(file, Path) else "the picture")
    try:
        with Image.open(file) as opened:
            if opened.width * opened.height > LARGEST:
                raise PromptError(
                    f"{name} has {opened.width} x {opened.height} pixels, more than "
                    f"{LARGEST // 1_000_000} million; make it smaller first"
                )
            return ImageOps.exif_transpose(opened).convert("RGB")
    except PromptError:
        raise
    except Exception as error:  # a damaged file can make the decoder raise almost anything
        raise PromptError(
            f"{name} cannot be read as a picture ({error}); save it as PNG or JPEG"
        ) from error


def fit(picture: Image.Image, sampling: Sampling, cut: float = 0.34) -> Image.Image:
    """The picture at the call's size, cut at its longer sides to the same shape.

    Args:
        cut: the largest share of the picture that may be cut off.

    Raises:
        PromptError: more would be cut off, or the call has no size of its own.
    """
    if sampling.width is None or sampling.height is None:
        raise PromptError("give height and width: this checkpoint does not say its size")
    wanted, given = sampling.width / sampling.height, picture.width / picture.height
    lost = 1 - min(wanted, given) / max(wanted, given)
    if lost > cut:
        raise PromptError(
            f"a picture of {picture.width} x {picture.height} pixels would lose {lost:.0%} to "
            f"become {sampling.width} x {sampling.height}; cut out the part with the text first"
        )
    size = (sampling.width, sampling.height)
    return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
