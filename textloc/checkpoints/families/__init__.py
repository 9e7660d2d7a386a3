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
from typing import Any, Protocol

from PIL import Image

from textloc.checkpoints.families import (
    deepfloyd_if,
    flux,
    latent_diffusion,
    pixart,
    qwen_image,
    sana,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
)
from textloc.checkpoints.families.common import Text
from textloc.errors import CheckpointError, LayerError
from textloc.layers import TextChannel, TextLayer
from textloc.runs import Run, Sampling


class Family(Protocol):
    """What a module of this package offers: the denoiser's text first, then the pipeline's call."""

    SHARED: tuple[str, ...]
    """Arguments of the forward pass that all rows share, though they may be as long as a batch."""

    def fits(self, denoiser: Any) -> bool:
        """Whether the denoiser, of the right class, has the modules of this family."""

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The text layers, unordered; `index` is not yet meaningful."""

    def channels(self, denoiser: Any) -> list[TextChannel]:
        """The ways of the text into the denoiser beside the text layers."""

    def read_text(self, denoiser: Any, states: Any) -> Any:
        """The text states (N, T, D) as static text layers take them, before a norm of their own;
        called only where there are such layers."""

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Keyword arguments of the smallest forward pass, on the denoiser's device and dtype."""

    DENOISER: str
    """Name of the pipeline's component that denoises."""

    enlarge: Any
    """`enlarge(second, runs, images, generators)` puts pictures through the pipeline of a second
    stage; None where the family has none."""

    def prepare(self, pipe: Any) -> dict[str, str | None]:
        """Switch off checkers and watermarks; returns `safety_checker` and `watermark`, each
        "off" where one was switched off and None where there was none."""

    def arguments(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """The call's arguments, one prompt a row.

        Raises:
            PromptError: prompts that this pipeline does not take, or not side by side.
        """

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizers that must not cut a prompt off, each with its longest text in tokens."""

    def texts(self, pipe: Any, sampling: Sampling) -> list[Text]:
        """Which tokenizer makes the text tokens of a layer, in the order of their places."""

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """RGB pictures of the call's size as the clean latents of its denoising loop, one a row."""


DENOISERS: dict[str, tuple[Family, ...]] = {
    "UNet2DConditionModel": (stable_diffusion, deepfloyd_if),
    "SD3Transformer2DModel": (stable_diffusion_3,),
    "FluxTransformer2DModel": (flux,),
    "PixArtTransformer2DModel": (pixart,),
    "SanaTransformer2DModel": (sana,),
    "QwenImageTransformer2DModel": (qwen_image,),
}
"""Denoiser class name to families; the first that fits is taken."""

PIPELINES: dict[str, Family] = {
    "StableDiffusionPipeline": stable_diffusion,
    "LDMTextToImagePipeline": latent_diffusion,
    "StableDiffusionXLPipeline": stable_diffusion_xl,
    "IFPipeline": deepfloyd_if,
    "StableDiffusion3Pipeline": stable_diffusion_3,
    "FluxPipeline": flux,
    "PixArtAlphaPipeline": pixart,
    "PixArtSigmaPipeline": pixart,
    "SanaPipeline": sana,
    "QwenImagePipeline": qwen_image,
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
    raise CheckpointError(
        f"the denoiser class {type(denoiser).__name__} is not known; known are "
        f"{', '.join(DENOISERS)}. To add one, write a module in textloc/checkpoints/families/ "
        "that finds its text layers and name it in DENOISERS"
    )


def of_pipeline(pipe: Any) -> Family:
    """The family of a pipeline.

    Raises:
        CheckpointError: its class is not known.
    """
    for cls in type(pipe).__mro__:
        if cls.__name__ in PIPELINES:
            return PIPELINES[cls.__name__]
    raise CheckpointError(
        f"the pipeline class {type(pipe).__name__} is not known; known are {', '.join(PIPELINES)}. "
        "To add one, write a module in textloc/checkpoints/families/ and name it in PIPELINES"
    )


def check_not_compiled(denoiser: Any) -> None:
    """Check that neither the denoiser nor a part of it is compiled.

    Raises:
        LayerError: one is; compiled code may miss hooks that are added later.
    """
    rest, seen = [denoiser], set()
    while rest:  # `modules()` and `hasattr` take four times as long
        module = rest.pop()
        if module is None or module in seen:
            continue
        seen.add(module)
        own = vars(module)
        parts = own["_modules"]
        if "_orig_mod" in parts or "_orig_mod" in own or module._compiled_call_impl is not None:
            raise LayerError(
                "the denoiser is compiled, which may pass hooks by; load it anew and use it before "
                "torch.compile"
            )
        rest.extend(parts.values())


def text_channels(denoiser: Any) -> tuple[TextChannel, ...]:
    """The ways of the text into the denoiser beside its text layers.

    Raises:
        CheckpointError: unknown denoiser class.
    """
    return tuple(of_denoiser(denoiser).channels(denoiser))


def text_layers(denoiser: Any) -> tuple[TextLayer, ...]:
    """The text layers of a denoiser in forward-execution order.

    Execution order is recorded from one small forward pass; on the meta device no memory is used.

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
    lines = [type(denoiser).__name__, *(f"{list(t) if t else ''}" for t in traits)]
    lines += [f"{layer.name} {layer.heads} {layer.kv_parameters}" for layer in layers]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
