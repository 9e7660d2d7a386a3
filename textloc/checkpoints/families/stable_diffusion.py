"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textloc.checkpoints.families import common, unet
from textloc.runs import Run, Sampling

SHARED = unet.SHARED
fits = unet.fits
find = unet.find
channels = unet.channels
read_text = unet.read_text
inputs = unet.inputs


# The call

DENOISER = "unet"
enlarge = None
texts = common.texts
encode = common.encode


def prepare(pipe: Any) -> dict[str, str | None]:
    """Switch the safety checker off: it would replace pictures by black ones."""
    common.decode_one_by_one(pipe)
    had = getattr(pipe, "safety_checker", None) is not None
    if had:
        pipe.safety_checker = None
        pipe.register_to_config(requires_safety_checker=False)
    return {"safety_checker": "off" if had else None, "watermark": None}


def arguments(pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
    """Prompts and negative prompts, one a row.

    Raises:
        PromptError: a run has a second prompt.
    """
    negative = common.negative_prompts(runs)
    return {**common.call(sampling), **common.prompts(runs, 1), **negative}


def readers(pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
    """The tokenizer at its length."""
    return [(pipe.tokenizer, int(pipe.tokenizer.model_max_length))]
