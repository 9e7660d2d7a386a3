"""FLUX.1: a CLIP text encoder for the pooled state and a T5 for the tokens, a transformer.

The guidance of the distilled checkpoints is a number that the transformer is told; there is one
pass a step. A negative prompt would need true guidance, which is left off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from textloc.errors import PromptError
from textloc.pipelines import common
from textloc.runs import Run, Sampling

DENOISER = "transformer"
enlarge = None
_LENGTH = 512  # the pipeline's own, of the T5 text

prepare = common.nothing_to_switch_off


def arguments(pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
    """Prompts for both encoders, one a row.

    Raises:
        PromptError: a run has a third or a negative prompt.
    """
    if any(run.negative_prompt is not None for run in runs):
        raise PromptError("FLUX.1 is distilled and takes no negative prompt; leave it out")
    return {**common.call(sampling), **common.prompts(runs, 2)}


def readers(pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
    """T5's tokenizer."""
    return [(pipe.tokenizer_2, sampling.text_length or _LENGTH)]


def encode(pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
    """Latents of the autoencoder, packed by two by two: (N, h * w / 4, 4 C)."""
    code = common.encode_shifted(pipe, pictures, sampling)
    return pipe._pack_latents(code, *code.shape)
