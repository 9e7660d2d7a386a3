"""Figures as the page draws them: the value of a `figure.figure`."""

import json
import threading
from functools import lru_cache
from typing import Any, Literal

from textloc.results.sentences import told
from textloc.ui.stored import Document

FigureName = Literal[
    "effect_figure",
    "heatmap_figure",
    "sets_figure",
    "starts_figure",
    "lora_figure",
    "shares_figure",
    "steps_figure",
    "heads_figure",
    "letters_figure",
    "pairs_figure",
    "compare_figure",
]
_DRAWING = threading.Lock()  # one waits for the figure that another is drawing


def drawn(name: FigureName, document: Document) -> dict[str, Any]:
    """A figure of `textloc.results.plots`, one for each theme, with its text alternative."""
    with _DRAWING:
        return _drawn(name, json.dumps(document))


@lru_cache(maxsize=64)
def _drawn(name: FigureName, text: str) -> dict[str, Any]:
    from textloc.results import plots

    document = json.loads(text)
    draw = getattr(plots, name)
    themes = {theme: json.loads(draw(document, theme).to_json()) for theme in ("light", "dark")}
    return {"label": told(document), "config": plots.CONFIG, **themes}
