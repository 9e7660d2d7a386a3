"""Results as Plotly figures and in words.

Each function takes a localize document, complete or partial, and returns a figure for a page, a
phone or a projector: nothing is said by colour alone, text sits beside what it names, and an
unfinished layer is an empty slot. `describe` says in plain language what the figures show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from math import ceil
from typing import Any, Literal

import plotly.graph_objects as go

from textloc.layers import format_layers
from textloc.metrics import exact_match, ocr_precision_recall_f1

Document = Mapping[str, Any]
ThemeName = Literal["light", "dark"]

CONFIG: dict[str, Any] = {"displayModeBar": False, "responsive": True, "scrollZoom": False}
"""Options to draw the figures with (the third argument of `Plotly.newPlot`)."""

_FONT = "Inter, system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True)
class Theme:
    """Colours of one theme; the hues are Okabe and Ito's, told apart with any colour vision."""

    background: str
    ink: str
    muted: str
    grid: str
    empty: str
    error: str
    blocks: tuple[str, str, str]
    """Down, mid, up; a transformer's blocks take the first, its single blocks the third."""
    scale: tuple[str, ...]
    """From no match to a full match."""


THEMES: dict[ThemeName, Theme] = {
    "light": Theme(
        background="#ffffff",
        ink="#1a1a1a",
        muted="#5b6270",
        grid="#e6e8ec",
        empty="#f1f2f5",
        error="rgba(26,26,26,0.55)",
        blocks=("#0072b2", "#a0538c", "#d55e00"),
        scale=("#e4ebf2", "#a9cbe4", "#3f8fc6", "#0b4f86", "#062a4d"),
    ),
    "dark": Theme(
        background="#0b0f19",
        ink="#f3f4f6",
        muted="#a7afbd",
        grid="#252c3a",
        empty="#161c29",
        error="rgba(243,244,246,0.6)",
        blocks=("#56b4e9", "#e08cc0", "#f0a33a"),
        scale=("#1b2536", "#1d4f78", "#3f8fc6", "#9ed0f0", "#f4faff"),
    ),
}


# ---------------------------------------------------------------------------- effect by layer


def effect_figure(document: Document, theme: ThemeName = "light") -> go.Figure:
    """Bars: what patching each layer alone does to the words, layers in execution order.

    The height is the normalised effect (0: like no patch, 1: like all layers patched), or the
    bare OCR F1 to the target where there is no effect for every bar; the axis says which. The
    first trace holds the finished layers; its `customdata` are their numbers, and a click or tap
    anywhere in a bar's column reaches it.
    """
    look = THEMES[theme]
    slots = _slots(document)
    layers = sorted(document["layers"], key=lambda layer: slots[layer["index"]])
    raw = any(layer["scores"].get("effect") is None for layer in layers)
    raw = raw if layers else not _scaled(document)
    score = "ocr_f1_target" if raw else "effect"
    selected = set(document["selected"])
    values = [layer["scores"][score] for layer in layers]
    lows, highs = _interval(layers, values, raw)
    colors, lines = [], []
    for layer in layers:
        hue = look.blocks[_region(layer["name"])[1]]
        chosen = layer["index"] in selected
        colors.append(hue if chosen or not selected else _mixed(hue, look.background, 0.42))
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

    _style(figure, look, height=430, bottom=82 + 15 * rows)
    figure.update_layout(
        hovermode="x", bargap=0, uirevision=document["id"], margin_l=72 if raw else 90
    )
    figure.update_xaxes(**_layer_ticks(slots), title_standoff=27 + 15 * rows)
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
    for first, last in _runs(empty):
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
        first, last = max(_runs(empty), key=lambda run: run[1] - run[0])
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
            text=f"<b>{_ranges(group)}</b>",
            showarrow=False,
            font_size=16,
        )


def _layer_hover(document: Document, layer: Document, selected: set[int]) -> str:
    scores = layer["scores"]
    chosen = " · selected" if layer["index"] in selected else ""
    lines = [f"<b>Layer {layer['index']}</b>{chosen}", *_wrapped(layer["name"])]
    if scores.get("effect") is not None:
        low, high = scores.get("effect_low"), scores.get("effect_high")
        known = low is not None and high is not None
        between = f" ({low:.2f} to {high:.2f})" if known else ""
        lines.append(f"effect <b>{scores['effect']:.2f}</b>{between}")
    lines.append(f"OCR F1 to target <b>{scores['ocr_f1_target']:.2f}</b>")
    levels = [("no patch", document.get("floor")), ("all layers", document.get("ceiling"))]
    if named := [f"{name} {level:.2f}" for name, level in levels if level is not None]:
        lines.append(f"({', '.join(named)})")
    lines += _quoted([read["text"] for read in layer["read"]])
    return "<br>".join(lines)


# ---------------------------------------------------------------------------- every reading


def heatmap_figure(document: Document, theme: ThemeName = "light") -> go.Figure:
    """Heat map: OCR F1 to the target word of every reading.

    Rows are pairs and, within them, seeds, the first on top. Columns are no patch, the layers in
    execution order, and all layers patched. `customdata` is `[layer, pair, seed]` per cell, the
    layer None in the two outer columns. Cells not finished are left out.
    """
    look = THEMES[theme]
    slots = _slots(document)
    request = document["request"]
    rows = [(pair, seed) for pair in range(len(request["pairs"])) for seed in request["seeds"]]
    outer = {name: document["references"].get(name, {}) for name in ("source", "all")}
    inner = {layer["index"]: layer for layer in document["layers"]}
    gap: Document = {}
    results = [outer["source"], gap, *(inner.get(layer, {}) for layer in slots), gap, outer["all"]]
    layers = [None, None, *slots, None, None]
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
    for first, last in _runs(chosen):
        figure.add_shape(
            type="rect",
            x0=first - 0.5,
            x1=last + 0.5,
            y0=-0.5,
            y1=len(rows) - 0.5,
            line={"color": look.ink, "width": 2},
        )
    ticks = _layer_ticks(slots, most=8 if count > 12 else 12)
    ticks["tickvals"] = [left - width / 2, *ticks["tickvals"], right + width / 2]
    ticks["ticktext"] = ["none", *ticks["ticktext"], "all"]
    ticks["range"] = [edges[0], edges[-1]]
    ticks["tickfont_size"] = 13
    height = max(230, min(900, 138 + 28 * len(rows)))
    _style(figure, look, height=height, bottom=56)
    figure.add_annotation(
        x=0,
        y=1,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="bottom",
        yshift=54,
        text="OCR F1 to the target word",
        showarrow=False,
    )
    figure.update_layout(
        hovermode="closest",
        uirevision=document["id"],
        margin_t=82,
        coloraxis={
            "cmin": 0,
            "cmax": 1,
            "colorscale": [[i / (len(look.scale) - 1), hue] for i, hue in enumerate(look.scale)],
            "colorbar": {
                "orientation": "h",
                "thickness": 10,
                "lenmode": "pixels",
                "len": 220,
                "x": 0,
                "xanchor": "left",
                "yref": "container",
                "y": 1 - 26 / height,
                "yanchor": "top",
                "xpad": 0,
                "ypad": 0,
                "tickvals": [0, 0.5, 1],
                "tickfont_size": 13,
                "outlinewidth": 0,
            },
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
        [f"<b>{name}</b>", asked, f"OCR F1 to target <b>{f1:.2f}</b>", *_quoted([text])]
    )


# ---------------------------------------------------------------------------- growing sets


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
            customdata=[_ranges(entry["layers"]) or "none" for entry in shown],
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
                customdata=[_ranges(entry["layers"]) for entry in drawn],
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
    _style(figure, look, height=460, bottom=64)
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


# ---------------------------------------------------------------------------- in words


def describe(document: Document) -> str:
    """What a result says, in one to three plain sentences: headline and text alternative.

    Pictures are counted from the readings themselves, on the pairs that the result reports on.
    """
    layers, total = document["layers"], _total(document)
    if not document["complete"]:
        return _describe_partial(layers, len(document["request"]["layers"]))
    floor, ceiling = document.get("floor"), document.get("ceiling")
    if floor is None or ceiling is None:
        return f"{len(layers)} layers are measured, but not what no patch and all layers give."
    if ceiling <= floor:
        return (
            f"No layer can be named: patching all {total} brought the words no closer to the "
            f"target (OCR F1 {ceiling:.2f}; with no patch {floor:.2f})."
        )
    selected = sorted(document["selected"])
    if not selected:
        return _describe_none(document, total)
    entry = next((e for e in document["sets"] if sorted(e["layers"]) == selected), None)
    if entry is None:
        return f"{_listed(selected)} of {_of(document)} selected; their joint effect is unknown."
    return f"{_claim(document, entry)} {_evidence(document, entry)}"


def _total(document: Document) -> int:
    """Text layers of the model, as far as the result says: the largest set holds them all."""
    sizes = [len(entry["layers"]) for entry in document["sets"]]
    return max([len(document["request"]["layers"]), *sizes])


def _of(document: Document) -> str:
    tried = len(document["request"]["layers"])
    return str(tried) if tried == _total(document) else f"the {tried} tried"


def _describe_none(document: Document, total: int) -> str:
    """No set reached the share asked for: say so, and how far the best one came."""
    share = document["selection"]["share"]
    text = f"No small set of layers reached {100 * share:.0f} % of the effect of all {total}"
    small = [e for e in document["sets"] if 0 < len(e["layers"]) < total]
    known = [e for e in small if e["scores"].get("effect") is not None]
    if not known:
        return f"{text}."
    best = max(known, key=lambda entry: float(entry["scores"]["effect"]))
    if best["scores"]["effect"] <= 0:
        return f"{text}: none had any."
    name, effect = _listed(sorted(best["layers"])), 100 * best["scores"]["effect"]
    return f"{text}: the best, {name[0].lower()}{name[1:]}, had {effect:.0f} %."


def _describe_partial(layers: Sequence[Document], total: int) -> str:
    if not layers:
        return f"None of {total} layers is measured yet."
    so_far = f"{len(layers)} of {total} layers measured so far"
    scaled = all(layer["scores"].get("effect") is not None for layer in layers)
    score = "effect" if scaled else "ocr_f1_target"
    best = max(layers, key=lambda layer: float(layer["scores"][score]))
    value = best["scores"][score]
    if scaled and value <= 0:
        return f"{so_far}; none has brought the words closer to the target."
    reached = (
        f"{100 * value:.0f} % of the effect of all"
        if scaled
        else f"OCR F1 to the target {value:.2f}"
    )
    return f"{so_far}; the strongest is layer {best['index']} ({reached})."


def _claim(document: Document, entry: Document) -> str:
    """The headline; it claims no more than the scores of the set and of its controls allow."""
    selected, total = sorted(document["selected"]), _total(document)
    plural = len(selected) > 1
    subject = f"{_listed(selected)} of {_of(document)}"
    if len(selected) == total:
        return f"It takes all {total} layers to write the words: no smaller set sufficed."
    rivals = [control["scores"]["ocr_f1_target"] for control in document["controls"]]
    if rivals and max(rivals) >= entry["scores"]["ocr_f1_target"]:
        verb = "were" if plural else "was"
        return f"{subject} {verb} selected, but random layers, as many, did as well."
    size = f"{100 * document['fraction_of_parameters']:.2g} % of the parameters"
    hits, pictures = _hits(document, entry)
    none = next((e for e in document["sets"] if not e["layers"]), None)
    already = _hits(document, none)[0] if none else 0
    if document["selection"]["reached"] and 2 * (hits - already) > pictures:
        return f"{subject} {'write' if plural else 'writes'} the words ({size})."
    return f"{subject} {'have' if plural else 'has'} the strongest effect on the words ({size})."


def _evidence(document: Document, entry: Document) -> str:
    """Pictures that read the target, or its F1 where few do: of the set, of none, of all."""
    total = _total(document)
    ends = {len(e["layers"]): e for e in document["sets"] if len(e["layers"]) in (0, total)}
    others = [("no patch", ends.get(0)), (f"all {total} layers patched", ends.get(total))]
    if len(document["selected"]) == total:
        others.pop()
    them = "it" if len(document["selected"]) == 1 else "them"
    held_out = " (pairs not used to choose)" if document["selection"].get("split") else ""
    hits, pictures = _hits(document, entry)
    if 2 * hits > pictures:
        words = {document["request"]["pairs"][pair]["target_text"] for pair in _reported(document)}
        word = words.pop() if len(words) == 1 else "the target"
        noun = "picture reads" if pictures == 1 else "pictures read"
        first = f"{hits} of {pictures} {noun} {word}{held_out}"
        rest = [f"with {name} {_hits(document, end)[0]}" for name, end in others if end]
    else:
        first = f"the OCR F1 to the target is {entry['scores']['ocr_f1_target']:.2f}{held_out}"
        rest = [f"with {name} {end['scores']['ocr_f1_target']:.2f}" for name, end in others if end]
    first = f"With only {them} patched, {first}"
    return "; ".join([first, ", ".join(rest)] if rest else [first]) + "."


def _reported(document: Document) -> list[int]:
    everything = range(len(document["request"]["pairs"]))
    return list(document.get("selection", {}).get("reported_on") or everything)


def _hits(document: Document, result: Document) -> tuple[int, int]:
    """Pictures of a result that read exactly the target, and all of its pictures."""
    pairs, reported = document["request"]["pairs"], set(_reported(document))
    reads = [read for read in result["read"] if read["pair"] in reported]
    exact = [exact_match(read["text"], pairs[read["pair"]]["target_text"]) for read in reads]
    return sum(map(bool, exact)), len(reads)


def _listed(layers: Sequence[int]) -> str:
    """`Layer 9`, `Layers 8 and 9`, `Layers 7, 8 and 9`; many of them as ranges."""
    if len(layers) == 1:
        return f"Layer {layers[0]}"
    names = [str(layer) for layer in layers] if len(layers) <= 4 else _ranges(layers).split(", ")
    return f"Layers {' and '.join([', '.join(names[:-1]), names[-1]] if names[1:] else names)}"


# ---------------------------------------------------------------------------- parts


def _slots(document: Document) -> dict[int, int]:
    """Layer number → place on the axis: what was asked for, in execution order, from 0."""
    return {layer: place for place, layer in enumerate(sorted(document["request"]["layers"]))}


def _layer_ticks(slots: Mapping[int, int], most: int = 12) -> dict[str, Any]:
    """At most `most` layer numbers, so that they fit on a phone."""
    step = next((s for s in (1, 2, 5, 10, 20, 50) if len(slots) <= most * s), 100)
    shown = {slot: layer for layer, slot in slots.items() if slot % step == 0}
    return {
        "tickvals": list(shown),
        "ticktext": [str(layer) for layer in shown.values()],
        "range": [-0.6, len(slots) - 0.4],
        "showgrid": False,
        "zeroline": False,
        "tickangle": 0,
    }


def _ranges(layers: Sequence[int]) -> str:
    return format_layers(layers).replace("-", "–")


def _runs(places: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of neighbouring places."""
    keyed = groupby(enumerate(sorted(places)), key=lambda item: item[1] - item[0])
    runs = [[place for _, place in group] for _, group in keyed]
    return [(run[0], run[-1]) for run in runs]


def _region(name: str) -> tuple[str, int]:
    """What a dotted layer name says about its place: label and colour (down, mid, up)."""
    head, *rest = name.split(".")
    for colour, block in enumerate(("down", "mid", "up")):
        if head in (f"{block}_block", f"{block}_blocks"):
            return (f"{block} {rest[0]}" if head.endswith("s") and rest else block), colour
    return head.replace("_", " "), 2 if head.startswith("single") else 0


def _regions(
    figure: go.Figure, layers: Sequence[Document], slots: Mapping[int, int], look: Theme
) -> int:
    """Under the axis, a line for each block of the model with its name; returns rows of names."""
    placed = [(slots[layer["index"]], *_region(layer["name"])) for layer in layers]
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


def _mixed(hue: str, background: str, share: float) -> str:
    """`share` of the colour `hue` over `background`, both `#rrggbb`."""
    channels = (
        round(share * int(hue[i : i + 2], 16) + (1 - share) * int(background[i : i + 2], 16))
        for i in (1, 3, 5)
    )
    return "#" + "".join(f"{channel:02x}" for channel in channels)


def _wrapped(name: str) -> list[str]:
    """A dotted name in lines short enough for a phone."""
    lines = [""]
    for part in name.split("."):
        if lines[-1] and len(lines[-1]) + len(part) > 30:
            lines.append("")
        lines[-1] += f"{part}."
    lines[-1] = lines[-1].removesuffix(".")
    return [escape(line) for line in lines]


def _quoted(texts: Sequence[str]) -> list[str]:
    """What was read, in at most four lines for a hover label."""
    cut = [text if len(text) <= 28 else f"{text[:27]}…" for text in texts[:3]]
    lines = [f"read “{escape(text)}”" if text.strip() else "read nothing" for text in cut]
    return [*lines, f"and {len(texts) - 3} more"] if len(texts) > 3 else lines


def template(theme: ThemeName) -> go.layout.Template:
    """The look that all figures share."""
    look = THEMES[theme]
    axis = {
        "gridcolor": look.grid,
        "zeroline": False,
        "linecolor": look.grid,
        "ticks": "",
        "fixedrange": True,
        "title_font_size": 15,
        "automargin": False,
    }
    return go.layout.Template(
        layout={
            "font": {"family": _FONT, "size": 14, "color": look.ink},
            "paper_bgcolor": look.background,
            "plot_bgcolor": look.background,
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {
                "bgcolor": look.background,
                "bordercolor": look.muted,
                "font": {"family": _FONT, "size": 14, "color": look.ink},
                "align": "left",
            },
            "dragmode": False,
            "showlegend": False,
        }
    )


def _style(figure: go.Figure, look: Theme, height: int, bottom: int) -> None:
    theme: ThemeName = "dark" if look is THEMES["dark"] else "light"
    figure.update_layout(
        template=template(theme),
        height=height,
        autosize=True,
        margin={"l": 58, "r": 14, "t": 20, "b": bottom},
    )
