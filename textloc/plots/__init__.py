"""Results as Plotly figures.

Each function takes a document, complete or partial, and returns a figure for a page, a phone or a
projector: `starts_figure` of an edit, `lora_figure` of a comparison of trainings, the others of a
localization. Nothing is said by colour
alone, text sits beside what it names, and an unfinished layer is an empty slot. `textloc.summary`
says in plain language what the figures show.
"""

from textloc.plots.effect import effect_figure
from textloc.plots.look import CONFIG, THEMES, ThemeName, template
from textloc.plots.lora import lora_figure
from textloc.plots.readings import heatmap_figure
from textloc.plots.sets import sets_figure
from textloc.plots.starts import starts_figure

__all__ = [
    "CONFIG",
    "THEMES",
    "ThemeName",
    "effect_figure",
    "heatmap_figure",
    "lora_figure",
    "sets_figure",
    "starts_figure",
    "template",
]
