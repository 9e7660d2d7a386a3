"""The report of an edit: source, edit and their difference, by start step and method."""

from __future__ import annotations

from typing import Any

from textloc.layers import display_layers
from textloc.results import facts
from textloc.results.picks import edit as picks
from textloc.results.report.figures import figure
from textloc.results.report.sheet import (
    Card,
    Document,
    Look,
    Pick,
    Place,
    Row,
    Sheet,
    Table,
    Target,
)
from textloc.results.report.tables import exported, head, readings, scored, told

_SCORES = (
    *("exact_target", "ocr_f1_target", "ocr_f1_source", "levenshtein_target"),
    *("ssim_outside_text", "ssim", "psnr_outside_text"),
)


def sheet(document: Document) -> Sheet:
    """What an edit shows."""
    request, layers = document["request"], document["layers"]
    known = picks.entries(document)
    usual = picks.usual_pick(document)
    made = Sheet(
        facts=facts.asked(
            document, f"layer{'s' if len(layers) > 1 else ''} {display_layers(layers)} patched"
        ),
        choice="What to look at",
        picks=[
            Pick(pick, way.name, way.short, pick == picks.LOCALIZED) for pick, way in known.items()
        ],
        pairs=[f"{pair['source_text']} → {pair['target_text']}" for pair in request["pairs"]],
        seeds=request["seeds"],
        start=(usual, 0, request["seeds"][0]) if usual else None,
        looks=_looks(document, known),
    )
    if len(document["curve"]) > 1:
        title, hint = "How late may patching begin?", "A point shows its picture."
        made.figures = [figure(document, "starts", title, hint, lambda c: _led(document, c))]
    made.tables = [_methods(document, known), readings(made), _edits(document, known)]
    return made


def _looks(document: Document, known: dict[str, picks.Way]) -> dict[Place, Look]:
    found: dict[Place, Look] = {}
    usual = picks.usual_pick(document)
    for source in document["sources"]:
        place = (source["pair"], source["seed"])
        for pick, way in known.items():
            if (made := way.edits.get(place)) is not None or pick == usual:
                cards = _cards(document, source, way, made)
                found[pick, *place] = Look(cards, _facts(document, source, way, made))
    return found


def _cards(
    document: Document, source: Document, way: picks.Way, made: Document | None
) -> tuple[Card, ...]:
    words, own = document["request"]["pairs"][source["pair"]], document["request"]["pictures"]
    key = made["image"] if made else None
    return (
        Card(
            title="Your picture" if own else "Source",
            note="as the model keeps it" if own else "",
            key=source["image"],
            read=source["read"],
            wanted=words["source_text"],
        ),
        Card(
            title=way.name if way.start is None else "Edit",
            note="" if way.start is None else f"from step {way.start}",
            key=key,
            read=made["read_edit"] if made else None,
            wanted=words["target_text"],
            main=True,
        ),
        Card(title="Difference", note="black: nothing changed", key=key, under=source["image"]),
    )


def _facts(
    document: Document, source: Document, way: picks.Way, made: Document | None
) -> tuple[tuple[str, str], ...]:
    measured = made is not None and "ssim" in made
    found: list[tuple[str, str]] = []
    if way.start is not None:
        steps = document["request"]["steps"]
        found.append(("Patched from", f"step {way.start} of {steps} (tₛ = {steps - way.start})"))
    found += scored(made if measured and made is not None else way.scores, _SCORES)
    if not measured:
        found.append(("These are", "means of the pictures tried"))
    for one in document["inversions"]:
        if (one["pair"], one["seed"]) == (source["pair"], source["seed"]):
            found.append(("Your picture came back with SSIM", told(one["ssim"])))
            found.append(("Can the edit be trusted?", "no" if one["poor"] else "yes"))
    return tuple(found)


def _led(document: Document, custom: Any) -> Target | None:
    pick = picks.pick_of_click(document, custom)
    return (pick, None, None) if pick else None


def _methods(document: Document, known: dict[str, picks.Way]) -> Table:
    """Means of every method over all pictures, with their intervals and what they cost."""
    rows = []
    for pick, way in known.items():
        cost = document["costs"].get(pick, {})
        scores = dict(scored(way.scores, _SCORES))
        seconds = cost["seconds"] / cost["images"] if cost.get("images") else None
        cells = (way.name, *(scores.get(head(name), "–") for name in _SCORES), told(seconds))
        rows.append(Row(cells, (pick, None, None)))
    hint = (
        f"Means over {len(document['edits'])} pictures, with 95 % intervals. Seconds are a "
        "picture's; none stand where the edit was made in the search for the start step."
    )
    heads = ("Method", *map(head, _SCORES), "Seconds")
    return Table("Beside what people would use instead", hint, heads, tuple(rows))


def _edits(document: Document, known: dict[str, picks.Way]) -> Table:
    return exported(document, "Every edit in numbers", folded=True)
