"""How the objects and backgrounds of scenes look, at any size.

Lengths are in the pixels of the small picture; a `Pen` turns them into dots. What a picture of 64
pixels has no room for is drawn where the pen is `fine`, at fixed places of the object or of the
background, so that a decoder that sees the small picture's code knows where it belongs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, ...]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Pen:
    """A picture under work: `scale` dots to a pixel, `side` pixels wide and high."""

    image: Image.Image
    draw: ImageDraw.ImageDraw
    side: int
    scale: int
    fine: bool

    @classmethod
    def on(cls, background: str, variant: int, side: int, scale: int, fine: bool) -> Pen:
        """A pen on a copy of the background."""
        image = _background(background, variant, side, scale, fine).copy()
        return cls(image, ImageDraw.Draw(image), side, scale, fine)

    def shadow(self, paint: Callable[[ImageDraw.ImageDraw], None], drop: float = 1.2) -> None:
        """Darken the ground below and right of what `paint` fills, softly."""
        mask = Image.new("L", self.image.size, 0)
        paint(ImageDraw.Draw(mask))
        away = round(drop * self.scale)
        mask = ImageChops.offset(mask, away, away)
        mask.paste(0, (0, 0, away, mask.height))
        mask.paste(0, (0, 0, mask.width, away))
        mask = mask.filter(ImageFilter.BoxBlur(drop * self.scale / 2)).point(lambda v: v * 0.4)
        self.image.paste((20, 18, 24), (0, 0), mask)

    def shade(self, box: Box, round_: float, factors: tuple[float, ...]) -> None:
        """Multiply what a rounded box (in dots) encloses by factors from left to right."""
        x0, y0, x1, y1 = (round(value) for value in box)
        part = np.asarray(self.image.crop((x0, y0, x1, y1)), dtype=np.float32)
        across = np.linspace(0, 1, part.shape[1])
        curve = np.interp(across, np.linspace(0, 1, len(factors)), factors)
        lit = np.clip(part * curve[None, :, None], 0, 255).astype(np.uint8)
        mask = Image.new("L", (x1 - x0, y1 - y0), 0)
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, x1 - x0 - 1, y1 - y0 - 1), round_, 255)
        self.image.paste(Image.fromarray(lit), (x0, y0), mask)


@lru_cache(maxsize=32)
def _background(kind: str, variant: int, side: int, scale: int, fine: bool) -> Image.Image:
    size = side * scale
    tone = (-14, 0, 14)[variant]

    def toned(r: int, g: int, b: int) -> tuple[int, int, int]:
        return (r + tone, g + tone, b + tone)

    image = Image.new("RGB", (size, size), toned(190, 186, 178))
    draw = ImageDraw.Draw(image)
    gap = 4 * scale // 3
    if kind == "wood":
        for i in range(4):
            brown = toned(150 + 10 * (i % 2), 105 + 8 * (i % 2), 66)
            top, bottom = i * size // 4, (i + 1) * size // 4
            draw.rectangle((0, top, size, bottom - gap), fill=brown)
            draw.rectangle((0, bottom - gap, size, bottom), (90, 60, 38))
            if fine:
                _grain(draw, (top, bottom - gap), size, scale, brown)
    elif kind == "meadow":
        horizon = size * 5 // 8
        draw.rectangle((0, 0, size, horizon), fill=toned(150, 195, 235))
        draw.rectangle((0, horizon, size, size), fill=toned(110, 170, 90))
        if fine:
            _sky_and_grass(draw, horizon, size, scale, toned)
    elif kind == "tiles":
        step = size // 4
        for y in range(4):
            for x in range(4):
                box = (x * step, y * step, (x + 1) * step, (y + 1) * step)
                if (x + y) % 2:
                    draw.rectangle(box, fill=toned(212, 170, 160))
                if fine:
                    _bevel(draw, box, scale, toned, (x + y) % 2 == 1)
    return image


Toned = Callable[[int, int, int], tuple[int, int, int]]


def _grain(
    draw: ImageDraw.ImageDraw, plank: tuple[int, int], size: int, scale: int, brown: Colour
) -> None:
    """Streaks along a plank, and light on its upper edge."""
    top, bottom = plank
    dark = tuple(round(c * 0.9) for c in brown)
    for part, thick in ((0.22, 4), (0.4, 2), (0.58, 3), (0.66, 2), (0.86, 4)):
        y = top + (bottom - top) * part
        draw.line((0, y, size, y), dark, max(1, scale * thick // 8))
    light = tuple(min(255, c + 22) for c in brown)
    draw.line((0, top + scale // 4, size, top + scale // 4), light, max(1, scale // 2))


def _sky_and_grass(
    draw: ImageDraw.ImageDraw, horizon: int, size: int, scale: int, toned: Toned
) -> None:
    """A sky that pales toward the horizon, and blades of grass along it."""
    for y in range(horizon):
        pale = 26 * (y / horizon - 0.5)
        colour = toned(*(min(241, round(c + pale)) for c in (150, 195, 235)))
        draw.line((0, y, size, y), colour)
    blade = toned(88, 146, 70)
    for number, x in enumerate(range(0, size, scale * 2)):
        tall = scale * (1.6 + 0.9 * (number % 3))
        draw.polygon(
            (x, horizon + scale, x + scale, horizon - tall, x + 2 * scale, horizon + scale), blade
        )
    draw.rectangle((0, horizon + scale // 2, size, horizon + scale * 3 // 2), fill=blade)


def _bevel(
    draw: ImageDraw.ImageDraw, box: tuple[int, ...], scale: int, toned: Toned, warm: bool
) -> None:
    """Light on a tile's upper left edges, shade on the others, and the joint between tiles."""
    x0, y0, x1, y1 = box
    light, dark = (
        (toned(226, 192, 184), toned(184, 142, 132))
        if warm
        else (
            toned(208, 204, 198),
            toned(166, 162, 154),
        )
    )
    thin, joint = max(1, scale // 2), max(1, scale // 3)
    draw.line((x0 + joint, y0 + joint, x1, y0 + joint), light, thin)
    draw.line((x0 + joint, y0 + joint, x0 + joint, y1), light, thin)
    draw.line((x0, y1 - joint, x1, y1 - joint), dark, thin)
    draw.line((x1 - joint, y0, x1 - joint, y1), dark, thin)
    draw.rectangle((x0, y0, x1, y0 + joint // 2), fill=toned(150, 146, 140))
    draw.rectangle((x0, y0, x0 + joint // 2, y1), fill=toned(150, 146, 140))


def edge(fill: Colour) -> Colour:
    """The colour of an object's outline: darker, or lighter where it is nearly black."""
    dark = sum(fill) < 180
    return tuple(min(255, c + 70) if dark else int(c * 0.62) for c in fill)


def _lit(fill: Colour, by: int = 34) -> Colour:
    return tuple(min(255, c + by) for c in fill)


def _box(pen: Pen, cy: int, width: float, height: float) -> Box:
    """A box around the middle of the row `cy`, in dots."""
    cx = pen.side // 2 * pen.scale
    w, h = width * pen.scale / 2, height * pen.scale / 2
    return (cx - w, cy * pen.scale - h, cx + w, cy * pen.scale + h)


def _sign(pen: Pen, cy: int, fill: Colour) -> None:
    draw, s = pen.draw, pen.scale
    cx = pen.side // 2 * s
    box = _box(pen, cy, 60, 20)
    pole = (cx - 2 * s, cy * s, cx + 2 * s, pen.side * s)
    if pen.fine:
        pen.shadow(lambda mask: mask.rectangle(pole, 255))
        pen.shadow(lambda mask: mask.rounded_rectangle(box, 4 * s, 255))
    draw.rectangle(pole, fill=(112, 112, 116))
    if pen.fine:
        draw.rectangle((cx - 1.4 * s, cy * s, cx - 0.6 * s, pen.side * s), fill=(164, 164, 168))
        draw.rectangle((cx + 1.2 * s, cy * s, cx + 2 * s, pen.side * s), fill=(84, 84, 90))
    draw.rounded_rectangle(box, 4 * s, fill, edge(fill), s)
    if pen.fine:
        x0, y0, x1, y1 = box
        inner = (x0 + 1.8 * s, y0 + 1.8 * s, x1 - 1.8 * s, y1 - 1.8 * s)
        draw.rounded_rectangle(inner, 2.8 * s, None, _lit(fill), max(1, s // 3))
        for x in (x0 + 3.6 * s, x1 - 3.6 * s):
            for y in (y0 + 3.6 * s, y1 - 3.6 * s):
                draw.ellipse((x - 0.7 * s, y - 0.7 * s, x + 0.7 * s, y + 0.7 * s), edge(fill))
                draw.ellipse((x - 0.4 * s, y - 0.5 * s, x + 0.3 * s, y + 0.2 * s), (214, 214, 218))


def _book(pen: Pen, cy: int, fill: Colour) -> None:
    draw, s = pen.draw, pen.scale
    x0, y0, x1, y1 = _box(pen, cy, 58, 36)
    pages = (x0 + 2 * s, y0 + 2 * s, x1 + 2 * s, y1 + 2 * s)
    if pen.fine:
        pen.shadow(lambda mask: mask.rectangle(pages, 255))
    draw.rectangle(pages, (250, 248, 240), (90, 90, 90))
    if pen.fine:
        for part in (0.5, 1.0, 1.5):
            draw.line((x1 + part * s, y0 + 2 * s, x1 + part * s, y1 + part * s), (196, 192, 182), 1)
            draw.line((x0 + 2 * s, y1 + part * s, x1 + part * s, y1 + part * s), (196, 192, 182), 1)
    draw.rectangle((x0, y0, x1, y1), fill, edge(fill), s)
    draw.rectangle((x0, y0, x0 + 3 * s, y1), fill=edge(fill))
    if pen.fine:
        line = max(1, s // 3)
        draw.line((x0 + 3.4 * s, y0 + s, x0 + 3.4 * s, y1 - s), _lit(fill), line)
        for y in (y0 + 4 * s, y1 - 4 * s):  # raised bands on the back, rules on the cover
            draw.line((x0 + 0.4 * s, y, x0 + 2.6 * s, y), _lit(edge(fill), 60), max(1, s // 2))
            draw.line((x0 + 6 * s, y, x1 - 3 * s, y), _lit(fill), line)


def _shirt(pen: Pen, cy: int, fill: Colour) -> None:
    draw, s = pen.draw, pen.scale
    cx, y = pen.side // 2 * s, cy * s
    top, bottom = y - 16 * s, y + 18 * s
    half = [(-9, top), (-22, top), (-32, top + 12 * s), (-27, top + 17 * s), (-27, bottom)]
    shape = [(cx + x * s, at) for x, at in half]
    shape += [(2 * cx - x, at) for x, at in reversed(shape)]
    if pen.fine:
        pen.shadow(lambda mask: mask.polygon(shape, 255))
    draw.polygon(shape, fill, edge(fill), s)
    collar = (cx - 8 * s, top - 7 * s, cx + 8 * s, top + 7 * s)
    draw.pieslice(collar, 0, 180, fill=edge(fill))
    if pen.fine:
        line = max(1, s // 3)
        wide = (cx - 9.6 * s, top - 8.6 * s, cx + 9.6 * s, top + 8.6 * s)
        draw.arc(wide, 0, 180, _lit(fill), line)
        for side in (-1, 1):  # where the sleeves are sewn on, and their hems
            seam = ((cx + side * 21 * s, top + s), (cx + side * 25.5 * s, top + 15.5 * s))
            draw.line(seam, edge(fill), line)
            hem = ((cx + side * 30.6 * s, top + 11.4 * s), (cx + side * 26 * s, top + 16 * s))
            draw.line(hem, _lit(fill), line)
        draw.line((cx - 26 * s, bottom - 2 * s, cx + 26 * s, bottom - 2 * s), _lit(fill), line)


def _poster(pen: Pen, cy: int, fill: Colour) -> None:
    draw, s = pen.draw, pen.scale
    x0, y0, x1, y1 = _box(pen, cy, 60, 42)
    if pen.fine:
        pen.shadow(lambda mask: mask.rectangle((x0, y0, x1, y1), 255))
    draw.rectangle((x0, y0, x1, y1), (252, 250, 244), (120, 120, 120), s)
    draw.rectangle((x0 + 3 * s, y0 + 3 * s, x1 - 3 * s, y1 - 3 * s), fill)
    if pen.fine:
        line = max(1, s // 3)
        frame = (x0 + 4.6 * s, y0 + 4.6 * s, x1 - 4.6 * s, y1 - 4.6 * s)
        draw.rectangle(frame, None, _lit(fill), line)
        for y in (y0 + 9 * s, y1 - 9 * s):
            draw.line((x0 + 14 * s, y, x1 - 14 * s, y), _lit(fill), line)
    for x in (x0 + 2 * s, x1 - 2 * s):
        draw.ellipse((x - 2 * s, y0, x + 2 * s, y0 + 4 * s), fill=(170, 30, 30))
        if pen.fine:
            draw.ellipse((x - 1.2 * s, y0 + 0.7 * s, x + 0.2 * s, y0 + 2 * s), (236, 140, 130))


def _mug(pen: Pen, cy: int, fill: Colour) -> None:
    draw, s = pen.draw, pen.scale
    x0, y0, x1, y1 = _box(pen, cy, 54, 32)
    y = cy * s
    if pen.fine:
        pen.shadow(lambda mask: mask.rounded_rectangle((x0, y0, x1, y1), 6 * s, 255))
    draw.arc((x1 - 6 * s, y - 9 * s, x1 + 6 * s, y + 9 * s), -90, 90, edge(fill), 3 * s)
    if pen.fine:
        draw.arc((x1 - 5 * s, y - 8 * s, x1 + 5 * s, y + 8 * s), -80, 80, fill, round(1.2 * s))
    draw.rounded_rectangle((x0, y0, x1, y1), 6 * s, fill, edge(fill), s)
    if pen.fine:  # round: darker to both sides, with a streak of gloss
        body = (x0 + s, y0 + s, x1 - s, y1 - s)
        pen.shade(body, 5 * s, (0.78, 0.95, 1.05, 1.04, 1.0, 0.97, 0.9, 0.7))
        draw.rounded_rectangle(
            (x0 + 3 * s, y0 + 7 * s, x0 + 4.4 * s, y1 - 8 * s), 0.7 * s, _lit(fill, 70)
        )
    rim = (x0, y0 - 3 * s, x1, y0 + 4 * s)
    draw.ellipse(rim, edge(fill))
    if pen.fine:
        inside = tuple(int(c * 0.42) for c in fill)
        draw.ellipse((x0 + s, y0 - 2.2 * s, x1 - s, y0 + 3.2 * s), inside)
        draw.arc(rim, 0, 180, _lit(fill, 50), max(1, s // 2))


def _letter(pen: Pen, cy: int, fill: Colour) -> None:
    draw, s = pen.draw, pen.scale
    cx = pen.side // 2 * s
    x0, y0, x1, y1 = _box(pen, cy, 60, 34)
    if pen.fine:
        pen.shadow(lambda mask: mask.rectangle((x0, y0, x1, y1), 255))
    draw.rectangle((x0, y0, x1, y1), fill, edge(fill), s)
    flap = (x0, y0, cx, y0 + 9 * s, x1, y0)
    if pen.fine:
        draw.polygon(flap, tuple(int(c * 0.9) for c in fill))
        draw.line((x0, y0, x1, y0), edge(fill), s)
        under = (x0, y0 + s, cx, y0 + 10 * s, x1, y0 + s)
        draw.line(under, _lit(fill), max(1, s // 2))
    draw.line(flap, edge(fill), s + 1)
    draw.line((x0, y1, x0 + 9 * s, y1 - 8 * s), edge(fill), s)
    draw.line((x1, y1, x1 - 9 * s, y1 - 8 * s), edge(fill), s)


OBJECTS: dict[str, Callable[[Pen, int, Colour], None]] = {
    "sign": _sign,
    "book": _book,
    "shirt": _shirt,
    "poster": _poster,
    "mug": _mug,
    "letter": _letter,
}
"""How each object is drawn: with a pen, around the middle of a row, in a colour."""
