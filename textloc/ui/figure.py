"""Components of our own: the clickable figure, elements that pick, and the share bar.

Gradio's `gr.Plot` hears no clicks, so the figure is a `gr.HTML` in which `static/figure.js` draws
with Plotly.js. A click in the figure, on a small picture or in a table row arrives in Python as the
event `pick`, whose data hold `custom`. They are made by functions, not subclasses: for a subclass
Gradio writes a `.pyi` file beside the module whenever it is imported.

A handler updates them with `gr.HTML(value=…, picked=…)`, leaving out what stays.
"""

from typing import Any

import gradio as gr

from textloc.ui.serving import plotlyjs
from textloc.ui.theme import STATIC


def figure(height: int, elem_id: str) -> Any:
    """A Plotly figure, `height` in pixels, or 0 for the figure's own.

    value: as `drawing.drawn` makes it. picked: the `customdata` of the first trace to point at.
    cell: line and column to mark in a map of cells.
    """
    return gr.HTML(
        html_template=(
            f'<div class="tl-plot" role="img" aria-label="Figure" data-height="{height}" '
            f'data-source="{plotlyjs.address()}" style="height:{height}px"></div>'
            '<button type="button" class="tl-png" hidden>Save PNG</button>'
            '<p role="status" class="tl-sr"></p>'
        ),
        js_on_load=_script("figure.js"),
        apply_default_css=False,
        elem_id=elem_id,
        picked=[],
        cell=None,
    )


def picking(elem_id: str, value: str = "") -> Any:
    """HTML with elements that have `data-pick`.

    value: the HTML. picked: the pick that is shown.
    """
    return gr.HTML(
        value or None,
        js_on_load=_script("seen.js", "picks.js"),
        apply_default_css=False,
        elem_id=elem_id,
        picked="",
    )


def walking(elem_id: str) -> Any:
    """Buttons that walk the layers of a localization and fill the screen; with it, moving over a
    bar of a figure or a picture of the strip shows it in the panel without asking the server.

    value: as `localize.replay.looks` makes it. The event `pick` is what Play ends at.
    """
    return gr.HTML(
        html_template=_WALK,
        js_on_load=_script("seen.js", "walk.js"),
        apply_default_css=False,
        elem_id=elem_id,
    )


_WALK = """<div class="tl-walk"><button type="button" data-play aria-pressed="false" hidden
>Play</button><button type="button" data-full aria-pressed="false" hidden>Full screen</button>
<p role="status" class="tl-sr"></p></div>"""


def following(**options: Any) -> Any:
    """How a run stands. The address follows the run that its HTML names in `data-run`; where a page
    is loaded with such an address (`?run=`), the event `pick` asks for that run."""
    return gr.HTML(js_on_load=_script("follow.js"), **options)


def share(elem_id: str) -> Any:
    """Buttons that copy the link and save files, ZIP and HTML with the pictures, and, of a result
    of one's own, one that asks for it to be deleted: the event `pick`.

    value: as `stored.share` makes it. place: what the link says beside the result.
    """
    return gr.HTML(
        html_template=_SHARE,
        js_on_load=_script("share.js"),
        apply_default_css=False,
        elem_id=elem_id,
        place="",
    )


_SHARE = """<div class="tl-share">
<div><button type="button" data-copy disabled>Copy link</button>
<button type="button" data-save="json" disabled>Save JSON</button>
<button type="button" data-save="csv" disabled>Save CSV</button>
<button type="button" data-archive="zip" disabled>Save ZIP</button>
<button type="button" data-archive="html" disabled>Save HTML</button>
<button type="button" data-embed disabled>Copy iframe</button>
<button type="button" data-delete hidden>Delete</button></div>
<input readonly hidden aria-label="Link to this result">
<p role="status"></p></div>"""


def saving(elem_id: str) -> Any:
    """Buttons that save the files of a result that has no link; HTML is asked for by the event
    `pick`.

    value: as `stored.share` makes it. file: `{"name", "text"}` of the HTML file to save.
    """
    return gr.HTML(
        html_template=_SAVING,
        js_on_load=_script("share.js"),
        apply_default_css=False,
        elem_id=elem_id,
        file=None,
    )


_SAVING = """<div class="tl-share">
<div><button type="button" data-ask="html" disabled>Save HTML</button>
<button type="button" data-save="json" disabled>Save JSON</button>
<button type="button" data-save="csv" disabled>Save CSV</button></div></div>"""


def _script(*names: str) -> str:
    return "".join((STATIC / name).read_text(encoding="utf-8") for name in names)
