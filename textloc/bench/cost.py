"""What an edit costs beside a plain generation, the source picture being there already.

Where the text does not depend on the picture (cross-attention) a patched run needs no second row.
In joint attention the target's own run goes along, so the measure is two plain rows in one batch.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from textloc.baselines import BASELINES
from textloc.checkpoints.loading import Model
from textloc.errors import PromptError
from textloc.layers import check_layers
from textloc.patching.generation import generate
from textloc.prompts import Pair
from textloc.reading.ocr import read
from textloc.runs import Patch, Run

PLAIN, TWO, EDIT = "plain", "two plain rows", "localized"


def measure(
    model: Model,
    pair: Pair,
    layers: Sequence[int],
    repeats: int = 15,
    methods: Sequence[str] = (),
    on_call: Callable[[int], None] = lambda _count: None,
) -> dict[str, Any]:
    """Time single edits, interleaved with plain generations.

    Args:
        model: a loaded checkpoint. pair: source and target. layers: to patch. repeats: rounds; one
            more round comes first and is not counted. methods: names of `baselines.BASELINES`.

    Returns:
        `model`, `repeats`, `beside` (what an edit is measured by: `plain` or `two plain rows`),
        and `ways`: by name the median `seconds`, `denoiser_rows`, and `ratio`, the median ratio to
        `beside` within a round with its 95 % bootstrap interval, `[median, low, high]`.

    Raises:
        PromptError: fewer than two repeats. LayerError: an unknown layer.
    """
    if repeats < 2:
        raise PromptError("give at least two repeats: an interval needs them")
    check_layers(layers, len(model.layers))
    source, target = Run(pair.source), Run(pair.target)
    (first,) = generate(model, [source], model.defaults)
    picture = first.images[source]
    (reading,) = read([picture])
    edit = source.patched(Patch(tuple(layers), target))
    ways: dict[str, list[Run]] = {PLAIN: [source], TWO: [source, target], EDIT: [edit]}
    for name in methods:
        ways[name] = [BASELINES[name].run(source, pair.target, reading, picture.size)]
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    rows: dict[str, int] = {}
    for repeat in range(repeats + 1):
        for name, runs in ways.items():
            (chunk,) = generate(model, runs, model.defaults, lean=True)
            rows[name] = chunk.patching.rows
            if repeat:
                seconds[name].append(chunk.seconds)
        on_call(repeat)
    static = all(model.layers[index].static for index in layers)
    beside = PLAIN if static else TWO
    return {
        "model": model.name,
        "repeats": repeats,
        "beside": beside,
        "ways": {
            name: {
                "seconds": statistics.median(values),
                "denoiser_rows": rows[name],
                "ratio": ratio(values, seconds[beside]),
            }
            for name, values in seconds.items()
        },
    }


def ratio(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Median of the rounds' ratios and its bootstrap interval."""
    import numpy as np

    ratios = np.array([a / b for a, b in zip(values, others, strict=True)])
    drawn = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return [float(np.median(ratios)), float(low), float(high)]


def table(report: dict[str, Any]) -> str:
    """The report as lines for people."""
    lines = [
        f"{report['model']}: medians of {report['repeats']} interleaved rounds; ratio to "
        f"{report['beside']}, with a 95 % interval",
        f"{'':18} {'seconds':>8} {'rows':>5}  ratio",
    ]
    for name, way in report["ways"].items():
        middle, low, high = way["ratio"]
        lines.append(
            f"{name:18} {way['seconds']:8.3f} {way['denoiser_rows']:5}  {middle:.2f} "
            f"[{low:.2f}, {high:.2f}]"
        )
    return "\n".join(lines)
