"""PixArt-α and PixArt-Σ: a T5 text encoder, a cross-attention transformer with a mask over its
text.

Reads `diffusers.PixArtTransformer2DModel`. Every block has a self-attention `attn1` and a
cross-attention `attn2`, whose `to_k` and `to_v` project the text states; `attention_mask` leaves
out the padding of shorter texts. The text states come from the prompt alone, so the layers are
static. There is no other way for the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, time, zeros
from textloc.layers import TextLayer
from textloc.runs import Run, Sampling


class PixArt(Family):
    """PixArt-α and PixArt-Σ."""

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The cross-attention of every block.

        Raises:
            LayerError: the projections are fused.
        """
        from diffusers.models.attention_processor import Attention

        return [
            text_layer(name, module, "to_k", "to_v", static=True, mask="attention_mask")
            for name, module in denoiser.named_modules()
            if isinstance(module, Attention) and module.is_cross_attention
        ]

    def read_text(self, denoiser: Any, states: Any) -> Any:
        """Projected where the transformer has a projection of its text."""
        projection = denoiser.caption_projection
        return states if projection is None else projection(states)

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one sample of one patch, one text token."""
        config = denoiser.config
        side = config.patch_size
        added = {"resolution": None, "aspect_ratio": None}
        if denoiser.use_additional_conditions:
            added = {"resolution": zeros(denoiser, 1, 2), "aspect_ratio": zeros(denoiser, 1, 1)}
        return {
            "hidden_states": zeros(denoiser, 1, config.in_channels, side, side),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.caption_channels),
            "timestep": time(denoiser),
            "added_cond_kwargs": added,
            "return_dict": False,
        }

    LOWERED = True
    MASK_ADDED = True
    LENGTH = 300
    _BINNED = (32, 64, 128, 256)  # sample sizes for which the pipeline knows its usual formats

    def arguments(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """Prompts and negative prompts, one a row, not cleaned of what looks like a web address."""
        binned = pipe.transformer.config.sample_size in self._BINNED
        return super().arguments(pipe, runs, sampling) | {
            "clean_caption": False,
            "use_resolution_binning": binned,
        }

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer at the call's length."""
        own = 120 if "PixArtAlpha" in type(pipe).__name__ else self.LENGTH  # the pipelines' own
        return [(pipe.tokenizer, sampling.text_length or own)]
