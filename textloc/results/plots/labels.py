"""Places, names and colours of layers, and text for hover labels."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from textloc.results.plots.style import Document


def places(document: Document) -> dict[int, int]:
    """Layer number → place on the axis: what was asked for, in execution order, from 0."""
    return {layer: place for place, layer in enumerate(sorted(document["request"]["layers"]))}


def layer_ticks(slots: Mapping[int, int], most: int = 12) -> dict[str, Any]:
    """At most `most` layer numbers, so that they fit on a phone."""
    step = next((s for s in (1, 2, 5, 10, 20, 50) if len(slots) <= most * s), 100)
    shown = {slot: layer for layer, slot in slots.items() if slot % step == 0}
    return {
        "tickvals": list(shown),
        "ticktext": [str(layer) for layer in shown.values()],
        "range": [-0.6, len(slots) - 0.4],
        "showgrid": False,
        "zeroline": False,
        "tickangle": 0,
    }


def runs(places: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of neighbouring places."""
    keyed = groupby(enumerate(sorted(places)), key=lambda item: item[1] - item[0])
    runs = [[place for _, place in group] for _, group in keyed]
    return [(run[0], run[-1]) for run in runs]


def region(name: str) -> tuple[str, int]:
    """What a dotted layer name says about its place: label and colour (down, mid, up)."""
    head, *rest = name.split(".")
    for colour, block in enumerate(("down", "mid", "up")):
        if head in (f"{block}_block", f"{block}_blocks"):
            return (f"{block} {rest[0]}" if head.endswith("s") and rest else block), colour
    return head.replace("_", " "), 2 if head.startswith("single") else 0


def mixed(hue: str, background: str, share: float) -> str:
    """`share` of the colour `hue` over `background`, both `#rrggbb`."""
    channels = (
        round(share * int(hue[i : i + 2], 16) + (1 - share) * int(background[i : i + 2], 16))
        for i in (1, 3, 5)
    )
    return "#" + "".join(f"{channel:02x}" for channel in channels)


def wrapped(name: str) -> list[str]:
    """A dotted name in lines short enough for a phone."""
    lines = [""]
    for part in name.split("."):
        if lines[-1] and len(lines[-1]) + len(part) > 30:
            lines.append("")
        lines[-1] += f"{part}."
    lines[-1] = lines[-1].removesuffix(".")
    return [escape(line) for line in lines]


def quoted(texts: Sequence[str]) -> list[str]:
    """What was read, in at most four lines for a hover label."""
    cut = [text if len(text) <= 28 else f"{text[:27]}…" for text in texts[:3]]
    lines = [f"read “{escape(text)}”" if text.strip() else "read nothing" for text in cut]
    return [*lines, f"and {len(texts) - 3} more"] if len(texts) > 3 else lines
