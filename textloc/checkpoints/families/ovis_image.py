"""Ovis-Image: Qwen3 as text encoder; two streams, then one.

Reads `diffusers.OvisImageTransformer2DModel`. Tokens are [text, image]. The double blocks project
their text stream by `add_k_proj` and `add_v_proj`, the single blocks both by `to_k` and `to_v`. All
texts are as long; padding is not masked. There is no pooled state. Guidance is a separate call.
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


class OvisImage(Family):
    """Ovis-Image."""

    SHARED = ("img_ids", "txt_ids")
    BESIDE = True
    LENGTH = 256

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of the double and single blocks.

        Raises:
            LayerError: the projections are fused.
        """
        return [
            *common.joint(denoiser, "transformer_blocks.*.attn"),
            *common.single(denoiser, "single_transformer_blocks.*.attn", "first"),
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

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer at the call's length, after the pipeline's instruction, if it has one."""
        length = sampling.text_length or self.LENGTH
        said = getattr(pipe, "system_prompt", None)
        if said is None:  # Bria's T5
            return [(pipe.tokenizer, length)]
        template = common.templated(pipe.tokenizer, enable_thinking=False)
        reader = common.Reader(template.tokenizer, template.before + said)
        return [(reader, length + int(pipe.user_prompt_begin_id))]
