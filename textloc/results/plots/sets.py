"""How many layers it takes."""

import plotly.graph_objects as go

from textloc.layers import display_layers
from textloc.results.plots.style import THEMES, Document, ThemeName, style


def sets_figure(document: Document, theme: ThemeName = "light") -> go.Figure:
    """Lines: words changed and picture kept, by the number of layers patched (Table 5).

    Sizes are evenly spaced, not to scale. Open marks are the random sets of the selected size.
    `customdata` of the lines is the set's layers as text, such as `7–9`.
    """
    look = THEMES[theme]
    curve = sorted(document["sets"], key=lambda entry: int(entry["size"]))
    controls = document["controls"]
    sizes = sorted({e["size"] for e in curve} | {len(e["layers"]) for e in controls})
    slot = {size: place for place, size in enumerate(sizes)}
    down, mid, up = look.blocks
    figure = go.Figure()
    for score, name, hue, symbol, dash in (
        ("ocr_f1_target", "words: OCR F1 to target", up, "circle", "solid"),
        ("exact_target", "words: read exactly", mid, "diamond", "dash"),
        ("ssim_source", "picture kept: SSIM", down, "square", "solid"),
    ):
        shown = [entry for entry in curve if entry["scores"].get(score) is not None]
        figure.add_scatter(
            x=[slot[entry["size"]] for entry in shown],
            y=[entry["scores"][score] for entry in shown],
            name=name,
            mode="lines+markers",
            line={"color": hue, "width": 2.5, "dash": dash},
            marker={"symbol": symbol, "size": 9},
            customdata=[display_layers(entry["layers"]) or "none" for entry in shown],
            hovertemplate=f"{name} <b>%{{y:.2f}}</b><br>layers %{{customdata}}<extra></extra>",
        )
        drawn = [entry for entry in controls if entry["scores"].get(score) is not None]
        if drawn and score != "exact_target":
            spread = [0.5 * ((i + 0.5) / len(drawn) - 0.5) for i in range(len(drawn))]
            figure.add_scatter(
                x=[slot[len(e["layers"])] + s for e, s in zip(drawn, spread, strict=True)],
                y=[entry["scores"][score] for entry in drawn],
                name=f"random layers: {name.split(': ')[1]}",
                mode="markers",
                marker={
                    "symbol": f"{symbol}-open",
                    "size": 9,
                    "color": hue,
                    "line_width": 1.8,
                },
                customdata=[display_layers(entry["layers"]) for entry in drawn],
                hovertemplate="random layers %{customdata}<br>"
                f"{name} <b>%{{y:.2f}}</b><extra></extra>",
            )
    if (chosen := len(document["selected"])) in slot and chosen:
        place = slot[chosen]
        figure.add_vrect(x0=place - 0.32, x1=place + 0.32, fillcolor=look.empty, line_width=0)
        figure.update_shapes(layer="below")
        figure.add_annotation(
            x=place, y=1.06, text="<b>selected</b>", showarrow=False, yanchor="bottom", font_size=14
        )
    if not curve:
        figure.add_annotation(
            x=0.5,
            y=0.5,
            xref="paper",
            yref="paper",
            text="measured after the layers" if not document["complete"] else "not measured",
            showarrow=False,
            font_color=look.muted,
        )
    style(figure, look, height=460, bottom=64)
    figure.update_layout(
        hovermode="closest",
        uirevision=document["id"],
        margin_t=16,
        showlegend=True,
        legend={
            "orientation": "h",
            "x": 0,
            "y": -0.24,
            "yanchor": "top",
            "font_size": 13,
            "entrywidth": 250,  # of the longest name in any language of the page
            "itemclick": False,
            "itemdoubleclick": False,
        },
    )
    figure.update_xaxes(
        title_text="Layers patched together (not to scale)",
        title_standoff=8,
        tickvals=list(slot.values()),
        ticktext=[str(size) for size in sizes],
        range=[-0.5, max(len(sizes), 2) - 0.5],
        showgrid=False,
        zeroline=False,
    )
    worst = min([0.0, *(e["scores"].get("ssim_source") or 0.0 for e in [*curve, *controls])])
    figure.update_yaxes(
        title_text="Score", range=[worst - 0.05, 1.18], tickvals=[0, 0.25, 0.5, 0.75, 1]
    )
    return figure
