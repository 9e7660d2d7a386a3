"""tiny-ldm: `StableDiffusionPipeline`, one CLIP encoder.

The encoder is as wide as both of tiny-sdxl's together, so that a U-Net started from tiny-sdxl's
weights takes its keys and values over as well.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from textloc.tiny.recipes import components as make
from textloc.tiny.recipes.base import CALL, SamplePrediction, between, padded


class LDM(SamplePrediction):
    """The recipe."""

    name = "tiny-ldm"
    pipeline_class = "StableDiffusionPipeline"
    call = CALL
    latent = True
    empty = True
    states = 224
    pooled_module: str | None = None
    features = ("unet.up_blocks.1", 96)

    def components(self, seed: int) -> dict[str, Any]:
        """Text encoder, tokenizer, U-Net and scheduler."""
        return {
            "text_encoder": make.text_encoder(self.states, 3, None, seed + 1),
            "tokenizer": make.tokenizer(),
            "unet": make.unet(None, self.states, seed),
            "scheduler": make.scheduler(1),  # its pipeline asks for one
        }

    def pipeline(self, parts: dict[str, Any], vae: Any) -> Any:
        """The pipeline without a safety checker."""
        from diffusers import StableDiffusionPipeline

        return StableDiffusionPipeline(
            **parts,
            vae=vae,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    def tokenize(self, parts: dict[str, Any], prompts: list[str]) -> Tensor:
        """One token a character."""
        return padded(parts["tokenizer"], prompts)

    def places(self, parts: dict[str, Any], tokens: Tensor) -> Tensor:
        """Of all tokens."""
        return between(tokens, parts["tokenizer"].convert_tokens_to_ids('"</w>'))

    def text(self, parts: Any, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """The last states of the encoder."""
        return parts.text_encoder(tokens)[0], None

    def denoise(
        self, parts: Any, noisy: Tensor, time: Tensor, states: Tensor, pooled: Tensor | None
    ) -> Tensor:
        """The U-Net's output."""
        out: Tensor = parts.unet(noisy, time, states, return_dict=False)[0]
        return out
