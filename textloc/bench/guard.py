"""What a guard costs: guarded calls beside unguarded ones of the same prompt, interleaved."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from textloc import guarding
from textloc.bench.cost import ratio
from textloc.checkpoints import Model
from textloc.errors import PromptError
from textloc.generation import generate
from textloc.runs import Patch, Run

BAD, GOOD = 'a red sign that says "STOP"', 'a red sign that says "LOVE"'
PLAIN, GUARD, ROW = "unguarded", "guard", "benign row"


def measure(
    model: Model,
    layers: Sequence[int],
    repeats: int = 15,
    on_call: Callable[[int], None] = lambda _count: None,
) -> dict[str, Any]:
    """Time single guarded calls of the pipeline.

    Args:
        model: a loaded checkpoint. layers: that read the benign text. repeats: rounds; one more
            round comes first and is not counted.

    Returns:
        `model`, `repeats` and `ways`: by name the median `seconds` and `ratio`, the median ratio to
        `unguarded` within a round with its 95 % bootstrap interval, `[median, low, high]`. `guard`
        is `guarding.guard`; `benign row` the benign prompt's own run in the same batch, which
        joint attention needs to be exact.

    Raises:
        PromptError: fewer than two repeats. LayerError, GuardError: as `guarding.guard`.
    """
    if repeats < 2:
        raise PromptError("give at least two repeats: an interval needs them")
    asked = model.family.arguments(model.pipe, [Run(BAD)], model.defaults)

    def call() -> float:
        began = time.perf_counter()
        model.pipe(**asked, generator=[torch.Generator().manual_seed(0)])
        return time.perf_counter() - began

    def guarded() -> float:
        given = {"stop": "LOVE"}
        with guarding.guard(model.pipe, layers, words=["stop"], replacements=given):
            return call()  # a service enters its guard once

    def row() -> float:
        began = time.perf_counter()
        list(generate(model, [patched], model.defaults, lean=True))
        return time.perf_counter() - began

    patched = Run(BAD).patched(Patch(tuple(layers), Run(GOOD)))
    ways: dict[str, Callable[[], float]] = {PLAIN: call, GUARD: guarded, ROW: row}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            taken = way()
            if repeat:
                seconds[name].append(taken)
        on_call(repeat)
    return {
        "model": model.name,
        "repeats": repeats,
        "ways": {
            name: {
                "seconds": statistics.median(values),
                "ratio": ratio(values, seconds[PLAIN]),
            }
            for name, values in seconds.items()
        },
    }


def table(report: dict[str, Any]) -> str:
    """The report as lines for people."""
    lines = [
        f"{report['model']}: medians of {report['repeats']} interleaved rounds; ratio to an "
        "unguarded call, with a 95 % interval"
    ]
    for name, way in report["ways"].items():
        middle, low, high = way["ratio"]
        lines.append(f"{name:12} {way['seconds']:8.3f} s  {middle:.3f} [{low:.3f}, {high:.3f}]")
    return "\n".join(lines)
