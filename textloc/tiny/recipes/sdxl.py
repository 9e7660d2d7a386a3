"""tiny-sdxl: `StableDiffusionXLPipeline`, two CLIP encoders, one of them with a pooled state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textloc.scenes import rendering
from textloc.tiny.recipes import components as make
from textloc.tiny.recipes.base import CALL, SamplePrediction, between, padded


class SDXL(SamplePrediction):
    """The recipe; both encoders read the same tokens."""

    name = "tiny-sdxl"
    pipeline_class = "StableDiffusionXLPipeline"
    call = CALL
    latent = True
    empty = False
    states = 96 + 128
    pooled_module: str | None = None
    features = ("unet.up_blocks.1", 96)
    _pooled = 32

    def components(self, seed: int) -> dict[str, Any]:
        """Text encoders, tokenizers, U-Net and scheduler."""
        return {
            "text_encoder": make.text_encoder(96, 3, None, seed + 1),
            "text_encoder_2": make.text_encoder(128, 3, self._pooled, seed + 2),
            "tokenizer": make.tokenizer(),
            "tokenizer_2": make.tokenizer(),
            "unet": make.unet(self._pooled, self.states, seed),
            "scheduler": make.scheduler(),
        }

    def pipeline(self, parts: dict[str, Any], vae: Any) -> Any:
        """The pipeline without a watermark."""
        from diffusers import StableDiffusionXLPipeline

        return StableDiffusionXLPipeline(**parts, vae=vae, add_watermarker=False)

    def tokenize(self, parts: dict[str, Any], prompts: list[str]) -> Tensor:
        """One token a character."""
        return padded(parts["tokenizer"], prompts)

    def places(self, parts: dict[str, Any], tokens: Tensor) -> Tensor:
        """Of all tokens."""
        return between(tokens, parts["tokenizer"].convert_tokens_to_ids('"</w>'))

    def text(self, parts: Any, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """The last states but one of both encoders, side by side."""
        first = parts.text_encoder(tokens, output_hidden_states=True)
        second = parts.text_encoder_2(tokens, output_hidden_states=True)
        states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
        return states, second.text_embeds

    def denoise(
        self, parts: Any, noisy: Tensor, time: Tensor, states: Tensor, pooled: Tensor | None
    ) -> Tensor:
        """The U-Net's output, told the size of the picture."""
        side = rendering.LARGE
        sizes = torch.tensor([side, side, 0, 0, side, side], device=noisy.device).float()
        added = {"text_embeds": pooled, "time_ids": sizes.expand(len(noisy), -1)}
        out: Tensor = parts.unet(noisy, time, states, added_cond_kwargs=added, return_dict=False)[0]
        return out
