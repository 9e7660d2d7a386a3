"""Kolors: ChatGLM3 as text encoder, SDXL's U-Net with a projection of its text and a pooled state.

Reads `diffusers.UNet2DConditionModel`, as SDXL does.
"""

from __future__ import annotations

from typing import Any

from textloc.checkpoints.families.stable_diffusion_xl import StableDiffusionXL
from textloc.runs import Sampling


class Kolors(StableDiffusionXL):
    """Kolors."""

    ENCODERS = 1
    LENGTH = 256

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer at the call's length."""
        return [(pipe.tokenizer, sampling.text_length or self.LENGTH)]
