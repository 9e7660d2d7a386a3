"""CogView4: GLM-4 as text encoder, joint attention without a mask.

Reads `diffusers.CogView4Transformer2DModel`. Text and image keep streams of their own, and are
projected side by side by one `to_k` and `to_v`: tokens are [text, image]. Texts are padded in front
to the longest of the call, in steps of 16 tokens, and the padding is not masked: where prompts of
one call differ much in length, the shorter one's picture is not quite that of a call of its own.
Guidance is a separate call.
"""

from __future__ import annotations

from typing import Any

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import time, zeros
from textloc.layers import TextLayer


class CogView4(Family):
    """CogView4."""

    RAGGED = True
    LENGTH = 1024

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of every block.

        Raises:
            LayerError: the projections are fused.
        """
        return common.single(denoiser, "transformer_blocks.*.attn1", "first")

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one patch, one text token."""
        config = denoiser.config
        side = config.patch_size
        return {
            "hidden_states": zeros(denoiser, 1, config.in_channels, side, side),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.text_embed_dim),
            "timestep": time(denoiser),
            "original_size": zeros(denoiser, 1, 2),
            "target_size": zeros(denoiser, 1, 2),
            "crop_coords": zeros(denoiser, 1, 2),
            "return_dict": False,
        }


class CogView3Plus(CogView4):
    """CogView3+: the same with a T5, whose texts are all as long."""

    TEXT_FIRST = True
    """Whether text stands before the picture in the joint attention."""
    LENGTH = 224
