"""Pictures side by side with what is read in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import plotly.graph_objects as go
from PIL import Image

from textloc.pictures import address
from textloc.results.plots.style import THEMES, Document, ThemeName, style

_MOST = 24
_COLUMNS = 6


def pictures_figure(
    document: Document, theme: ThemeName, images: Mapping[str, Image.Image]
) -> go.Figure:
    """A grid of an edit's, a suppression's or a LoRA trial's pictures, a caption below each.

    A row holds one kind of pictures; at most 24 are shown. images: by the keys of the document.
    """
    look = THEMES[theme]
    shown = [one for one in _named(document) if one[2] in images][:_MOST]
    figure = go.Figure()
    places: list[tuple[int, int]] = []
    row, column, kind = -1, 0, None
    for name, read, key in shown:
        if name != kind or column == _COLUMNS:
            row, column, kind = row + 1, 0, name
        places.append((row, column))
        figure.add_layout_image(
            source=address(images[key]),
            x=column,
            y=-1.35 * row,
            xref="x",
            yref="y",
            sizex=0.94,
            sizey=0.94,
            xanchor="left",
            yanchor="top",
        )
        for text, below in ((f"<b>{name}</b>", 0.96), (read or "nothing read", 1.12)):
            figure.add_annotation(
                x=column + 0.47,
                y=-1.35 * row - below,
                text=text,
                showarrow=False,
                yanchor="top",
                font_color=look.ink,
            )
        column += 1
    rows = row + 1
    wide = max((column for _, column in places), default=0) + 1
    style(figure, look, height=max(120, int(900 / max(wide, 4) * 1.35 * rows) + 20), bottom=10)
    figure.update_layout(uirevision=document["id"], margin={"l": 8, "r": 8, "t": 8, "b": 8})
    figure.update_xaxes(visible=False, range=[0, max(wide, 4)], fixedrange=True)
    figure.update_yaxes(visible=False, range=[-1.35 * rows, 0], fixedrange=True)
    return figure


def _named(document: Document) -> Iterator[tuple[str, str, str]]:
    """(kind of picture, what is read, key) in the order of the document."""
    if "edits" in document:
        for one in document["sources"]:
            yield "source", one["read"], one["image"]
        for one in document["edits"]:
            yield "edit", one["read_edit"], one["image"]
        for method in document["methods"]:
            for one in method["edits"]:
                yield method["title"].lower(), one["read_edit"], one["image"]
        return
    for name in ("base", "lora"):
        for one in document.get(name, ()):
            yield name, one["read"], one["image"]
    for name in ("unguarded", "guarded"):
        for one in (document.get(name) or {}).get("pictures", ()):
            if one["image"] is not None:
                yield name, one["read"], one["image"]
    for method in document.get("methods", ()):
        for one in method["pictures"]:
            yield method["title"].lower(), one["read"], one["image"]
