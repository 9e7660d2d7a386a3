"""Results as Plotly figures.

Each function takes a document, complete or partial, and returns a figure for a page, a phone or a
projector: `starts_figure` of an edit, `lora_figure` of a comparison of trainings, the others of a
localization. Nothing is said by colour alone, text sits beside what it names, and an unfinished
layer is an empty slot. `results.sentences` says in plain language what the figures show.
"""

from textloc.results.plots.effect import effect_figure
from textloc.results.plots.lora import lora_figure
from textloc.results.plots.readings import heatmap_figure
from textloc.results.plots.sets import sets_figure
from textloc.results.plots.starts import starts_figure
from textloc.results.plots.style import CONFIG, THEMES, ThemeName, template

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
