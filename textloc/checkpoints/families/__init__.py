"""One file a family: where its text layers are, and how runs become its pipeline's own call.

In go a denoiser or a pipeline, out come text layers in forward-execution order, the other ways of
the text, and the arguments of a call. The family is found from the class and then from the modules
present, never from a checkpoint's name. To add one, copy the nearest file and name it in
`DENOISERS` and `PIPELINES`. `full_size` holds the published shapes, to count without weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from textloc.checkpoints.families import common, probe, refused
from textloc.checkpoints.families.aura_flow import AuraFlow
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.bria import Bria
from textloc.checkpoints.families.bria_fibo import BriaFibo
from textloc.checkpoints.families.chroma import Chroma
from textloc.checkpoints.families.cogview4 import CogView3Plus, CogView4
from textloc.checkpoints.families.deepfloyd_if import DeepFloydIF
from textloc.checkpoints.families.ernie_image import ErnieImage
from textloc.checkpoints.families.flux import Flux, FluxKontext
from textloc.checkpoints.families.flux2 import Flux2
from textloc.checkpoints.families.glm_image import GlmImage
from textloc.checkpoints.families.hidream import HiDream
from textloc.checkpoints.families.hunyuan_dit import HunyuanDiT
from textloc.checkpoints.families.hunyuan_image import HunyuanImage
from textloc.checkpoints.families.ideogram4 import Ideogram4
from textloc.checkpoints.families.kandinsky3 import Kandinsky3
from textloc.checkpoints.families.kandinsky5 import Kandinsky5
from textloc.checkpoints.families.kolors import Kolors
from textloc.checkpoints.families.krea2 import Krea2
from textloc.checkpoints.families.latent_diffusion import LatentDiffusion
from textloc.checkpoints.families.longcat_image import LongCatImage
from textloc.checkpoints.families.lumina import Lumina
from textloc.checkpoints.families.lumina2 import Lumina2
from textloc.checkpoints.families.nucleus import Nucleus
from textloc.checkpoints.families.omnigen import OmniGen
from textloc.checkpoints.families.ovis_image import OvisImage
from textloc.checkpoints.families.pixart import PixArt
from textloc.checkpoints.families.prx import PRX
from textloc.checkpoints.families.qwen_image import QwenImage
from textloc.checkpoints.families.qwen_image_21 import QwenImage21
from textloc.checkpoints.families.qwen_image_edit import QwenImageEdit
from textloc.checkpoints.families.sana import Sana
from textloc.checkpoints.families.stable_diffusion import StableDiffusion
from textloc.checkpoints.families.stable_diffusion_3 import StableDiffusion3
from textloc.checkpoints.families.stable_diffusion_xl import StableDiffusionXL
from textloc.checkpoints.families.z_image import ZImage
from textloc.errors import CheckpointError, LayerError
from textloc.layers import TextChannel, TextLayer

__all__ = [
    "DENOISERS",
    "PIPELINES",
    "Family",
    "of_denoiser",
    "of_pipeline",
    "text_channels",
    "text_layers",
]

DENOISERS: dict[str, tuple[Family, ...]] = {
    "AuraFlowTransformer2DModel": (AuraFlow(),),
    "BriaFiboTransformer2DModel": (BriaFibo(),),
    "BriaTransformer2DModel": (Bria(),),
    "ChromaTransformer2DModel": (Chroma(),),
    "CogView3PlusTransformer2DModel": (CogView3Plus(),),
    "CogView4Transformer2DModel": (CogView4(),),
    "ErnieImageTransformer2DModel": (ErnieImage(),),
    "Flux2Transformer2DModel": (Flux2(),),
    "FluxTransformer2DModel": (Flux(),),
    "GlmImageTransformer2DModel": (GlmImage(),),
    "HiDreamImageTransformer2DModel": (HiDream(),),
    "HunyuanDiT2DModel": (HunyuanDiT(),),
    "HunyuanImageTransformer2DModel": (HunyuanImage(),),
    "Ideogram4Transformer2DModel": (Ideogram4(),),
    "Kandinsky3UNet": (Kandinsky3(),),
    "Kandinsky5Transformer3DModel": (Kandinsky5(),),
    "Krea2Transformer2DModel": (Krea2(),),
    "LongCatImageTransformer2DModel": (LongCatImage(),),
    "Lumina2Transformer2DModel": (Lumina2(),),
    "LuminaNextDiT2DModel": (Lumina(),),
    "NucleusMoEImageTransformer2DModel": (Nucleus(),),
    "OmniGenTransformer2DModel": (OmniGen(),),
    "OvisImageTransformer2DModel": (OvisImage(),),
    "PRXTransformer2DModel": (PRX(),),
    "PixArtTransformer2DModel": (PixArt(),),
    "QwenImage21Transformer2DModel": (QwenImage21(),),
    "QwenImageTransformer2DModel": (QwenImage(),),
    "SD3Transformer2DModel": (StableDiffusion3(),),
    "SanaTransformer2DModel": (Sana(),),
    "UNet2DConditionModel": (
        StableDiffusion(),
        DeepFloydIF(),
    ),
    "ZImageTransformer2DModel": (ZImage(),),
}
"""Denoiser class name to families; the first that fits is taken."""

PIPELINES: dict[str, Family] = {
    "AuraFlowPipeline": AuraFlow(),
    "BriaFiboPipeline": BriaFibo(),
    "BriaPipeline": Bria(),
    "ChromaPipeline": Chroma(),
    "CogView3PlusPipeline": CogView3Plus(),
    "CogView4Pipeline": CogView4(),
    "ErnieImagePipeline": ErnieImage(),
    "Flux2KleinKVPipeline": Flux2(),
    "Flux2KleinPipeline": Flux2(),
    "Flux2Pipeline": Flux2(),
    "FluxImg2ImgPipeline": Flux(),
    "FluxInpaintPipeline": Flux(),
    "FluxKontextPipeline": FluxKontext(),
    "FluxPipeline": Flux(),
    "GlmImagePipeline": GlmImage(),
    "HiDreamImagePipeline": HiDream(),
    "HunyuanDiTPAGPipeline": HunyuanDiT(),
    "HunyuanDiTPipeline": HunyuanDiT(),
    "HunyuanImagePipeline": HunyuanImage(),
    "IFPipeline": DeepFloydIF(),
    "Ideogram4Pipeline": Ideogram4(),
    "Kandinsky3Pipeline": Kandinsky3(),
    "Kandinsky5T2IPipeline": Kandinsky5(),
    "KolorsPAGPipeline": Kolors(),
    "KolorsPipeline": Kolors(),
    "Krea2Pipeline": Krea2(),
    "LDMTextToImagePipeline": LatentDiffusion(),
    "LatentConsistencyModelPipeline": StableDiffusion(),
    "LongCatImagePipeline": LongCatImage(),
    "Lumina2Pipeline": Lumina2(),
    "LuminaPipeline": Lumina(),
    "NucleusMoEImagePipeline": Nucleus(),
    "OmniGenPipeline": OmniGen(),
    "OvisImagePipeline": OvisImage(),
    "PRXPipeline": PRX(),
    "PRXPixelPipeline": PRX(),
    "PixArtAlphaPipeline": PixArt(),
    "PixArtSigmaPAGPipeline": PixArt(),
    "PixArtSigmaPipeline": PixArt(),
    "QwenImage21Pipeline": QwenImage21(),
    "QwenImageEditPipeline": QwenImageEdit(),
    "QwenImagePipeline": QwenImage(),
    "SanaPAGPipeline": Sana(),
    "SanaPipeline": Sana(),
    "SanaSprintPipeline": Sana(),
    "StableDiffusion3Img2ImgPipeline": StableDiffusion3(),
    "StableDiffusion3InpaintPipeline": StableDiffusion3(),
    "StableDiffusion3Pipeline": StableDiffusion3(),
    "StableDiffusionImg2ImgPipeline": StableDiffusion(),
    "StableDiffusionInpaintPipeline": StableDiffusion(),
    "StableDiffusionPAGPipeline": StableDiffusion(),
    "StableDiffusionPipeline": StableDiffusion(),
    "StableDiffusionXLImg2ImgPipeline": StableDiffusionXL(),
    "StableDiffusionXLInpaintPipeline": StableDiffusionXL(),
    "StableDiffusionXLPAGPipeline": StableDiffusionXL(),
    "StableDiffusionXLPipeline": StableDiffusionXL(),
    "ZImagePipeline": ZImage(),
}
"""Pipeline class name to family."""


def of_denoiser(denoiser: Any) -> Family:
    """The family of a denoiser.

    Raises:
        CheckpointError: its class is not known.
    """
    for cls in type(denoiser).__mro__:
        for module in DENOISERS.get(cls.__name__, ()):
            if module.fits(denoiser):
                return module
    looked_at = probe.found(denoiser)
    if looked_at is not None:
        return looked_at
    if hasattr(denoiser, "_orig_mod"):
        raise CheckpointError(
            "the denoiser is compiled (torch.compile), so its layers cannot be reached; give the "
            "one that it was compiled from, `pipe.unet._orig_mod`"
        )
    raise CheckpointError(
        f"the denoiser class {type(denoiser).__name__} is not known; known are "
        f"{', '.join(DENOISERS)}. Load it with its pipeline, which tells how it is called, so that "
        "its text layers can be found by looking; or write a file in "
        "textloc/checkpoints/families/ and name it in DENOISERS"
    )


def of_pipeline(pipe: Any) -> Family:
    """The family of a pipeline. One of a class without a file is looked at (`probe`).

    Raises:
        CheckpointError: it cannot be used; the message says why. LayerError: what was found by
        looking does not keep the invariants.
    """
    for cls in type(pipe).__mro__:
        if cls.__name__ in PIPELINES:
            return PIPELINES[cls.__name__]
    name = type(pipe).__name__
    if reason := refused.reason(name):
        raise CheckpointError(f"{name} cannot be used: {reason}")
    return probe.of_pipeline(pipe)


_CACHES = {
    "fbc_": "first-block cache",
    "mag_cache": "MagCache",
    "taylorseer": "TaylorSeer cache",
    "faster_cache": "FasterCache",
    "pyramid_attention": "pyramid attention broadcast",
    "sea_cache": "SeaCache",
    "text_kv_cache": "cache of text keys and values",
    "layer_skip": "layer skip",
    "smoothed_energy": "smoothed energy guidance",
}
"""How diffusers names the hooks that skip layers or give again what they gave before, and what
people call these."""


def check_not_compiled(denoiser: Any) -> None:
    """Check that neither the denoiser nor a part of it is compiled or cached.

    Raises:
        LayerError: one is; compiled code may miss hooks that are added later, and a cache of
            diffusers skips layers.
    """
    rest, seen = [denoiser], set()
    while rest:  # `modules()` and `hasattr` take four times as long
        module = rest.pop()
        if module is None or module in seen:
            continue
        seen.add(module)
        own = vars(module)
        parts = own["_modules"]
        if "_diffusers_hook" in own:
            _check_hooks(own["_diffusers_hook"])
        if "_orig_mod" in parts or "_orig_mod" in own or module._compiled_call_impl is not None:
            raise LayerError(
                "the denoiser is compiled, which may pass hooks by; load it anew and use it before "
                "torch.compile"
            )
        rest.extend(parts.values())


def _check_hooks(registry: Any) -> None:
    """Check that none of a module's hooks of diffusers skips layers; offloading ones do not."""
    for name in registry.hooks:
        for sign, title in _CACHES.items():
            if name.startswith(sign):
                raise LayerError(
                    f"the denoiser's {title} is on, which skips layers; switch it off "
                    "(`denoiser.disable_cache()`) and try again"
                )


def text_channels(denoiser: Any) -> tuple[TextChannel, ...]:
    """The ways of the text into the denoiser beside its text layers.

    Raises:
        CheckpointError: unknown denoiser class.
    """
    return tuple(of_denoiser(denoiser).channels(denoiser))


def text_layers(denoiser: Any) -> tuple[TextLayer, ...]:
    """The text layers of a denoiser in forward-execution order.

    Execution order is recorded from one small forward pass; on the meta device no memory is used,
    and where the pass decides by values, which are not there, the order is that of the modules.

    Raises:
        CheckpointError: unknown denoiser class. LayerError: no text layer, fused projections, a
        compiled model, or a layer that the forward pass does not reach.
    """
    import torch

    check_not_compiled(denoiser)
    module = of_denoiser(denoiser)
    found = {layer.key: layer for layer in module.find(denoiser)}
    if not found:
        raise LayerError("this denoiser has no text layer; is it a text-to-image checkpoint?")
    order: list[str] = []
    handles = [
        denoiser.get_submodule(key).register_forward_hook(
            lambda _module, _args, _output, key=key: order.append(key)
        )
        for key in found
    ]
    try:
        with torch.no_grad():
            denoiser(**module.inputs(denoiser))
    except (NotImplementedError, RuntimeError):
        if str(common.device(denoiser)) != "meta":
            raise
        order = list(found)  # it decides by values, which meta tensors have not
    finally:
        for handle in handles:
            handle.remove()
    silent = set(found) - set(order)
    if silent or len(order) != len(found):
        raise LayerError(
            f"{len(silent)} of {len(found)} text layers did not run exactly once in a forward "
            "pass; unfuse the projections (unfuse_qkv_projections) and try again"
        )
    return tuple(replace(found[key], index=index) for index, key in enumerate(order))


def architecture(denoiser: Any, layers: Sequence[TextLayer]) -> str:
    """Short name of what a denoiser is built like, 16 hex digits: class, text layers, and what
    tells SD3.5 from SD3. Equal for a checkpoint and its fine-tunes."""
    traits = [denoiser.config.get(name) for name in ("dual_attention_layers", "qk_norm")]
    told = [list(t) if isinstance(t, (str, list, tuple)) else t for t in traits]
    lines = [type(denoiser).__name__, *(f"{t or ''}" for t in told)]
    lines += [f"{layer.name} {layer.heads} {layer.kv_parameters}" for layer in layers]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
