"""What the families share."""

from __future__ import annotations

from typing import Any

from textloc.errors import LayerError
from textloc.layers import TextLayer


def text_layer(
    name: str,
    module: Any,
    key: str,
    value: str,
    *,
    static: bool,
    mixed: bool = False,
    mask: str | None = None,
) -> TextLayer:
    """The text layer of the attention `module`, called `name`; `key` and `value` name its
    projections, each an `nn.Linear`.

    Raises:
        LayerError: the projections are fused.
    """
    if getattr(module, "fused_projections", False):
        raise LayerError(
            f"the projections of {name} are fused, which silences hooks; call "
            "unfuse_qkv_projections() first"
        )
    projections = (getattr(module, key), getattr(module, value))
    return TextLayer(
        index=-1,
        name=name,
        key=f"{name}.{key}",
        value=f"{name}.{value}",
        heads=module.heads,
        kv_parameters=sum(projection.weight.numel() for projection in projections),
        static=static,
        mixed=mixed,
        mask=mask,
    )


def read_text(denoiser: Any, states: Any) -> Any:
    """The text states as they come."""
    return states


def zeros(denoiser: Any, *shape: int) -> Any:
    """A tensor of zeros on the denoiser's device, in its number format."""
    import torch

    return torch.zeros(*shape, device=denoiser.device, dtype=denoiser.dtype)


def time(denoiser: Any) -> Any:
    """A time of one row."""
    import torch

    return torch.zeros(1, device=denoiser.device, dtype=torch.long)
