"""LoRA on the localized layers beside LoRA on others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textloc.results.sentences import describe_lora
from textloc.tiny.figures.text import (
    Figures,
    blocks,
    bold,
    effect,
    interval,
    layers,
    listed,
    number,
    paragraph,
    table,
)

Document = Mapping[str, Any]

_NAMES = {
    "base": "nothing (base)",
    "localized": "localized layers",
    "attention": "every attention",
    "random": "as many other text layers",
    "text": "every text layer",
}
TENTH = 0.1


def digits(document: Document, mixed: Document) -> str:
    """The comparison, and what it says; `mixed` is the one with words among the numbers."""
    return blocks(
        paragraph(_asked(document)),
        _table(document),
        paragraph(describe_lora(document), _smaller(document), _unlearned(document), _mixed(mixed)),
    )


def where(localized: Document, attention: Document, before: Document) -> str:
    """Where digits are written with a LoRA; `before`: the localization without one."""
    told = [_alone(document) for document in (localized, attention)]
    return paragraph(
        "Localizing again, with the LoRA and pairs of numbers: where only the localized layers "
        f"were trained, {told[0]}; where every attention was, {told[1]} "
        f"(`python -m textloc compare {before['id']} {localized['id']}`, "
        f"`compare {localized['id']} {attention['id']}`)."
    )


FIGURES: Figures = {
    "lora": (("lora-digits", "lora-mixed"), digits),
    "lora-where": (
        ("localize-digits-localized", "localize-digits-attention", "localize-tiny-sdxl"),
        where,
    ),
}


def _asked(document: Document) -> str:
    request, settings = document["request"], document["request"]["settings"]
    count = sum(prompt["group"] == document["groups"][0] for prompt in request["prompts"])
    return (
        f"`{request['data']}`, {settings['steps']:,} steps of {settings['batch']}, LoRA of rank "
        f"{settings['rank']}, {len(request['seeds'])} seeds, the same samples and noise for every "
        f"choice; {count} prompts a group are read by OCR. Letters right (1 − normalised "
        "Levenshtein distance) · read exactly, with 95 % intervals "
        f"(`python -m textloc show {document['id']}`; the Fine-tune tab shows its curves):"
    )


def _table(document: Document) -> str:
    groups = document["groups"]
    rows = []
    for choice in document["choices"]:
        own = choice["name"] == "localized"
        name = _NAMES[choice["name"]]
        if own:
            name = f"{bold(name)} ({layers(document['layers']).partition(' ')[2]})"
        cells = [
            f"{number(choice['scores'][group]['characters'][0])} · "
            f"{interval(choice['scores'][group]['exact'])}"
            for group in groups
        ]
        rows.append(
            [
                name,
                f"{choice['parameters']:,}",
                *cells,
                interval(choice["precision"]),
                interval(choice["recall"]),
            ]
        )
    return table(("LoRA on", "weights", *groups, "precision", "recall"), rows)


def _choice(document: Document, name: str) -> Document | None:
    return next((one for one in document["choices"] if one["name"] == name), None)


def _smaller(document: Document) -> str:
    """How much smaller a LoRA on the localized layers is than on every attention."""
    mine, other = (_choice(document, name) for name in ("localized", "attention"))
    if mine is None or other is None:
        return ""
    part = other["parameters"] / mine["parameters"]
    return f"The localized layers have one weight for {part:.0f} of every attention."


def _unlearned(document: Document) -> str:
    """What becomes of words where the data have none."""
    group = document["groups"][-1]
    told = [
        f"{_NAMES[one['name']]} {interval(one['scores'][group]['exact'])}"
        for one in document["choices"]
    ]
    return f"Of {group}, which the data do not hold, are read exactly: {', '.join(told)}."


def _mixed(document: Document) -> str:
    group = document["groups"][-1]
    told = [
        f"{interval(one['scores'][group]['exact'])} after training {_NAMES[one['name']]} (recall "
        f"{number(one['recall'][0])})"
        for one in document["choices"]
        if one["name"] != "base"
    ]
    return (
        f"With as many words among the numbers (`{document['request']['data']}`, "
        f"`show {document['id']}`) they are {listed(told)}."
    )


def _alone(document: Document) -> str:
    """The strongest layer alone, and whether others have a tenth."""
    first = max(document["layers"], key=lambda layer: layer["scores"]["effect"])
    others = [
        str(layer["index"])
        for layer in document["layers"]
        if layer is not first and layer["scores"]["effect"] >= TENTH
    ]
    rest = f"layers {listed(others)} a tenth or more" if others else "no other has a tenth"
    return f"layer {first['index']} alone has {effect(first['scores'])} of the effect and {rest}"
