"""LDM (`ldm-text2im`): a BERT-like text encoder, a U-Net; the pipeline knows no negative prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from textloc.checkpoints.families import common
from textloc.checkpoints.families.unet import UNet
from textloc.runs import Sampling


class LatentDiffusion(UNet):
    """LDM."""

    LENGTH = 77  # the pipeline's own

    def prepare(self, pipe: Any) -> dict[str, str | None]:
        """Nothing to switch off."""
        return {"safety_checker": None, "watermark": None}

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer at the pipeline's length."""
        return [(pipe.tokenizer, self.LENGTH)]

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """Latents of the autoencoder."""
        code = common.coded(pipe.vqvae, common.pixels(pipe, pictures))
        return code * pipe.vqvae.config.scaling_factor
