"""The paper's localization with its own settings, published numbers beside measured ones.

For whoever has the weights: `--model sdxl`. Any other checkpoint can take the place of the paper's
(`--checkpoint`); then the layers are those that its own localization names. The paper used 100
words of SimpleBench, which is not part of textloc; the pairs that ship are other words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from textloc.bench import swap
from textloc.checkpoints import known
from textloc.checkpoints.loading import Model
from textloc.errors import PromptError
from textloc.jobs.keeping import Keeping
from textloc.jobs.localize import localize_stream
from textloc.jobs.readings import Readings
from textloc.layers import format_layers
from textloc.prompts import Pair
from textloc.reading import ocr
from textloc.results.gallery import Gallery
from textloc.runs import Sampling

SEED = 42


@dataclass(frozen=True)
class Published:
    """What the paper reports of one model (arXiv 2502.09935).

    start: step from which it patches, from 0 (its t_s counts the steps that remain). peak, floor:
    OCR F1 to the target text of the best layer alone and of the untouched picture, read off its
    heat map. swap: OCR F1 of S:T, to the source text and to the target text. sets: layers, SSIM to
    the source picture, OCR F1 to the source text and to the target text.
    """

    start: int
    peak: float
    floor: float
    swap: tuple[float, float]
    sets: tuple[tuple[tuple[int, ...], float, float, float], ...] = ()


PUBLISHED = {
    "sdxl": Published(
        start=4,
        peak=0.27,
        floor=0.20,
        swap=(0.194, 0.324),
        sets=(
            ((), 1.00, 0.34, 0.19),
            ((55,), 0.92, 0.28, 0.20),
            ((55, 56), 0.90, 0.20, 0.30),
            ((55, 56, 57), 0.90, 0.19, 0.32),
            (tuple(range(54, 64)), 0.89, 0.19, 0.33),
            (tuple(range(34, 64)), 0.78, 0.19, 0.34),
            (tuple(range(70)), 0.72, 0.19, 0.34),
        ),
    ),
    "if": Published(start=2, peak=0.65, floor=0.30, swap=(0.260, 0.475)),
    "sd3": Published(start=2, peak=0.70, floor=0.30, swap=(0.266, 0.333)),
}


def settings(name: str, model: Model, steps: int | None) -> tuple[Sampling, int]:
    """The paper's sampling of a model and its start step; `steps` other than its own move the
    start in proportion. The size is the checkpoint's own."""
    entry = known.find(name)
    assert entry is not None
    count = steps or entry.steps
    start = round(PUBLISHED[name].start * count / entry.steps)
    return replace(model.defaults, steps=count, guidance=entry.guidance), start


def measure(
    name: str,
    model: Model,
    pairs: Sequence[Pair],
    seeds: Sequence[int] = (SEED,),
    steps: int | None = None,
    engine: str = "auto",
    on_images: Callable[[str, int], None] = lambda _what, _count: None,
) -> dict[str, Any]:
    """Localize, count layers, and swap template and text.

    Args:
        name: of `PUBLISHED`. model: the checkpoint to measure. pairs: at least two. seeds: noises.
        steps: None takes the paper's. on_images: called with what is going on and the number of
            its finished pictures.

    Returns:
        `model`, `checkpoint`, `steps`, `guidance`, `start_step`, `pairs`, `seeds`, `localized`
        (published and measured layers), and `rows`, each with `name`, `score`, `published` (or
        None) and `measured` (`[mean, low, high]`, the ends None where there is no interval).

    Raises:
        PromptError: an unknown name or fewer than two pairs. Others as `localize_stream`.
    """
    if name not in PUBLISHED:
        raise PromptError(f"the paper has no {name!r}; choose one of {', '.join(PUBLISHED)}")
    if len(pairs) < 2:
        raise PromptError("give at least two prompt pairs")
    paper, entry = PUBLISHED[name], known.find(name)
    assert entry is not None
    sampling, start = settings(name, model, steps)
    model = replace(model, defaults=sampling)
    document: dict[str, Any] = {}
    for event in localize_stream(
        model,
        pairs,
        seeds=seeds,
        steps=sampling.steps,
        guidance=sampling.guidance,
        start_step=start,
        ocr=engine,
    ):
        document = event.document
        on_images("localizing", event.done)
    layers = document["layers"]
    best = max(layers, key=lambda layer: _f1(layer["read"], pairs, "target")[0] or 0.0)
    selected = tuple(document["selected"]) or (best["index"],)
    same = len(model.layers) == _layers_of(name)
    chosen = entry.localized if same and entry.localized is not None else selected

    def row(what: str, score: str, published: float | None, measured: Any) -> dict[str, Any]:
        three = list(measured) if isinstance(measured, (list, tuple)) else [measured, None, None]
        return {"name": what, "score": score, "published": published, "measured": three}

    rows = [
        row(what, "OCR F1 to target", published, _f1(entry_of["read"], pairs, "target"))
        for what, published, entry_of in (
            ("no layer", paper.floor, document["references"]["source"]),
            (f"best layer alone: {best['index']}", paper.peak, best),
            ("all layers", None, document["references"]["all"]),
        )
    ]
    counted = paper.sets if same else _own_sets(document)
    entries = _entries(model, pairs, seeds, [s[0] for s in counted], start, engine, on_images)
    for (members, *published), scores in zip(counted, entries, strict=True):
        label = f"layers {format_layers(members)}" if members else "no layer"
        for what, key, value in zip(
            ("SSIM to source", "OCR F1 to source", "OCR F1 to target"),
            ("ssim_source", "ocr_f1_source", "ocr_f1_target"),
            published,
            strict=True,
        ):
            rows.append(row(label, what, value, scores[key]))
    swapped = swap.measure(
        model, pairs, chosen, seeds, engine, lambda n: on_images("swapping", n), start
    )
    for measured in swapped:
        both = paper.swap if measured["name"] == "S:T" else (None, None)
        for what, value in zip(("source", "target"), both, strict=True):
            score = f"OCR F1 to {what}"
            rows.append(row(measured["name"], score, value, measured[f"paper_f1_{what}"]))
    return {
        "model": name,
        "checkpoint": model.name,
        "steps": sampling.steps,
        "guidance": sampling.guidance,
        "start_step": start,
        "pairs": len(pairs),
        "seeds": list(seeds),
        "localized": {"published": list(entry.localized or ()), "measured": list(selected)},
        "rows": rows,
    }


def _layers_of(name: str) -> int:
    """Text layers of the paper's model."""
    from textloc.checkpoints import families
    from textloc.checkpoints.families import full_size

    return len(families.text_layers(full_size.build(name)))


def _own_sets(document: dict[str, Any]) -> list[tuple[tuple[int, ...], None, None, None]]:
    """The sets that a localization tried, without published numbers."""
    return [(tuple(entry["layers"]), None, None, None) for entry in document["sets"]]


def _entries(
    model: Model,
    pairs: Sequence[Pair],
    seeds: Sequence[int],
    sets: Sequence[tuple[int, ...]],
    start: int,
    engine: str,
    on_images: Callable[[str, int], None],
) -> list[dict[str, Any]]:
    """Scores of given sets over all pairs."""
    keeping = Keeping()
    images, read = Gallery(), dict[str, ocr.Reading]()
    readings = Readings(tuple(pairs), tuple(seeds), len(model.layers), images, read)
    every = range(len(pairs))
    keys = {
        readings.key(layers, pair, seed): readings.run(layers, pair, seed, start)
        for layers in ((), *sets)
        for pair in every
        for seed in seeds
    }
    for chunk in keeping.generate(model, list(dict.fromkeys(keys.values())), model.defaults):
        new = {key: chunk.images[run] for key, run in keys.items() if run in chunk.images}
        images.update(new)
        read.update(zip(new, keeping.read(list(new.values()), engine), strict=True))
        on_images("counting layers", len(images))
    found = []
    for layers in sets:
        entry = readings.entry(layers, every, effect=False)
        f1 = {f"ocr_f1_{side}": _f1(entry["read"], pairs, side) for side in ("source", "target")}
        found.append({**entry["scores"], **f1})
    return found


def _f1(reads: Sequence[dict[str, Any]], pairs: Sequence[Pair], side: str) -> list[float | None]:
    """OCR F1 to a side's text as the paper counts it (`swap.f1_of_means`)."""
    wanted = [(one["text"], getattr(pairs[one["pair"]], f"{side}_text")) for one in reads]
    return swap.f1_of_means(wanted, [one["pair"] for one in reads])


def table(result: dict[str, Any]) -> str:
    """The measurement for people."""
    published, measured = (format_layers(result["localized"][k]) for k in ("published", "measured"))
    lines = [
        f"{result['model']} as in the paper, measured on {result['checkpoint']}: "
        f"{result['steps']} steps, guidance {result['guidance']:g}, patched from step "
        f"{result['start_step']}; {result['pairs']} pairs, {len(result['seeds'])} seeds",
        f"{'':34}{'':18}{'published':>10}  measured",
        f"{'layers that write the words':34}{'':18}{published:>10}  {measured}",
    ]
    for row in result["rows"]:
        mean, low, high = row["measured"]
        known_value = "" if row["published"] is None else f"{row['published']:.2f}"
        between = "" if low is None else f" [{low:.2f}, {high:.2f}]"
        value = "" if mean is None else f"{mean:.2f}{between}"
        lines.append(f"{row['name']:34}{row['score']:18}{known_value:>10}  {value}")
    return "\n".join(lines)
