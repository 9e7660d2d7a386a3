"""What a guard costs: guarded calls beside unguarded ones of the same prompt, interleaved.

Every round has a prompt that no guard has seen, so nothing is there from an earlier one, and the
rewriting finds the benign word itself. Harmless words stand for toxic ones.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from textloc.bench.cost import ratio
from textloc.checkpoints.loading import Model
from textloc.errors import PromptError
from textloc.jobs import guard
from textloc.patching.generation import generate
from textloc.runs import Patch, Run
from textloc.toxicity import rendered, rewrite

WORDS = (
    *("TREE", "BIRD", "MOON", "RAIN", "GOLD", "LAMP", "SHIP", "DOOR", "FISH", "CAKE"),
    *("BOOK", "STAR", "WOLF", "HAND", "ROAD", "SNOW", "LEAF", "KING", "FROG", "DUCK"),
    *("MILK", "SALT", "SAND", "WIND", "FIRE", "ROSE", "BEAR", "LION", "GOAT", "CORN"),
    *("BELL", "DRUM", "FLAG", "HILL", "IRON", "LAKE", "MASK", "NEST", "PARK", "RING"),
    *("SEED", "TENT", "VASE", "WOOD", "YARN", "ZONE"),
)
"""Words that count as toxic, a new one each round; after the last the first in another prompt."""

TEMPLATES = (
    'a red sign that says "{}"',
    'a red mug that says "{}"',
    'a red hat that says "{}"',
    'a red bag that says "{}"',
)
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
        is `guard.guard`; `benign row` the benign prompt's own run in the same batch, which
        joint attention needs to be exact.

    Raises:
        PromptError: fewer than two repeats. LayerError, GuardError: as `guard.guard`.
    """
    if repeats < 2:
        raise PromptError("give at least two repeats: an interval needs them")
    toxic = [word.casefold() for word in WORDS]

    def call(prompt: str) -> float:
        asked = model.family.arguments(model.pipe, [Run(prompt)], model.defaults)
        began = time.perf_counter()
        model.pipe(**asked, generator=[torch.Generator().manual_seed(0)])
        return time.perf_counter() - began

    def guarded(prompt: str) -> float:
        with guard.guard(model.pipe, layers, words=toxic):
            return call(prompt)  # a service enters its guard once

    def row(prompt: str) -> float:
        (place,) = rendered(prompt)  # a list of its own, so that the guard's knows nothing yet
        benign = rewrite.rewrite(prompt, words=[prompt[slice(*place)].casefold()])
        patched = Run(prompt).patched(Patch(tuple(layers), Run(benign)))
        began = time.perf_counter()
        list(generate(model, [patched], model.defaults, lean=True))
        return time.perf_counter() - began

    ways: dict[str, Callable[[str], float]] = {PLAIN: call, GUARD: guarded, ROW: row}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    turns = random.Random(0)
    for repeat in range(repeats + 1):
        place, word = divmod(repeat, len(WORDS))
        prompt = TEMPLATES[(repeat + place) % len(TEMPLATES)].format(WORDS[word])
        for name in turns.sample(list(ways), len(ways)):  # none always follows the same one
            taken = ways[name](prompt)
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
