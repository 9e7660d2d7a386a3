"""Attribute: the share of each text layer, head, step and letter in what the target text changes.

For each prompt pair and seed the shares of `patching.attribution` are taken; nothing is decoded and
nothing is read. The document holds them averaged over pairs and seeds, with 95 % bootstrap
intervals over pairs (over seeds for one pair), and for each pair and seed by step and by letter.

A share says how much of the change goes through a layer while all layers change together. It does
not say that the layer is enough alone (`localize`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from textloc.checkpoints import drawing, loading
from textloc.checkpoints.loading import Model
from textloc.errors import LayerError
from textloc.jobs.job import Event, Job, asked_sampling, check_asked, checked
from textloc.layers import TextLayer, numbers
from textloc.patching.attribution import (
    GAP,
    POINTS,
    TOLERANCE,
    Array,
    Shares,
    default_steps,
)
from textloc.prompts import Pair, parse_pair
from textloc.reading.metrics import bootstrap_intervals
from textloc.runs import Run

SCHEMA = "textloc.attribute/1"

Found = Mapping[tuple[int, int], Shares]
"""(pair, seed) → its shares, in order."""


def attribute(
    model: str | Path | Model,
    source: str | Sequence[Pair],
    target: str | None = None,
    *,
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
    guidance: float | None = None,
    steps_at: Sequence[int] | None = None,
    points: int = POINTS,
    tolerance: float = TOLERANCE,
    checkpointing: bool | None = None,
) -> Event:
    """The share of every text layer, head, step and letter in what another text changes.

    Args:
        model: known name, folder, Hub name, or a loaded `loading.Model`.
        source: a prompt with quoted text, or prompt pairs (`prompts.read_pairs`).
        target: the same with other words, or the new word alone; None where pairs are given.
        seeds: noise seeds; each pair is looked at with each.
        steps, guidance: of the pipeline's call; None takes the checkpoint's usual ones.
        steps_at: denoising steps to look at, from 0; None takes the first and two later ones.
        points: points on the way from the source's text to the target's, at a step at most.
        tolerance: how far the shares of a step may sum to something else than 1.
        checkpointing: take gradients in less memory and more time; None where memory is short.

    Returns:
        The last event. Its `document["shares"]` has the shares by layer, step, head and letter,
        each `[mean, low, high]` over pairs (`ShareMaps`).

    Raises:
        PromptError: prompts or seeds that cannot be used. LayerError: a step that is not there.
        AttributionError: texts or predictions that do not differ, or a denoiser that gives no
        gradient. CheckpointError, OutOfMemoryError.
    """
    if isinstance(source, str):
        pairs: Sequence[Pair] = [parse_pair(source, target or "")]
    else:
        pairs = source
    *_, last = attribute_stream(
        model,
        pairs,
        seeds=seeds,
        steps=steps,
        guidance=guidance,
        steps_at=steps_at,
        points=points,
        tolerance=tolerance,
        checkpointing=checkpointing,
    )
    return last


def attribute_stream(
    model: str | Path | Model,
    pairs: Sequence[Pair],
    *,
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
    guidance: float | None = None,
    image: Image.Image | None = None,
    mask: Image.Image | None = None,
    strength: float | None = None,
    steps_at: Sequence[int] | None = None,
    points: int = POINTS,
    tolerance: float = TOLERANCE,
    checkpointing: bool | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """The same, an event after each step of each pair; the last is complete. Arguments and errors
    as `attribute`, and `image`, `mask`, `strength` as `localize_stream`; `cancelled`: asked between
    passes; True stops with `Cancelled`."""
    check_asked(pairs, seeds)
    began = time.perf_counter()
    loaded = loading.load(model)
    if image is not None:
        loaded = drawing.drawing_on(loaded, mask is not None)
    sampling = asked_sampling(loaded, steps, guidance, 0, image, mask, strength)
    looked = check_steps_at(steps_at, sampling.steps)
    if points < 1:
        raise LayerError("give at least one point at a step, such as 8")
    if not 0 < tolerance < 1:
        raise LayerError(f"the tolerance {tolerance} is outside (0, 1); 0.05 is usual")
    pairs = checked(loaded, pairs, sampling)
    return _Attribute(
        model=loaded,
        sampling=sampling,
        engine=None,
        seeds=tuple(seeds),
        load_s=time.perf_counter() - began,
        cancelled=cancelled,
        pairs=tuple(pairs),
        steps_at=looked,
        points=points,
        tolerance=tolerance,
        checkpointing=checkpointing,
    ).run()


def check_steps_at(steps_at: Sequence[int] | None, steps: int) -> tuple[int, ...]:
    """The steps to look at, in order, each once; None gives `default_steps`.

    Raises:
        LayerError: none, or one that the call does not have.
    """
    try:
        asked = default_steps(steps) if steps_at is None else numbers(steps_at)
    except LayerError:
        asked = ()
    found = tuple(sorted(set(asked)))
    if not found or not 0 <= found[0] <= found[-1] < steps:
        raise LayerError(
            f"the steps to look at are whole numbers from 0 to {steps - 1}, such as 0,{steps // 4}"
        )
    return found


@dataclass(kw_only=True)
class _Attribute(Job):
    """One attribution in progress."""

    SCHEMA = SCHEMA
    NAME = "attribute"

    pairs: tuple[Pair, ...]
    steps_at: tuple[int, ...]
    points: int
    tolerance: float
    checkpointing: bool | None
    found: dict[tuple[int, int], Shares] = field(default_factory=dict, init=False)

    def plan(self) -> Iterator[Event]:
        self.total = len(self.pairs) * len(self.seeds) * len(self.steps_at)
        places = self.places(len(self.pairs))
        runs = [
            (Run(self.pairs[pair].source, seed), Run(self.pairs[pair].target, seed))
            for pair, seed in places
        ]
        began = self.keeping.clock()
        for number, shares in self.keeping.shares(
            self.model,
            runs,
            sampling=self.sampling,
            steps=self.steps_at,
            points=self.points,
            tolerance=self.tolerance,
            checkpointing=self.checkpointing,
            cancelled=self.cancelled,
        ):
            asked = self.pairs[places[number][0]]
            self.message = f"looking at {asked.source_text} → {asked.target_text}"
            self.found[places[number]] = shares
            spent = self.keeping.clock() - began
            self.costs["attribution"] = share_costs(self.found) | {"seconds": spent}
            yield self.event(complete=False)
        self.timing["generate_s"] = self.keeping.clock() - began
        self.timing["denoiser_rows"] = sum(shares.row_passes for shares in self.found.values())

    def event(self, complete: bool) -> Event:
        done = sum(len(shares.steps) for shares in self.found.values())
        return self.told(complete, done)

    def request(self) -> dict[str, Any]:
        return {
            "pairs": [vars(pair) for pair in self.pairs],
            "steps_at": list(self.steps_at),
            "points": self.points,
            "tolerance": float(self.tolerance),
        }

    def body(self, complete: bool) -> dict[str, Any]:
        return {
            "layers": layer_entries(self.model.layers),
            "shares": share_maps(self.found, self.sampling.steps, self.tolerance),
        }


def layer_entries(layers: Sequence[TextLayer]) -> list[dict[str, Any]]:
    """What a document says of each text layer."""
    names = ("index", "name", "heads", "kv_parameters")
    return [{name: getattr(layer, name) for name in names} for layer in layers]


def share_costs(found: Found) -> dict[str, float]:
    """What the shares cost: `denoiser_rows` (row-passes, backward counted double) and
    `recorded_rows`, those of the source's generation among them."""
    return {
        "denoiser_rows": sum(shares.row_passes for shares in found.values()),
        "recorded_rows": sum(shares.recorded_rows for shares in found.values()),
    }


# -- shares as plain data -------------------------------------------------------------------


def share_maps(found: Found, steps: int, tolerance: float = TOLERANCE) -> dict[str, Any]:
    """The shares of several pairs and seeds as a document holds them; {} where there are none.

    Triples are `[mean, low, high]` over pairs and seeds, the ends a 95 % bootstrap interval over
    pairs (over seeds for one pair), None where there is one of them only.

    Returns:
        `by_layer`: a triple for each layer. `order`: layers, the largest share first.
        `by_step`: for each step looked at its number (`step`), the steps that remain (`remaining`,
        the paper's t_s) and a triple for each layer (`shares`).
        `by_head`: for each layer a triple for each head.
        `by_letter`: for each tokenizer and place in the word its `tokenizer`, `letter` (from 0),
        `pairs` that have such a place, and a triple for each layer (`shares`).
        `around`: a triple for each layer: the tokens around the word.
        `pairs`: for each pair and seed `by_layer`, `steps` (with `points`, `path`, `error`, `gap`,
        `change`, `reached` and `shares`), `tokens` of the word (with `source`, `target`, `letter`
        and `shares`), `around`, and what it cost.
        `error`: the largest completeness error, `reached`: whether all steps are within the
        `tolerance` and the gaps within `gap`.
    """
    if not found:
        return {}
    first = min(len(shares.steps) for shares in found.values())
    pairs, seeds = ([key[n] for key in found] for n in (0, 1))
    groups = pairs if len(set(pairs)) > 1 else seeds
    count = len(next(iter(found.values())).by_layer)

    def triples(values: Sequence[Array]) -> list[list[float | None]]:
        """Of rows (N, K): K triples."""
        return [list(map(_plain, column)) for column in bootstrap_intervals(values, groups).T]

    by_layer = triples([shares.by_layer for shares in found.values()])
    heads = triples([np.concatenate(shares.by_head) for shares in found.values()])
    edges = np.cumsum([0, *map(len, next(iter(found.values())).by_head)])
    looked = next(iter(found.values())).steps[:first]
    return {
        "by_layer": by_layer,
        "order": sorted(range(count), key=lambda layer: -(by_layer[layer][0] or 0.0)),
        "by_step": [
            {
                "step": step.step,
                "remaining": steps - step.step,
                "shares": triples([shares.steps[n].by_layer for shares in found.values()]),
            }
            for n, step in enumerate(looked)
        ],
        "by_head": [heads[a:b] for a, b in pairwise(edges)],
        "by_letter": _by_letter(found, count, triples),
        "around": triples([_around(shares) for shares in found.values()]),
        "pairs": [_entry(pair, seed, shares) for (pair, seed), shares in found.items()],
        "error": _plain(max(shares.error for shares in found.values())),
        "tolerance": float(tolerance),
        "gap": GAP,
        "reached": all(shares.reached for shares in found.values()),
    }


def _by_letter(
    found: Found, count: int, triples: Callable[[Sequence[Array]], list[list[float | None]]]
) -> list[dict[str, Any]]:
    places = dict.fromkeys(
        (token.tokenizer, token.letter)
        for shares in found.values()
        for token in shares.tokens
        if token.letter is not None
    )
    names = list(dict.fromkeys(name for name, _ in places))
    entries = []
    for name, letter in sorted(places, key=lambda place: (names.index(place[0]), place[1])):
        rows = []
        for shares in found.values():
            here = [t.index for t in shares.tokens if (t.tokenizer, t.letter) == (name, letter)]
            rows.append(shares.by_token[:, here[0]] if here else np.full(count, np.nan))
        there = {pair for (pair, _), row in zip(found, rows, strict=True) if np.isfinite(row[0])}
        entries.append(
            {
                "tokenizer": name,
                "letter": letter,
                "pairs": len(there),
                "shares": triples(rows),
            }
        )
    return entries


def _around(shares: Shares) -> Array:
    rest = [token.index for token in shares.tokens if token.letter is None]
    found: Array = shares.by_token[:, rest].sum(1)
    return found


def _entry(pair: int, seed: int, shares: Shares) -> dict[str, Any]:
    return {
        "pair": pair,
        "seed": seed,
        "by_layer": _list(shares.by_layer),
        "by_head": [_list(heads) for heads in shares.by_head],
        "steps": [
            {
                "step": step.step,
                "shares": _list(step.by_layer),
                "error": _plain(step.error),
                "gap": _plain(step.gap),
                "change": _plain(step.change),
                "points": _list(step.points),
                "path": _list(step.path),
                "reached": step.reached,
            }
            for step in shares.steps
        ],
        "tokens": [
            {**vars(token), "shares": _list(shares.by_token[:, token.index])}
            for token in shares.tokens
            if token.letter is not None
        ],
        "around": _list(_around(shares)),
        "row_passes": shares.row_passes,
        "recorded_rows": shares.recorded_rows,
        "checkpointed": shares.checkpointed,
    }


def _plain(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None


def _list(values: Sequence[float] | Array) -> list[float | None]:
    return [_plain(value) for value in values]
