"""Where the text layers of each denoiser family are.

A family is one module here and one line in `FAMILIES`. `find(denoiser)` lists the text layers by
module type (in any order), `channels(denoiser)` the ways of the text beside them, and
`inputs(denoiser)` makes the arguments of one small forward pass, by which the layers are put into
execution order. The family is found from the denoiser's class and then from the modules present,
never from a checkpoint's name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from textloc.architectures import deepfloyd_if, flux, pixart, qwen_image, sana, sd3, unet
from textloc.errors import CheckpointError, LayerError
from textloc.layers import TextChannel, TextLayer


class Family(Protocol):
    """What a module of this package offers."""

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


FAMILIES: dict[str, tuple[Family, ...]] = {
    "UNet2DConditionModel": (unet, deepfloyd_if),
    "SD3Transformer2DModel": (sd3,),
    "FluxTransformer2DModel": (flux,),
    "PixArtTransformer2DModel": (pixart,),
    "SanaTransformer2DModel": (sana,),
    "QwenImageTransformer2DModel": (qwen_image,),
}
"""Denoiser class name to families; the first that fits is taken."""


def family(denoiser: Any) -> Family:
    """The family of a denoiser.

    Raises:
        CheckpointError: its class is not known.
    """
    for cls in type(denoiser).__mro__:
        for module in FAMILIES.get(cls.__name__, ()):
            if module.fits(denoiser):
                return module
    raise CheckpointError(
        f"the denoiser class {type(denoiser).__name__} is not known; known are "
        f"{', '.join(FAMILIES)}. To add one, write a module in textloc/architectures/ that finds "
        "its text layers and name it in FAMILIES"
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
    return tuple(family(denoiser).channels(denoiser))


def text_layers(denoiser: Any) -> tuple[TextLayer, ...]:
    """The text layers of a denoiser in forward-execution order.

    Execution order is recorded from one small forward pass; on the meta device no memory is used.

    Raises:
        CheckpointError: unknown denoiser class. LayerError: no text layer, fused projections, a
        compiled model, or a layer that the forward pass does not reach.
    """
    import torch

    check_not_compiled(denoiser)
    module = family(denoiser)
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
