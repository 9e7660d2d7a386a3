"""Results as Plotly figures.

Each function takes a document, complete or partial, and returns a figure for a page, a phone or a
projector; `FIGURES` lists them by kind of result. Nothing is said by colour alone, text sits beside
what it names, and an unfinished layer is an empty slot. `results.sentences` says in plain language
what the figures show.
"""

from collections.abc import Callable
from typing import NamedTuple

import plotly.graph_objects as go

from textloc.results.plots.attribution import (
    heads_figure,
    letters_figure,
    map_figure,
    pairs_figure,
    shares_figure,
    steps_figure,
)
from textloc.results.plots.effect import effect_figure
from textloc.results.plots.lora import lora_figure
from textloc.results.plots.pictures import pictures_figure
from textloc.results.plots.readings import heatmap_figure
from textloc.results.plots.sets import sets_figure
from textloc.results.plots.starts import starts_figure
from textloc.results.plots.style import CONFIG, THEMES, ThemeName, template
from textloc.results.plots.training import compare_figure, training_figure

__all__ = [
    "CONFIG",
    "FIGURES",
    "THEMES",
    "ThemeName",
    "compare_figure",
    "effect_figure",
    "heads_figure",
    "heatmap_figure",
    "letters_figure",
    "lora_figure",
    "map_figure",
    "pairs_figure",
    "pictures_figure",
    "sets_figure",
    "shares_figure",
    "starts_figure",
    "steps_figure",
    "template",
    "training_figure",
]


class Figure(NamedTuple):
    """A figure of a result: `draw(document, theme)`, or with `pictures` also the images by key."""

    draw: Callable[..., go.Figure]
    pictures: bool = False


FIGURES: dict[str, dict[str, Figure]] = {
    "textloc.localize": {
        "effect": Figure(effect_figure),
        "sets": Figure(sets_figure),
        "readings": Figure(heatmap_figure),
    },
    "textloc.edit": {
        "pictures": Figure(pictures_figure, pictures=True),
        "starts": Figure(starts_figure),
    },
    "textloc.attribute": {
        "steps": Figure(steps_figure),
        "heads": Figure(heads_figure),
        "letters": Figure(letters_figure),
        "pairs": Figure(pairs_figure),
        "shares": Figure(shares_figure),
    },
    "textloc.suppress": {"pictures": Figure(pictures_figure, pictures=True)},
    "textloc.lora_trial": {"pictures": Figure(pictures_figure, pictures=True)},
    "textloc.lora": {"curves": Figure(lora_figure)},
    "textloc.finetune": {"curves": Figure(training_figure)},
    "textloc.compare": {"effect": Figure(compare_figure)},
}
"""Kind of result to its figures by name; the first says most."""
