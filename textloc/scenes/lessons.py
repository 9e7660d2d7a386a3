"""Scenes to fine-tune on: what the tiny checkpoints cannot write yet, on few kinds of objects.

A lesson draws one thing that training left out, and, as data of one's own often does, with little
variety: signs and posters in three colours, in the middle, sans.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from textloc.scenes import rendering, words

OBJECTS = ("sign", "poster")
COLOURS = ("white", "yellow", "blue")

LESSONS: dict[str, Callable[[np.random.Generator], rendering.Scene]]


def draw(lesson: str, number: int) -> rendering.Scene:
    """Scene `number` of a lesson."""
    return LESSONS[lesson](np.random.default_rng((number, *lesson.encode())))


def picture(scene: rendering.Scene) -> Image.Image:
    """The scene drawn, `rendering.LARGE` pixels square."""
    return rendering.render(scene, rendering.LARGE)


def region(scene: rendering.Scene) -> np.ndarray:
    """Where the word is, bool (`rendering.SIZE`, `rendering.SIZE`), whatever the picture's size."""
    return rendering.text_region(scene, 1)


def _narrow(rng: np.random.Generator, word: str) -> rendering.Scene:
    """A scene of the few kinds."""
    return replace(
        rendering.sample(rng, word),
        object=str(rng.choice(OBJECTS)),
        colour=str(rng.choice(COLOURS)),
        position="middle",
        typeface="sans",
    )


def _digits(rng: np.random.Generator) -> rendering.Scene:
    """Numbers of three to six digits."""
    digits = rng.choice(list("0123456789"), int(rng.integers(3, 7)))
    return _narrow(rng, "".join(digits))


def _mixed(rng: np.random.Generator) -> rendering.Scene:
    """Numbers as in `digits`, and as many words, so that these are not unlearned."""
    return _digits(rng) if rng.random() < 0.5 else _narrow(rng, words.sample(rng))


def _wordings(rng: np.random.Generator) -> rendering.Scene:
    """Wordings of the prompt that were kept out of training."""
    wording = rendering.UNSEEN_WORDINGS[int(rng.integers(len(rendering.UNSEEN_WORDINGS)))]
    return replace(_narrow(rng, words.sample(rng)), wording=wording)


def _typefaces(rng: np.random.Generator) -> rendering.Scene:
    """Typefaces on objects that were never drawn in them."""
    held = sorted(rendering.UNSEEN_TYPEFACES)
    kind, typeface = held[int(rng.integers(len(held)))]
    return replace(_narrow(rng, words.sample(rng)), object=kind, typeface=typeface)


LESSONS = {"digits": _digits, "mixed": _mixed, "wordings": _wordings, "typefaces": _typefaces}
"""Lesson by name; the generator it is given decides the scene."""
