"""Sana: a transformer with linear self-attention, cross-attention and a mask over its text.

Reads `diffusers.SanaTransformer2DModel`. The cross-attention `attn2` of every block projects the
text states by `to_k` and `to_v`; `attention_mask` leaves out the padding of shorter texts. The text
states come from the prompt alone, so the layers are static. There is no other way for the text.
"""

from __future__ import annotations

from typing import Any

from textloc.architectures import pixart
from textloc.architectures.common import time, zeros

SHARED = pixart.SHARED
fits = pixart.fits
find = pixart.find
channels = pixart.channels


def read_text(denoiser: Any, states: Any) -> Any:
    """Projected and normed."""
    return denoiser.caption_norm(denoiser.caption_projection(states))


def inputs(denoiser: Any) -> dict[str, Any]:
    """Arguments of a small forward pass: one sample of one patch, one text token."""
    config = denoiser.config
    side = config.patch_size
    return {
        "hidden_states": zeros(denoiser, 1, config.in_channels, side, side),
        "encoder_hidden_states": zeros(denoiser, 1, 1, config.caption_channels),
        "timestep": time(denoiser),
        "guidance": zeros(denoiser, 1) if config.get("guidance_embeds") else None,
        "return_dict": False,
    }
