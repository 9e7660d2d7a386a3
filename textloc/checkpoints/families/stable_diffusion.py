"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textloc.checkpoints.families import common
from textloc.checkpoints.families.unet import UNet
from textloc.runs import Run, Sampling


class StableDiffusion(UNet):
    """Stable Diffusion 1.x and 2.x."""

    def prepare(self, pipe: Any) -> dict[str, str | None]:
        """Switch the safety checker off: it would replace pictures by black ones."""
        common.decode_one_by_one(pipe)
        return common.without_checker(pipe)

    def negative(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """None where all leave it unset."""
        return common.negative_prompts(runs)

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer at its length."""
        return [(pipe.tokenizer, int(pipe.tokenizer.model_max_length))]
