"""LDM (`ldm-text2im`): a BERT-like text encoder, a U-Net; the pipeline knows no negative prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from textloc.checkpoints.families import common, unet
from textloc.errors import PromptError
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
_LENGTH = 77  # the pipeline's own


def prepare(pipe: Any) -> dict[str, str | None]:
    """Nothing to switch off."""
    return {"safety_checker": None, "watermark": None}


def arguments(pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
    """Prompts, one a row.

    Raises:
        PromptError: a run has a second or a negative prompt.
    """
    if any(run.negative_prompt is not None for run in runs):
        raise PromptError("LDMTextToImagePipeline takes no negative prompt; leave it out")
    return {**common.call(sampling), **common.prompts(runs, 1)}


def readers(pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
    """The tokenizer at the pipeline's length."""
    return [(pipe.tokenizer, _LENGTH)]


def encode(pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
    """Latents of the autoencoder."""
    code = common.coded(pipe.vqvae, common.pixels(pipe, pictures))
    return code * pipe.vqvae.config.scaling_factor
