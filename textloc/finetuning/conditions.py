"""What the denoiser is given beside the noisy picture, as the pipeline's own call gives it.

The call is made with the denoiser replaced by one that keeps its arguments, so a fine-tune sees
exactly what the pipeline will send. How they are kept with the samples and handed on again is the
family's (`Family.kept`, `Family.asked`).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from textloc.errors import TrainingError
from textloc.replacing import replaced
from textloc.runs import Run, Sampling

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model

TRAINED = (
    "StableDiffusionPipeline",
    "StableDiffusionXLPipeline",
    "IFPipeline",
    "StableDiffusion3Pipeline",
    "FluxPipeline",
    "Flux2Pipeline",
    "Flux2KleinPipeline",
    "QwenImagePipeline",
    "ZImagePipeline",
    "ChromaPipeline",
)
"""Pipelines that can be fine-tuned."""

Conditions = dict[str, Tensor]
"""What is kept with samples by name, one row each."""


class _Seen(Exception):
    """The denoiser was called."""

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__()
        self.given = given


def check_trained(pipe: Any) -> None:
    """Check that a pipeline can be fine-tuned.

    Raises:
        TrainingError: it cannot be here.
    """
    if not any(cls.__name__ in TRAINED for cls in type(pipe).__mro__):
        raise TrainingError(
            f"{type(pipe).__name__} cannot be fine-tuned here; the pipelines that can are "
            f"{', '.join(TRAINED)}. A LoRA that was trained elsewhere is carried by --lora"
        )


def conditions(model: Model, prompts: Sequence[str], sampling: Sampling) -> Conditions:
    """Of these prompts, one a row.

    Raises:
        TrainingError: a pipeline that cannot be fine-tuned here. PromptError: as `generate`.
    """
    check_trained(model.pipe)
    guidance = model.family.UNGUIDED
    given = _given(model, prompts, replace(sampling, steps=1, guidance=guidance))
    found: Conditions = model.family.kept(given, len(prompts))
    strange = [name for name, value in found.items() if len(value) % len(prompts)]
    if strange:
        raise TrainingError(f"{', '.join(strange)} of the denoiser do not come one row a prompt")
    return {name: value.detach() for name, value in found.items()}


def unconditional(model: Model, sampling: Sampling) -> Conditions:
    """Of no caption: what guidance moves away from, one row."""
    if model.family.EMPTY:
        return conditions(model, [""], sampling)
    given = _given(model, ["."], replace(sampling, steps=1, guidance=2.0))
    both = model.family.kept(given, 2)
    return {name: value[:1].detach() for name, value in both.items()}


def shift(model: Model, sampling: Sampling) -> float | None:
    """How the pipeline's call shifts the noise levels of this size towards noise, where its
    scheduler leaves that to the call: the factor of sigma / (1 - sigma)."""
    scheduler = model.pipe.scheduler
    if not scheduler.config.get("use_dynamic_shifting"):
        return None
    told: list[float] = []
    original = scheduler.set_timesteps

    @wraps(original)  # pipelines look at the signature
    def set_timesteps(*args: Any, **kwargs: Any) -> Any:
        told.append(float(kwargs["mu"]))
        return original(*args, **kwargs)

    with replaced(scheduler, "set_timesteps", set_timesteps):
        _given(model, ["."], replace(sampling, guidance=model.family.UNGUIDED))
    linear = scheduler.config.get("time_shift_type") == "linear"
    return told[-1] if linear else math.exp(told[-1])


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """Rows (N, T, ...) of several batches one after the other; shorter texts are filled up with
    zeros."""
    longest = max((value.shape[1] for value in rows if value.ndim > 1), default=0)
    return torch.cat([_filled(value, longest) for value in rows])


def _filled(rows: Tensor, length: int) -> Tensor:
    if rows.ndim < 2 or rows.shape[1] == length:
        return rows
    more = rows.new_zeros(len(rows), length - rows.shape[1], *rows.shape[2:])
    return torch.cat([rows, more], 1)


def dropped(rows: Conditions, empty: Conditions, drop: Tensor) -> Conditions:
    """Conditions with those of no caption, `empty`, where `drop` (N,) says so."""
    found = {}
    for name, value in rows.items():
        other = empty[name].to("cpu", value.dtype)
        if value.ndim > 1:
            longest = max(value.shape[1], other.shape[1])
            value, other = _filled(value, longest), _filled(other, longest)
        found[name] = torch.where(drop.view(-1, *[1] * (value.ndim - 1)), other, value)
    return found


def _given(model: Model, prompts: Sequence[str], call: Sampling) -> dict[str, Any]:
    """The arguments of the denoiser's first pass, by name."""
    denoiser = model.denoiser
    names = list(inspect.signature(type(denoiser).forward).parameters)[1:]

    def see(*args: Any, **given: Any) -> Any:
        raise _Seen(dict(zip(names, args, strict=False)) | given)

    try:
        with replaced(denoiser, "forward", see), torch.no_grad():
            runs = [Run(prompt) for prompt in prompts]
            model.call(**model.family.arguments(model.pipe, runs, call), output_type="pil")
    except _Seen as seen:
        return seen.given
    raise TrainingError(f"{type(model.pipe).__name__} makes its pictures without its denoiser")
