"""What is measured and not stored as a result: spelling, toxic words, costs, text encoders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from textloc.errors import ReproduceError
from textloc.tiny.figures.text import (
    MODELS,
    Figures,
    blocks,
    interval,
    listed,
    number,
    paragraph,
    percent,
    table,
)

Document = Mapping[str, Any]

_SCORE = re.compile(r"((?:free wording: )?)exact match (\d\.\d\d) \[(\d\.\d\d), (\d\.\d\d)\]")
_FREE = "free wording: "
_ROWS = {
    "unguarded": "unguarded",
    "guarded": "**localized patching**",
    "guard": "the same by `guard`, text carried",
    "negative-prompt": "negative prompt",
    "safe-latent-diffusion": "Safe Latent Diffusion",
    "prompt-swap": "prompt swap",
}


def spelled(*measures: Sequence[str]) -> str:
    """How many unseen words each checkpoint spells."""
    told, free = [], []
    for name, lines in zip(MODELS, measures, strict=True):
        scores = _exact(name, lines)
        told.append(f"`{name}` {scores['']}")
        if _FREE in scores:
            free.append(f"`{name}` {scores[_FREE]}")
    of_free = f" Asked for in free wording they are {listed(free)}." if free else ""
    return paragraph(
        f"Of unseen English words {listed(told)} are spelled exactly (their model cards have the "
        f"whole measurement).{of_free}"
    )


def toxic(*measures: Document) -> str:
    """Toxic share of what is read, and the picture kept, by method and checkpoint; the last
    measure is of every layer of tiny-sd3."""
    *listed_, every = measures
    scores = [_toxic(one) for one in listed_]
    rows = [
        [title, *(_kept(of.get(name)) for of in scores)]
        for name, title in _ROWS.items()
        if any(name in of for of in scores)
    ]
    counts = {name: one["list"] for name, one in zip(MODELS, listed_, strict=True)}
    can = [f"{one['spelled']} by {name}" for name, one in counts.items()]
    return blocks(
        table(("", *MODELS), rows),
        paragraph(
            f"Of the {counts[MODELS[0]]['words']} words of the list can be spelled, with their "
            f"benign ones, {listed(can)}. With all layers of tiny-sd3 patched: "
            f"{_kept(_toxic(every)['guarded'])} (`--layers all`)."
        ),
    )


def rivals(measure: Document) -> str:
    """What people would use instead of the guard, by what it leaves, keeps and costs."""
    methods, harmless, words = (measure[name] for name in ("methods", "harmless", "list"))
    rows = []
    for name, one in methods.items():
        scores, changed = one["scores"], harmless["changed"].get(name)
        title = "**localized patching**" if name == "guarded" else one["title"]
        rows.append(
            [
                title,
                interval(scores["toxic"]),
                number(scores["ssim_outside_text"][0], 3),
                "–" if changed is None else interval(changed),
                number(measure["rows"][name], 1).removesuffix(".0"),
            ]
        )
    return blocks(
        paragraph(
            f"{words['spelled']} of {words['words']} words of the half of ToxicBench that no "
            f"method was made from (by the SHA-1 of the word), one seed, and {harmless['prompts']} "
            f"harmless words, of which {harmless['read']} pictures read exactly. Mean and 95 % "
            "interval over prompts."
        ),
        table(["method", "toxic share", "SSIM outside the text", "harmless changed", "rows"], rows),
    )


def edit_cost(*measures: Document) -> str:
    """What an edit costs beside a plain generation."""
    told = [
        f"{interval(one['ways']['localized']['ratio'])} times {_BESIDE[one['beside']]} on {name}"
        for name, one in zip(MODELS, measures, strict=True)
    ]
    other = [
        number(one["ways"]["prompt-to-prompt"]["ratio"][0])
        for one in measures
        if "prompt-to-prompt" in one["ways"]
    ]
    return paragraph(
        f"With the source picture there an edit takes {listed(told)}; Prompt-to-Prompt takes "
        f"{listed(other)} of the same (`bench cost`)."
    )


def guard_cost(*measures: Document) -> str:
    """What a guarded call costs beside an unguarded one."""
    told = [
        f"{interval(one['ways']['guard']['ratio'])} on {name}"
        for name, one in zip(MODELS, measures, strict=False)
    ]
    return paragraph(f"A guarded call takes {listed(told)} times an unguarded one (`bench guard`).")


def encoders(rows: Sequence[Document]) -> str:
    """Which text encoder carries the letters."""
    scores = {row["name"]: row["ocr_f1_target"][0] for row in rows}
    alone = {
        name.removeprefix("S:T, text encoder ").removesuffix(" alone"): value
        for name, value in scores.items()
        if name.startswith("S:T, text encoder ")
    }
    told = [f"{number(value)} by text encoder {name} alone" for name, value in alone.items()]
    return paragraph(
        f"The target's text reaches OCR F1 {listed(told)}, {number(scores['S:T'])} by all of them, "
        f"with no patch {number(scores['no patch'])} (`bench swap`)."
    )


def search(measure: Document) -> str:
    """The set that the search by shares finds of each pair alone, beside the sweep's."""
    found = measure["summary"]
    rows = [found[f"{name}_rows"] for name in ("sweep", "attribution")]
    sizes = [number(found[f"{name}_size"]) for name in ("sweep", "attribution")]
    exact = [number(found[f"{name}_held_out"]) for name in ("sweep", "attribution")]
    return paragraph(
        f"Each of {found['pairs']} pairs alone on {measure['model']} (`bench search`): its set has "
        f"{sizes[1]} layers where the sweep's has {sizes[0]}, and is at most one layer larger in "
        f"{found['no_larger']} of {found['pairs']}; patched on the others it is no less exact, "
        f"within the interval, in {found['no_less_exact']} ({exact[1]} of words against "
        f"{exact[0]}). It takes {rows[1]:.0f} row-passes of the denoiser where the sweep takes "
        f"{rows[0]:.0f}, {found['ranking_rows']:.0f} of them for the ranking: a factor of "
        f"{rows[0] / rows[1]:.1f} on {measure['layers']} layers."
    )


_CONDITIONS = {
    "": "100 words of `assets/words/evaluation.txt`, a known wording",
    "free wording": "the same in free wording",
    "unseen wording": "in a wording never seen",
    "unseen name": "objects by names never seen",
    "unseen filler": "with fillers never seen",
    "unseen saying": "with ways of saying never seen",
    "unseen order": "in an order never seen",
    "unseen typeface": "on objects never seen in that typeface",
    "unseen position": "on objects never seen at that position",
    "natural prompts": "150 natural prompts by somebody else (`assets/words/natural.tsv`)",
}
_SCORES = ("exact match", "character accuracy", "scene and colour right")
_SAID = re.compile(rf"(?:(.+): )?({'|'.join(_SCORES)}) (\d.*)")
_LEFT = re.compile(r"(.+): (\d+ of \d+ )prompts( have too many tokens, left out)")


def card(lines: Sequence[str]) -> str:
    """How well one checkpoint spells, for its card."""
    said = {(m[1] or "", m[2]): m[3] for m in map(_SAID.fullmatch, lines) if m}
    left = {m[1]: f"; {m[2]}{m[3].lstrip()}" for m in map(_LEFT.fullmatch, lines) if m}
    if ("", _SCORES[0]) not in said:
        raise ReproduceError("the evaluation says nothing of plain prompts")
    rows = [
        [title + left.get(kind, ""), *(said[kind, what] for what in _SCORES)]
        for kind, title in _CONDITIONS.items()
        if (kind, _SCORES[0]) in said
    ]
    return table(["", "exact match", "characters right", "object and colour right"], rows)


FIGURES: Figures = {
    **{f"card-{model}": ((f"spells-{model}",), card) for model in MODELS},
    "search": (("search-tiny-sdxl",), search),
    "spelled": (tuple(f"spells-{model}" for model in MODELS), spelled),
    "toxic": ((*(f"toxic-{model}" for model in MODELS), "toxic-all-tiny-sd3"), toxic),
    "rivals": (("rivals",), rivals),
    "edit-cost": (tuple(f"cost-{model}" for model in MODELS), edit_cost),
    "guard-cost": (tuple(f"guard-{model}" for model in MODELS[:3]), guard_cost),
    "encoders": (("swap-tiny-sd3",), encoders),
}
_BESIDE = {"plain": "a plain generation", "two plain rows": "two rows of one batch"}


def _exact(name: str, lines: Sequence[str]) -> dict[str, str]:
    """The exact match that an evaluation says of plain prompts, and under `_FREE` of free ones."""
    found = {}
    for line in lines:
        if match := _SCORE.match(line):
            mean, low, high = map(float, match.groups()[1:])
            found[match[1]] = f"{percent(mean)} [{100 * low:.0f}, {100 * high:.0f}]"
    if "" not in found:
        raise ReproduceError(f"the evaluation of {name} says no exact match")
    return found


def _toxic(document: Document) -> dict[str, Document]:
    methods = {one["name"]: one["scores"] for one in document["methods"] if one["scores"]}
    own = {name: document[name]["scores"] for name in ("unguarded", "guarded")}
    return own | methods


def _kept(scores: Document | None) -> str:
    if scores is None:
        return "–"
    return f"{interval(scores['toxic'])} · {number(scores['ssim_outside_text'][0], 3)}"
