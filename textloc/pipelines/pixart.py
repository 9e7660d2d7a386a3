"""PixArt-α and PixArt-Σ: a T5 text encoder, a cross-attention transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textloc.pipelines import common
from textloc.runs import Run, Sampling

DENOISER = "transformer"
enlarge = None
encode = common.encode
_LENGTHS = {"PixArtAlphaPipeline": 120}  # the pipelines' own
_LENGTH = 300
_BINNED = (32, 64, 128, 256)  # sample sizes for which the pipeline knows its usual formats

prepare = common.nothing_to_switch_off


def arguments(pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
    """Prompts and negative prompts, one a row, not cleaned of what looks like a web address.

    Raises:
        PromptError: a run has a second prompt.
    """
    return {
        **common.call(sampling),
        **common.prompts(runs, 1),
        **common.negative_prompts_of_all(runs, sampling),
        "clean_caption": False,
        "use_resolution_binning": pipe.transformer.config.sample_size in _BINNED,
    }


def readers(pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
    """The tokenizer at the call's length."""
    own = _LENGTHS.get(type(pipe).__name__, _LENGTH)
    return [(pipe.tokenizer, sampling.text_length or own)]
