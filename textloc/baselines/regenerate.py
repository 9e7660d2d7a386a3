"""The target prompt from fresh noise: what someone does who just asks again."""

from __future__ import annotations

from typing import Any

from textloc.reading.ocr import Reading
from textloc.runs import Run, Sampling

TITLE = "Regenerate"
PAPER = ""

_AWAY = 1_000_003
"""Between the seeds of source and edit; prime, so that no two seeds of a list meet."""


def check(model: Any, sampling: Sampling) -> None:
    """It works everywhere."""


def run(source: Run, target: str, reading: Reading, size: tuple[int, int]) -> Run:
    """A run of the target prompt with another seed."""
    return Run(target, (source.seed + _AWAY) % 2**63, source.negative_prompt)
