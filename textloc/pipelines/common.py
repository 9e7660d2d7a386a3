"""What pipeline families share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textloc.runs import Run

_LARGE = 512
"""Side in pixels from which a whole batch is too much for the autoencoder at once."""


def negative_prompts(runs: Sequence[Run]) -> dict[str, Any]:
    """The negative prompts as a list (no pipeline spreads a single one over several prompts), or
    nothing where all leave it unset."""
    if all(run.negative_prompt is None for run in runs):
        return {}
    return {"negative_prompt": [run.negative_prompt or "" for run in runs]}


def decode_one_by_one(pipe: Any) -> None:
    """Have the autoencoder of a checkpoint for large pictures decode one picture at a time.

    Decoding a batch takes more memory than denoising it, and would fail after all steps are done.
    Small pictures are faster decoded together.
    """
    if (pipe.vae.config.get("sample_size") or 0) >= _LARGE:
        pipe.vae.enable_slicing()
