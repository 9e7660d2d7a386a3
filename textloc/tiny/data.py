"""What the tiny denoisers are trained on: batches of rendered scenes, and the curriculum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textloc.scenes import rendering, wording, words
from textloc.tiny import coupling
from textloc.tiny.codec import PATCH, Codec, Pixels, to_tensor
from textloc.tiny.recipes import RECIPES

PLACES = 1 + max(words.LENGTHS)
"""Classes of a token: outside of the quotation marks, or the letter's number from 1."""

STRIPS = 2
"""Letters are told apart in upright strips, so many to a patch."""

OBJECTS = rendering.OBJECTS
COLOURS = (*rendering.COLOURS, *rendering.SHADES)
"""Classes of what a prompt names."""

BLANK = 26
"""Class of a strip without a letter; the others are those of A to Z."""

HIDDEN_POOLED = 0.7
"""Share of samples without a pooled state, so that cross-attention learns the scene as well:
attention that has found the words of the scene finds the letters sooner."""

FREE = 0.75
"""Share of pairs in free wording (`scenes.wording`), when training has come to all scenes; the
others are in one of the few of `rendering.WORDINGS`."""

ANY_COLOUR = 0.4
"""Share of the former in any colour."""

UNCONDITIONAL = 0.1
"""Share of samples trained on what an unset negative prompt gives: zero states or an empty text."""

TEXT_WEIGHT = 8.0
"""Weight in the loss of the patches that the word touches; the others weigh 1."""


@dataclass(frozen=True)
class Stage:
    """What a step draws.

    longest: letters of the longest word. variety: of scenes (`rendering.sample`). high: share of
    samples at nearly pure noise. middle: share in the upper noise range; the rest is uniform.
    """

    longest: int
    variety: float
    high: float
    middle: float


GROWN = 2400
"""The step from which on `stage` does not change; a warm start begins there, unless
`Settings.grown` says otherwise."""


def stage(step: int) -> Stage:
    """The curriculum: from one plain scene with two letters to all scenes and words."""

    def ramp(first: int, last: int) -> float:
        return min(1.0, max(0.0, (step - first) / (last - first)))

    return Stage(
        longest=min(max(words.LENGTHS), 2 + step // 200),
        variety=ramp(200, 2200),
        high=1 - 0.65 * ramp(600, 2400),
        middle=0.35 * ramp(600, 2400),
    )


@dataclass(frozen=True)
class Settings:
    """What the weights depend on. Two runs with equal settings and steps give equal weights.

    seed: of weights, data and noise. batch: pictures a step. lr: peak AdamW rate. warmup: steps of
    linear warm-up. ema: decay of the averaged weights, which are the ones that ship. grown: step at
    which the curriculum ends.
    """

    family: str = "sdxl"
    seed: int = 0
    batch: int = 32
    lr: float = 1e-3
    warmup: int = 100
    ema: float = 0.998
    grown: int = GROWN


class Batches(torch.utils.data.IterableDataset[dict[str, Tensor]]):
    """Batch number `step` depends on (seed, step) alone, so a resumed run sees the same data, and
    any number of workers, which take turns, give the same."""

    def __init__(
        self,
        settings: Settings,
        codec: Codec | Pixels,
        parts: dict[str, Any],
        first: int,
        taught: Callable[[list[str]], Tensor] | None = None,
    ) -> None:
        self.settings, self.codec, self.first = settings, codec, first
        self.taught = taught  # a teacher's tokenizer
        self.recipe = RECIPES[settings.family]
        self.tokenizers = {k: v for k, v in parts.items() if k.startswith("tokenizer")}

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        step, stride = (
            (self.first, 1) if worker is None else (self.first + worker.id, worker.num_workers)
        )
        while True:
            yield self.batch(step)
            step += stride

    def prompts(self, step: int) -> list[str]:
        """Prompts of a fully grown batch."""
        rng = np.random.default_rng((self.settings.seed, GROWN + step))
        return [scene.prompt for scene in self._scenes(rng, stage(GROWN))]

    def _scenes(self, rng: np.random.Generator, now: Stage) -> list[rendering.Scene]:
        """Pairs of scenes that differ in the word."""
        drawn: list[rendering.Scene] = []
        while len(drawn) < self.settings.batch:
            scene = rendering.sample(rng, words.sample(rng, now.longest), now.variety)
            if rng.random() < FREE * now.variety:
                if rng.random() < ANY_COLOUR:
                    scene = replace(scene, colour=wording.colour(rng))
                scene = replace(scene, wording=wording.wording(rng, scene))
            twin = rendering.with_word(
                scene, words.sample(rng, now.longest), int(rng.integers(2**31))
            )
            drawn += [scene, twin]
        return drawn

    def batch(self, step: int) -> dict[str, Tensor]:
        """code (N, C, h, w), tokens (N, L), t (N,) in (0, 1], drop and hide (N,) bool,
        weight (N, 8, 8), open (N, K), parts of the noise that tell what the prompt leaves open
        (`coupling.told`), labels of the auxiliary heads, and where there is a teacher taught
        (N, M), its tokens of the plainest prompt of the scene, and told (N,) bool, whether the
        prompt says all that this one does."""
        rng = np.random.default_rng((self.settings.seed, step))
        now = stage(step * GROWN // self.settings.grown)
        drawn = self._scenes(rng, now)
        pictures = torch.stack([to_tensor(rendering.render(s)) for s in drawn])
        kind, u = rng.random(len(drawn)), rng.random(len(drawn))
        high, middle = now.high, now.high + now.middle
        t = np.where(kind < high, 0.94 + 0.06 * u, np.where(kind < middle, 0.6 + 0.4 * u, u))
        text_region = [rendering.text_region(s, PATCH) for s in drawn]
        region = torch.from_numpy(np.stack(text_region))
        drop = rng.random(len(drawn)) < UNCONDITIONAL
        prompts = [s.prompt for s in drawn]
        if self.recipe.empty:
            prompts = ["" if d else prompt for prompt, d in zip(prompts, drop, strict=True)]
        tokens = self.recipe.tokenize(self.tokenizers, prompts)
        more = {}
        if self.taught is not None:
            plain = [replace(s, wording=rendering.WORDINGS[0]).prompt for s in drawn]
            more["taught"] = self.taught(plain)
            more["told"] = torch.tensor([wording.names_all(s) for s in drawn])
        left = coupling.told(drawn, rng)
        left[(t < coupling.SURE) & (rng.random(len(drawn)) > coupling.BELOW)] = torch.nan
        return more | {
            "open": left,
            "code": self.codec.encode(pictures),
            "tokens": tokens,
            "t": torch.from_numpy(t).float(),
            "drop": torch.from_numpy(drop),
            "hide": torch.from_numpy(rng.random(len(drawn)) < HIDDEN_POOLED),
            "weight": 1 + (TEXT_WEIGHT - 1) * region.float(),
            "places": self.recipe.places(self.tokenizers, tokens),
            "letters": torch.from_numpy(np.stack([_letters(s) for s in drawn])),
            "named": torch.tensor([_named(s) for s in drawn]),
        }


def _named(scene: rendering.Scene) -> tuple[int, int]:
    """The numbers of the object and the colour that the prompt names, -100 for none."""
    return (
        OBJECTS.index(scene.object) if wording.names_object(scene) else -100,
        COLOURS.index(scene.colour) if wording.names_colour(scene) else -100,
    )


def _letters(scene: rendering.Scene) -> np.ndarray:
    """The letter class of every strip, (strips, h, w): 0 to 25, blank, or -100 where not judged."""
    index = rendering.letters_at(scene, PATCH, STRIPS)
    classes = np.array([ord(c) - ord("A") for c in scene.word] + [-100, BLANK])  # -2, -1 wrap
    return np.asarray(classes[index])
