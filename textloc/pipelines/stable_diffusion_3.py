"""Stable Diffusion 3 and 3.5: two CLIP text encoders and a T5, a joint-attention transformer.

The text tokens are those of the CLIP encoders, side by side, followed by those of T5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textloc.pipelines import common
from textloc.runs import Run, Sampling

DENOISER = "transformer"
enlarge = None
encode = common.encode_shifted
_LENGTH = 256  # the pipeline's own, of the T5 text

prepare = common.nothing_to_switch_off


def arguments(pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
    """Prompts for the three encoders and negative prompts, one a row."""
    negative = common.negative_prompts(runs)
    return {**common.call(sampling), **common.prompts(runs, 3), **negative}


def readers(pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
    """T5's tokenizer, which reads on where CLIP's stop; without T5, CLIP's."""
    if pipe.text_encoder_3 is not None:
        return [(pipe.tokenizer_3, sampling.text_length or _LENGTH)]
    return [(t, int(t.model_max_length)) for t in (pipe.tokenizer, pipe.tokenizer_2)]
