"""OmniGen: no text encoder; the transformer, a language model, reads the tokens of the prompt
itself.

Reads `diffusers.OmniGenTransformer2DModel`. Tokens are [padding, text, time, image]; padding is
masked. Text sees only the text before it, so its keys and values stay the same from step to step.
Keys may have fewer heads than queries. The pipeline tells all rows the places of the first
(diffusers 0.42), so a row's picture depends on how long the first prompt of its call is.
"""

from __future__ import annotations

from typing import Any

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, time, zeros
from textloc.layers import TextLayer
from textloc.runs import Sampling


class OmniGen(Family):
    """OmniGen."""

    TEXT = "input_ids"
    SHARED = ("input_img_latents", "input_image_sizes")

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of every block.

        Raises:
            LayerError: the projections are fused.
        """
        config = denoiser.config
        head = config.hidden_size // config.num_attention_heads
        return [
            text_layer(
                name,
                module,
                "to_k",
                "to_v",
                static=False,
                heads=common.kv_heads(module, head),
                place="first",
                mask="attention_mask",
                mask_place="first",
            )
            for name, module in common.attentions(denoiser, "layers.*.self_attn")
        ]

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one token of text, the time, one patch."""
        import torch

        config = denoiser.config
        side, place = config.patch_size, common.device(denoiser)
        return {
            "hidden_states": zeros(denoiser, 1, config.in_channels, side, side),
            "timestep": time(denoiser),
            "input_ids": common.numbers(denoiser, 1, 1),
            "input_img_latents": [],
            "input_image_sizes": {},
            "attention_mask": torch.ones(1, 3, 3, device=place),
            "position_ids": common.numbers(denoiser, 1, 3),
            "return_dict": False,
        }

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """None: no prompt is cut off."""
        return []
