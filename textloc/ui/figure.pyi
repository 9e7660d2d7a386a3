"""Components of our own: the clickable figure, buttons that pick, and the share bar.

Gradio's `gr.Plot` hears no clicks, so the figure is a `gr.HTML` with Plotly.js drawn by
`static/figure.js`. A click in the figure, a small picture or a table row arrives in Python as the
event `pick`, whose data hold `custom`.
"""

from typing import Any

import gradio as gr

from textloc.ui import plotlyjs
from textloc.ui.theme import STATIC


def _script(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")

from gradio.events import Dependency

class Figure(gr.HTML):  # type: ignore[misc]
    """A Plotly figure: `value` as `replay.effect_figure` makes it, `picked` layers pointed at."""

    def __init__(
        self,
        value: dict[str, Any] | None = None,
        *,
        picked: list[int] | None = None,
        height: int = 340,
        **options: Any,
    ) -> None:
        super().__init__(
            value,
            html_template=(
                f'<div class="tl-plot" role="img" aria-label="Figure" data-height="{height}" '
                f'style="height:{height}px"></div>'
            ),
            js_on_load=_script("figure.js"),
            apply_default_css=False,
            picked=picked,
            source=plotlyjs.address(),
            **options,
        )

    def get_block_name(self) -> str:
        """The front end draws it as an HTML component."""
        return "html"

    def api_info(self) -> dict[str, Any]:
        """Its value is a JSON object."""
        return {"type": "object"}
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


class Picks(gr.HTML):  # type: ignore[misc]
    """HTML with elements that have `data-pick`; `picked` is the one that is shown."""

    def __init__(self, value: str = "", *, picked: str = "", **options: Any) -> None:
        super().__init__(
            value,
            js_on_load=_script("picks.js"),
            apply_default_css=False,
            picked=picked,
            **options,
        )

    def get_block_name(self) -> str:
        """The front end draws it as an HTML component."""
        return "html"
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


_SHARE = """<div class="tl-share">
<div><button type="button" data-copy disabled>Copy link</button>
<button type="button" data-save="json" disabled>Save JSON</button>
<button type="button" data-save="csv" disabled>Save CSV</button></div>
<input readonly hidden aria-label="Link to this result">
<p role="status"></p></div>"""


class Share(gr.HTML):  # type: ignore[misc]
    """Copy link, save files: `value` as `replay.share` makes it."""

    def __init__(self, value: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(
            value,
            html_template=_SHARE,
            js_on_load=_script("share.js"),
            apply_default_css=False,
            **options,
        )

    def get_block_name(self) -> str:
        """The front end draws it as an HTML component."""
        return "html"

    def api_info(self) -> dict[str, Any]:
        """Its value is a JSON object."""
        return {"type": "object"}
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component