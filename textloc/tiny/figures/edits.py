"""Edits of sixty pairs by every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textloc.tiny.figures.text import (
    MODELS,
    Figures,
    bold,
    cell,
    interval,
    layers,
    listed,
    number,
    paragraph,
    table,
)

Document = Mapping[str, Any]

TITLES = {
    "localized": "**localized patching**",
    "prompt-swap": "target prompt everywhere, same noise",
    "regenerate": "target prompt, fresh noise",
    "inpainting": "inpainting of the text box",
    "prompt-to-prompt": "Prompt-to-Prompt with local blend",
}
_EXACT, _KEPT = "exact_target", "ssim_outside_text"


def by_method(*documents: Document) -> str:
    """Words spelled, and the picture kept, by method and checkpoint."""
    scores = [_scores(document) for document in documents]
    best = [max(number(one[_KEPT][0], 3) for one in of.values()) for of in scores]
    rows = []
    for name, title in TITLES.items():
        cells = [_cell(of.get(name), most) for of, most in zip(scores, best, strict=True)]
        rows.append([title, *cells])
    chosen = [f"{cell(d['layers'])}; {d['start_step']}" for d in documents]
    rows.append(["layers; start step", *chosen])
    ids = [f"`{document['id']}`" for document in documents]
    rows.append(["`show`", *ids])
    return table(("", *(d["checkpoint"]["name"] for d in documents)), rows)


def found(*documents: Document) -> str:
    """What localized patching does beside the other methods."""
    scores = [_scores(document) for document in documents]
    told = []
    for name in list(TITLES)[1:]:
        both = [(of["localized"], of[name]) for of in scores if name in of]
        worse = sum(_apart(mine[_EXACT], other[_EXACT]) < 0 for mine, other in both)
        better = sum(_apart(mine[_EXACT], other[_EXACT]) > 0 for mine, other in both)
        keeps = sum(mine[_KEPT][0] > other[_KEPT][0] for mine, other in both)
        spells = listed(
            [
                part
                for count, part in (
                    (better, f"more words on {better}"),
                    (len(both) - better - worse, f"as many on {len(both) - better - worse}"),
                    (worse, f"fewer on {worse}"),
                )
                if count
            ]
        )
        told.append(
            f"Beside {_NAMES[name]} it spells {spells} of {len(both)} checkpoints, and keeps more "
            f"of the picture on {keeps}."
        )
    return paragraph(
        "Localized patching, by 95 % intervals of the words that are spelled and the mean SSIM "
        "outside of the text:",
        *told,
    )


def by_length(*documents: Document) -> str:
    """Words as long as those before, and longer and shorter ones, by localized patching."""
    same: list[str] = []
    others: list[str] = []
    for document in documents:
        pairs, counts = document["request"]["pairs"], {True: [0, 0], False: [0, 0]}
        for edit in document["edits"]:
            pair = pairs[edit["pair"]]
            count = counts[len(pair["source_text"]) == len(pair["target_text"])]
            count[0] += edit["exact_target"] == 1
            count[1] += 1
        for kept, (exact, whole) in zip((same, others), counts.values(), strict=True):
            kept.append(f"{exact} of {whole} ({document['checkpoint']['name']})")
    return paragraph(
        f"Of words as long as those before it spells {listed(same)}; of longer and shorter ones "
        f"{listed(others)}: where the letters stand is settled before what they are, and takes "
        "more layers."
    )


def with_all(*measures: Document) -> str:
    """The same with every layer, on checkpoints whose localized layers fall short."""
    told = []
    for measure, name in zip(measures, ("tiny-sd3", "tiny-if"), strict=True):
        rows = {row["name"]: row["scores"] for row in measure["rows"]}
        others = [
            f"{_NAMES[other]} {_pair(rows[other])}"
            for other in ("prompt-swap", "regenerate")
            if other in rows
        ]
        told.append(
            f"On `{name}` all {layers(measure['layers'])} from step {measure['start_step']} give "
            f"{_pair(rows['localized'])} (`--layers all --start-step {measure['start_step']}`); "
            f"{listed(others)}."
        )
    return paragraph(*told)


FIGURES: Figures = {
    "edits": (tuple(f"edit-{model}" for model in MODELS), by_method),
    "edits-found": (tuple(f"edit-{model}" for model in MODELS), found),
    "edits-length": (tuple(f"edit-{model}" for model in MODELS), by_length),
    "edits-all": (("edit-all-tiny-sd3", "edit-all-tiny-if"), with_all),
}
_NAMES = {
    "prompt-swap": "prompt swap",
    "regenerate": "regenerating",
    "inpainting": "inpainting, which holds the rest in place by force,",
    "prompt-to-prompt": "Prompt-to-Prompt",
}


def _scores(document: Document) -> dict[str, Document]:
    methods = {one["name"]: one["scores"] for one in document["methods"] if one["scores"]}
    return {"localized": document["scores"], **methods}


def _pair(scores: Document) -> str:
    return f"{interval(scores[_EXACT])} · {number(scores[_KEPT][0], 3)}"


def _cell(scores: Document | None, best: str) -> str:
    if scores is None:
        return "–"
    kept = number(scores[_KEPT][0], 3)
    return f"{interval(scores[_EXACT])} · {bold(kept, kept == best)}"


def _apart(one: Sequence[float | None], other: Sequence[float | None]) -> int:
    """1 where the interval of one lies above that of the other, -1 below, 0 where they overlap or
    there are none."""
    if None in (*one, *other):
        return 0
    above = one[1] > other[2]  # type: ignore[operator]
    below = one[2] < other[1]  # type: ignore[operator]
    return int(above) - int(below)
