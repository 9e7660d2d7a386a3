"""SDXL: two CLIP text encoders side by side, a pooled text state, a U-Net.

An unset negative prompt means zero text states (`force_zeros_for_empty_prompt`), which is not the
same as an empty one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textloc.errors import PromptError
from textloc.pipelines.common import decode_one_by_one, negative_prompts
from textloc.runs import Run

DENOISER = "unet"


def prepare(pipe: Any) -> dict[str, str | None]:
    """Switch the invisible watermark off: it would change every picture."""
    decode_one_by_one(pipe)
    had = getattr(pipe, "watermark", None) is not None
    if had:
        pipe.watermark = None
    return {"safety_checker": None, "watermark": "off" if had else None}


def arguments(pipe: Any, runs: Sequence[Run]) -> dict[str, Any]:
    """Prompts for both encoders and negative prompts, one a row.

    Raises:
        PromptError: some runs set a negative prompt and some do not, and unset means zero states.
    """
    unset = {run.negative_prompt is None for run in runs}
    if len(unset) > 1 and pipe.config.force_zeros_for_empty_prompt:
        raise PromptError(
            "a run and those it takes from must all set a negative prompt or all leave it unset: "
            "for SDXL an unset one is not the same as an empty one"
        )
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
