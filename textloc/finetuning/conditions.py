"""What the denoiser is given beside the noisy picture, as the pipeline's own call gives it.

The call is made with the denoiser replaced by one that keeps its arguments, so a fine-tune sees
exactly what the pipeline will send.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from textloc.errors import TrainingError
from textloc.replacing import replaced
from textloc.runs import Run, Sampling

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model

TRAINED = {
    "StableDiffusionPipeline": "sample",
    "StableDiffusionXLPipeline": "sample",
    "IFPipeline": "sample",
    "StableDiffusion3Pipeline": "hidden_states",
}
"""Pipelines that can be fine-tuned, with the name of the denoiser's noisy latents."""

_NESTED = "added_cond_kwargs"

Conditions = dict[str, Tensor]
"""Arguments by name, rows first; those of `added_cond_kwargs` as `added_cond_kwargs.text_embeds`.
"""


class _Seen(Exception):
    """The denoiser was called."""

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__()
        self.given = given


def check_trained(pipe: Any) -> str:
    """The name of the denoiser's noisy latents.

    Raises:
        TrainingError: a pipeline that cannot be fine-tuned here.
    """
    for cls in type(pipe).__mro__:
        if cls.__name__ in TRAINED:
            return TRAINED[cls.__name__]
    raise TrainingError(
        f"{type(pipe).__name__} cannot be fine-tuned here; the pipelines that can are "
        f"{', '.join(TRAINED)}. A LoRA that was trained elsewhere is carried by --lora"
    )


def conditions(model: Model, prompts: Sequence[str], sampling: Sampling) -> Conditions:
    """Of these prompts, one a row.

    Raises:
        TrainingError: a pipeline that cannot be fine-tuned here. PromptError: as `generate`.
    """
    return _called(model, prompts, sampling, guidance=1.0)


def unconditional(model: Model, sampling: Sampling) -> Conditions:
    """Of no caption: what guidance moves away from, one row."""
    both = _called(model, ["."], sampling, guidance=2.0)
    return {name: value[:1] for name, value in both.items()}


def arguments(rows: Conditions) -> dict[str, Any]:
    """Keyword arguments of the denoiser."""
    found: dict[str, Any] = {}
    for name, value in rows.items():
        outer, _, inner = name.partition(".")
        if inner:
            found.setdefault(outer, {})[inner] = value
        else:
            found[name] = value
    return found


def _called(
    model: Model, prompts: Sequence[str], sampling: Sampling, guidance: float
) -> Conditions:
    from dataclasses import replace

    latents = check_trained(model.pipe)
    denoiser = model.denoiser
    call = replace(sampling, steps=1, guidance=guidance)

    def see(*args: Any, **given: Any) -> Any:
        raise _Seen(given)

    try:
        with replaced(denoiser, "forward", see), torch.no_grad():
            runs = [Run(prompt) for prompt in prompts]
            model.call(**model.family.arguments(model.pipe, runs, call), output_type="pil")
    except _Seen as seen:
        given = seen.given
    found: Conditions = {}
    for name, value in given.items():
        if name in (latents, "timestep") or value is None:
            continue
        if isinstance(value, Tensor):
            found[name] = value
        elif name == _NESTED:
            found |= {f"{name}.{inner}": tensor for inner, tensor in value.items()}
    strange = [name for name, value in found.items() if len(value) % len(prompts)]
    if strange:
        raise TrainingError(f"{', '.join(strange)} of the denoiser do not come one row a prompt")
    return {name: value.detach() for name, value in found.items()}
