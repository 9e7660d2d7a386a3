"""Random tiny pipelines for tests: real diffusers classes, unusual shapes, weights that matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests import tiny_families
from textloc.checkpoints import families
from textloc.checkpoints.loading import Model
from textloc.runs import Sampling
from textloc.tiny.recipes import components

SHAPES: dict[str, dict[str, Any]] = {
    "two-blocks": {"channels": (24, 32), "heads": (3, 1), "depth": (1, 2), "tokens": 24},
    "odd-heads": {"channels": (40, 24), "heads": (5, 3), "depth": (2, 1), "tokens": 40},
    "one-block": {"channels": (24,), "heads": (2,), "depth": (1,), "tokens": 32},
}
"""Channels and heads are chosen so that heads of different blocks differ in number and width."""


def _unet(shape: dict[str, Any], context: int, **extra: Any) -> Any:
    from diffusers import UNet2DConditionModel

    channels = shape["channels"]
    heads = tuple(h if c % h == 0 else 1 for c, h in zip(channels, shape["heads"], strict=True))
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D",) * len(channels),
        up_block_types=("CrossAttnUpBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        transformer_layers_per_block=shape["depth"] if len(channels) > 1 else 1,
        attention_head_dim=heads if len(channels) > 1 else heads[0],
        cross_attention_dim=context,
        norm_num_groups=8,
        use_linear_projection=True,
        **extra,
    )
    with torch.no_grad():  # untrained attention hardly depends on the text; make it matter
        for name, weight in unet.named_parameters():
            if ".attn2.to_" in name and name.endswith("weight"):
                weight.mul_(3)
            if name.endswith("proj_out.weight") or ".attn2.to_out" in name:
                weight.mul_(2)
    return unet


def _vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
        force_upcast=False,
        mid_block_add_attention=False,
    )


def _tokenizer(length: int) -> Any:
    tokenizer = components.tokenizer()
    tokenizer.model_max_length = length
    return tokenizer


def sdxl(shape: str = "two-blocks", scheduler: Any = None, seed: int = 0) -> Model:
    """A random `StableDiffusionXLPipeline`, 16 px pictures."""
    from diffusers import StableDiffusionXLPipeline

    sizes = SHAPES[shape]
    first = components.text_encoder(32, 2, None, seed + 1)
    second = components.text_encoder(32, 2, 16, seed + 2)
    torch.manual_seed(seed)
    unet = _unet(
        sizes,
        64,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
    )
    pipe = StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=_tokenizer(sizes["tokens"]),
        tokenizer_2=_tokenizer(sizes["tokens"]),
        unet=unet,
        scheduler=scheduler or components.scheduler(),
        add_watermarker=False,
    )
    return _model(pipe)


def sd(shape: str = "two-blocks", scheduler: Any = None, seed: int = 0) -> Model:
    """A random `StableDiffusionPipeline`, 16 px pictures."""
    from diffusers import StableDiffusionPipeline

    sizes = SHAPES[shape]
    encoder = components.text_encoder(32, 2, None, seed + 1)
    torch.manual_seed(seed)
    scheduler = scheduler or components.scheduler()
    asked = {"steps_offset": 1, "clip_sample": False}  # the pipeline sets them, with a warning
    scheduler.register_to_config(
        **{name: asked[name] for name in asked if name in scheduler.config}
    )
    pipe = StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=encoder,
        tokenizer=_tokenizer(sizes["tokens"]),
        unet=_unet(sizes, 32),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _model(pipe)


def ldm(shape: str = "two-blocks") -> Model:
    """A random `LDMTextToImagePipeline`, 32 px pictures."""
    torch.manual_seed(0)
    return _model(tiny_families.ldm(_unet(SHAPES[shape], 32)), size=32)


FAMILIES = {"sd": sd, "sdxl": sdxl, "ldm": ldm}
"""By name, each with the names of `SHAPES`."""

OTHERS: dict[str, Callable[[], Model]] = {
    "if": lambda: _model(tiny_families.deepfloyd_if()),
    "if-odd": lambda: _model(tiny_families.deepfloyd_if(heads=5, layers=2)),
    "sd3": lambda: _model(tiny_families.sd3()),
    "sd3-one": lambda: _model(tiny_families.sd3(blocks=1, heads=5)),
    "sd35": lambda: _model(tiny_families.sd35()),
    "flux": lambda: _model(tiny_families.flux()),
    "flux-schnell": lambda: _model(tiny_families.schnell()),
    "pixart": lambda: _model(tiny_families.pixart()),
    "pixart-one": lambda: _model(tiny_families.pixart(blocks=1, heads=5)),
    "sana": lambda: _model(tiny_families.sana(), size=32),
    "qwen-image": lambda: _model(tiny_families.qwen_image()),
    "qwen-image-one": lambda: _model(tiny_families.qwen_image(blocks=1, heads=1)),
}
"""The families whose shape is their own."""


def precise(model: Model) -> Model:
    """The same model, now in double precision, for claims that must not hold by rounding.

    Rows of one batch and rows of another, or one processor and another, then differ by 1e-15 and
    not by the 1e-7 of single precision, which a few steps of an untrained model make 1e-4: as much
    as some patches do. What differs, differs by more than rounding, and what is equal is equal.
    Schedulers still compute in single precision and pictures leave the pipeline in it, so equal is
    to within a few units of its last place (6e-8 of pixels in [0, 1]).
    """
    model.pipe.to(torch.float64)
    return model


def _model(pipe: Any, size: int = 16) -> Model:
    pipe.set_progress_bar_config(disable=True)
    family = families.of_pipeline(pipe)
    length = tiny_families.TOKENS if family.DENOISER == "transformer" else None
    length = 2 * tiny_families.TOKENS if "Qwen" in type(pipe).__name__ else length  # its template
    return Model(
        name="random",
        revision=None,
        digest="sha256:" + "0" * 64,
        pipe=pipe,
        family=family,
        layers=families.text_layers(getattr(pipe, family.DENOISER)),
        defaults=Sampling(steps=3, guidance=2.0, height=size, width=size, text_length=length),
        switched_off=family.prepare(pipe),
    )
