"""Picks in a localization (`results.picks.localize`), and what a link says of one."""

import re
from collections.abc import Mapping

from textloc.errors import LayerError
from textloc.layers import format_layers, parse_layers
from textloc.results.picks.localize import all_layers as all_layers
from textloc.results.picks.localize import cell_of_click as cell_of_click
from textloc.results.picks.localize import choices as choices
from textloc.results.picks.localize import entries as entries
from textloc.results.picks.localize import name_of as name_of
from textloc.results.picks.localize import pick_of_click as pick_of_click
from textloc.results.picks.localize import picked_layers as picked_layers
from textloc.results.picks.localize import set_pick as set_pick
from textloc.results.picks.localize import usual_pair as usual_pair
from textloc.results.picks.localize import usual_pick as usual_pick
from textloc.ui.stored import Document


def said(pick: str) -> dict[str, str]:
    """What a link says of a pick: `layer` is `9`, `7-9` or `all`."""
    if pick == "all":
        return {"layer": "all"}
    return {"layer": format_layers([int(number) for number in re.findall(r"[0-9]+", pick)])}


def meant(document: Document, told: Mapping[str, str]) -> str:
    """The pick that a link means; `""` where it means none."""
    text = told.get("layer", "")
    if text == "all":
        return "all"
    try:
        return set_pick(parse_layers(text, 1 + max(all_layers(document)))) if text else ""
    except LayerError:
        return ""
