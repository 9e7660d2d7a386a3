"""How a training went, and two localizations side by side."""

import plotly.graph_objects as go

from textloc.results.plots.style import THEMES, Document, ThemeName, style


def training_figure(document: Document, theme: ThemeName = "light") -> go.Figure:
    """Lines: the loss of each stretch of steps, and the share read exactly at each validation."""
    look = THEMES[theme]
    down, _, up = look.blocks
    figure = go.Figure()
    for name, title, hue, axis in (
        ("loss", "loss", down, "y"),
        ("exact", "read exactly", up, "y2"),
    ):
        lines = [line for line in document["log"] if name in line]
        figure.add_scatter(
            x=[line["step"] for line in lines],
            y=[line[name] for line in lines],
            name=title,
            yaxis=axis,
            mode="lines+markers",
            line={"color": hue, "width": 2.5},
            hovertemplate=f"{title} <b>%{{y:.3g}}</b><br>step %{{x}}<extra></extra>",
        )
    style(figure, look, height=360, bottom=60)
    figure.update_layout(
        uirevision=document["id"],
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.12, "font_size": 13},
        margin_t=40,
        yaxis2={
            "overlaying": "y",
            "side": "right",
            "range": [-0.02, 1.02],
            "title": "read exactly",
        },
    )
    figure.update_xaxes(title_text="Step", showgrid=False)
    figure.update_layout(yaxis_title_text="Loss")
    return figure


def compare_figure(document: Document, theme: ThemeName = "light") -> go.Figure:
    """Bars: each layer's effect in both localizations, with 95 % intervals."""
    look = THEMES[theme]
    figure = go.Figure()
    names = [f"Layer {layer['index']}" for layer in document["layers"]]
    for place, (side, hue) in enumerate((("first", look.blocks[0]), ("second", look.blocks[2]))):
        values = [layer["values"][place] for layer in document["layers"]]
        checkpoint = document[side]
        lora = checkpoint.get("lora")
        figure.add_bar(
            x=names,
            y=[value for value, _, _ in values],
            name=checkpoint["name"] + (f" with {lora['name']}" if lora else ""),
            marker_color=hue,
            error_y={
                "type": "data",
                "array": [0 if high is None else high - value for value, _, high in values],
                "arrayminus": [0 if low is None else value - low for value, low, _ in values],
                "color": look.error,
                "thickness": 1.3,
            },
        )
    style(figure, look, height=380, bottom=78)
    figure.update_layout(
        uirevision=document["id"],
        barmode="group",
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.12, "font_size": 13},
        margin_t=40,
    )
    figure.update_yaxes(
        title_text="Effect" if document["score"] == "effect" else "OCR F1 to target"
    )
    return figure
