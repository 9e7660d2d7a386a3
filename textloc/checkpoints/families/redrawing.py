"""Calls that begin from a picture (image-to-image) and redraw it, or the part of it under a mask
(inpainting).

Reads the pipelines of diffusers whose call takes a `strength`: of so many steps that share is made,
from the picture with as much noise. Here the steps that are made are those that were asked for.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

from textloc.errors import PromptError
from textloc.runs import Reference, Run, Sampling


def _signature(pipe: Any) -> Any:
    """The parameters of the pipeline's call, or of the class's that its own hands on to."""
    for cls in type(pipe).__mro__:
        if "__call__" in vars(cls):
            found = inspect.signature(vars(cls)["__call__"]).parameters
            if "prompt" in found:
                return found
    return {}


def redraws(pipe: Any) -> bool:
    """Whether the pipeline's call begins from a picture."""
    return "strength" in _signature(pipe)


def masks(pipe: Any) -> bool:
    """Whether it redraws what a mask marks."""
    return redraws(pipe) and "mask_image" in _signature(pipe)


def check(pipe: Any, reference: Reference | None) -> None:
    """Check that a pipeline is given what it wants beside its prompts, and no more.

    Raises:
        PromptError: it is not.
    """
    name = type(pipe).__name__
    if redraws(pipe) and reference is None:
        mask = " and where to draw on it (--mask)" if masks(pipe) else ""
        raise PromptError(f"{name} draws on a picture: give one (--image){mask}")
    if reference is None:
        return
    if masks(pipe) and reference.mask is None:
        raise PromptError(f"{name} redraws a part of a picture: give a mask of it (--mask)")
    if reference.mask is not None and not masks(pipe):
        raise PromptError(f"{name} takes no mask; leave it out")
    if reference.strength is not None and not redraws(pipe):
        raise PromptError(f"{name} takes no strength; leave it out")


def call(pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
    """The picture, one a row, the mask, and the steps and strength that make the steps asked for.
    A strength that was not given is the call's usual one."""
    reference = sampling.reference
    assert reference is not None
    usual = float(_signature(pipe)["strength"].default)
    wanted = usual if reference.strength is None else reference.strength
    steps, strength = whole(sampling.steps, wanted)
    found = {
        "image": [reference.picture] * len(runs),
        "num_inference_steps": steps,
        "strength": strength,
    }
    if reference.mask is not None:
        found["mask_image"] = [reference.mask] * len(runs)
    return found


def whole(made: int, strength: float) -> tuple[int, float]:
    """Steps and the strength nearest to `strength` of which just `made` steps are made, however
    the pipeline rounds: their product is a whole number."""
    steps = max(made, round(made / strength))
    while True:
        near = made / steps
        for share in (near, math.nextafter(near, 1), math.nextafter(near, 0)):
            if steps * share == made:
                return steps, share
        steps += 1
