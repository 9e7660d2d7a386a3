"""Picks in a localization.

A pick is `layer-9`, `set-7_8_9` or `all`. The functions take complete and partial documents.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from textloc.layers import display_layers

Document = Mapping[str, Any]


def entries(document: Document) -> dict[str, Document]:
    """Pick → entry of the document, in the order in which they are offered."""
    layers = sorted(document["layers"], key=lambda entry: int(entry["index"]))
    every = len(all_layers(document))
    sets = {
        set_pick(entry["layers"]): entry
        for entry in [*document["sets"], *document["controls"]]
        if 1 < len(entry["layers"]) < every
    }
    found: dict[str, Document] = {}
    if document["selected"] and (best := set_pick(document["selected"])) in sets:
        found[best] = sets[best]
    if "all" in document["references"]:
        found["all"] = document["references"]["all"]
    return found | {f"layer-{entry['index']}": entry for entry in layers} | sets


def all_layers(document: Document) -> list[int]:
    """All text layers that are known of: a curve of sets ends with all that the model has."""
    every = set(map(int, document["request"]["layers"]))
    for entry in document["sets"]:
        every.update(map(int, entry["layers"]))
    return sorted(every)


def set_pick(layers: Iterable[int]) -> str:
    """Pick of a set of layers; of one layer, that layer's."""
    numbers = sorted(layers)
    if len(numbers) == 1:
        return f"layer-{numbers[0]}"
    return "set-" + "_".join(map(str, numbers))


def name_of(document: Document, pick: str) -> str:
    """`Layer 9`, `Layers 7–9`, `All layers`, with what the result says of it."""
    selected, numbers = set(document["selected"]), picked_layers(document, pick)
    if pick == "all":
        return "All layers"
    if len(numbers) == 1:
        return f"Layer {numbers[0]}" + (" (selected)" if numbers[0] in selected else "")
    text = f"Layers {display_layers(numbers)}"
    if set(numbers) == selected:
        return f"{text} (selected)"
    curve = {set_pick(entry["layers"]) for entry in document["sets"]}
    return text if pick in curve else f"{text} (random)"


def choices(document: Document) -> list[tuple[str, str]]:
    """(name, pick) of all that can be looked at."""
    return [(name_of(document, pick), pick) for pick in entries(document)]


def usual_pick(document: Document) -> str:
    """What is shown before anything is picked: the selected layers, else the strongest one."""
    known = entries(document)
    if selected := document["selected"]:
        pick = "all" if len(selected) == len(all_layers(document)) else set_pick(selected)
        if pick in known:
            return pick
    layers = document["layers"]
    if not layers:
        return ""
    best = max(layers, key=lambda layer: (_strength(layer), -int(layer["index"])))
    return f"layer-{best['index']}"


def usual_pair(document: Document) -> int:
    """The pair that is shown first: one that the chosen set was patched for, which of a result
    that chose on some pairs and reports on others are the latter."""
    known, pick = entries(document), usual_pick(document)
    made = [int(read["pair"]) for read in known[pick]["read"]] if pick in known else []
    return min(made, default=0)


def _strength(layer: Document) -> tuple[float, float]:
    scores = layer["scores"]
    effect, f1 = scores.get("effect"), scores.get("ocr_f1_target")
    return (-1e9 if effect is None else float(effect), 0.0 if f1 is None else float(f1))


def picked_layers(document: Document, pick: str) -> list[int]:
    """Layer numbers of a pick."""
    if pick == "all":
        return all_layers(document)
    return [int(number) for number in re.findall(r"[0-9]+", pick)]


def pick_of_click(document: Document, custom: object) -> str | None:
    """Pick of a click in a figure: a layer number, or layers as the set figure names them."""
    known = entries(document)
    if isinstance(custom, int | float):
        pick = f"layer-{int(custom)}"
        return pick if pick in known else None
    if not isinstance(custom, str):
        return None
    if custom in known:
        return custom
    for entry in [*document["sets"], *document["controls"]]:
        if display_layers(entry["layers"]) == custom:
            pick = set_pick(entry["layers"])
            return pick if pick in known else "all"
    return None


def cell_of_click(document: Document, custom: object) -> tuple[str, int, int] | None:
    """Pick, pair and seed of a click in the map of readings, whose cells are
    `[layer or "all", pair, seed]`."""
    if not isinstance(custom, list) or len(custom) != 3:
        return None
    what, pair, seed = custom
    pick = pick_of_click(document, what)
    request = document["request"]
    if pick is None or pair not in range(len(request["pairs"])) or seed not in request["seeds"]:
        return None
    return pick, int(pair), int(seed)
