"""How late patching may begin and still change the words."""

import plotly.graph_objects as go

from textloc.results.plots.style import THEMES, Document, ThemeName, style


def starts_figure(document: Document, theme: ThemeName = "light") -> go.Figure:
    """Lines: words changed and picture kept, by the step that patching begins at (Figure 6).

    `customdata` of the lines is the start step, from 0; below it stands t_s, the number of steps
    that remain (the paper's axis). Documents of edits only.
    """
    look = THEMES[theme]
    curve = document["curve"]
    steps = int(document["request"]["steps"])
    down, mid, up = look.blocks
    figure = go.Figure()
    for score, name, hue, symbol, dash in (
        ("exact_target", "words: read exactly", mid, "diamond", "dash"),
        ("ocr_f1_target", "words: OCR F1 to target", up, "circle", "solid"),
        ("ssim_outside_text", "picture kept outside the text: SSIM", down, "square", "solid"),
        ("ssim", "as a whole: SSIM", down, "square-open", "dot"),
    ):
        shown = [point for point in curve if point["scores"][score][0] is not None]
        figure.add_scatter(
            x=[point["start_step"] for point in shown],
            y=[point["scores"][score][0] for point in shown],
            name=name,
            mode="lines+markers",
            line={"color": hue, "width": 2.5, "dash": dash},
            marker={"symbol": symbol, "size": 9},
            customdata=[point["start_step"] for point in shown],
            hovertemplate=f"{name} <b>%{{y:.2f}}</b><br>from step %{{x}}<extra></extra>",
        )
    chosen = document["start_step"]
    if chosen is not None:
        figure.add_vline(x=chosen, line={"color": look.muted, "width": 1.2, "dash": "dot"})
        late = chosen > 0.7 * steps
        figure.add_annotation(
            x=chosen,
            y=1.06,
            text="<b>chosen</b>",
            showarrow=False,
            xanchor="right" if late else "left",
            yanchor="bottom",
            font_size=14,
        )
    style(figure, look, height=380, bottom=78)
    figure.update_layout(
        hovermode="closest",
        uirevision=document["id"],
        margin_t=16,
        showlegend=True,
        legend={
            "orientation": "h",
            "x": 0,
            "y": -0.3,
            "yanchor": "top",
            "font_size": 13,
            "entrywidth": 290,  # of the longest name in any language of the page
            "itemclick": False,
            "itemdoubleclick": False,
        },
    )
    apart = next(width for width in (1, 2, 5, 10, 20, 50, 100, 200, 1000) if steps <= 5 * width)
    ticks = range(0, steps + 1, apart)
    figure.update_xaxes(
        title_text="Patched from step (below: t<sub>s</sub>)",
        title_standoff=8,
        tickvals=list(ticks),
        ticktext=[f"{tick}<br>{steps - tick}" for tick in ticks],
        range=[-0.03 * steps, 1.03 * steps],
        showgrid=False,
    )
    figure.update_yaxes(title_text="Score", range=[-0.05, 1.18], tickvals=[0, 0.25, 0.5, 0.75, 1])
    return figure
