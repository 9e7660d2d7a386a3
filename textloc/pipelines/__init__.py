"""How runs become the arguments of a diffusers pipeline's own call.

A family is one module here and one line in `FAMILIES`. `prepare(pipe)` switches off what would hide
a picture and says what it switched off, `arguments(pipe, runs, sampling)` makes the call's
arguments, and `readers(pipe, sampling)` says how much of a prompt is read. Images come only from
the pipeline's `__call__`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from PIL import Image

from textloc.errors import CheckpointError
from textloc.pipelines import (
    deepfloyd_if,
    flux,
    latent_diffusion,
    pixart,
    qwen_image,
    sana,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
)
from textloc.runs import Run, Sampling


class Family(Protocol):
    """What a module of this package offers."""

    DENOISER: str
    """Name of the pipeline's component that denoises."""

    enlarge: Any
    """`enlarge(second, runs, images, generators)` puts pictures through the pipeline of a second
    stage; None where the family has none."""

    def prepare(self, pipe: Any) -> dict[str, str | None]:
        """Switch off checkers and watermarks; returns `safety_checker` and `watermark`, each
        "off" where one was switched off and None where there was none."""

    def arguments(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """The call's arguments, one prompt a row.

        Raises:
            PromptError: prompts that this pipeline does not take, or not side by side.
        """

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizers that must not cut a prompt off, each with its longest text in tokens."""

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """RGB pictures of the call's size as the clean latents of its denoising loop, one a row."""


FAMILIES: dict[str, Family] = {
    "StableDiffusionPipeline": stable_diffusion,
    "LDMTextToImagePipeline": latent_diffusion,
    "StableDiffusionXLPipeline": stable_diffusion_xl,
    "IFPipeline": deepfloyd_if,
    "StableDiffusion3Pipeline": stable_diffusion_3,
    "FluxPipeline": flux,
    "PixArtAlphaPipeline": pixart,
    "PixArtSigmaPipeline": pixart,
    "SanaPipeline": sana,
    "QwenImagePipeline": qwen_image,
}
"""Pipeline class name to family."""


def family(pipe: Any) -> Family:
    """The family of a pipeline.

    Raises:
        CheckpointError: its class is not known.
    """
    for cls in type(pipe).__mro__:
        if cls.__name__ in FAMILIES:
            return FAMILIES[cls.__name__]
    raise CheckpointError(
        f"the pipeline class {type(pipe).__name__} is not known; known are {', '.join(FAMILIES)}. "
        "To add one, write a module in textloc/pipelines/ and name it in FAMILIES"
    )
