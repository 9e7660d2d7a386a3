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
from PIL import Image, ImageFont

from textloc.paths import FONTS
from textloc.scenes import drawing

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
SHADES: dict[str, tuple[int, int, int]] = {
    "pink": (240, 150, 180),
    "hot pink": (230, 70, 150),
    "brown": (120, 78, 48),
    "grey": (130, 130, 134),
    "gray": (130, 130, 134),
    "light grey": (196, 196, 200),
    "dark grey": (78, 78, 84),
    "light blue": (140, 185, 230),
    "sky blue": (120, 185, 235),
    "dark blue": (28, 44, 120),
    "navy": (26, 36, 88),
    "navy blue": (26, 36, 88),
    "cyan": (60, 190, 210),
    "turquoise": (60, 190, 180),
    "teal": (20, 120, 125),
    "light green": (150, 210, 130),
    "dark green": (24, 80, 42),
    "lime": (160, 210, 60),
    "lime green": (160, 210, 60),
    "olive": (120, 125, 50),
    "mint": (160, 225, 190),
    "emerald": (20, 150, 100),
    "dark red": (135, 22, 28),
    "maroon": (120, 28, 40),
    "crimson": (190, 24, 60),
    "scarlet": (220, 45, 30),
    "burgundy": (110, 24, 48),
    "violet": (140, 80, 190),
    "lavender": (190, 170, 225),
    "lilac": (195, 160, 215),
    "magenta": (205, 50, 160),
    "indigo": (70, 50, 150),
    "gold": (225, 180, 60),
    "golden": (225, 180, 60),
    "silver": (188, 190, 196),
    "beige": (225, 210, 180),
    "cream": (250, 240, 208),
    "ivory": (248, 244, 226),
    "tan": (205, 170, 125),
    "khaki": (185, 172, 120),
    "peach": (250, 195, 160),
    "coral": (245, 125, 100),
    "mustard": (205, 165, 45),
    "amber": (245, 175, 40),
    "charcoal": (56, 58, 62),
    "bright red": (228, 34, 34),
    "bright yellow": (252, 230, 50),
    "pale yellow": (250, 240, 165),
    "wooden": (158, 110, 66),
    "metal": (160, 164, 170),
    "steel": (150, 156, 164),
    "stone": (150, 148, 142),
    "cardboard": (192, 150, 106),
    "leather": (118, 70, 42),
    "paper": (244, 240, 228),
    "brass": (190, 150, 70),
}
"""More colours, and materials by their colour."""

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

LARGE = 256
"""Width and height of the picture that a decoder draws of a scene."""

_TEXT_WIDTH = 52  # widest text in pixels of `SIZE`: it fits on every object
_TEXT_HEIGHT = 12  # largest font size in the same pixels
_SCALE = 3  # dots a pixel in which text is measured


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


@dataclass(frozen=True)
class Left:
    """What no prompt says, all equally likely.

    background: index of `BACKGROUNDS`. shade: -12 to 12, added to the colour's red, green and blue.
    variant: 0 to 2, the background's tone.
    """

    background: int
    shade: tuple[int, int, int]
    variant: int


def left_open(seed: int) -> Left:
    """What a scene's seed decides."""
    rng = np.random.default_rng(seed)
    background = int(rng.integers(len(BACKGROUNDS)))
    red, green, blue = rng.integers(-12, 13, 3).tolist()
    return Left(background, (red, green, blue), int(rng.integers(3)))


def render(scene: Scene, size: int = SIZE) -> Image.Image:
    """Draw the scene.

    Args:
        size: `SIZE`, or a multiple of it. A larger picture shows the same scene with the small
            things for which it has room: screws, seams, grain, shadows, gloss.

    Returns:
        RGB picture of `size` x `size` pixels.
    """
    times = size // SIZE
    reduced = 3 if times == 1 else 2  # everything is drawn so much larger, and reduced
    left = left_open(scene.seed)
    named = np.array((COLOURS | SHADES)[scene.colour])
    fill = tuple(int(c) for c in np.clip(named + left.shade, 0, 255))
    background = BACKGROUNDS[left.background]
    pen = drawing.Pen.on(background, left.variant, SIZE, times * reduced, fine=times > 1)
    drawing.OBJECTS[scene.object](pen, SIZE // 2 + POSITIONS[scene.position], fill)
    dark = np.dot(named, (0.299, 0.587, 0.114)) < 140
    ink = (255, 255, 255) if dark else (10, 10, 10)
    font = _font(scene.typeface, scene.word, pen.scale)
    x, y = SIZE // 2 * pen.scale, (SIZE // 2 + POSITIONS[scene.position]) * pen.scale
    anchor = "mm"
    if scene.object in LEFT_ALIGNED:
        x, anchor = x - _TEXT_WIDTH * pen.scale // 2 + pen.scale, "lm"
    pen.draw.text((x, y), scene.word, font=font, fill=ink, anchor=anchor)
    return pen.image.reduce(reduced)


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


def _font(typeface: str, word: str, scale: int = _SCALE) -> ImageFont.FreeTypeFont:
    """The largest size at which the word is at most `_TEXT_WIDTH` wide, at `scale` dots a pixel."""
    size = _TEXT_HEIGHT * scale
    width = _sized_font(typeface, size).getlength(word)
    if width > _TEXT_WIDTH * scale:
        size = int(size * _TEXT_WIDTH * scale / width)
    return _sized_font(typeface, size)
