"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textloc.errors import PromptError
from textloc.pipelines.common import decode_one_by_one, negative_prompts
from textloc.runs import Run

DENOISER = "unet"


def prepare(pipe: Any) -> dict[str, str | None]:
    """Switch the safety checker off: it would replace pictures by black ones."""
    decode_one_by_one(pipe)
    had = getattr(pipe, "safety_checker", None) is not None
    if had:
        pipe.safety_checker = None
        pipe.register_to_config(requires_safety_checker=False)
    return {"safety_checker": "off" if had else None, "watermark": None}


def arguments(pipe: Any, runs: Sequence[Run]) -> dict[str, Any]:
    """Prompts and negative prompts, one a row.

    Raises:
        PromptError: a run has a second prompt.
    """
    if any(run.prompt_2 is not None for run in runs):
        raise PromptError("this checkpoint has one text encoder; leave the second prompt out")
    return {"prompt": [run.prompt for run in runs], **negative_prompts(runs)}


def token_limit(pipe: Any) -> int:
    """The tokenizer's length."""
    return int(pipe.tokenizer.model_max_length)
