"""Picks in an edit: the ways of making it that are looked at, by name.

A pick is `localized` (patching from the chosen start step), `start-05` (from another step) or the
name of a method. The functions take complete and partial documents.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]
LOCALIZED = "localized"
_PLACE = re.compile(r"p([0-9]+)-s([0-9]+)-")


@dataclass(frozen=True)
class Way:
    """One way of making the edit.

    name: for people. short: for a small picture. start: the step that it patches from; None for
    other methods. edits: by (pair, seed): what was read (`read_edit`), the key of the picture
    (`image`), and its measures where they are kept. scores: `comparison.means`.
    """

    name: str
    short: str
    start: int | None
    edits: Mapping[tuple[int, int], Document]
    scores: Mapping[str, Any]


def entries(document: Document) -> dict[str, Way]:
    """Pick → way: the patching by its start step, then the other methods."""
    chosen = document["start_step"]
    starts = {
        point["start_step"]: Way(
            f"Patched from step {point['start_step']}",
            f"from {point['start_step']}",
            point["start_step"],
            {_place(edit["image"]): edit for edit in point["edits"]},
            point["scores"],
        )
        for point in document["curve"]
    }
    if document["edits"]:
        starts[chosen] = Way(
            f"Localized patching, from step {chosen}",
            f"from {chosen}",
            chosen,
            _placed(document["edits"]),
            document["scores"],
        )
    made = bool(document["edits"])
    found = {
        LOCALIZED if made and start == chosen else start_pick(start): way
        for start, way in sorted(starts.items())
    }
    for method in document["methods"]:
        if method["edits"]:
            title = method["title"]
            found[method["name"]] = Way(
                title, title, None, _placed(method["edits"]), method["scores"]
            )
    return found


def _placed(edits: list[Document]) -> dict[tuple[int, int], Document]:
    return {(edit["pair"], edit["seed"]): edit for edit in edits}


def _place(key: str) -> tuple[int, int]:
    match = _PLACE.match(key)
    assert match is not None, "keys of pictures begin with their pair and seed"
    return int(match[1]), int(match[2])


def start_pick(start: int) -> str:
    """Pick of patching from another start step."""
    return f"start-{start:02d}"


def choices(document: Document) -> list[tuple[str, str]]:
    """(name, pick) of all that can be looked at."""
    return [(way.name, pick) for pick, way in entries(document).items()]


def usual_pick(document: Document) -> str:
    """What is shown before anything is picked: the edit, else the latest start step so far."""
    known = entries(document)
    return LOCALIZED if LOCALIZED in known else next(reversed(known), "")


def pick_of_click(document: Document, custom: object) -> str | None:
    """Pick of a click in the figure of start steps (a step), in the strip or in the table."""
    known = entries(document)
    if isinstance(custom, str):
        return custom if custom in known else None
    if isinstance(custom, int | float) and not isinstance(custom, bool):
        return next((pick for pick, way in known.items() if way.start == custom), None)
    return None


def nearest(document: Document, start: float) -> str | None:
    """Pick of the start step next to `start` among those that were tried."""
    starts = {way.start: pick for pick, way in entries(document).items() if way.start is not None}
    return starts[min(starts, key=lambda step: abs(step - start))] if starts else None
