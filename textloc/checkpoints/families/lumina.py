"""Lumina-Next: a Gemma text encoder, cross-attention with a mask.

Reads `diffusers.LuminaNextDiT2DModel`. The cross-attention `attn2` of every block projects the text
states by `to_k` and `to_v`, after a norm of the block's own. Keys may have fewer heads than
queries. The text states come from the prompt alone, so the layers are static. Their mean enters by
the time embedding: a channel.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, time, zeros
from textloc.layers import TextChannel, TextLayer


class Lumina(Family):
    """Lumina-Next."""

    SHARED = ("image_rotary_emb", "cross_attention_kwargs")
    LENGTH = 256
    EXTRA = MappingProxyType({"clean_caption": False})

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The cross-attention of every block.

        Raises:
            LayerError: the projections are fused.
        """
        return [
            text_layer(
                name,
                module,
                "to_k",
                "to_v",
                static=True,
                heads=common.kv_heads(module, denoiser.head_dim),
                mask="attention_mask",
            )
            for name, module in common.attentions(denoiser, "layers.*.attn2")
        ]

    def channels(self, denoiser: Any) -> list[TextChannel]:
        """The mean of the text states."""
        return [TextChannel("pooled", "time_caption_embed.caption_embedder")]

    def read_layer(self, denoiser: Any, layer: TextLayer, states: Any) -> Any:
        """Normed by the block."""
        return denoiser.get_submodule(layer.name.rpartition(".")[0]).norm1_context(states)

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one patch, one text token."""
        import torch

        config = denoiser.config
        side = config.patch_size
        turns = torch.ones(1, 1, denoiser.head_dim // 2, device=common.device(denoiser))
        return {
            "hidden_states": zeros(denoiser, 1, config.in_channels, side, side),
            "timestep": time(denoiser),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.cross_attention_dim),
            "encoder_mask": torch.ones(1, 1, device=common.device(denoiser)),
            "image_rotary_emb": turns.to(torch.complex64),
            "cross_attention_kwargs": {},
            "return_dict": False,
        }
