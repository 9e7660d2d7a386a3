"""How well a checkpoint spells: words it never saw, read by OCR."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from textloc.checkpoints.loading import Model, load
from textloc.errors import PromptError
from textloc.patching.generation import generate
from textloc.paths import WORDS
from textloc.prompts import quoted_spans
from textloc.reading import metrics, ocr
from textloc.runs import Run
from textloc.scenes import rendering
from textloc.scenes import wording as grammar
from textloc.tiny import judge

_HELD: dict[str, tuple[str, ...]] = {
    "name": ("names",),
    "filler": ("first", "last", "before"),
    "saying": ("says",),
    "order": ("said",),
}
"""Kinds of `wording.HELD` that a condition asks for; of several, one after the other."""

CONDITIONS = ("plain", "free", "wording", *_HELD, "typeface", "position", "natural")
"""`plain` and `free` prompts are of the kinds seen in training, in few wordings and in free ones;
the others hold one thing back that was not: a wording, a name of the object, a filler, a way to
say what is written, the word first, or an object in a typeface or at a position it was never drawn
in. `natural` prompts are those of `NATURAL`, with words of their own."""

NATURAL = WORDS / "natural.tsv"
"""Prompts of somebody who did not know how the checkpoints were trained, each with the object that
it asks for and one of `rendering.COLOURS`, or - for none of these."""

_CALLED = {"free": "free wording", "natural": "natural prompts"}


@dataclass(frozen=True)
class Spelled:
    """One picture: what was asked, what was read, what the judge saw."""

    scene: rendering.Scene
    read: str
    verdict: judge.Verdict

    @property
    def exact(self) -> float:
        """1 where the word is read exactly, case folded."""
        return float(metrics.exact_match(self.read, self.scene.word))

    @property
    def characters(self) -> float:
        """1 - normalised Levenshtein distance, 0 to 1."""
        word, read = metrics.fold(self.scene.word), metrics.fold(self.read)
        return 1 - metrics.levenshtein_normalised(read, word)

    @property
    def scene_right(self) -> float:
        """1 where the object is the one asked for, and the colour where it is one of
        `rendering.COLOURS`."""
        colour = self.scene.colour
        if colour in rendering.COLOURS and self.verdict.colour != colour:
            return 0.0
        return float(self.verdict.object == self.scene.object)


def ask(words: Sequence[str], condition: str, seed: int = 0) -> list[rendering.Scene]:
    """One scene a word; objects and colours go round, the rest is drawn at random."""
    if condition == "natural":
        return natural()
    rng = np.random.default_rng((seed, CONDITIONS.index(condition)))
    asked = []
    for number, word in enumerate(words):
        scene = replace(
            rendering.sample(rng, word),
            colour=list(rendering.COLOURS)[number % len(rendering.COLOURS)],
            position="middle",
            typeface="sans",
            object=rendering.OBJECTS[number % len(rendering.OBJECTS)],
        )
        if condition == "wording":
            wordings = rendering.UNSEEN_WORDINGS
            scene = replace(scene, wording=wordings[number % len(wordings)])
        elif condition == "free":
            scene = replace(scene, wording=grammar.wording(rng, scene, named=True))
        elif condition in _HELD:
            kinds = _HELD[condition]
            held = (kinds[number % len(kinds)],)
            scene = replace(scene, wording=grammar.wording(rng, scene, held))
        elif condition == "typeface":
            kind, face = sorted(rendering.UNSEEN_TYPEFACES)[
                number % len(rendering.UNSEEN_TYPEFACES)
            ]
            scene = replace(scene, object=kind, typeface=face)
        elif condition == "position":
            kind, place = sorted(rendering.UNSEEN_POSITIONS)[
                number % len(rendering.UNSEEN_POSITIONS)
            ]
            scene = replace(scene, object=kind, position=place)
        asked.append(scene)
    return asked


def natural(file: Path = NATURAL) -> list[rendering.Scene]:
    """The scenes that natural prompts ask for."""
    scenes = []
    for row in file.read_text(encoding="utf-8").splitlines():
        if row and not row.startswith("#"):
            prompt, thing, colour = row.split("\t")
            ((start, stop),) = quoted_spans(prompt)
            wording = f"{prompt[:start]}{{word}}{prompt[stop:]}"
            scenes.append(rendering.Scene(thing, colour, prompt[start:stop], wording))
    return scenes


def spell(
    model: Model,
    asked: Sequence[rendering.Scene],
    engine: str = "auto",
    on_image: Callable[[int], None] | None = None,
) -> tuple[list[Spelled], list[Image.Image]]:
    """Generate and read every scene; the seed of picture i is i."""
    runs = [Run(scene.prompt, number) for number, scene in enumerate(asked)]
    images: dict[Run, Image.Image] = {}
    for chunk in generate(model, runs, model.defaults):
        images.update(chunk.images)
        if on_image is not None:
            on_image(len(images))
    pictures = [images[run] for run in runs]
    readings = ocr.read(pictures, engine)
    seen = judge.verdicts(judge.load(), pictures)
    return [
        Spelled(scene, reading.text, verdict)
        for scene, reading, verdict in zip(asked, readings, seen, strict=True)
    ], pictures


def line(name: str, values: Sequence[float]) -> str:
    """`name 0.83 [0.76, 0.89]`: mean with a 95 % interval (Wilson for shares of 0 and 1)."""
    mean = float(np.mean(values))
    if set(values) <= {0.0, 1.0}:
        ends: tuple[float | None, ...] = metrics.wilson_interval(int(sum(values)), len(values))
    else:
        ends = metrics.bootstrap_interval(values)[1:]
    low, high = (mean if end is None else end for end in ends)
    return f"{name} {mean:.2f} [{low:.2f}, {high:.2f}]"


def report(
    checkpoint: str | Path,
    words: Sequence[str],
    *,
    conditions: Sequence[str] = ("plain",),
    engine: str = "auto",
    grid: Path | None = None,
    on_image: Callable[[int], None] | None = None,
) -> list[str]:
    """Lines of the report; the last two are character accuracy and exact match of the plain words.

    Words that the checkpoint cannot spell (length, letters) are left out and counted.

    Raises:
        PromptError: no word is left. CheckpointError, OCRError.
    """
    model = load(checkpoint)
    usable = list(words)
    if model.spelling is not None:
        spelling = model.spelling
        usable = [
            word
            for word in words
            if spelling.least <= len(word) <= spelling.most
            and set(word.upper()) <= set(spelling.letters)
        ]
    if not usable:
        raise PromptError(f"{model.name} can spell none of these {len(words)} words")
    lines = [f"{len(usable)} words, {len(words) - len(usable)} left out"]
    last: list[str] = []
    for condition in sorted(conditions, key=CONDITIONS.index, reverse=True):
        asked = ask(usable, condition)
        readable = [scene for scene in asked if _is_read(model, scene.prompt)]
        kind = _CALLED.get(condition, f"unseen {condition}")
        if left := len(asked) - len(readable):
            lines.append(f"{kind}: {left} of {len(asked)} prompts have too many tokens, left out")
        if not readable:
            continue
        spelled, pictures = spell(model, readable, engine, on_image)
        wrong = [f"{s.scene.word}:{s.read or '-'}" for s in spelled if not s.exact]
        scores = [
            line("scene and colour right", [s.scene_right for s in spelled]),
            line("character accuracy", [s.characters for s in spelled]),
            line("exact match", [s.exact for s in spelled]),
        ]
        if condition == "plain":
            if grid is not None:
                sheet(pictures).save(grid)
            lines.append("misread " + (" ".join(wrong) or "none"))
            for length in sorted({len(s.scene.word) for s in spelled}):
                of_length = [s.exact for s in spelled if len(s.scene.word) == length]
                lines.append(line(f"exact match of {length} letters ({len(of_length)})", of_length))
            last = scores
        else:
            lines += [f"{kind}: {score}" for score in scores]
    return lines + last


def _is_read(model: Model, prompt: str) -> bool:
    """Whether a checkpoint reads the whole of a prompt."""
    try:
        model.check_length(prompt, model.defaults)
    except PromptError:
        return False
    return True


def sheet(pictures: Sequence[Image.Image], columns: int = 12, zoom: int = 2) -> Image.Image:
    """All pictures in rows, enlarged."""
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * (width + 2), rows * (height + 2)))
    for i, picture in enumerate(pictures):
        page.paste(picture, (i % columns * (width + 2), i // columns * (height + 2)))
    return page.resize((page.width * zoom, page.height * zoom), Image.Resampling.NEAREST)
