"""Every reading of every layer, pair and seed."""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from textloc.reading.metrics import ocr_precision_recall_f1
from textloc.results.plots.labels import layer_ticks, places, quoted, runs
from textloc.results.plots.style import THEMES, Document, ThemeName, colour_key, style


def heatmap_figure(document: Document, theme: ThemeName = "light") -> go.Figure:
    """Heat map: OCR F1 to the target word of every reading.

    Rows are pairs and, within them, seeds, the first on top. Columns are no patch, the layers in
    execution order, and all layers patched. `customdata` is `[layer, pair, seed]` per cell, the
    layer None and `"all"` in the two outer columns. Cells not finished are left out.
    """
    look = THEMES[theme]
    slots = places(document)
    request = document["request"]
    rows = [(pair, seed) for pair in range(len(request["pairs"])) for seed in request["seeds"]]
    outer = {name: document["references"].get(name, {}) for name in ("source", "all")}
    inner = {layer["index"]: layer for layer in document["layers"]}
    gap: Document = {}
    results = [outer["source"], gap, *(inner.get(layer, {}) for layer in slots), gap, outer["all"]]
    layers = [None, None, *slots, None, "all"]
    names = ["No patch", "", *(f"Layer {layer}" for layer in slots), "", "All layers patched"]
    count = len(slots)
    width, apart = max(1.0, count / 6.3), count / 35 + 0.12  # room for the names on a phone
    left, right = -0.5 - apart, count - 0.5 + apart
    edges = [left - width, left, *(slot - 0.5 for slot in range(count + 1)), right, right + width]

    columns = [
        {(read["pair"], read["seed"]): read["text"] for read in result.get("read", ())}
        for result in results
    ]
    cells = [[column.get(row) for column in columns] for row in rows]
    words = [request["pairs"][pair]["target_text"] for pair, _ in rows]
    z = [
        [None if text is None else float(ocr_precision_recall_f1(text, word)[2]) for text in line]
        for line, word in zip(cells, words, strict=True)
    ]
    figure = go.Figure()
    figure.add_heatmap(
        x=edges,
        y=list(range(len(rows))),
        z=z,
        customdata=[[[layer, *row] for layer in layers] for row in rows],
        text=[
            [
                _cell_hover(request["pairs"], name, row, text, f1)
                for name, text, f1 in zip(names, texts, scores, strict=True)
            ]
            for row, texts, scores in zip(rows, cells, z, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>",
        hoverongaps=False,
        coloraxis="coloraxis",
        xgap=0.5 if count > 30 else 1,
        ygap=0.5 if len(rows) > 24 else 1,
    )
    chosen = [slots[layer] for layer in document["selected"] if layer in slots]
    for first, last in runs(chosen):
        figure.add_shape(
            type="rect",
            x0=first - 0.5,
            x1=last + 0.5,
            y0=-0.5,
            y1=len(rows) - 0.5,
            line={"color": look.ink, "width": 2},
        )
    ticks = layer_ticks(slots, most=8 if count > 12 else 12)
    ticks["tickvals"] = [left - width / 2, *ticks["tickvals"], right + width / 2]
    ticks["ticktext"] = ["none", *ticks["ticktext"], "all"]
    ticks["range"] = [edges[0], edges[-1]]
    ticks["tickfont_size"] = 13
    height = max(230, min(900, 138 + 28 * len(rows)))
    style(figure, look, height=height, bottom=56)
    colour_key(figure, look, "OCR F1 to the target word", "1", above=32)
    figure.update_layout(
        hovermode="closest",
        uirevision=document["id"],
        margin_t=82,
        coloraxis={
            "cmin": 0,
            "cmax": 1,
            "colorscale": [[i / (len(look.scale) - 1), hue] for i, hue in enumerate(look.scale)],
            "showscale": False,
        },
    )
    figure.update_xaxes(**ticks, title_text="Patched layer", title_standoff=8)
    figure.update_yaxes(**_row_ticks(request), range=[len(rows) - 0.5, -0.5], automargin=True)
    return figure


def _row_ticks(request: Document) -> dict[str, Any]:
    """Names of the rows: the seeds of an only pair, else the target words amid their seeds."""
    pairs, seeds = request["pairs"], request["seeds"]
    if len(pairs) == 1:
        names, places = [f"seed {seed}" for seed in seeds], [float(i) for i in range(len(seeds))]
    else:
        words = [pair["target_text"] for pair in pairs]
        names = [escape(word if len(word) <= 11 else f"{word[:10]}…") for word in words]
        places = [(i + 0.5) * len(seeds) - 0.5 for i in range(len(pairs))]
    step = -(-len(names) // 26)
    return {
        "tickvals": places[::step],
        "ticktext": [f"{name} " for name in names[::step]],
        "tickfont_size": 13,
        "showgrid": False,
    }


def _cell_hover(
    pairs: Sequence[Document], name: str, row: tuple[int, int], text: str | None, f1: float | None
) -> str:
    if text is None or f1 is None:
        return ""
    pair, seed = pairs[row[0]], row[1]
    asked = f"{escape(pair['source_text'])} → {escape(pair['target_text'])}, seed {seed}"
    return "<br>".join(
        [f"<b>{name}</b>", asked, f"OCR F1 to target <b>{f1:.2f}</b>", *quoted([text])]
    )
