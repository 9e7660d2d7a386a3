"""Sana: a Gemma text encoder with an instruction before the prompt, a cross-attention transformer.

The instruction is the pipeline's own; its tokens are not among those that the transformer reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textloc.pipelines import common
from textloc.runs import Run, Sampling

DENOISER = "transformer"
enlarge = None
encode = common.encode
_LENGTH = 300  # the pipeline's own
_BINNED = (16, 32, 64, 128)  # sample sizes for which the pipeline knows its usual formats

prepare = common.nothing_to_switch_off


def arguments(pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
    """Prompts and negative prompts, one a row.

    Raises:
        PromptError: a run has a second prompt.
    """
    return {
        **common.call(sampling),
        **common.prompts(runs, 1),
        **common.negative_prompts_of_all(runs, sampling),
        "use_resolution_binning": pipe.transformer.config.sample_size in _BINNED,
    }


def readers(pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
    """The tokenizer at the call's length."""
    return [(pipe.tokenizer, sampling.text_length or _LENGTH)]
