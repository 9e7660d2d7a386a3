"""FLUX.1: a transformer with two streams at first and one later.

Reads `diffusers.FluxTransformer2DModel`. The double blocks project their text stream by
`add_k_proj` and `add_v_proj`. In the single blocks text and image are one stream, text first, and
share `to_k` and `to_v`: these layers are mixed. No layer is static. The pooled state of the CLIP
encoder enters by the time embedding: a channel.
"""

from __future__ import annotations

from typing import Any

from textloc.architectures.common import read_text as read_text
from textloc.architectures.common import text_layer, time, zeros
from textloc.layers import TextChannel, TextLayer

SHARED: tuple[str, ...] = ("img_ids", "txt_ids")
TEXT_FIRST = True
"""Whether text stands before the picture in the joint attention."""


def fits(denoiser: Any) -> bool:
    """Any transformer of the class."""
    return True


def find(denoiser: Any) -> list[TextLayer]:
    """The attention of the double and single blocks.

    Raises:
        LayerError: the projections are fused.
    """
    from diffusers.models.transformers.transformer_flux import FluxAttention

    layers = []
    for name, module in denoiser.named_modules():
        if not isinstance(module, FluxAttention):
            continue
        double = module.added_kv_proj_dim is not None
        key, value = ("add_k_proj", "add_v_proj") if double else ("to_k", "to_v")
        layers.append(text_layer(name, module, key, value, static=False, mixed=not double))
    return layers


def channels(denoiser: Any) -> list[TextChannel]:
    """The pooled text state."""
    return [TextChannel("pooled", "time_text_embed.text_embedder")]


def inputs(denoiser: Any) -> dict[str, Any]:
    """Arguments of a small forward pass: one image token, one text token."""
    config = denoiser.config
    return {
        "hidden_states": zeros(denoiser, 1, 1, config.in_channels),
        "encoder_hidden_states": zeros(denoiser, 1, 1, config.joint_attention_dim),
        "pooled_projections": zeros(denoiser, 1, config.pooled_projection_dim),
        "timestep": time(denoiser),
        "img_ids": zeros(denoiser, 1, 3),
        "txt_ids": zeros(denoiser, 1, 3),
        "guidance": zeros(denoiser, 1) if config.guidance_embeds else None,
        "return_dict": False,
    }
