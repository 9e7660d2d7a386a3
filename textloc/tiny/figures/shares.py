"""Every layer's share of what the target's text changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textloc.tiny.figures.text import (
    MODELS,
    Figures,
    blocks,
    interval,
    listed,
    number,
    paragraph,
    table,
)

Document = Mapping[str, Any]

LEAST = 0.1
"""Shares from which on a layer is told."""


def by_layer(*documents: Document) -> str:
    """The largest shares of each checkpoint."""
    first, *others = documents
    request = first["request"]
    shown = ", ".join(f"`{document['id']}`" for document in others)
    rows = []
    for document in documents:
        shares = document["shares"]
        told = [n for n in shares["order"] if shares["by_layer"][n][0] >= LEAST]
        pairs = len(document["request"]["pairs"]) * len(document["request"]["seeds"])
        layer, head, share = _head(document)
        rows.append(
            [
                document["checkpoint"]["name"],
                " · ".join(f"{n}: {interval(shares['by_layer'][n])}" for n in told),
                f"{head} of layer {layer}: {share}",
                f"{document['costs']['attribution']['denoiser_rows'] / pairs:.0f}",
            ]
        )
    seeds = "one seed" if len(request["seeds"]) == 1 else f"{len(request['seeds'])} seeds"
    return blocks(
        paragraph(
            f"{len(request['pairs'])} pairs of words, {seeds}; shares from {LEAST:g} on, with "
            f"intervals over pairs (`python -m textloc show {first['id']}`, and {shown}):"
        ),
        table(("", "shares of the layers", "the strongest head", "row-passes a pair"), rows),
    )


def found(*documents: Document) -> str:
    """What shares and effects say of the same layers, by letter, step and text encoder.

    documents: the attributions and the localizations of tiny-sdxl and tiny-sd3.
    """
    attribution, localization, other = documents
    letters, steps = _letters(attribution), _steps(attribution)
    return paragraph(_beside(attribution, localization), letters, steps, _encoders(other))


FIGURES: Figures = {
    "shares": (tuple(f"attribute-{model}" for model in MODELS), by_layer),
    "shares-found": (("attribute-tiny-sdxl", "localize-tiny-sdxl", "attribute-tiny-sd3"), found),
}


def _head(document: Document) -> tuple[int, int, str]:
    """Layer and head with the largest share, and that share."""
    heads = document["shares"]["by_head"]
    places = [(n, head) for n, one in enumerate(heads) for head in range(len(one))]
    layer, head = max(places, key=lambda place: heads[place[0]][place[1]][0])
    return layer, head, interval(heads[layer][head])


def _beside(attribution: Document, localization: Document) -> str:
    """The layer with the largest share beside the one with the strongest effect."""
    shares, name = attribution["shares"]["by_layer"], attribution["checkpoint"]["name"]
    effects = {x["index"]: x["scores"]["effect"] for x in localization["layers"]}
    first = attribution["shares"]["order"][0]
    strong = max(effects, key=lambda index: effects[index])
    if first == strong:
        return (
            f"In {name} layer {first} has both the largest share, {number(shares[first][0])}, and "
            f"the strongest effect alone, {number(effects[first])}."
        )
    return (
        f"A share is not an effect: in {name} layer {first} has the largest share of the change, "
        f"{number(shares[first][0])}, and {number(effects[first])} of the effect alone; layer "
        f"{strong} has the strongest effect alone, {number(effects[strong])}, and "
        f"{number(shares[strong][0])} of the change."
    )


def _letters(document: Document) -> str:
    """Which layer takes up most of which letter, where every pair has it."""
    entries = document["shares"]["by_letter"]
    most = max(entry["pairs"] for entry in entries)
    told: dict[int, list[str]] = {}
    for entry in entries:
        if entry["pairs"] < most or entry["tokenizer"] != entries[0]["tokenizer"]:
            continue
        shares = entry["shares"]
        layer = max(range(len(shares)), key=lambda n: shares[n][0])
        told.setdefault(layer, []).append(f"{entry['letter'] + 1} ({interval(shares[layer])})")
    said = [f"most of {_letter(letters)} through layer {n}" for n, letters in told.items()]
    return f"By letter, {listed(said)}."


def _letter(letters: list[str]) -> str:
    return f"letter{'s' if len(letters) > 1 else ''} {listed(letters)}"


def _steps(document: Document) -> str:
    """How the shares of the two largest change with the step."""
    steps, told = document["shares"]["by_step"], []
    for layer in document["shares"]["order"][:2]:
        values = [number(step["shares"][layer][0]) for step in steps]
        told.append(f"of layer {layer} is {listed(values)}")
    at = listed([str(step["step"]) for step in steps])
    total = document["request"]["steps"]
    return f"At steps {at} of {total} the share {', that '.join(told)}."


def _encoders(document: Document) -> str:
    """What of the change enters by the letters of which text encoder."""
    sums: dict[str, float] = {}
    letters, pairs = document["shares"]["by_letter"], document["shares"]["pairs"]
    for entry in letters:
        whole = sum(share[0] for share in entry["shares"])
        weight = entry["pairs"] / len(pairs)
        sums[entry["tokenizer"]] = sums.get(entry["tokenizer"], 0.0) + whole * weight
    said = [f"{number(value)} by those of `{name}`" for name, value in sums.items()]
    return f"Of the change in {document['checkpoint']['name']} the letters carry {listed(said)}."
