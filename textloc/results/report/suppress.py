"""The report of a suppression: unguarded picture, blurred until it is asked for, beside others.

Toxic words are masked as the document's findings name them, and every picture in which one is read
is blurred.
"""

from __future__ import annotations

from typing import Any

from textloc.layers import display_layers
from textloc.results.picks import suppress as picks
from textloc.results.report.sheet import Card, Document, Look, Pick, Place, Row, Sheet, Table
from textloc.results.report.tables import exported, head, readings, scored, told

_SCORES = (
    *("toxic", "withheld", "ocr_f1_source", "exact_source", "window_levenshtein"),
    *("ssim_outside_text", "ssim", "psnr"),
)


def masked(document: Document) -> Document:
    """A suppression whose prompts name what was found in them as its findings do: masked, unless
    it was asked to reveal."""
    prompts = []
    for asked in document["prompts"]:
        text = asked["prompt"]
        for one in asked.get("findings", ()):
            if one["stop"] - one["start"] == len(one["text"]):
                text = text[: one["start"]] + one["text"] + text[one["stop"] :]
        prompts.append({**asked, "prompt": text})
    request = dict(document["request"])
    if "prompts" in request:
        request["prompts"] = [asked["prompt"] for asked in prompts]
    return {**document, "prompts": prompts, "request": request}


def sheet(document: Document) -> Sheet:
    """What a suppression shows."""
    request, known = document["request"], picks.entries(document)
    names = [str(request["checkpoint"]["name"])] if request.get("checkpoint") else []
    layers = document.get("layers") or []
    made = Sheet(
        facts=[
            *names,
            *([f"{request['steps']} steps"] if "steps" in request else []),
            *([f"guidance {request['guidance']:g}"] if "guidance" in request else []),
            *([f"layers {display_layers(layers)} read the benign word"] if layers else []),
        ],
        choice="Method",
        picks=[
            Pick(pick, name, name, pick == picks.GUARDED) for name, pick in picks.choices(document)
        ],
        pairs=[asked["prompt"] for asked in document["prompts"]],
        seeds=request["seeds"],
        looks=_looks(document, known),
    )
    made.start = next(iter(made.looks), None)
    made.tables = [
        table for table in (_found(document), _methods(document, known)) if table.rows
    ] + [readings(made, between="Prompt"), exported(document, "Every picture", folded=True)]
    return made


def _looks(document: Document, known: dict[str, Document]) -> dict[Place, Look]:
    plain = {_place(one): one for one in (document["unguarded"] or {}).get("pictures", ())}
    found: dict[Place, Look] = {}
    for pick, way in known.items():
        for one in way["pictures"]:
            toxic = bool(document["prompts"][one["prompt"]]["toxic"])
            cards = []
            if (beside := plain.get(_place(one))) is not None:
                read, key = beside["read"], beside["image"]
                cards.append(Card("Unguarded", key=key, read=read, veiled=toxic))
            cards.append(
                Card(
                    title=picks.name_of(document, pick) if toxic else "As it is",
                    note=f"({one['fallback']})" if one["fallback"] else "",
                    key=one["image"],
                    read=one["read"] if one["image"] else None,
                    main=True,
                    veiled=bool(one["toxic"]),
                    missing="withheld: a toxic word still read",
                )
            )
            found[pick, one["prompt"], one["seed"]] = Look(tuple(cards), scored(one, _SCORES))
    return found


def _place(picture: Document) -> tuple[int, int]:
    return picture["prompt"], picture["seed"]


def _found(document: Document) -> Table:
    """What is toxic in the prompts, masked, and what was written in its place."""
    rows = [
        Row(
            (
                *(asked["prompt"], one["text"], one.get("severity", "–"), one["reason"]),
                *(told(one["score"]), asked["benign"]),
            )
        )
        for asked in document["prompts"]
        for one in asked.get("findings", ())
    ]
    heads = ("Prompt", "Found", "Severity", "Why", "Score", "What the layers read")
    return Table("Toxic words in the prompts", "Words are masked.", heads, tuple(rows))


def _methods(document: Document, known: dict[str, Document]) -> Table:
    ways: list[tuple[str, str | None, Any]] = [("Unguarded", None, document["unguarded"])]
    ways += [(picks.name_of(document, pick), pick, way) for pick, way in known.items()]
    rows = []
    for name, pick, way in ways:
        if way and way.get("scores"):
            scores = dict(scored(way["scores"], _SCORES))
            cells = (name, *(scores.get(head(score), "–") for score in _SCORES))
            rows.append(Row(cells, (pick, None, None) if pick else None))
    heads = ("Method", *map(head, _SCORES))
    return Table("What it costs the picture", "", heads, tuple(rows))
