"""Pictures of a result as `data:` addresses, so that a page needs no files on the server."""

import base64
import io
from collections.abc import Callable

from PIL import Image

from textloc.errors import StoreError

PANEL, STRIP = 512, 96
"""Longest side, in pixels, of a picture beside the others and of one in the strip."""
SMALL = 256
"""Pictures up to this many pixels a side are sent as they are and enlarged without smoothing."""


class Pictures:
    """The pictures of one result; each is encoded once."""

    def __init__(self, find: Callable[[str], Image.Image]) -> None:
        """`find` returns the picture of a key, or raises `KeyError` or `StoreError`."""
        self._find = find
        self._encoded: dict[tuple[str, int], tuple[str, bool]] = {}

    def address(self, key: str, side: int = PANEL) -> tuple[str, bool] | None:
        """`data:` address and whether to enlarge it without smoothing; None if not there."""
        if (key, side) not in self._encoded:
            try:
                picture = self._find(key)
            except (KeyError, StoreError):
                return None
            self._encoded[key, side] = _encode(picture, side)
        return self._encoded[key, side]


def _encode(picture: Image.Image, side: int) -> tuple[str, bool]:
    small = max(picture.size) <= SMALL
    if not small:
        picture = picture.copy()
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    kind = "PNG" if small else "JPEG"
    picture.convert("RGB").save(file, kind, quality=90)
    text = base64.b64encode(file.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{text}", small
