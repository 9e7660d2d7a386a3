"""Chroma: a T5 text encoder; FLUX.1's two streams, then one, with a mask over the text.

Reads `diffusers.ChromaTransformer2DModel`. Tokens are [text, image]. The double blocks project the
text stream by `add_k_proj` and `add_v_proj`, the single blocks both by `to_k` and `to_v`. Padding
beyond the first is masked. There is no pooled state. Guidance is a separate call with the negative
prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import time, zeros
from textloc.layers import TextLayer
from textloc.runs import Sampling


class Chroma(Family):
    """Chroma."""

    SHARED = ("img_ids", "txt_ids")

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of the double and single blocks.

        Raises:
            LayerError: the projections are fused.
        """
        masked = {"mask": "attention_mask", "mask_place": "first"}
        return [
            *common.joint(denoiser, "transformer_blocks.*.attn", **masked),
            *common.single(denoiser, "single_transformer_blocks.*.attn", "first", **masked),
        ]

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one image token, one text token."""
        config = denoiser.config
        return {
            "hidden_states": zeros(denoiser, 1, 1, config.in_channels),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.joint_attention_dim),
            "timestep": time(denoiser),
            "img_ids": zeros(denoiser, 1, 3),
            "txt_ids": zeros(denoiser, 1, 3),
            "return_dict": False,
        }

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """Latents of the autoencoder, packed by two by two: (N, hw / 4, 4 C)."""
        return common.packed(pipe, common.encode_shifted(pipe, pictures, sampling))

    def told(self, denoiser: Any, time: Any, latents: Any) -> Any:
        """Times of 0 to 1."""
        return common.thousandths(time, latents)
