"""Bria FIBO: SmolLM3 as text encoder, of which every layer is read; two streams, then one.

Reads `diffusers.BriaFiboTransformer2DModel`. Tokens are [text, image]. Each block is fed the states
of a layer of the language model anew, as half of the features of the text stream. The double blocks
project it by `add_k_proj` and `add_v_proj`, the single blocks both streams by `to_k` and `to_v`.
Padding is masked. Guidance is a second half of the batch.
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


class BriaFibo(Family):
    """Bria FIBO."""

    RAGGED = True
    SHARED = ("img_ids", "txt_ids")
    LENGTH = 3000

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
        blocks = config.num_layers + config.num_single_layers
        states = zeros(denoiser, 1, 1, config.text_encoder_dim)
        return {
            "hidden_states": zeros(denoiser, 1, 1, config.in_channels),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.joint_attention_dim),
            "text_encoder_layers": [states] * blocks,
            "timestep": time(denoiser),
            "img_ids": zeros(denoiser, 1, 3),
            "txt_ids": zeros(denoiser, 1, 3),
            "return_dict": False,
        }

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """Latents of the video autoencoder's one frame, as a list of places: (N, hw, C)."""
        code = common.encode_frame(pipe, pictures)
        return pipe._pack_latents_no_patch(code, *code.shape)
