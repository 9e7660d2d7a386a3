"""Constructor arguments of the full-size denoisers, for counting their layers without weights.

Only what differs from the diffusers defaults; a test compares them with the published configs.
"""

from __future__ import annotations

from typing import Any

_SD_BLOCKS: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
}

UNETS: dict[str, dict[str, Any]] = {
    "sd-1.4": {**_SD_BLOCKS, "attention_head_dim": 8},
    "sd-2.1": {
        **_SD_BLOCKS,
        "sample_size": 96,
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
        "upcast_attention": True,
    },
    "sdxl": {
        "sample_size": 128,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (320, 640, 1280),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
"""Arguments of `diffusers.UNet2DConditionModel`."""


def build(name: str) -> Any:
    """The denoiser on the meta device: shapes without memory."""
    import torch
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel(**UNETS[name])
