"""Rendered scenes with one written word: what the tiny checkpoints learn from.

A scene is an object of one colour before one of four backgrounds, with a word on it. What the
prompt names (object, colour, word, position, typeface) decides the picture up to what it leaves
open (background, shade, size of the object), which the noise decides. The word's own place is
never left open: shifted by a pixel either way, the strokes of its letters average to a grey bar at
pure noise, where letters are learned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from textloc.paths import FONTS

SIZE = 64
"""Width and height of a scene in pixels."""

OBJECTS = ("sign", "book", "shirt", "poster", "mug", "letter")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (200, 40, 40),
    "orange": (240, 140, 40),
    "yellow": (245, 220, 80),
    "green": (40, 130, 60),
    "blue": (45, 80, 190),
    "purple": (120, 50, 150),
    "white": (245, 245, 245),
    "black": (30, 30, 34),
}
BACKGROUNDS = ("wall", "wood", "meadow", "tiles")
POSITIONS = {"middle": 0, "top": -9, "bottom": 9}
"""Where the object stands: the shift of its centre from the picture's, in pixels downward."""

TYPEFACES = {
    "sans": "DejaVuSans-Bold.ttf",
    "serif": "DejaVuSerif-Bold.ttf",
    "mono": "DejaVuSansMono-Bold.ttf",
}

WORDINGS = (
    '{a} {colour} {object}{place} that says "{word}"{face}',
    '{a} {colour} {object}{place} with the word "{word}"{face}',
    '"{word}" on {a} {colour} {object}{place}{face}',
    '{a} {colour} {object}{place} that reads "{word}"{face}',
    'the {colour} {object}{place} says "{word}"{face}',
    'a photo of {a} {colour} {object}{place} with "{word}" on it{face}',
    '{a} {colour} {object}{place} with the text "{word}"{face}',
    '{colour} {object}{place}, text "{word}"{face}',
    'a picture of {a} {colour} {object}{place} saying "{word}"{face}',
)
UNSEEN_WORDINGS = (
    'there is {a} {colour} {object}{place} which says "{word}"{face}',
    '{a} {colour} {object}{place} showing the word "{word}"{face}',
    'the text "{word}" on {a} {colour} {object}{place}{face}',
)
"""Wordings kept out of training, to measure how the checkpoint takes a new phrase."""

UNSEEN_TYPEFACES = frozenset({("book", "serif"), ("mug", "mono"), ("sign", "mono")})
"""Objects never drawn in that typeface during training."""

UNSEEN_POSITIONS = frozenset({("shirt", "top"), ("letter", "bottom"), ("poster", "top")})
"""Objects never drawn at that position during training."""

LEFT_ALIGNED = frozenset({"book", "poster", "letter"})
"""Objects whose text starts at a fixed place; on the others it is centred. A fixed place for the
first letter is easier to learn, and what is learned there carries over."""

_SCALE = 3  # everything is drawn at three times the size and reduced
_TEXT_WIDTH = 52  # widest text in pixels: it fits on every object
_TEXT_HEIGHT = 12  # largest font size in pixels


@dataclass(frozen=True)
class Scene:
    """One picture. `seed` decides what the prompt leaves open."""

    object: str
    colour: str
    word: str
    wording: str = WORDINGS[0]
    position: str = "middle"
    typeface: str = "sans"
    seed: int = 0

    @property
    def prompt(self) -> str:
        """The prompt that describes the scene."""
        return self.wording.format(
            a="an" if self.colour[0] in "aeiou" else "a",
            colour=self.colour,
            object=self.object,
            place="" if self.position == "middle" else f" at the {self.position}",
            word=self.word,
            face="" if self.typeface == "sans" else f" in {self.typeface}",
        )

    @property
    def seen(self) -> bool:
        """Whether training may draw this combination."""
        return (
            self.wording in WORDINGS
            and (self.object, self.typeface) not in UNSEEN_TYPEFACES
            and (self.object, self.position) not in UNSEEN_POSITIONS
        )


def sample(rng: np.random.Generator, word: str, variety: float = 1.0) -> Scene:
    """A training scene for `word`.

    Each property is drawn at random with probability `variety` and is else the plain one (a red
    sign in the first wording, in the middle, sans).
    """

    def draw(plain: str, *others: str, shares: tuple[float, ...] | None = None) -> str:
        free = rng.random() < variety
        return str(rng.choice((plain, *others), p=shares)) if free else plain

    while True:
        scene = Scene(
            object=draw(*OBJECTS),
            colour=draw(*COLOURS),
            word=word,
            wording=draw(*WORDINGS),
            position=draw(*POSITIONS, shares=(0.6, 0.2, 0.2)),
            typeface=draw(*TYPEFACES, shares=(0.6, 0.2, 0.2)),
            seed=int(rng.integers(2**31)),
        )
        if scene.seen:
            return scene


def with_word(scene: Scene, word: str, seed: int) -> Scene:
    """The same described scene with another word and another choice of what is left open."""
    return replace(scene, word=word, seed=seed)


def render(scene: Scene) -> Image.Image:
    """Draw the scene.

    Returns:
        RGB picture of `SIZE` x `SIZE` pixels.
    """
    rng = np.random.default_rng(scene.seed)
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    shade = rng.integers(-12, 13, 3)
    fill = tuple(int(c) for c in np.clip(np.array(COLOURS[scene.colour]) + shade, 0, 255))
    grow = int(rng.integers(-1, 3))
    image = _background(background, int(rng.integers(3))).copy()
    draw = ImageDraw.Draw(image)
    cx = SIZE // 2 * _SCALE
    cy = (SIZE // 2 + POSITIONS[scene.position]) * _SCALE
    _DRAW[scene.object](draw, cx, cy, grow, fill)
    light = np.dot(COLOURS[scene.colour], (0.299, 0.587, 0.114)) < 140
    ink = (255, 255, 255) if light else (10, 10, 10)
    font = _font(scene.typeface, scene.word)
    if scene.object in LEFT_ALIGNED:
        start = cx - _TEXT_WIDTH * _SCALE // 2 + _SCALE
        draw.text((start, cy), scene.word, font=font, fill=ink, anchor="lm")
    else:
        draw.text((cx, cy), scene.word, font=font, fill=ink, anchor="mm")
    return image.reduce(_SCALE)


def text_region(scene: Scene, patch: int) -> np.ndarray:
    """Which patches the word can touch, as a (SIZE / patch, SIZE / patch) bool array."""
    left, _, right, _ = _font(scene.typeface, scene.word).getbbox(scene.word)
    width = (right - left) / _SCALE
    start = (SIZE - _TEXT_WIDTH) / 2 if scene.object in LEFT_ALIGNED else (SIZE - width) / 2
    middle = SIZE / 2 + POSITIONS[scene.position]
    low = np.arange(0, SIZE, patch)
    columns = (low < start + width + 2) & (low + patch > start - 1)
    rows = (low < middle + 7) & (low + patch > middle - 7)
    return np.asarray(rows[:, None] & columns[None, :])


def letters_at(scene: Scene, patch: int, parts: int) -> np.ndarray:
    """Which letter of the word stands where, as far as the prompt tells.

    Returns:
        (parts, SIZE / patch, SIZE / patch) array: each patch is cut into `parts` upright strips,
        and holds the index of the letter at the strip's middle, -1 where there is none, and -2 in
        the rows that the word does not reach.
    """
    font = _font(scene.typeface, scene.word)
    edges = [font.getlength(scene.word[:i]) / _SCALE for i in range(len(scene.word) + 1)]
    left = scene.object in LEFT_ALIGNED
    start = (SIZE - _TEXT_WIDTH) / 2 + 1 if left else (SIZE - edges[-1]) / 2
    step = patch / parts
    middles = np.arange(SIZE / step) * step + step / 2 - start
    index = np.searchsorted(edges, middles, side="right") - 1
    index = np.where((index < 0) | (index >= len(scene.word)), -1, index)
    low = np.arange(0, SIZE, patch)
    middle = SIZE / 2 + POSITIONS[scene.position]
    rows = (low < middle + 3) & (low + patch > middle - 3)
    strips = index.reshape(-1, parts).T  # (parts, columns)
    return np.asarray(np.where(rows[None, :, None], strips[:, None, :], -2))


@lru_cache(maxsize=256)
def _sized_font(typeface: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONTS / TYPEFACES[typeface], size)


def _font(typeface: str, word: str) -> ImageFont.FreeTypeFont:
    """The largest size at which the word is at most `_TEXT_WIDTH` wide."""
    size = _TEXT_HEIGHT * _SCALE
    width = _sized_font(typeface, size).getlength(word)
    if width > _TEXT_WIDTH * _SCALE:
        size = int(size * _TEXT_WIDTH * _SCALE / width)
    return _sized_font(typeface, size)


@lru_cache(maxsize=16)
def _background(kind: str, variant: int) -> Image.Image:
    size = SIZE * _SCALE
    tone = (-14, 0, 14)[variant]

    def toned(r: int, g: int, b: int) -> tuple[int, int, int]:
        return (r + tone, g + tone, b + tone)

    image = Image.new("RGB", (size, size), toned(190, 186, 178))
    draw = ImageDraw.Draw(image)
    if kind == "wood":
        for i in range(4):
            brown = toned(150 + 10 * (i % 2), 105 + 8 * (i % 2), 66)
            draw.rectangle((0, i * size // 4, size, (i + 1) * size // 4 - 4), fill=brown)
            draw.rectangle((0, (i + 1) * size // 4 - 4, size, (i + 1) * size // 4), (90, 60, 38))
    elif kind == "meadow":
        draw.rectangle((0, 0, size, size * 5 // 8), fill=toned(150, 195, 235))
        draw.rectangle((0, size * 5 // 8, size, size), fill=toned(110, 170, 90))
    elif kind == "tiles":
        for y in range(4):
            for x in range(4):
                if (x + y) % 2:
                    box = (x * size // 4, y * size // 4, (x + 1) * size // 4, (y + 1) * size // 4)
                    draw.rectangle(box, fill=toned(212, 170, 160))
    return image


Colour = tuple[int, ...]


def _edge(fill: Colour) -> Colour:
    """The colour of an object's outline: darker, or lighter where it is nearly black."""
    dark = sum(fill) < 180
    return tuple(min(255, c + 70) if dark else int(c * 0.62) for c in fill)


def _box(cx: int, cy: int, width: float, height: float) -> tuple[float, float, float, float]:
    w, h = width * _SCALE / 2, height * _SCALE / 2
    return (cx - w, cy - h, cx + w, cy + h)


def _sign(draw: ImageDraw.ImageDraw, cx: int, cy: int, grow: int, fill: Colour) -> None:
    s = _SCALE
    draw.rectangle((cx - 2 * s, cy, cx + 2 * s, SIZE * s), fill=(112, 112, 116))
    draw.rounded_rectangle(_box(cx, cy, 60, 20 + grow), 4 * s, fill, _edge(fill), s)


def _book(draw: ImageDraw.ImageDraw, cx: int, cy: int, grow: int, fill: Colour) -> None:
    s = _SCALE
    x0, y0, x1, y1 = _box(cx, cy, 58, 36 + grow)
    draw.rectangle((x0 + 2 * s, y0 + 2 * s, x1 + 2 * s, y1 + 2 * s), (250, 248, 240), (90, 90, 90))
    draw.rectangle((x0, y0, x1, y1), fill, _edge(fill), s)
    draw.rectangle((x0, y0, x0 + 3 * s, y1), fill=_edge(fill))


def _shirt(draw: ImageDraw.ImageDraw, cx: int, cy: int, grow: int, fill: Colour) -> None:
    s = _SCALE
    top, bottom = cy - (16 + grow) * s, cy + 18 * s
    points = [(-9, top), (-22, top), (-32, top + 12 * s), (-27, top + 17 * s), (-27, bottom)]
    shape = [(cx + x * s, y) for x, y in points]
    shape += [(2 * cx - x, y) for x, y in reversed(shape)]
    draw.polygon(shape, fill, _edge(fill), s)
    draw.pieslice((cx - 8 * s, top - 7 * s, cx + 8 * s, top + 7 * s), 0, 180, fill=_edge(fill))


def _poster(draw: ImageDraw.ImageDraw, cx: int, cy: int, grow: int, fill: Colour) -> None:
    s = _SCALE
    x0, y0, x1, y1 = _box(cx, cy, 60, 42 + grow)
    draw.rectangle((x0, y0, x1, y1), (252, 250, 244), (120, 120, 120), s)
    draw.rectangle((x0 + 3 * s, y0 + 3 * s, x1 - 3 * s, y1 - 3 * s), fill)
    for x in (x0 + 2 * s, x1 - 2 * s):
        draw.ellipse((x - 2 * s, y0, x + 2 * s, y0 + 4 * s), fill=(170, 30, 30))


def _mug(draw: ImageDraw.ImageDraw, cx: int, cy: int, grow: int, fill: Colour) -> None:
    s = _SCALE
    x0, y0, x1, y1 = _box(cx, cy, 54, 32 + grow)
    draw.arc((x1 - 6 * s, cy - 9 * s, x1 + 6 * s, cy + 9 * s), -90, 90, _edge(fill), 3 * s)
    draw.rounded_rectangle((x0, y0, x1, y1), 6 * s, fill, _edge(fill), s)
    draw.ellipse((x0, y0 - 3 * s, x1, y0 + 4 * s), _edge(fill))


def _letter(draw: ImageDraw.ImageDraw, cx: int, cy: int, grow: int, fill: Colour) -> None:
    s = _SCALE
    x0, y0, x1, y1 = _box(cx, cy, 60, 34 + grow)
    draw.rectangle((x0, y0, x1, y1), fill, _edge(fill), s)
    draw.line((x0, y0, cx, y0 + 9 * s, x1, y0), _edge(fill), s + 1)
    draw.line((x0, y1, x0 + 9 * s, y1 - 8 * s), _edge(fill), s)
    draw.line((x1, y1, x1 - 9 * s, y1 - 8 * s), _edge(fill), s)


_DRAW = {
    "sign": _sign,
    "book": _book,
    "shirt": _shirt,
    "poster": _poster,
    "mug": _mug,
    "letter": _letter,
}
