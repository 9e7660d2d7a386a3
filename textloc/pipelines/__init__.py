"""How runs become the arguments of a diffusers pipeline's own call.

A family is one module here with `prepare(pipe)`, which switches off what would hide a picture and
says what it switched off, and `arguments(pipe, runs)`, the call's arguments that are the family's
own; and one line in `FAMILIES`. Images come only from the pipeline's `__call__`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from textloc.errors import CheckpointError
from textloc.pipelines import stable_diffusion, stable_diffusion_xl
from textloc.runs import Run


class Family(Protocol):
    """What a module of this package offers."""

    DENOISER: str
    """Name of the pipeline's component that denoises."""

    def prepare(self, pipe: Any) -> dict[str, str | None]:
        """Switch off checkers and watermarks; returns `safety_checker` and `watermark`, each
        "off" where one was switched off and None where there was none."""

    def arguments(self, pipe: Any, runs: Sequence[Run]) -> dict[str, Any]:
        """The call's prompts, one a row."""

    def token_limit(self, pipe: Any) -> int:
        """Longest prompt in tokens that the pipeline does not cut off."""


FAMILIES: dict[str, Family] = {
    "StableDiffusionPipeline": stable_diffusion,
    "StableDiffusionXLPipeline": stable_diffusion_xl,
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
