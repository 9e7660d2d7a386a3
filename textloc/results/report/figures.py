"""Figures of `results.plots` for a report, with where a click in them leads."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from textloc.results import store
from textloc.results.report.sheet import Document, Figure, Target

Led = Callable[[Any], Target | None]
"""From a `customdata` to where a click on it leads; None for nowhere."""


def figure(
    document: Document,
    name: str,
    title: str,
    hint: str = "",
    led: Led | None = None,
    kind: str | None = None,
    pointed: bool = False,
) -> Figure:
    """The figure `name` of a kind of result (by default the document's own) in both themes."""
    from textloc.results.plots import FIGURES

    draw = FIGURES[kind or store.kind(document)][name].draw
    light, dark = (_plain(draw(document, theme)) for theme in ("light", "dark"))
    looks = [_leads(trace, led) for trace in light["data"]] if led is not None else []
    return Figure(title, hint, light, dark, looks, pointed)


def _plain(drawn: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(drawn.to_json())
    return found


def _leads(trace: dict[str, Any], led: Led) -> list[Any]:
    """Where each point of a line or bar leads, or each cell of a map, row by row."""
    customs = trace.get("customdata", [])
    if trace["type"] == "heatmap":
        return [[led(custom) for custom in row] for row in customs]
    return [led(custom) for custom in customs]
