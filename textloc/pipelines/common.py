"""What pipeline families share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textloc.runs import Run


def negative_prompts(runs: Sequence[Run]) -> dict[str, Any]:
    """The negative prompts as a list (no pipeline spreads a single one over several prompts), or
    nothing where all leave it unset."""
    if all(run.negative_prompt is None for run in runs):
        return {}
    return {"negative_prompt": [run.negative_prompt or "" for run in runs]}
