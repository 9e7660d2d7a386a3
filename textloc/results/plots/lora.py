"""How words and variety change while LoRAs are trained on different layers."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from textloc.results.plots.labels import mixed
from textloc.results.plots.style import THEMES, Document, ThemeName, style

_DASHES = ("solid", "dash", "dot", "dashdot")
_MARKS = ("circle", "square", "diamond", "triangle-up")


def lora_figure(document: Document, theme: ThemeName = "light") -> go.Figure:
    """Small multiples over training steps: letters of each group right (1 - normalised Levenshtein
    distance), and recall (variety).

    One hue, dash and mark a choice of layers: the thick line is the mean of its runs, thin ones are
    single runs. Step 0 is the base. Documents of `bench lora` only.
    """
    look = THEMES[theme]
    panels = [(f"letters {group}", group) for group in document["groups"]]
    panels.append(("recall", "variety"))
    rows = -(-len(panels) // 2)
    figure = make_subplots(
        rows=rows,
        cols=2,
        subplot_titles=[title for _, title in panels],
        vertical_spacing=0.2,
        horizontal_spacing=0.1,
    )
    hues = (*look.blocks, look.muted)
    trained = [choice for choice in document["choices"] if choice["curves"]]
    for place, (name, title) in enumerate(panels):
        where = {"row": place // 2 + 1, "col": place % 2 + 1}
        for number, choice in enumerate(trained):
            hue, dash = hues[number % len(hues)], _DASHES[number % len(_DASHES)]
            runs = [
                {point["step"]: point[name] for point in curve["points"] if name in point}
                for curve in choice["curves"]
            ]
            steps = sorted(set.intersection(*(set(run) for run in runs)))
            if len(runs) > 1:
                for run in runs:
                    figure.add_scatter(
                        x=list(run),
                        y=list(run.values()),
                        mode="lines",
                        line={"color": mixed(hue, look.background, 0.45), "width": 1},
                        hoverinfo="skip",
                        showlegend=False,
                        **where,
                    )
            figure.add_scatter(
                x=steps,
                y=[sum(run[step] for run in runs) / len(runs) for step in steps],
                name=choice["title"],
                legendgroup=choice["name"],
                showlegend=place == 0,
                mode="lines+markers",
                line={"color": hue, "width": 2.5, "dash": dash},
                marker={"symbol": _MARKS[number % len(_MARKS)], "size": 8},
                hovertemplate=f"{choice['title']}<br>{title} <b>%{{y:.2f}}</b> after %{{x}} steps"
                "<extra></extra>",
                **where,
            )
    style(figure, look, height=230 * rows, bottom=70)
    figure.update_layout(
        hovermode="closest",
        uirevision=document["id"],
        margin_t=30,
        showlegend=True,
        legend={
            "orientation": "h",
            "x": 0,
            "y": -0.13,
            "yanchor": "top",
            "font_size": 13,
            "entrywidth": 210,  # of the longest name in any language of the page
            "itemclick": False,
            "itemdoubleclick": False,
        },
    )
    figure.update_annotations(font_size=14, font_color=look.ink)
    figure.update_xaxes(showgrid=False, nticks=4)
    figure.update_yaxes(range=[-0.05, 1.1], tickvals=[0, 0.5, 1])
    return figure
