"""The target prompt from fresh noise: what someone does who just asks again."""

from __future__ import annotations

from textloc.reading.ocr import Reading
from textloc.runs import Run

TITLE = "Regenerate"
PAPER = ""

_AWAY = 1_000_003
"""Between the seeds of source and edit; prime, so that no two seeds of a list meet."""


def run(source: Run, target: str, reading: Reading, size: tuple[int, int]) -> Run:
    """A run of the target prompt with another seed."""
    return Run(target, (source.seed + _AWAY) % 2**63, source.negative_prompt)
