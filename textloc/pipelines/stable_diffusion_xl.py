"""SDXL: two CLIP text encoders side by side, a pooled text state, a U-Net.

An unset negative prompt means zero text states (`force_zeros_for_empty_prompt`), which is not the
same as an empty one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textloc.pipelines.common import negative_prompts
from textloc.runs import Run

DENOISER = "unet"


def prepare(pipe: Any) -> dict[str, str | None]:
    """Switch the invisible watermark off: it would change every picture."""
    had = getattr(pipe, "watermark", None) is not None
    if had:
        pipe.watermark = None
    return {"safety_checker": None, "watermark": "off" if had else None}


def arguments(pipe: Any, runs: Sequence[Run]) -> dict[str, Any]:
    """Prompts for both encoders and negative prompts, one a row."""
    second = None
    if any(run.prompt_2 is not None for run in runs):
        second = [run.prompt if run.prompt_2 is None else run.prompt_2 for run in runs]
    return {
        "prompt": [run.prompt for run in runs],
        "prompt_2": second,
        **negative_prompts(runs),
    }


def token_limit(pipe: Any) -> int:
    """The shorter of both tokenizers' lengths."""
    both = (pipe.tokenizer, pipe.tokenizer_2)
    return min(int(tokenizer.model_max_length) for tokenizer in both if tokenizer is not None)
