"""Qwen-Image: a transformer with joint attention and a mask over its text.

Reads `diffusers.QwenImageTransformer2DModel`. Each block joins a text stream, projected by
`add_k_proj` and `add_v_proj`, to the image stream; `encoder_hidden_states_mask` leaves out the
padding of shorter texts. The text stream depends on the image, so the layers are not static.
There is no other way for the text.
"""

from __future__ import annotations

from typing import Any

from textloc.architectures.common import read_text as read_text
from textloc.architectures.common import text_layer, time, zeros
from textloc.layers import TextChannel, TextLayer

SHARED: tuple[str, ...] = ()


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
        text_layer(
            name,
            module,
            "add_k_proj",
            "add_v_proj",
            static=False,
            mask="encoder_hidden_states_mask",
        )
        for name, module in denoiser.named_modules()
        if isinstance(module, Attention) and module.add_k_proj is not None
    ]


def channels(denoiser: Any) -> list[TextChannel]:
    """None."""
    return []


def inputs(denoiser: Any) -> dict[str, Any]:
    """Arguments of a small forward pass: one image token, one text token."""
    config = denoiser.config
    return {
        "hidden_states": zeros(denoiser, 1, 1, config.in_channels),
        "encoder_hidden_states": zeros(denoiser, 1, 1, config.joint_attention_dim),
        "encoder_hidden_states_mask": None,
        "timestep": time(denoiser),
        "img_shapes": [[(1, 1, 1)]],
        "return_dict": False,
    }
