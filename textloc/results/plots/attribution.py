"""The shares of layers: a bar of all, and maps of layer by step, head, letter and pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from typing import Any, NamedTuple

import plotly.graph_objects as go

from textloc.results.plots.labels import mixed, region, wrapped
from textloc.results.plots.style import THEMES, Document, Theme, ThemeName, colour_key, style

Triple = Sequence[float | None]


class _Line(NamedTuple):
    """One line of a map: what it is called on the axis and when pointed at, what a click on it
    means, and the share of each layer, `[mean, low, high]` or None where there is none."""

    name: str
    hover: str
    data: Any
    shares: Sequence[Triple | None]


def shares_figure(document: Document, theme: ThemeName = "light") -> go.Figure:
    """Bars: the share of each layer in what the target's text changes, with its interval.

    `customdata` are the layers' numbers. Empty until the first step is looked at.
    """
    look, found = THEMES[theme], document["shares"]
    triples = found["by_layer"] if found else []
    numbers = range(len(triples))
    selected = set(document.get("selected", ()))
    hues = [look.blocks[region(_name(document, n))[1]] for n in numbers]
    if selected:
        hues = [h if n in selected else mixed(h, look.background, 0.42) for n, h in enumerate(hues)]
    values = [share or 0.0 for share, _low, _high in triples]
    ends = [(t[0], t[0]) if t[1] is None else (t[1], t[2]) for t in triples]
    figure = go.Figure()
    figure.add_bar(
        x=list(numbers),
        y=values,
        width=0.82,
        marker_color=hues,
        customdata=list(numbers),
        hovertext=[_hover(document, n, "", triples[n]) for n in numbers],
        hovertemplate="%{hovertext}<extra></extra>",
        error_y={
            "type": "data",
            "array": [(high or 0.0) - v for (_, high), v in zip(ends, values, strict=True)],
            "arrayminus": [v - (low or 0.0) for (low, _), v in zip(ends, values, strict=True)],
            "visible": any(t[1] is not None for t in triples),
            "color": look.error,
            "thickness": 1.3,
            "width": 0 if len(triples) > 30 else 3,
        },
    )
    style(figure, look, height=330, bottom=56)
    figure.update_layout(hovermode="closest", uirevision=document["id"], margin_l=64)
    figure.add_hline(y=0, line={"color": look.muted, "width": 1})
    figure.update_xaxes(**_layer_axis(len(triples)), title_standoff=8)
    figure.update_yaxes(title_text="Share of the change", rangemode="tozero")
    return figure if found else _empty(figure, look)


def map_figure(document: Document, theme: ThemeName = "light", by: str = "step") -> go.Figure:
    """Heat map of shares: layers in execution order by `step`, `head`, `letter` or `pair`.

    `customdata` of a cell is `[layer, by, place]`: the denoising step, the head, `[tokenizer,
    letter]` or `[pair, seed]`. Cells that are not there (a layer with fewer heads) are left out.
    Colours run from 0 to the largest share; below 0 another hue. Empty until the first step is
    looked at.

    Raises:
        KeyError: another `by`.
    """
    look, found = THEMES[theme], document["shares"]
    lines = _LINES[by](document) if found else []
    count = len(found["by_layer"]) if found else 0
    z = [[None if t is None else t[0] for t in line.shares] for line in lines]
    known = [value for row in z for value in row if value is not None]
    top = max([0.01, *known])
    bottom = min([0.0, *(value for value in known if value <= -0.005)])  # seen as less than 0
    figure = go.Figure()
    figure.add_heatmap(
        x=list(range(count)),
        y=list(range(len(lines))),
        z=z,
        customdata=[[[n, by, line.data] for n in range(count)] for line in lines],
        text=[
            [
                "" if share is None else _hover(document, n, line.hover, share)
                for n, share in enumerate(line.shares)
            ]
            for line in lines
        ],
        hovertemplate="%{text}<extra></extra>",
        hoverongaps=False,
        coloraxis="coloraxis",
        xgap=0.5 if count > 30 else 1,
        ygap=0.5 if len(lines) > 24 else 1,
    )
    height = max(210, min(900, 128 + 26 * len(lines)))
    style(figure, look, height=height, bottom=56)
    figure.update_layout(
        hovermode="closest",
        uirevision=document["id"],
        margin_t=62,
        coloraxis=_colours(look, bottom, top),
    )
    colour_key(figure, look, f"Share of the change, layer by {by}", f"{top:.2f}", above=14)
    every = -(-len(lines) // 26) or 1
    figure.update_xaxes(**_layer_axis(count), title_standoff=8)
    figure.update_yaxes(
        title_text=_TITLES[by],
        tickvals=list(range(len(lines)))[::every],
        ticktext=[f"{line.name} " for line in lines][::every],
        tickfont_size=13,
        showgrid=False,
        range=[len(lines) - 0.5, -0.5],
        automargin=True,
    )
    return figure if found else _empty(figure, look)


steps_figure = partial(map_figure, by="step")
heads_figure = partial(map_figure, by="head")
letters_figure = partial(map_figure, by="letter")
pairs_figure = partial(map_figure, by="pair")


# -- lines of the maps ----------------------------------------------------------------------


def _steps(document: Document) -> list[_Line]:
    return [
        _Line(
            str(entry["step"]),
            f"step {entry['step']} ({entry['remaining']} remain)",
            entry["step"],
            entry["shares"],
        )
        for entry in document["shares"]["by_step"]
    ]


def _heads(document: Document) -> list[_Line]:
    heads = document["shares"]["by_head"]
    most = max(map(len, heads))
    return [
        _Line(str(n), f"head {n}", n, [of[n] if n < len(of) else None for of in heads])
        for n in range(most)
    ]


def _letters(document: Document) -> list[_Line]:
    found = document["shares"]
    several = len({entry["tokenizer"] for entry in found["by_letter"]}) > 1
    lines = []
    for entry in found["by_letter"]:
        name = _letter_name(document, entry)
        of = f" ({_reader(entry['tokenizer'])})" if several else ""
        place = f"letter {entry['letter'] + 1} of the word{of}"
        data = [entry["tokenizer"], entry["letter"]]
        lines.append(_Line(f"{name}{of}", place, data, entry["shares"]))
    around = "all tokens around the word"
    return [*lines, _Line("around", around, ["", None], found["around"])]


def _letter_name(document: Document, entry: Document) -> str:
    """`S→L` of an only pair, else the number of the place."""
    pairs = {one["pair"] for one in document["shares"]["pairs"]}
    if len(pairs) > 1:
        return str(entry["letter"] + 1)
    token = next(
        token
        for token in document["shares"]["pairs"][0]["tokens"]
        if (token["tokenizer"], token["letter"]) == (entry["tokenizer"], entry["letter"])
    )
    return f"{escape(token['source']) or '·'}→{escape(token['target']) or '·'}"


def _reader(tokenizer: str) -> str:
    """`text 1` for the pipeline's `tokenizer`, `text 3` for its `tokenizer_3`."""
    return f"text {tokenizer.rpartition('_')[2] if '_' in tokenizer else 1}"


def _pairs(document: Document) -> list[_Line]:
    asked, lines = document["request"]["pairs"], []
    for entry in document["shares"]["pairs"]:
        words = asked[entry["pair"]]
        text = f"{escape(words['source_text'])} → {escape(words['target_text'])}"
        name = words["target_text"]
        short = escape(name if len(name) <= 11 else f"{name[:10]}…")
        shares = [[share, None, None] for share in entry["by_layer"]]
        place = [entry["pair"], entry["seed"]]
        lines.append(_Line(short, f"{text}, seed {entry['seed']}", place, shares))
    return lines


_LINES: dict[str, Callable[[Document], list[_Line]]] = {
    "step": _steps,
    "head": _heads,
    "letter": _letters,
    "pair": _pairs,
}
_TITLES = {"step": "Step", "head": "Head", "letter": "Letter", "pair": "Word"}


# -- what they share ------------------------------------------------------------------------


def _name(document: Document, layer: int) -> str:
    entries = document.get("text_layers") or document["layers"]
    names = {entry["index"]: entry["name"] for entry in entries}
    return str(names.get(layer, ""))


def _hover(document: Document, layer: int, place: str, triple: Triple) -> str:
    share, low, high = triple
    between = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    said = "not known" if share is None else f"share <b>{share:z.2f}</b>{between}"
    lines = [f"<b>Layer {layer}</b>", *wrapped(_name(document, layer)), place, said]
    return "<br>".join(line for line in lines if line)


def _layer_axis(count: int) -> dict[str, Any]:
    step = next((s for s in (1, 2, 5, 10, 20) if count <= 12 * s), 50)
    shown = list(range(0, count, step))
    return {
        "title_text": "Text layer, in the order it runs",
        "tickvals": shown,
        "ticktext": [str(n) for n in shown],
        "range": [-0.6, max(count, 1) - 0.4],
        "showgrid": False,
        "tickangle": 0,
    }


def _colours(look: Theme, bottom: float, top: float) -> dict[str, Any]:
    """From 0 to `top` the theme's scale, below 0 the hue of the up blocks."""
    zero = -bottom / (top - bottom)
    scale = [
        [zero + (1 - zero) * i / (len(look.scale) - 1), hue] for i, hue in enumerate(look.scale)
    ]
    if bottom < 0:
        below = mixed(look.blocks[2], look.background, min(1.0, -bottom / top))
        scale = [[0.0, below], *scale]
    return {
        "cmin": bottom,
        "cmax": top,
        "colorscale": scale,
        "showscale": False,
    }


def _empty(figure: go.Figure, look: Theme) -> go.Figure:
    figure.add_annotation(
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        text="not looked at yet",
        showarrow=False,
        font_color=look.muted,
    )
    return figure
