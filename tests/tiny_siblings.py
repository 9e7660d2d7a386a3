"""Random tiny pipelines that share the denoiser of another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests import tiny_encoders, tiny_families, tiny_newer, tiny_pipelines
from textloc.checkpoints import families
from textloc.checkpoints.loading import Model
from textloc.runs import Sampling


def _as(name: str, pipe: Any, **changed: Any) -> Any:
    """The parts of a pipeline as a pipeline of another class."""
    import diffusers
    from diffusers.pipelines.pag import pipeline_pag_kolors  # exported with sentencepiece only

    home = pipeline_pag_kolors if name == "KolorsPAGPipeline" else diffusers
    return getattr(home, name)(**pipe.components | changed)


def lcm() -> Any:
    """`LatentConsistencyModelPipeline`."""
    from diffusers import LCMScheduler

    pipe = tiny_pipelines.sd().pipe
    torch.manual_seed(0)
    told = tiny_pipelines._unet(tiny_pipelines.SHAPES["two-blocks"], 32, time_cond_proj_dim=8)
    return _as(
        "LatentConsistencyModelPipeline",
        pipe,
        unet=told,
        scheduler=LCMScheduler(),
        requires_safety_checker=False,
    )


def sprint() -> Any:
    """`SanaSprintPipeline`, whose transformer is told the guidance."""
    from diffusers import SanaTransformer2DModel, SCMScheduler

    pipe = tiny_families.sana()
    config = {k: v for k, v in pipe.transformer.config.items() if not k.startswith("_")}
    config |= {"guidance_embeds": True, "qk_norm": "rms_norm_across_heads"}
    torch.manual_seed(0)
    transformer = SanaTransformer2DModel(**config)
    transformer = tiny_families._matter(transformer, "attn2", "proj_out")
    return _as("SanaSprintPipeline", pipe, transformer=transformer, scheduler=SCMScheduler())


def pixart_alpha() -> Any:
    """`PixArtAlphaPipeline`."""
    return _as("PixArtAlphaPipeline", tiny_families.pixart())


SIBLINGS: dict[str, tuple[Callable[[], Any], int]] = {
    "FluxKontextPipeline": (
        lambda: _as(
            "FluxKontextPipeline", tiny_families.flux(), image_encoder=None, feature_extractor=None
        ),
        16,
    ),
    "HunyuanDiTPAGPipeline": (
        lambda: _as(
            "HunyuanDiTPAGPipeline",
            tiny_newer.hunyuan_dit(),
            requires_safety_checker=False,
            pag_applied_layers="blocks.1",
        ),
        16,
    ),
    "KolorsPAGPipeline": (
        lambda: _as("KolorsPAGPipeline", tiny_newer.kolors(), pag_applied_layers="mid"),
        16,
    ),
    "LatentConsistencyModelPipeline": (lcm, 16),
    "PixArtAlphaPipeline": (pixart_alpha, 16),
    "PixArtSigmaPAGPipeline": (
        lambda: _as(
            "PixArtSigmaPAGPipeline", tiny_families.pixart(), pag_applied_layers="blocks.1"
        ),
        16,
    ),
    "SanaPAGPipeline": (
        lambda: _as(
            "SanaPAGPipeline", tiny_families.sana(), pag_applied_layers="transformer_blocks.1"
        ),
        32,
    ),
    "SanaSprintPipeline": (sprint, 32),
    "StableDiffusionPAGPipeline": (
        lambda: _as(
            "StableDiffusionPAGPipeline",
            tiny_pipelines.sd().pipe,
            requires_safety_checker=False,
            pag_applied_layers="mid",
        ),
        16,
    ),
    "StableDiffusionXLPAGPipeline": (
        lambda: _as(
            "StableDiffusionXLPAGPipeline",
            tiny_pipelines.sdxl().pipe,
            pag_applied_layers="mid",
            add_watermarker=False,
        ),
        16,
    ),
}
"""Class name to what makes the pipeline, and the side of its pictures."""


def qwen_image_edit() -> Any:
    """`QwenImageEditPipeline`, whose text encoder sees pictures."""
    from diffusers import QwenImageEditPipeline
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    words = tiny_encoders.tokenizer(begin=False)
    pipe = QwenImageEditPipeline(
        **tiny_families.qwen_image().components
        | {
            "text_encoder": tiny_encoders.qwen25_vl(16),
            "tokenizer": words,
            "processor": Qwen2VLProcessor(
                image_processor=Qwen2VLImageProcessor(),
                tokenizer=words,
                video_processor=Qwen2VLVideoProcessor(),
                chat_template=tiny_encoders.TEMPLATE,
            ),
        }
    )
    pipe.prompt_template_encode = "Draw: <|vision_start|><|image_pad|><|vision_end|>{}<|im_end|>"
    pipe.prompt_template_encode_start_idx = 6
    return pipe


def sd3() -> Any:
    """`StableDiffusion3Pipeline` of 16 latent channels, which its inpainting wants."""
    pipe = tiny_families.sd3()
    wider = {
        "transformer": {"in_channels": 16, "out_channels": 16},
        "vae": {"latent_channels": 16},
    }
    torch.manual_seed(0)
    parts = {}
    for name, more in wider.items():
        part = getattr(pipe, name)
        config = {k: v for k, v in part.config.items() if not k.startswith("_")}
        parts[name] = type(part)(**config | more)
    for words in (("add_k_proj", "add_v_proj", "proj_out"), ("add_v_proj", "to_out", "proj_out")):
        tiny_families._matter(parts["transformer"], *words)
    return _as("StableDiffusion3Pipeline", pipe, **parts)


TEXT_TO_IMAGE: dict[str, Callable[[], Any]] = {
    "Flux": tiny_families.flux,
    "StableDiffusion": lambda: tiny_pipelines.sd().pipe,
    "StableDiffusion3": sd3,
    "StableDiffusionXL": lambda: tiny_pipelines.sdxl().pipe,
}
"""Beginnings of class names to the text-to-image pipelines that `AutoPipelineForImage2Image` and
`AutoPipelineForInpainting` make others from."""

DRAWING: dict[str, Callable[[], Any]] = {
    "QwenImageEditPipeline": qwen_image_edit,
    **{f"{name}Img2ImgPipeline": make for name, make in TEXT_TO_IMAGE.items()},
    **{f"{name}InpaintPipeline": make for name, make in TEXT_TO_IMAGE.items()},
}
"""Class name to what makes a pipeline that draws on a picture, or the one that it is made from."""


def model(name: str) -> Model:
    """The random pipeline of that class as a loaded checkpoint."""
    make, side = SIBLINGS[name]
    return of(make(), side)


def of(pipe: Any, side: int) -> Model:
    """A random pipeline as a loaded checkpoint of pictures so many pixels wide."""
    pipe.set_progress_bar_config(disable=True)
    family = families.of_pipeline(pipe)
    return Model(
        name="random",
        revision=None,
        digest="sha256:" + "0" * 64,
        pipe=pipe,
        family=family,
        layers=families.text_layers(getattr(pipe, family.DENOISER)),
        defaults=Sampling(2, 2.0, side, side, tiny_families.TOKENS),
        switched_off=family.prepare(pipe),
    )
