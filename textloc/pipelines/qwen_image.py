"""Qwen-Image: a vision-language model as text encoder, a joint-attention transformer.

Guidance is a second pass with the negative prompt, an empty one where none is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from textloc.pipelines import common
from textloc.runs import Run, Sampling

DENOISER = "transformer"
enlarge = None
_LENGTH = 512  # the pipeline's own

prepare = common.nothing_to_switch_off


def arguments(pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
    """Prompts and negative prompts, one a row.

    Raises:
        PromptError: a run has a second prompt.
    """
    return {
        **common.call(sampling, guidance="true_cfg_scale"),
        **common.prompts(runs, 1),
        **common.negative_prompts_of_all(runs, sampling),
    }


def readers(pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
    """The tokenizer at the call's length."""
    return [(pipe.tokenizer, sampling.text_length or _LENGTH)]


def encode(pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
    """Latents of the video autoencoder's one frame, packed by two by two: (N, h * w / 4, 4 C)."""
    code = common.coded(pipe.vae, common.pixels(pipe, pictures)[:, :, None])
    mean, std = (
        code.new_tensor(values)[:, None, None, None]
        for values in (pipe.vae.config.latents_mean, pipe.vae.config.latents_std)
    )
    code = (code - mean) / std
    return pipe._pack_latents(code, len(code), code.shape[1], *code.shape[-2:])
