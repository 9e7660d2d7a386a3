"""Kandinsky 3: a T5 text encoder, a U-Net with cross-attention and a mask.

Reads `diffusers.Kandinsky3UNet`. Where a level has a context, the attentions after its first
project the text states by `to_k` and `to_v`; the first looks at the picture alone. The text states
come from the prompt alone, so the layers are static. They enter pooled by the time embedding too: a
channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, time, zeros
from textloc.layers import TextChannel, TextLayer
from textloc.runs import Sampling


class Kandinsky3(Family):
    """Kandinsky 3."""

    RAGGED = True
    DENOISER = "unet"
    LENGTH = 128

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The cross-attention of the U-Net.

        Raises:
            LayerError: the projections are fused.
        """
        width = denoiser.config.cross_attention_dim
        return [
            text_layer(name, module, "to_k", "to_v", static=True, mask="attention_mask")
            for kind in ("down_blocks", "up_blocks")
            for name, module in common.attentions(denoiser, f"{kind}.*.attentions.*.attention")
            if name.split(".")[3] != "0" and module.cross_attention_dim == width
        ]

    def channels(self, denoiser: Any) -> list[TextChannel]:
        """The text states, pooled."""
        return [TextChannel("pooled", "add_time_condition")]

    def read_text(self, denoiser: Any, states: Any) -> Any:
        """Projected."""
        return denoiser.encoder_hid_proj(states)

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: a sample that the U-Net halves to 1x1, one token."""
        import torch

        config = denoiser.config
        side = 2 ** len(config.block_out_channels)
        return {
            "sample": zeros(denoiser, 1, config.in_channels, side, side),
            "timestep": time(denoiser),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.encoder_hid_dim),
            "encoder_attention_mask": torch.ones(1, 1, device=common.device(denoiser)),
            "return_dict": False,
        }

    def prepare(self, pipe: Any) -> dict[str, str | None]:
        """Nothing to switch off."""
        return {"safety_checker": None, "watermark": None}

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """Latents as the decoder takes them, without quantizing."""
        return common.coded(pipe.movq, common.pixels(pipe, pictures))
