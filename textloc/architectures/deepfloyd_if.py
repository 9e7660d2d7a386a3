"""U-Nets with added text projections: DeepFloyd IF.

Reads `diffusers.UNet2DConditionModel` whose attention has `add_k_proj` and `add_v_proj`: they
project the text states, while `to_k` and `to_v` project the picture. Keys are [text, image]; the
hooks sit on the text projections alone. The text states come from the prompt alone, so the layers
are static. The text enters a second time, averaged by `add_embedding` into the time embedding: a
channel.
"""

from __future__ import annotations

from typing import Any

from textloc.architectures import unet
from textloc.architectures.common import text_layer
from textloc.layers import TextLayer

SHARED = unet.SHARED
channels = unet.channels
inputs = unet.inputs
read_text = unet.read_text


def fits(denoiser: Any) -> bool:
    """Whether there is attention with added projections."""
    return not unet.fits(denoiser)


def find(denoiser: Any) -> list[TextLayer]:
    """The attention layers with added text projections.

    Raises:
        LayerError: the projections are fused.
    """
    from diffusers.models.attention_processor import Attention

    return [
        text_layer(name, module, "add_k_proj", "add_v_proj", static=True)
        for name, module in denoiser.named_modules()
        if isinstance(module, Attention) and module.add_k_proj is not None
    ]
