"""Constructor arguments of the full-size denoisers, for counting their layers without weights.

Only what differs from the diffusers defaults; a test compares them with the published configs.
"""

from __future__ import annotations

from typing import Any

_UNET, _SD3 = "UNet2DConditionModel", "SD3Transformer2DModel"
_SD_BLOCKS: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
}

DENOISERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ldm": (_UNET, {"sample_size": 32, "attention_head_dim": 40}),
    "sd-1.5": (_UNET, {**_SD_BLOCKS, "attention_head_dim": 8}),
    "sd-2.1": (
        _UNET,
        {
            **_SD_BLOCKS,
            "sample_size": 96,
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
            "upcast_attention": True,
        },
    ),
    "sdxl": (
        _UNET,
        {
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
    ),
    "if": (
        _UNET,
        {
            "sample_size": 64,
            "in_channels": 3,
            "out_channels": 6,
            "down_block_types": ("ResnetDownsampleBlock2D", *("SimpleCrossAttnDownBlock2D",) * 3),
            "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
            "up_block_types": (*("SimpleCrossAttnUpBlock2D",) * 3, "ResnetUpsampleBlock2D"),
            "block_out_channels": (704, 1408, 2112, 2816),
            "layers_per_block": 3,
            "act_fn": "gelu",
            "attention_head_dim": 64,
            "cross_attention_dim": 2816,
            "cross_attention_norm": "group_norm",
            "encoder_hid_dim": 4096,
            "encoder_hid_dim_type": "text_proj",
            "addition_embed_type": "text",
            "resnet_time_scale_shift": "scale_shift",
        },
    ),
    "sd3": (
        _SD3,
        {
            "num_layers": 24,
            "num_attention_heads": 24,
            "caption_projection_dim": 1536,
            "pos_embed_max_size": 192,
        },
    ),
    "sd3.5-medium": (
        _SD3,
        {
            "num_layers": 24,
            "num_attention_heads": 24,
            "caption_projection_dim": 1536,
            "pos_embed_max_size": 384,
            "dual_attention_layers": tuple(range(13)),
            "qk_norm": "rms_norm",
        },
    ),
    "sd3.5-large": (
        _SD3,
        {
            "num_layers": 38,
            "num_attention_heads": 38,
            "caption_projection_dim": 2432,
            "pos_embed_max_size": 192,
            "qk_norm": "rms_norm",
        },
    ),
    "flux-dev": ("FluxTransformer2DModel", {"guidance_embeds": True}),
    "flux-schnell": ("FluxTransformer2DModel", {}),
    "pixart-sigma": (
        "PixArtTransformer2DModel",
        {"caption_channels": 4096, "interpolation_scale": 2, "use_additional_conditions": False},
    ),
    "sana-600m": (
        "SanaTransformer2DModel",
        {
            "num_layers": 28,
            "num_attention_heads": 36,
            "num_cross_attention_heads": 16,
            "cross_attention_head_dim": 72,
            "cross_attention_dim": 1152,
        },
    ),
    "sana-1600m": ("SanaTransformer2DModel", {}),
    "qwen-image": ("QwenImageTransformer2DModel", {}),
    # of these the arguments are those of diffusers' conversion scripts
    "flux2-dev": ("Flux2Transformer2DModel", {}),
    "flux2-klein-4b": (
        "Flux2Transformer2DModel",
        {
            "num_layers": 5,
            "num_single_layers": 20,
            "num_attention_heads": 24,
            "joint_attention_dim": 7680,
            "guidance_embeds": False,
        },
    ),
    "flux2-klein-9b": (
        "Flux2Transformer2DModel",
        {
            "num_layers": 8,
            "num_single_layers": 24,
            "num_attention_heads": 32,
            "joint_attention_dim": 12288,
            "guidance_embeds": False,
        },
    ),
    "hunyuan-image-2.1": ("HunyuanImageTransformer2DModel", {"text_embed_2_dim": 1472}),
    "cogview4": (
        "CogView4Transformer2DModel",
        {"num_layers": 28, "attention_head_dim": 128, "num_attention_heads": 32},
    ),
    "auraflow": ("AuraFlowTransformer2DModel", {}),
    "lumina-next": ("LuminaNextDiT2DModel", {"num_layers": 24, "num_kv_heads": 8}),
    # and of these the defaults of the class
    "z-image-turbo": ("ZImageTransformer2DModel", {}),
    "chroma": ("ChromaTransformer2DModel", {}),
    "qwen-image-2.1": ("QwenImage21Transformer2DModel", {}),
    "krea-2": ("Krea2Transformer2DModel", {}),
    "cogview3-plus": ("CogView3PlusTransformer2DModel", {}),
    "kandinsky-3": ("Kandinsky3UNet", {}),
    "lumina-2": ("Lumina2Transformer2DModel", {}),
    "ovis-image": ("OvisImageTransformer2DModel", {}),
    "prx": ("PRXTransformer2DModel", {}),
}
"""Checkpoint name to the class of its denoiser in diffusers and its arguments."""


def build(name: str, arguments: dict[str, Any] | None = None) -> Any:
    """The denoiser on the meta device: shapes without memory. `arguments` take the place of the
    usual ones of the same name."""
    import diffusers
    import torch

    cls, usual = DENOISERS[name]
    with torch.device("meta"):
        return getattr(diffusers, cls)(**usual | (arguments or {}))
