"""Colours, type and margins that all figures share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import plotly.graph_objects as go

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


def colour_key(figure: go.Figure, look: Theme, title: str, high: str, above: int) -> None:
    """Write the title of a map `above` pixels over it, and below the title the colours of the scale
    from 0 to `high`, as a line of text.

    Plotly's own bar is a gradient by the page's address, which is gone once the address changes.
    """
    steps, last = 16, len(look.scale) - 1
    hues = []
    for place in range(steps):
        at = place / (steps - 1) * last
        below = min(int(at), last - 1)
        hues.append(_between(look.scale[below], look.scale[below + 1], at - below))
    blocks = "".join(f'<span style="color:{hue}">\u2588</span>' for hue in hues)
    figure.add_annotation(
        x=0,
        y=1,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="bottom",
        yshift=above,
        align="left",
        text=f"{title}<br>0 {blocks} {high}",
        showarrow=False,
    )


def _between(one: str, other: str, share: float) -> str:
    """A hue on the way from one to the other, both `#rrggbb`."""
    ends = zip(*(bytes.fromhex(hue[1:]) for hue in (one, other)), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in ends)


def style(figure: go.Figure, look: Theme, height: int, bottom: int) -> None:
    theme: ThemeName = "dark" if look is THEMES["dark"] else "light"
    figure.update_layout(
        template=template(theme),
        height=height,
        autosize=True,
        margin={"l": 58, "r": 14, "t": 20, "b": bottom},
    )
