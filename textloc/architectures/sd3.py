"""Stable Diffusion 3 and 3.5: a transformer with joint attention.

Reads `diffusers.SD3Transformer2DModel`. Each block joins a text stream, projected by `add_k_proj`
and `add_v_proj`, to the image stream; the last block drops its text output, its text keys and
values count. The second attention `attn2` of the dual blocks of SD3.5 sees only the image. The
text stream depends on the image, so the layers are not static. The pooled states of the CLIP
encoders enter by the time embedding: a channel.
"""

from __future__ import annotations

from typing import Any

from textloc.architectures.common import read_text as read_text
from textloc.architectures.common import text_layer, time, zeros
from textloc.layers import TextChannel, TextLayer

SHARED: tuple[str, ...] = ()
TEXT_FIRST = False
"""Whether text stands before the picture in the joint attention."""


def fits(denoiser: Any) -> bool:
    """Any transformer of the class."""
    return True


def find(denoiser: Any) -> list[TextLayer]:
    """The joint attention of every block.

    Raises:
        LayerError: the projections are fused.
    """
    from diffusers.models.attention_processor import Attention

    return [
        text_layer(name, module, "add_k_proj", "add_v_proj", static=False)
        for name, module in denoiser.named_modules()
        if isinstance(module, Attention) and module.add_k_proj is not None
    ]


def channels(denoiser: Any) -> list[TextChannel]:
    """The pooled text state."""
    return [TextChannel("pooled", "time_text_embed.text_embedder")]


def inputs(denoiser: Any) -> dict[str, Any]:
    """Arguments of a small forward pass: one sample of one patch, one text token."""
    config = denoiser.config
    side = config.patch_size
    return {
        "hidden_states": zeros(denoiser, 1, config.in_channels, side, side),
        "encoder_hidden_states": zeros(denoiser, 1, 1, config.joint_attention_dim),
        "pooled_projections": zeros(denoiser, 1, config.pooled_projection_dim),
        "timestep": time(denoiser),
        "return_dict": False,
    }
