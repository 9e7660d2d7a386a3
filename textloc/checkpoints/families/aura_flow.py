"""AuraFlow: a UMT5 text encoder, two streams, then one.

Reads `diffusers.AuraFlowTransformer2DModel`. Tokens are [registers, text, image]. The registers are
learned and the same for every prompt at first; they read the text in the joint blocks and are
patched with it, so a text's token 0 is the first register. The joint blocks project the text stream
by `add_k_proj` and `add_v_proj`, the single blocks both by `to_k` and `to_v`.
"""

from __future__ import annotations

from typing import Any

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import time, zeros
from textloc.layers import TextLayer


class AuraFlow(Family):
    """AuraFlow."""

    BESIDE = True
    LENGTH = 256

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of the joint and single blocks.

        Raises:
            LayerError: the projections are fused.
        """
        return [
            *common.joint(denoiser, "joint_transformer_blocks.*.attn"),
            *common.single(denoiser, "single_transformer_blocks.*.attn", "first"),
        ]

    def tokens(self, denoiser: Any, arguments: dict[str, Any]) -> int:
        """Registers and text."""
        return super().tokens(denoiser, arguments) + int(denoiser.register_tokens.shape[1])

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one patch, one text token."""
        config = denoiser.config
        side = config.patch_size
        return {
            "hidden_states": zeros(denoiser, 1, config.in_channels, side, side),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.joint_attention_dim),
            "timestep": time(denoiser),
            "return_dict": False,
        }
