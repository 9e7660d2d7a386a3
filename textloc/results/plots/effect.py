"""What each layer alone does to the words."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import ceil

import plotly.graph_objects as go

from textloc.layers import display_layers
from textloc.results.judging import doubt
from textloc.results.plots.labels import layer_ticks, mixed, places, quoted, region, runs, wrapped
from textloc.results.plots.style import THEMES, Document, Theme, ThemeName, style


def effect_figure(document: Document, theme: ThemeName = "light") -> go.Figure:
    """Bars: what patching each layer alone does to the words, layers in execution order.

    The height is the normalised effect (0: like no patch, 1: like all layers patched), or the
    bare OCR F1 to the target where there is no effect for every bar; the axis says which. The
    first trace holds the finished layers; its `customdata` are their numbers, and a click or tap
    anywhere in a bar's column reaches it.
    """
    look = THEMES[theme]
    slots = places(document)
    layers = sorted(document["layers"], key=lambda layer: slots[layer["index"]])
    raw = any(layer["scores"].get("effect") is None for layer in layers)
    raw = raw if layers else not _scaled(document)
    raw = raw or doubt(document) is not None
    score = "ocr_f1_target" if raw else "effect"
    selected = set(document["selected"])
    values = [layer["scores"][score] for layer in layers]
    lows, highs = _interval(layers, values, raw)
    colors, lines = [], []
    for layer in layers:
        hue = look.blocks[region(layer["name"])[1]]
        chosen = layer["index"] in selected
        colors.append(hue if chosen or not selected else mixed(hue, look.background, 0.42))
        lines.append(look.ink if chosen and len(slots) <= 30 else "rgba(0,0,0,0)")

    figure = go.Figure()
    figure.add_bar(
        x=[f"Layer {layer['index']}" for layer in layers],
        y=values,
        width=0.82,
        marker={"color": colors, "line": {"color": lines, "width": 1.5}},
        customdata=[layer["index"] for layer in layers],
        hovertext=[_layer_hover(document, layer, selected) for layer in layers],
        hovertemplate="%{hovertext}<extra></extra>",
        error_y={
            "type": "data",
            "array": [high - value for high, value in zip(highs, values, strict=True)],
            "arrayminus": [value - low for low, value in zip(lows, values, strict=True)],
            "visible": highs != lows,
            "color": look.error,
            "thickness": 1.3,
            "width": 0 if len(slots) > 30 else 3,
        },
    )
    bottom, top = _effect_range(document, lows, highs, raw)
    _empty_slots(figure, slots, {layer["index"] for layer in layers}, bottom, top, look)
    _levels(figure, document, raw, bottom, top, look)
    _brackets(figure, slots, selected, dict(zip((b["index"] for b in layers), highs, strict=True)))
    rows = _regions(figure, layers, slots, look)

    style(figure, look, height=430, bottom=82 + 15 * rows)
    figure.update_layout(
        hovermode="x", bargap=0, uirevision=document["id"], margin_l=72 if raw else 90
    )
    figure.update_xaxes(**layer_ticks(slots), title_standoff=27 + 15 * rows)
    figure.update_xaxes(
        title_text="Text layer, in the order it runs",
        type="category",  # so that the label under the pointer is the layer's, not the place's
        categoryarray=[f"Layer {layer}" for layer in slots],
    )
    figure.update_yaxes(title_text=_effect_title(document, raw), range=[bottom, top])
    return figure


def _scaled(document: Document) -> bool:
    """Whether effects can be measured: patching all layers raises the score of no patch."""
    floor, ceiling = document.get("floor"), document.get("ceiling")
    return floor is not None and ceiling is not None and ceiling > floor


def _effect_title(document: Document, raw: bool) -> str:
    if not raw:
        return "Effect of this layer alone"
    if doubt(document) is not None:
        return "OCR F1 to the target text<br>(cannot be judged: see above)"
    if document["complete"] and not _scaled(document):
        return "OCR F1 to the target text<br>(no effect: all layers ≤ no patch)"
    return "OCR F1 to the target text<br>(not scaled to an effect)"


def _interval(
    layers: Sequence[Document], values: Sequence[float], raw: bool
) -> tuple[list[float], list[float]]:
    """Ends of the error bars, in the unit of `values`; the values themselves where unknown."""
    ends: tuple[list[float], list[float]] = ([], [])
    for name, collected in zip(("effect_low", "effect_high"), ends, strict=True):
        for layer, value in zip(layers, values, strict=True):
            end = None if raw else layer["scores"].get(name)
            collected.append(value if end is None else end)
    return ends


def _effect_range(
    document: Document, lows: Sequence[float], highs: Sequence[float], raw: bool
) -> tuple[float, float]:
    """Room for the error bars, the line of the ceiling and the names above the selected."""
    known = [document.get("floor"), document.get("ceiling")] if raw else [0.0, 1.0]
    floor, ceiling = (0.0 if level is None else level for level in known)
    low, high = min([0.0, floor, *lows]), max([1.0, ceiling, *highs])
    span = high - low
    return low - (0.0 if raw and low == 0 else 0.11 * span), high + 0.13 * span


def _empty_slots(
    figure: go.Figure,
    slots: Mapping[int, int],
    finished: set[int],
    bottom: float,
    top: float,
    look: Theme,
) -> None:
    """Shade the columns of the layers that are not finished."""
    empty = [slot for layer, slot in slots.items() if layer not in finished]
    for first, last in runs(empty):
        figure.add_shape(
            type="rect",
            layer="below",
            x0=first - 0.5,
            x1=last + 0.5,
            y0=bottom,
            y1=top,
            fillcolor=look.empty,
            line_width=0,
        )
    if empty:
        first, last = max(runs(empty), key=lambda run: run[1] - run[0])
        wide = last - first + 1 >= 0.3 * len(slots)
        figure.add_annotation(
            x=(first + last) / 2,
            y=0.5,
            yref="paper",
            text="not run yet" if wide else "…",
            showarrow=False,
            font_color=look.muted,
        )


def _levels(
    figure: go.Figure, document: Document, raw: bool, bottom: float, top: float, look: Theme
) -> None:
    """Lines at what no patch and all layers give, each with its name."""
    line = {"color": look.muted, "width": 1.2, "dash": "dot"}
    if not raw:
        figure.add_hline(y=0, line=line)
        figure.add_hline(y=1, line=line)
        beyond = [tick for tick in range(ceil(bottom), int(top) + 1) if tick not in (0, 1)]
        beyond = beyond[:: 1 + len(beyond) // 8]
        ticks = {0.0: "0<br>no patch", 1.0: "1<br>all layers"}
        between = (0.25, 0.5, 0.75) if top - bottom < 2 else ()
        ticks.update((float(tick), str(tick)) for tick in (*between, *beyond))
        figure.update_yaxes(tickvals=list(ticks), ticktext=list(ticks.values()))
        return
    levels: dict[float, list[str]] = {}
    for name, key in (("no patch", "floor"), ("all layers patched", "ceiling")):
        if document.get(key) is not None:
            levels.setdefault(document[key], []).append(name)
    for level, named in levels.items():
        figure.add_hline(y=level, line=line)
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="right",
            y=level,
            yanchor="bottom",
            text=" = ".join(named),
            showarrow=False,
            font={"size": 13, "color": look.muted},
        )


def _brackets(
    figure: go.Figure, slots: Mapping[int, int], selected: set[int], highs: Mapping[int, float]
) -> None:
    """Name the selected layers above their bars, neighbours together."""
    near = max(1, len(slots) // 14)
    groups: list[list[int]] = []
    for layer in sorted(selected & slots.keys(), key=slots.__getitem__):
        if groups and slots[layer] - slots[groups[-1][-1]] <= near:
            groups[-1].append(layer)
        else:
            groups.append([layer])
    for group in groups:
        figure.add_annotation(
            x=(slots[group[0]] + slots[group[-1]]) / 2,
            y=max([0.0, *(highs[layer] for layer in group if layer in highs)]),
            yanchor="bottom",
            yshift=3,
            text=f"<b>{display_layers(group)}</b>",
            showarrow=False,
            font_size=16,
        )


def _layer_hover(document: Document, layer: Document, selected: set[int]) -> str:
    scores = layer["scores"]
    chosen = " · selected" if layer["index"] in selected else ""
    lines = [f"<b>Layer {layer['index']}</b>{chosen}", *wrapped(layer["name"])]
    if scores.get("effect") is not None:
        low, high = scores.get("effect_low"), scores.get("effect_high")
        known = low is not None and high is not None
        between = f" ({low:.2f} to {high:.2f})" if known else ""
        lines.append(f"effect <b>{scores['effect']:.2f}</b>{between}")
    lines.append(f"OCR F1 to target <b>{scores['ocr_f1_target']:.2f}</b>")
    levels = [("no patch", document.get("floor")), ("all layers", document.get("ceiling"))]
    if named := [f"{name} {level:.2f}" for name, level in levels if level is not None]:
        lines.append(f"({', '.join(named)})")
    lines += quoted([read["text"] for read in layer["read"]])
    return "<br>".join(lines)


def _regions(
    figure: go.Figure, layers: Sequence[Document], slots: Mapping[int, int], look: Theme
) -> int:
    """Under the axis, a line for each block of the model with its name; returns rows of names."""
    placed = [(slots[layer["index"]], *region(layer["name"])) for layer in layers]
    free = [-40.0, -40.0]  # where each of two rows of names is free, in pixels on a phone
    kind, short = "", False
    for (name, colour), group in groupby(placed, key=lambda item: item[1:]):
        members = [place for place, *_ in group]
        first, last = members[0], members[-1]
        figure.add_shape(
            type="rect",
            x0=first - 0.42,
            x1=last + 0.42,
            yref="paper",
            ysizemode="pixel",
            yanchor=0,
            y0=-26,
            y1=-31,
            fillcolor=look.blocks[colour],
            line_width=0,
        )
        middle = (first + last + 1) / 2 * 272 / len(slots)
        if name.split()[0] == kind and (short or middle - 3.3 * len(name) < free[0]):
            short, name = True, name.split()[-1]  # "down 1", "2", "3" rather than an overlap
        else:
            short, kind = False, name.split()[0]
        half = 3.3 * len(name)
        row = 0 if middle - half >= free[0] else 1
        free[row] = middle + half + 4
        figure.add_annotation(
            x=(first + last) / 2,
            y=0,
            yref="paper",
            yanchor="top",
            yshift=-33 - 15 * row,
            text=name,
            showarrow=False,
            font={"size": 12, "color": look.muted},
        )
    return 2 if free[1] > -40 else 1
