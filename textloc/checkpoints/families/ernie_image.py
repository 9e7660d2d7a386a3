"""ERNIE-Image: Mistral 3 as text encoder, one stream.

Reads `diffusers.ErnieImageTransformer2DModel`. Its blocks keep tokens as (token, row, feature), and
turn them before they project them. Tokens are [image, text]; padding is masked. The picture's
places count from the end of the text: a channel, `place`. The prompt enhancer is left off.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from PIL import Image

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import time, zeros
from textloc.layers import TextChannel, TextLayer
from textloc.runs import Sampling

_LEAST = 1e-5
"""What the pipeline adds to the variance of its autoencoder's norm, whatever its config says."""


class ErnieImage(Family):
    """ERNIE-Image."""

    RAGGED = True
    TEXT = "text_bth"
    EXTRA = MappingProxyType({"use_pe": False})

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of every block.

        Raises:
            LayerError: the projections are fused.
        """
        return common.single(
            denoiser,
            "layers.*.self_attention",
            "last",
            mask="attention_mask",
            mask_place="last",
        )

    def channels(self, denoiser: Any) -> list[TextChannel]:
        """Where the picture stands: after the text."""
        return [TextChannel("place", "pos_embed")]

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one patch, one text token."""
        import torch

        config = denoiser.config
        side = config.patch_size
        return {
            "hidden_states": zeros(denoiser, 1, config.in_channels, side, side),
            "timestep": time(denoiser),
            "text_bth": zeros(denoiser, 1, 1, config.text_in_dim),
            "text_lens": torch.ones(1, device=common.device(denoiser), dtype=torch.long),
            "return_dict": False,
        }

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """Latents patched two by two and normed: (N, 4 C, h / 2, w / 2)."""
        code = pipe._patchify_latents(common.coded(pipe.vae, common.pixels(pipe, pictures)))
        return common.normed(pipe.vae, code, _LEAST)
