"""The target prompt everywhere, from the same noise: all layers and all other text channels.

The prompt swap that the paper compares with (section 4.2).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from textloc.reading.ocr import Reading
from textloc.runs import Run, Sampling

TITLE = "Prompt swap"
PAPER = "arXiv 2502.09935, section 4"


def check(model: Any, sampling: Sampling) -> None:
    """It works everywhere."""


def run(source: Run, target: str, reading: Reading, size: tuple[int, int]) -> Run:
    """The source run with the target prompt."""
    return replace(source, prompt=target, patches=())
