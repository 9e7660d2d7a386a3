"""Ideogram 4: Qwen3-VL as text encoder, of which several layers are read; one stream.

Reads `diffusers.Ideogram4Transformer2DModel`. Tokens are [padding, text, image]; padding is masked,
and `image_rotary_emb` tells where tokens stand. Guidance is by a second denoiser,
`unconditional_transformer`, which sees no text and has no text layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from PIL import Image

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, zeros
from textloc.layers import TextLayer
from textloc.runs import Sampling


class Ideogram4(Family):
    """Ideogram 4."""

    LENGTH = 2048
    EXTRA = MappingProxyType({"prompt_upsampling": False, "guidance_schedule": None})

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
                heads=module.num_heads,
                place="first",
                mask="attention_mask",
                mask_place="first",
                rotary="image_rotary_emb",
            )
            for name, module in common.attentions(denoiser, "layers.*.attention")
        ]

    def tokens(self, denoiser: Any, arguments: dict[str, Any]) -> int:
        """All tokens but the picture's."""
        from diffusers.models.transformers.transformer_ideogram4 import OUTPUT_IMAGE_INDICATOR

        return int((arguments["indicator"][0] != OUTPUT_IMAGE_INDICATOR).sum())

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one text token, one image token."""

        config = denoiser.config
        numbers = common.numbers(denoiser, 1, 2)
        return {
            "hidden_states": zeros(denoiser, 1, 2, config.in_channels),
            "timestep": zeros(denoiser, 1),
            "encoder_hidden_states": zeros(denoiser, 1, 2, config.llm_features_dim),
            "position_ids": numbers[..., None].expand(-1, -1, 3),
            "segment_ids": numbers,
            "indicator": numbers,
            "return_dict": False,
        }

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """Latents patched two by two and normed, places as a list: (N, hw / 4, 4 C)."""
        from torch.nn.functional import pixel_unshuffle

        code = common.coded(pipe.vae, common.pixels(pipe, pictures))
        patch, channels = pipe.patch_size, code.shape[1]
        code = pixel_unshuffle(code, patch).unflatten(1, (channels, patch**2))
        code = code.transpose(1, 2).flatten(1, 2)  # (N, place in the patch * C, h, w)
        return common.normed(pipe.vae, code).flatten(2).transpose(1, 2)

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer at the call's length, within its template."""
        reader = common.templated(pipe.tokenizer, parts=True)
        return [(reader, sampling.text_length or self.LENGTH)]
