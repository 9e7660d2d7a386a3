"""Pictures of a result as `data:` addresses, so that a page needs no files beside it."""

import base64
import io
from collections.abc import Callable

from PIL import Image, ImageChops, ImageOps

from textloc.errors import StoreError

PANEL, THUMB, STRIP = 512, 192, 96
"""Longest side, in pixels, of a picture beside the others, of a card and of one in the strip."""
SMALL = 128
"""Pictures up to this many pixels a side are sent as they are and enlarged without smoothing."""

_ANY = 0  # in place of a side: a small picture is the same at every one


class Pictures:
    """The pictures of one result; each is encoded once."""

    def __init__(self, find: Callable[[str], Image.Image]) -> None:
        """`find` returns the picture of a key, or raises `KeyError` or `StoreError`."""
        self._find = find
        self._encoded: dict[tuple[str, int], tuple[str, bool]] = {}

    def address(self, key: str, side: int = PANEL) -> tuple[str, bool] | None:
        """`data:` address and whether to enlarge it without smoothing; None if not there."""
        if (found := self._encoded.get((key, _ANY)) or self._encoded.get((key, side))) is not None:
            return found
        picture = self.picture(key)
        if picture is None:
            return None
        made = encoded(picture, side)
        self._encoded[key, _ANY if made[1] else side] = made
        return made

    def difference(self, one: str, other: str) -> tuple[str, bool] | None:
        """The same for how far two pictures of one size differ: the largest difference of the three
        colours at each pixel, from black for none through red to white for 255."""
        name = f"{one} - {other}"
        if (name, PANEL) not in self._encoded:
            pictures = [self.picture(key) for key in (one, other)]
            if pictures[0] is None or pictures[1] is None:
                return None
            between = ImageChops.difference(pictures[0], pictures[1])
            red, green, blue = between.split()
            largest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
            colours = ImageOps.colorize(largest, "black", "white", mid="#e0442e", midpoint=110)
            self._encoded[name, PANEL] = encoded(colours, PANEL)
        return self._encoded[name, PANEL]

    def large(self, key: str) -> Image.Image | None:
        """The picture for a large view, small ones enlarged without smoothing."""
        picture = self.picture(key)
        if picture is None or max(picture.size) > SMALL:
            return picture
        times = -(-PANEL // max(picture.size))
        return picture.resize(
            (picture.width * times, picture.height * times), Image.Resampling.NEAREST
        )

    def picture(self, key: str) -> Image.Image | None:
        """The picture of a key in RGB; None if not there."""
        try:
            return self._find(key).convert("RGB")
        except (KeyError, StoreError):
            return None


def encoded(picture: Image.Image, side: int = PANEL) -> tuple[str, bool]:
    """`data:` address of an RGB picture, at most `side` pixels long unless it is small, and whether
    to enlarge it without smoothing."""
    small = max(picture.size) <= SMALL
    if not small:
        picture = picture.copy()
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    kind = "PNG" if small else "JPEG"
    picture.save(file, kind, quality=90, subsampling=0)  # letters have edges of colour
    text = base64.b64encode(file.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{text}", small
