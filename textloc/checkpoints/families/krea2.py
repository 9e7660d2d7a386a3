"""Krea 2: Qwen3-VL as text encoder, of which several layers are read; one stream.

Reads `diffusers.Krea2Transformer2DModel`. Tokens are [text, image]; padding is masked. Keys have
fewer heads than queries. The text fusion before the stream sees the text alone: it is no text
layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, zeros
from textloc.layers import TextLayer
from textloc.runs import Run, Sampling


class Krea2(Family):
    """Krea 2."""

    SHARED = ("position_ids",)

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of every block.

        Raises:
            LayerError: the projections are fused.
        """
        return [
            text_layer(
                name,
                module,
                "to_k",
                "to_v",
                static=False,
                heads=module.num_kv_heads,
                place="first",
                mask="attention_mask",
                mask_place="first",
            )
            for name, module in common.attentions(denoiser, "transformer_blocks.*.attn")
        ]

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one image token, one text token."""
        config = denoiser.config
        text = (config.num_text_layers, config.text_hidden_dim)
        return {
            "hidden_states": zeros(denoiser, 1, 1, config.in_channels),
            "encoder_hidden_states": zeros(denoiser, 1, 1, *text),
            "timestep": zeros(denoiser, 1),
            "position_ids": zeros(denoiser, 2, 3),
            "return_dict": False,
        }

    def negative(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """Empty ones where none is set; the pipeline guides from above 0 on."""
        return {"negative_prompt": [run.negative_prompt or "" for run in runs]}

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """Latents of the video autoencoder's one frame, packed: (N, hw / 4, 4 C)."""
        return common.packed(pipe, common.encode_frame(pipe, pictures))

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer at the call's length, after the pipeline's instruction; what the pipeline
        writes after a prompt takes some of it."""
        reader = common.Reader(
            common.plain_tokenizer(pipe.tokenizer), pipe.prompt_template_encode_prefix
        )
        around = (
            pipe.prompt_template_encode_start_idx - pipe.prompt_template_encode_num_suffix_tokens
        )
        return [(reader, (sampling.text_length or self.LENGTH) + around)]
