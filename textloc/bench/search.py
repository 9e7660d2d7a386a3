"""How well a search finds the layers that write the words: the yardstick of `localize --search`.

For each prompt pair alone both searches are run, in turn, and the sets that they find are patched
on all other pairs (held out). Beside the set by shares stand the sets that the same bisection finds
in the order of cheaper rankings (`rankings`) and in a random order.

Shares are compared with what patching does to the picture: `moved`, how far a patched picture has
come from the source's to that of all layers patched (the projection of its change on theirs, in
pixels), and the effect on the words (OCR F1 between the floor and the ceiling). Layers are patched
alone, and all but one at a time, where "lost" is what is missing then. So are heads, letters (token
places) and windows of steps; random cells of the same number are the control. Where a checkpoint
has few layers, all sets of them are patched, and the smallest that reaches the words is the truth.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from textloc.bench import rankings
from textloc.checkpoints.loading import Model
from textloc.jobs.attribute import share_costs
from textloc.jobs.keeping import Keeping
from textloc.jobs.layer_search import SearchByShares
from textloc.jobs.localize import Sweep
from textloc.jobs.readings import Set
from textloc.layers import format_layers
from textloc.patching.attribution import Array, Shares
from textloc.prompts import Pair
from textloc.reading import metrics
from textloc.runs import Patch, Run

WINDOW = 4
"""Windows of steps for the comparison by step: the steps are cut into as many parts."""

MOST_EXHAUSTIVE = 12
"""Text layers of which all sets can be patched."""

Layers = tuple[int, ...]


@dataclass
class _Pictures:
    """Pictures and readings by run, each made once."""

    model: Model
    engine: str
    on_images: Callable[[int], None]
    arrays: dict[Run, Any] = field(default_factory=dict)
    texts: dict[Run, str] = field(default_factory=dict)
    rows: int = 0
    keeping: Keeping = field(default_factory=Keeping)

    def make(self, runs: Sequence[Run]) -> None:
        """Generate and read what is not there yet."""
        missing = [run for run in dict.fromkeys(runs) if run not in self.arrays]
        for chunk in self.keeping.generate(self.model, missing, self.model.defaults, lean=True):
            new = dict(chunk.images)
            self.rows += chunk.patching.rows
            found = self.keeping.read(list(new.values()), self.engine)
            self.texts.update({run: r.text for run, r in zip(new, found, strict=True)})
            self.arrays.update({run: np.asarray(i, np.float32) for run, i in new.items()})
            self.on_images(len(self.arrays))

    def take(self, job: Sweep) -> None:
        """The pictures that a job has made of its only pair."""
        scores, seed = job.scores, job.seeds[0]
        known: list[Set] = ["source", "target", "all", *_sets_of(job)]
        for what in known:
            key = scores.key(what, 0, seed)
            if key in job.images:
                run = scores.run(what, 0, seed, 0)
                self.arrays[run] = np.asarray(job.images[key], np.float32)
                self.texts[run] = job.readings[key].text


def _sets_of(job: Sweep) -> Iterator[Layers]:
    """The sets of layers of which a job has pictures."""
    for key in job.images:
        label = key.split("-", 2)[2]
        if label.startswith("layer"):
            yield (int(label.removeprefix("layer")),)
        elif label.startswith("set-"):
            yield tuple(int(part) for part in label.removeprefix("set-").split("_"))


@dataclass
class _Pair:
    """What is measured on one pair."""

    pictures: _Pictures
    pair: Pair
    seed: int

    @property
    def source(self) -> Run:
        return Run(self.pair.source, self.seed)

    @property
    def target(self) -> Run:
        return Run(self.pair.target, self.seed)

    def all_layers(self) -> Run:
        return self.patched(tuple(range(len(self.pictures.model.layers))))

    def patched(self, layers: Layers, **limits: Any) -> Run:
        """The source with these layers of the target."""
        return self.source.patched(Patch(layers, self.target, **limits)) if layers else self.source

    def moved(self, run: Run) -> float:
        """How far the picture has come from the source's (0) to that of all layers patched (1)."""
        source, whole, picture = (
            self.pictures.arrays[r] for r in (self.source, self.all_layers(), run)
        )
        change = whole - source
        return float(((picture - source) * change).sum() / (change**2).sum())

    def effect(self, run: Run) -> float:
        """OCR F1 to the target between the source's (0) and that of all layers patched (1)."""
        floor, ceiling, score = (self._f1(r) for r in (self.source, self.all_layers(), run))
        return (score - floor) / (ceiling - floor) if ceiling > floor else float("nan")

    def _f1(self, run: Run) -> float:
        read = self.pictures.texts[run]
        return metrics.ocr_precision_recall_f1(read, self.pair.target_text).f1

    def exact(self, run: Run) -> bool:
        return metrics.exact_match(self.pictures.texts[run], self.pair.target_text)


def measure(
    model: Model,
    pairs: Sequence[Pair],
    *,
    seed: int = 0,
    compare: int = 20,
    cells: int = 6,
    exhaustive: int = 0,
    engine: str = "auto",
    on_images: Callable[[str, int], None] = lambda _what, _count: None,
    on_pair: Callable[[dict[str, Any]], None] = lambda _entry: None,
) -> dict[str, Any]:
    """Run both searches on every pair alone and compare.

    Args:
        model: a loaded checkpoint. pairs: at least two. seed: of the noise.
        compare: pairs on which the other rankings are searched and layers are left out one by one.
        cells: pairs of those on which heads, letters and windows of steps are patched.
        exhaustive: pairs on which all sets of layers are patched (2 to the number of layers).
        on_images: called with what is being done and the pictures of the comparison so far.
        on_pair: called with each pair's entry, still without what is held out.

    Returns:
        `model`, `layers`, `pairs` (one entry a pair: words, sets, costs, held-out exact matches),
        `summary` (see `table`), `agreement` (rank correlations, `[mean, low, high]` over pairs).
    """
    counted = [""]
    pictures = _Pictures(model, engine, lambda count: on_images(counted[0], count))
    measured = [_Pair(pictures, pair, seed) for pair in pairs]
    entries, agreement = [], []
    for number, one in enumerate(measured):
        counted[0] = f"{model.name}, {one.pair.target_text}"
        entry, jobs = _searches(model, one, engine, number % 2 == 0)
        shares = jobs[1].found[0, seed]
        for job in jobs:
            pictures.take(job)
        if number < compare:
            ranked = _rankings(one, jobs, entry)
            agreement.append(_layers(one, shares, ranked))
        if number < min(compare, cells):
            agreement[-1] |= _heads(one, shares) | _letters(one, shares) | _steps(one, shares)
        if number < exhaustive:
            entry["truth"] = _truth(one)
        entries.append(entry)
        on_pair(entry)
    for number, entry in enumerate(entries):
        counted[0] = f"{model.name}, held out from {entry['words'][1]}"
        rest = [one for n, one in enumerate(measured) if n != number]
        for name in ("sweep", "attribution"):
            entry[name]["held_out"] = _held_out(rest, tuple(entry[name]["set"]))
    return {
        "model": model.name,
        "layers": len(model.layers),
        "pairs": entries,
        "agreement": _means(agreement),
        "summary": _summary(entries),
    }


# -- sets -----------------------------------------------------------------------------------


def _searches(
    model: Model, one: _Pair, engine: str, sweep_first: bool
) -> tuple[dict[str, Any], tuple[Sweep, SearchByShares]]:
    """Both searches on the pair alone, and what each took; nothing is shared between them."""
    asked: dict[str, Any] = {
        "model": model,
        "sampling": model.defaults,
        "engine": engine,
        "seeds": (one.seed,),
        "pairs": (one.pair,),
        "start_step": 0,
        "layers": tuple(range(len(model.layers))),
        "share": 0.9,
    }
    sweep, search = Sweep(**asked), SearchByShares(**asked)
    entry: dict[str, Any] = {"words": [one.pair.source_text, one.pair.target_text]}
    for job in (sweep, search) if sweep_first else (search, sweep):
        began = job.keeping.clock()
        for _ in job.find():
            pass
        ranking = share_costs(job.found) if isinstance(job, SearchByShares) else {}
        entry["sweep" if job is sweep else "attribution"] = {
            "set": list(job.selected),
            "reached": job.reached,
            "seconds": job.keeping.clock() - began,
            "pictures": int(job.timing["rows"]),
            "rows": int(job.timing["denoiser_rows"]),
            "ranking_rows": int(ranking.get("denoiser_rows", 0)),
            "ranking_seconds": job.costs.get("attribution", {}).get("seconds", 0.0),
        }
    shares = search.found[0, one.seed]
    entry["rankings"] = {
        "shares": {
            "set": list(search.selected),
            "order": list(search.order),
            "prefix": search.prefix,
            "row_passes": shares.row_passes,
        }
    }
    entry["attribution"] |= {"error": shares.error, "complete": shares.reached}
    entry["attribution"]["points"] = [len(step.points) for step in shares.steps]
    return entry, (sweep, search)


def _rankings(
    one: _Pair, jobs: tuple[Sweep, SearchByShares], entry: dict[str, Any]
) -> dict[str, Array]:
    """The other rankings, and the set that the same search finds in their order."""
    search = jobs[1]
    model, shares = search.model, search.found[0, one.seed]
    steps = tuple(step.step for step in shares.steps)
    found = rankings.rank(model, one.source, one.target, steps)
    rng = np.random.default_rng(one.seed + len(one.pair.target))
    found["random order"] = rng.permutation(len(model.layers)).astype(float), 0
    job = replace(search)
    for known in jobs:  # what is there need not be generated again
        job.images.update(known.images)
        job.readings.update(known.readings)
    for name, (values, passes) in found.items():
        job.order = tuple(sorted(job.layers, key=lambda layer: -float(np.abs(values[layer]))))
        job.selected, job.prefix, job.sets = (), 0, [()]
        for _ in job.search([0]):
            pass
        entry["rankings"][name] = {
            "set": list(job.selected),
            "order": list(job.order),
            "prefix": job.prefix,
            "row_passes": passes,
        }
    return {name: np.abs(values) for name, (values, _) in found.items()}


def _held_out(rest: Sequence[_Pair], layers: Layers) -> list[float]:
    """Whether each other pair's word is read exactly with the set patched, 0 or 1."""
    if not rest:
        return []
    runs = [one.patched(layers) for one in rest]
    rest[0].pictures.make(runs)
    return [float(one.exact(run)) for one, run in zip(rest, runs, strict=True)]


def _truth(one: _Pair) -> dict[str, Any]:
    """All sets of layers: how many reach the words, and the smallest that do."""
    count = len(one.pictures.model.layers)
    sets = [s for size in range(count + 1) for s in itertools.combinations(range(count), size)]
    one.pictures.make([one.patched(layers) for layers in sets])
    reach = [s for s in sets if _reaches(one, s)]
    least = min(map(len, reach), default=0)
    return {
        "sets": len(sets),
        "reach": len(reach),
        "smallest": [list(layers) for layers in reach if len(layers) == least],
    }


def _reaches(one: _Pair, layers: Layers) -> bool:
    """As `localize` decides it, for one picture."""
    run, whole = one.patched(layers), one.all_layers()
    effect = one.effect(run)
    return effect >= 0.9 and one.exact(run) >= one.exact(whole)


# -- agreement of shares with what patching does ----------------------------------------------


def _layers(one: _Pair, shares: Shares, ranked: dict[str, Array]) -> dict[str, float]:
    """Rank correlations by layer of the shares and the rankings, with layers alone and with what
    is lost without one."""
    count = len(shares.by_layer)
    whole = tuple(range(count))
    alone = [one.patched((n,)) for n in whole]
    without = [one.patched(tuple(m for m in whole if m != n)) for n in whole]
    one.pictures.make([one.source, one.all_layers(), *alone, *without])
    measured = {
        "alone": [one.moved(run) for run in alone],
        "lost without it": [1 - one.moved(run) for run in without],
        "words alone": [one.effect(run) for run in alone],
        "words lost without it": [1 - one.effect(run) for run in without],
    }
    named = {"shares": shares.by_layer, **ranked}
    found = {
        f"layer, {name}, {what}": _rank_correlation(values, effects)
        for name, values in named.items()
        for what, effects in measured.items()
    }
    for name, values in named.items():
        lost = np.array(measured["lost without it"])
        apart = min(float(np.std(values)), float(np.std(lost)))
        linear = float(np.corrcoef(values, lost)[0, 1]) if apart > 0 else float("nan")
        found[f"layer, {name}, lost without it, Pearson"] = linear
    return found


def _heads(one: _Pair, shares: Shares) -> dict[str, float]:
    """By (layer, head): what is lost without it; and the cells with nine tenths of the shares
    patched alone, beside as many random ones."""
    cells = [(n, h) for n, heads in enumerate(shares.by_head) for h in range(len(heads))]
    values = np.concatenate(shares.by_head)
    runs = [_only_heads(one, [c for c in cells if c != cell]) for cell in cells]
    top, drawn = _top_and_random(values, len(cells))
    kept = [_only_heads(one, [cells[i] for i in chosen]) for chosen in (top, drawn)]
    one.pictures.make([*runs, *kept])
    lost = [1 - one.moved(run) for run in runs]
    return {
        "head, shares, lost without it": _rank_correlation(values, lost),
        "head, cells of nine tenths": float(len(top)) / len(cells),
        "head, those cells alone": one.moved(kept[0]),
        "head, as many random cells": one.moved(kept[1]),
    }


def _only_heads(one: _Pair, cells: Sequence[tuple[int, int]]) -> Run:
    """The source with these heads of the target; layers of the same heads share a patch."""
    by_layer: dict[int, list[int]] = {}
    for layer, head in cells:
        by_layer.setdefault(layer, []).append(head)
    alike: dict[tuple[int, ...], list[int]] = {}
    for layer, heads in by_layer.items():
        alike.setdefault(tuple(heads), []).append(layer)
    patches = [Patch(tuple(layers), one.target, heads=heads) for heads, layers in alike.items()]
    return one.source.patched(*patches) if patches else one.source


def _letters(one: _Pair, shares: Shares) -> dict[str, float]:
    """By (layer, place in the word): what is lost without it, and by place alone."""
    places = [token.index for token in shares.tokens if token.letter is not None]
    count = len(shares.by_layer)
    whole, length = tuple(range(count)), len(shares.tokens)
    carrying = [n for n in whole if shares.by_layer[n] >= 0.05]
    places_runs = [_without_tokens(one, whole, place, length) for place in places]
    cells = [(n, place) for n in carrying for place in places]
    rest = {n: tuple(m for m in whole if m != n) for n in carrying}
    runs = [
        one.source.patched(
            *([Patch(rest[n], one.target)] if rest[n] else []),
            *_without_tokens(one, (n,), place, length).patches,
        )
        for n, place in cells
    ]
    one.pictures.make([*places_runs, *runs])
    by_place = shares.by_token[:, places].sum(0)
    by_cell = [shares.by_token[n, place] for n, place in cells]
    return {
        "letter, shares, lost without it": _rank_correlation(
            by_place, [1 - one.moved(run) for run in places_runs]
        ),
        "layer and letter, shares, lost without it": _rank_correlation(
            by_cell, [1 - one.moved(run) for run in runs]
        ),
    }


def _without_tokens(one: _Pair, layers: Layers, place: int, length: int) -> Run:
    """These layers of the target but for one token."""
    ranges = [(0, place), (place + 1, length)]
    patches = [Patch(layers, one.target, tokens=(a, b)) for a, b in ranges if a < b]
    return one.source.patched(*patches)


def _steps(one: _Pair, shares: Shares) -> dict[str, float]:
    """By layer within a window of steps: the shares at the nearest step that was looked at, and
    what is lost where the layer keeps the source's text in that window."""
    count, steps = len(shares.by_layer), one.pictures.model.defaults.steps
    edges = np.linspace(0, steps, min(WINDOW, steps) + 1).astype(int)
    whole = tuple(range(count))
    carrying = [n for n in whole if shares.by_layer[n] >= 0.05]
    found: dict[str, float] = {}
    values, lost = [], []
    for start, stop in itertools.pairwise(edges.tolist()):
        nearest = min(shares.steps, key=lambda s: abs(s.step - (start + stop - 1) / 2))
        runs = []
        for n in carrying:
            rest = tuple(m for m in whole if m != n)
            patches = [Patch(rest, one.target)] if rest else []
            patches += [Patch((n,), one.target, stop=start)] if start else []
            patches += [Patch((n,), one.target, start=stop)] if stop < steps else []
            runs.append(one.source.patched(*patches))
        one.pictures.make(runs)
        values += [nearest.by_layer[n] for n in carrying]
        lost += [1 - one.moved(run) for run in runs]
    found["layer and steps, shares, lost without it"] = _rank_correlation(values, lost)
    return found


def _top_and_random(values: Array, count: int) -> tuple[list[int], list[int]]:
    """Cells from the largest on that carry nine tenths, and as many random others."""
    order = np.argsort(-values)
    total = np.cumsum(values[order])
    size = int(np.argmax(total >= 0.9 * values.sum())) + 1
    drawn = random.Random(0).sample(range(count), size)
    return order[:size].tolist(), drawn


def _rank_correlation(one: Sequence[float] | Array, other: Sequence[float] | Array) -> float:
    """Spearman's; NaN where one of them is constant or not known everywhere."""
    from scipy.stats import rankdata

    if len(one) < 2 or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return float("nan")
    ranks = [rankdata(np.round(values, 4)) for values in (one, other)]  # equal to the eye: ties
    if min(np.std(r) for r in ranks) == 0:
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


# -- together -------------------------------------------------------------------------------


def _means(rows: Sequence[dict[str, float]]) -> dict[str, list[float | None]]:
    """`[mean, low, high, pairs]` over pairs of everything that was measured."""
    found: dict[str, list[float | None]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row[name] for row in rows if np.isfinite(row.get(name, np.nan))]
        if values:
            found[name] = [*metrics.bootstrap_interval(values), len(values)]
    return found


def _summary(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How both searches compare over all pairs."""

    def mean(name: str, what: str) -> float:
        return float(np.mean([entry[name][what] for entry in entries]))

    ranked = [entry for entry in entries if len(entry["rankings"]) > 1] or list(entries)
    agree, sizes, exact = [], [], []
    for entry in entries:
        one, other = entry["attribution"], entry["sweep"]
        found = bool(one["set"]) or not other["set"]
        size = len(one["set"]) <= len(other["set"]) + 1 or not other["set"]
        low = metrics.bootstrap_interval(other["held_out"]).low if other["held_out"] else None
        held = np.mean(one["held_out"]) if one["held_out"] else 0.0
        kept = low is None or bool(held >= low)
        sizes.append(found and size)
        exact.append(found and kept)
        agree.append(sizes[-1] and exact[-1])
    return {
        "pairs": len(entries),
        "reached": {
            name: sum(bool(entry[name]["reached"]) for entry in entries)
            for name in ("sweep", "attribution")
        },
        "no_larger": int(sum(sizes)),
        "no_less_exact": int(sum(exact)),
        "both": int(sum(agree)),
        **{
            f"{name}_{what}": mean(name, what)
            for name in ("sweep", "attribution")
            for what in ("rows", "seconds", "pictures")
        },
        "ranking_rows": mean("attribution", "ranking_rows"),
        "ranking_seconds": mean("attribution", "ranking_seconds"),
        "sweep_size": float(np.mean([len(entry["sweep"]["set"]) for entry in entries])),
        "attribution_size": float(np.mean([len(entry["attribution"]["set"]) for entry in entries])),
        "sweep_held_out": float(np.mean([np.mean(e["sweep"]["held_out"]) for e in entries])),
        "attribution_held_out": float(
            np.mean([np.mean(e["attribution"]["held_out"]) for e in entries])
        ),
        "ranking_sizes": {
            name: [
                float(np.mean([len(entry["rankings"][name]["set"]) for entry in ranked])),
                float(np.mean([entry["rankings"][name]["prefix"] for entry in ranked])),
                float(np.mean([entry["rankings"][name]["row_passes"] for entry in ranked])),
                len(ranked),
            ]
            for name in entries[0]["rankings"]
        },
    }


def table(result: dict[str, Any]) -> str:
    """The comparison for people."""
    return "\n".join(_lines(result))


def _lines(result: dict[str, Any]) -> Iterator[str]:
    found = result["summary"]
    yield f"{result['model']}, {result['layers']} text layers, {found['pairs']} pairs one by one"
    yield ""
    yield f"{'':22}{'sweep':>10}{'attribution':>13}"
    for what, title in (
        ("rows", "row-passes"),
        ("pictures", "pictures"),
        ("seconds", "seconds"),
        ("size", "layers of the set"),
        ("held_out", "exact, held out"),
    ):
        yield (f"{title:22}{found[f'sweep_{what}']:10.2f}{found[f'attribution_{what}']:13.2f}")
    yield f"{'the ranking alone':22}{'':10}{found['ranking_rows']:13.2f} row-passes"
    yield f"{'':22}{'':10}{found['ranking_seconds']:13.2f} seconds"
    yield ""
    yield (
        f"set reaches the words: {found['reached']['sweep']} by the sweep, "
        f"{found['reached']['attribution']} by attribution; no larger than the sweep's by more "
        f"than one layer: {found['no_larger']} of {found['pairs']}; held-out exact match within "
        f"its interval: {found['no_less_exact']}; both: {found['both']}"
    )
    yield ""
    yield f"{'order by':26}{'prefix that reaches':>20}{'of it needed':>14}{'row-passes':>12}"
    for name, (size, prefix, passes, _count) in found["ranking_sizes"].items():
        yield f"{name:26}{prefix:20.2f}{size:14.2f}{passes:12.1f}"
    yield ""
    yield "mean over pairs of rank correlations (Spearman), and of other measures"
    for name, (mean, low, high, count) in result["agreement"].items():
        between = "" if low is None else f" [{low:.2f}, {high:.2f}]"
        yield f"  {name:58}{mean:6.2f}{between}  {count} pairs"
    for entry in result["pairs"]:
        if "truth" in entry:
            truth, one = entry["truth"], entry["attribution"]["set"]
            best = " · ".join(format_layers(layers) for layers in truth["smallest"][:4])
            yield (
                f"{' → '.join(entry['words'])}: of {truth['sets']} sets {truth['reach']} reach the "
                f"words, the smallest {best}; by attribution {format_layers(one) or 'none'}, by "
                f"sweep {format_layers(entry['sweep']['set']) or 'none'}"
            )
