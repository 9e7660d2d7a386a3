"""The report of a localization: pictures by patched layers, effects, shares, sets and readings."""

from __future__ import annotations

from typing import Any

from textloc.layers import display_layers
from textloc.results.facts import asked
from textloc.results.picks import localize as picks
from textloc.results.report.figures import figure
from textloc.results.report.sheet import (
    Card,
    Document,
    Figure,
    Look,
    Pick,
    Place,
    Sheet,
    Table,
    Target,
)
from textloc.results.report.tables import exported, readings, scored, told

_SCORES = ("effect", "ocr_f1_target", "exact_target", "ssim_source")
_MAPS = {"steps": "step", "heads": "head", "letters": "letter", "pairs": "pair"}


def sheet(document: Document) -> Sheet:
    """What a localization shows."""
    request = document["request"]
    start = request["start_step"]
    more = [f"patched from step {start}"] if start else []
    usual = (picks.usual_pick(document), picks.usual_pair(document), request["seeds"][0])
    made = Sheet(
        facts=asked(document, *more),
        choice="Layers to look at",
        picks=[_pick(document, pick) for pick in picks.entries(document)],
        pairs=[f"{pair['source_text']} → {pair['target_text']}" for pair in request["pairs"]],
        seeds=request["seeds"],
        start=usual if usual[0] else None,
        looks=_looks(document),
        figures=_figures(document),
    )
    made.tables = [_layers(document), readings(made)]
    return made


def _pick(document: Document, pick: str) -> Pick:
    numbers = picks.picked_layers(document, pick)
    short = "all" if pick == "all" else display_layers(numbers)
    chosen = set(numbers) <= set(document["selected"])
    return Pick(pick, picks.name_of(document, pick), short, chosen)


def _looks(document: Document) -> dict[Place, Look]:
    """Source, picked and target picture of every place, the usual ones first."""
    request, known = document["request"], picks.entries(document)
    first, usual = picks.usual_pair(document), picks.usual_pick(document)
    facts = {pick: _facts(document, pick, entry) for pick, entry in known.items()}
    found: dict[Place, Look] = {}
    for pair in sorted(range(len(request["pairs"])), key=lambda pair: (pair != first, pair)):
        for seed in request["seeds"]:
            for pick, entry in known.items():
                read = _read(entry, pair, seed)
                if read is not None or pick == usual:
                    cards = _cards(document, pick, read, pair, seed)
                    found[pick, pair, seed] = Look(cards, facts[pick])
    return found


def _cards(
    document: Document, pick: str, read: Document | None, pair: int, seed: int
) -> tuple[Card, ...]:
    words, references = document["request"]["pairs"][pair], document["references"]
    shown = (
        ("Source prompt", _read(references.get("source"), pair, seed), words["source_text"]),
        (picks.name_of(document, pick).partition(" (")[0], read, words["target_text"]),
        ("Target prompt", _read(references.get("target"), pair, seed), words["target_text"]),
    )
    return tuple(
        Card(
            title=title,
            note="patched" if number == 1 else "",
            key=one["image"] if one else None,
            read=one["text"] if one else None,
            wanted=wanted,
            main=number == 1,
        )
        for number, (title, one, wanted) in enumerate(shown)
    )


def _read(entry: Document | None, pair: int, seed: int) -> Any:
    reads = entry["read"] if entry else ()
    return next((r for r in reads if r["pair"] == pair and r["seed"] == seed), None)


def _facts(document: Document, pick: str, entry: Document) -> tuple[tuple[str, str], ...]:
    numbers = picks.picked_layers(document, pick)
    layers = {layer["index"]: layer for layer in document["layers"]}
    members = [layers[number] for number in numbers if number in layers]
    found = list(scored(entry["scores"], _SCORES))
    for name, key in (("F1 with no patch", "floor"), ("F1 with all layers patched", "ceiling")):
        if document.get(key) is not None:
            found.append((name, told(document[key])))
    if len(members) == len(numbers):
        weights = sum(layer["kv_parameters"] for layer in members)
        share = 100 * weights / document["checkpoint"]["parameters"]
        found.append(("K+V parameters", f"{weights:,} · {share:.2g} % of all"))
    if len(numbers) == 1 and members:
        found.append((f"Module, {members[0]['heads']} heads", members[0]["name"]))
    return tuple(found)


def _figures(document: Document) -> list[Figure]:
    made = []
    if document.get("shares"):
        made += shares(document, lambda custom: _led(document, custom))
    if document["layers"] or not made:
        hint = "Move over a bar to see what that layer writes; a click or tap holds it."
        title = "Effect of each layer alone"
        made.append(
            figure(document, "effect", title, hint, lambda c: _led(document, c), pointed=True)
        )
    if document["sets"]:
        title, hint = "How many layers does it take?", "A point shows the pictures of its set."
        made.append(figure(document, "sets", title, hint, lambda c: _led(document, c)))
    request = document["request"]
    if document["layers"] and len(request["pairs"]) * len(request["seeds"]) > 1:
        hint = (
            "A row is a pair of prompts with one noise, a column a patched layer. A cell shows its "
            "picture."
        )
        made.append(
            figure(document, "readings", "Every picture", hint, lambda c: _cell(document, c))
        )
    return made


def shares(document: Document, led: Any = None) -> list[Figure]:
    """The bar of shares and the maps of them; of a document that has some."""
    hint = (
        "How much of what the target prompt changes goes through a layer while all of them change "
        "together. A large share does not say that the layer is enough alone."
    )
    kind = "textloc.attribute"
    made = [figure(document, "shares", "Share of each layer", hint, led, kind, pointed=True)]
    for name, by in _MAPS.items():
        said = "A cell shows what its layer writes when patched alone, in all steps." if led else ""
        made.append(figure(document, name, f"Shares by {by}", said, led, kind))
    return made


def _led(document: Document, custom: Any) -> Target | None:
    """Where a bar, a point of a set or a cell `[layer, by, place]` of a map of shares leads."""
    pair, seed = None, None
    if isinstance(custom, list) and len(custom) == 3:
        custom, by, place = custom
        if by == "pair":
            pair, seed = place
    pick = picks.pick_of_click(document, custom)
    return (pick, pair, seed) if pick else None


def _cell(document: Document, custom: Any) -> Target | None:
    return picks.cell_of_click(document, custom)


def _layers(document: Document) -> Table:
    one = len(document["request"]["pairs"]) * len(document["request"]["seeds"]) == 1
    return exported(
        document,
        "All layers",
        "What patching each layer alone does. The button in the first column shows its picture.",
        target=lambda row: (f"layer-{row['layer']}", None, None),
        badge=lambda row: "selected" if row["selected"] else "",
        leave_out=("selected",) if one else ("selected", "read"),
    )
