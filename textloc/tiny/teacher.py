"""A trained tiny checkpoint that a new one of any family learns from (distillation).

Given a prompt and a noisy picture, many clean pictures are possible, and a denoiser learns their
mean. A rendered scene is one of them, drawn at random; at high noise most of the loss is what no
model can predict. A teacher gives the mean itself. The student sees the same noisy picture, in
which the teacher finds its own noise level: on the picture code directly, and on pixels through the
code, which is linear and orthonormal and so turns white noise into white noise.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from textloc.errors import CheckpointError
from textloc.tiny.codec import Codec, Pixels
from textloc.tiny.recipes import RECIPES, Recipe

LEAST = 0.5
"""Noise level of the student from which on the teacher is asked; below, the picture shows."""


class Texts:
    """A trained checkpoint's text encoders.

    Raises:
        CheckpointError: the folder is not one that `export` wrote, or of an unknown pipeline.
    """

    def __init__(self, folder: Path) -> None:
        self.recipe = _recipe(folder)
        self.codec = code_of(folder)
        found = _load(folder, self.recipe, ("text_encoder", "tokenizer"))
        self.parts = SimpleNamespace(**found)

    def tokenize(self, prompts: list[str]) -> Tensor:
        """Token IDs (N, L)."""
        return self.recipe.tokenize(vars(self.parts), prompts)

    def states(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Text states (N, L, D), and the pooled ones (N, P) where there are any."""
        with torch.no_grad():
            return self.recipe.text(self.parts, tokens)


class Teacher(Texts):
    """The same with its denoiser."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        super().__init__(folder)
        vars(self.parts).update(_load(folder, self.recipe, ("unet", "transformer", "scheduler")))
        for part in vars(self.parts).values():
            if isinstance(part, torch.nn.Module):
                part.to(device).requires_grad_(False)
        self._levels = (torch.arange(1000, device=device) + 0.5) / 1000
        signal, level, _ = self.recipe.level(vars(self.parts), self._levels)
        self._angles = torch.atan2(level, signal).contiguous()

    def predict(self, code: Tensor, noise: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        """The clean code (N, C, h, w) that it predicts where `code` is noised to level t (N,) in
        (0, 1], for tokens (N, L)."""
        signal, level, time = self.recipe.level(vars(self.parts), t)
        level = level[:, None, None, None]
        noisy = signal[:, None, None, None] * code + level * noise
        return self._clean(noisy, level, time, tokens)

    def _clean(self, noisy: Tensor, level: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        """The clean code that it predicts from a noisy one; level: (N, 1, 1, 1)."""
        states, pooled = self.states(tokens)
        with torch.no_grad():
            output = self.recipe.denoise(self.parts, noisy, time, states, pooled)
        return self.recipe.clean(output, noisy, level)

    def targets(
        self,
        code: Tensor,
        noisy: Tensor,
        signal: Tensor,
        level: Tensor,
        tokens: Tensor,
        asked: Tensor,
        spoken: Codec | Pixels,
    ) -> Tensor:
        """The code to predict: this one's mean of the clean pictures where `asked`, else `code`.

        Args:
            code: (N, C, h, w), the student's, clean. noisy: signal * code + level * noise.
            signal, level: (N,). tokens: (N, L), this one's. asked: (N,) bool. spoken: the
                student's code; if it is not pixels, it has to be this one's.
        """
        rows = asked.nonzero().squeeze(1)
        if not len(rows):
            return code
        seen, signal, level = noisy[rows], signal[rows], level[rows]
        if isinstance(spoken, Pixels):
            blank = self.codec.encode(torch.zeros_like(seen[:1]))  # where an affine code puts zero
            seen = self.codec.encode(seen) - blank + signal[:, None, None, None] * blank
            level = level * self.codec.scale
        t = self._levels[self._nearest(torch.atan2(level, signal))]
        own_signal, own_level, time = self.recipe.level(vars(self.parts), t)
        gain = torch.hypot(own_signal, own_level) / torch.hypot(signal, level)
        seen = seen * gain[:, None, None, None]
        clean = self._clean(seen, own_level[:, None, None, None], time, tokens[rows])
        if isinstance(spoken, Pixels):
            clean = self.codec.decode(clean)
        return code.index_copy(0, rows, clean)

    def _nearest(self, angles: Tensor) -> Tensor:
        after = torch.searchsorted(self._angles, angles).clamp(1, len(self._angles) - 1)
        lower = angles - self._angles[after - 1] < self._angles[after] - angles
        return after - lower.long()


def code_file(folder: Path) -> Path:
    """The file of the picture code in a folder that `export` wrote.

    Raises:
        CheckpointError: it is not there.
    """
    source = folder / "vae" / "codec.safetensors"
    if not source.exists():
        raise CheckpointError(
            f"{folder} holds no vae/codec.safetensors; --from and --teacher want the name of a "
            "shipped checkpoint or a folder that `python -m textloc.tiny export` wrote"
        )
    return source


def code_of(folder: Path) -> Codec | Pixels:
    """The picture code that the denoiser in a folder that `export` wrote speaks.

    Raises:
        CheckpointError: the folder is not one of those, or of an unknown pipeline.
    """
    if (folder / "model_index.json").is_file() and not _recipe(folder).latent:
        return Pixels()
    return Codec.load(code_file(folder))


def _recipe(folder: Path) -> Recipe:
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    known = {recipe.pipeline_class: recipe for recipe in RECIPES.values()}
    if index["_class_name"] not in known:
        raise CheckpointError(f"{folder} is a {index['_class_name']}, of which there is no recipe")
    return known[index["_class_name"]]


def _load(folder: Path, recipe: Recipe, beginnings: tuple[str, ...]) -> dict[str, Any]:
    """The parts whose names begin so, in float32."""
    found: dict[str, Any] = {}
    for name, part in recipe.components(0).items():
        if name.startswith(beginnings):
            cls: Any = type(part)
            network = isinstance(part, torch.nn.Module)  # the only ones that have a dtype
            found[name] = cls.from_pretrained(
                folder / name, **({"torch_dtype": torch.float32} if network else {})
            )
    return found
