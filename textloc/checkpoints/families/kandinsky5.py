"""Kandinsky 5 for pictures: Qwen2.5-VL as text encoder, a CLIP for the pooled state,
cross-attention.

Reads `diffusers.Kandinsky5Transformer3DModel`. The cross-attention of every visual block projects
the text states by `to_key` and `to_value`; padding is not masked. The text blocks before see the
text and the time, not the picture: they are no text layers, but another prompt's states are taken
from a row of its own. The pooled state enters by the time embedding: a channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, zeros
from textloc.layers import TextChannel, TextLayer
from textloc.runs import Sampling


class Kandinsky5(Family):
    """Kandinsky 5 for pictures."""

    RAGGED = True
    SHARED = ("visual_rope_pos", "text_rope_pos", "scale_factor", "sparse_params")

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The cross-attention of every visual block.

        Raises:
            LayerError: the projections are fused.
        """
        found = common.attentions(denoiser, "visual_transformer_blocks.*.cross_attention")
        return [
            text_layer(name, m, "to_key", "to_value", static=False, heads=m.num_heads)
            for name, m in found
        ]

    def channels(self, denoiser: Any) -> list[TextChannel]:
        """The pooled text state."""
        return [TextChannel("pooled", "pooled_text_embeddings")]

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one patch, one text token."""

        config = denoiser.config
        deep, high, wide = config.patch_size
        channels = 2 * config.in_visual_dim + 1 if config.visual_cond else config.in_visual_dim
        places = common.numbers(denoiser, 1)
        return {
            "hidden_states": zeros(denoiser, 1, deep, high, wide, channels),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.in_text_dim),
            "timestep": zeros(denoiser, 1),
            "pooled_projections": zeros(denoiser, 1, config.in_text_dim2),
            "visual_rope_pos": [places, places, places],
            "text_rope_pos": places,
            "return_dict": False,
        }

    def texts(self, pipe: Any, sampling: Sampling) -> list[common.Text]:
        """Qwen's, after the pipeline's instruction."""
        before, after = pipe.prompt_template.split("{}")
        tokenizer = common.plain_tokenizer(pipe.tokenizer)
        dropped = int(pipe.prompt_template_encode_start_idx)
        return [common.Text("tokenizer", tokenizer, before=before, after=after, dropped=dropped)]

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """Qwen's tokenizer at the call's length, after the pipeline's instruction."""
        tokenizer = common.plain_tokenizer(pipe.tokenizer)
        reader = common.Reader(tokenizer, pipe.prompt_template.partition("{}")[0])
        length = sampling.text_length or self.LENGTH
        return [(reader, length + int(pipe.prompt_template_encode_start_idx))]

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """Latents of one frame, features last: (N, 1, h, w, C)."""
        return common.encode(pipe, pictures, sampling).movedim(1, -1)[:, None]
