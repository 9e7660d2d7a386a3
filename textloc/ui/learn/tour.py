"""The button that starts the tour and the dialog that it is shown in.

What is in it comes with the page, each picture once, so no step waits for the server. The second
question of the quiz follows, as it takes a look at all that is stored.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import gradio as gr

from textloc.ui.learn import examples, quiz
from textloc.ui.learn.examples import Example
from textloc.ui.learn.steps import Step, steps, usual_edit
from textloc.ui.stored import View
from textloc.ui.theme import STATIC

STYLE = STATIC / "learn.css"
_SIDE = 384  # of a picture in pixels, at most


def tour(page: gr.Blocks, quiet: dict[str, Any]) -> Any:
    """The component, wired to be filled once the page has loaded.

    value: as `value` makes it. more: the same of the second question. quiet: options of listeners.
    """
    made = gr.HTML(
        html_template=_DIALOG,
        js_on_load=(STATIC / "learn.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="learn",
        more=None,
    )
    page.load(_first, None, made, queue=False, **quiet).then(_second, None, made, **quiet)
    return made


def _asked(request: gr.Request) -> Example | None:
    return examples.usual(request.query_params.get("r") if request else None)


def _first(request: gr.Request) -> Any:
    example = _asked(request)
    if example is None:
        return gr.HTML(value={"html": "", "pictures": {}})
    return gr.HTML(value=value(example, usual_edit(example)))


def _second(request: gr.Request) -> Any:
    example = _asked(request)
    other = examples.another(example) if example else None
    return gr.HTML(more=further(other)) if other else gr.skip()


def make_ready() -> None:
    """Look for the examples, and make their pictures."""
    example = examples.usual()
    if example is not None:
        value(example, usual_edit(example))
        if (other := examples.another(example)) is not None:
            further(other)


def value(example: Example, edit: View | None) -> dict[str, Any]:
    """The steps and the first question: their HTML, and the pictures by name."""
    told = [*steps(example, edit), quiz.question(example)]
    return {"html": _html(told), "pictures": _pictures(_html(told), example.view, edit)}


def further(example: Example) -> dict[str, Any]:
    """A question of another result."""
    text = _html([quiz.question(example, first=False)])
    return {"html": text, "pictures": _pictures(text, example.view, None)}


def _html(told: Iterable[Step]) -> str:
    return "".join(step.html() for step in told)


@lru_cache(maxsize=64)
def _keys(text: str) -> tuple[str, ...]:
    """The pictures that an HTML text names."""
    parts = text.split('data-picture="')[1:]
    return tuple(dict.fromkeys(part.partition('"')[0] for part in parts))


def _pictures(text: str, view: View, edit: View | None) -> dict[str, tuple[str, bool]]:
    """Name → `data:` address and whether to enlarge it without smoothing."""
    found = {}
    for name in _keys(text):
        of, _, key = name.rpartition(":")
        pictures = edit.pictures if of and edit else view.pictures
        if (address := pictures.address(key, _SIDE)) is not None:
            found[name] = address
    return found


_DIALOG = """<button type="button" class="tl-learn" disabled aria-haspopup="dialog"
aria-expanded="false">Learn</button>
<div class="tl-tour" role="dialog" aria-modal="false" aria-labelledby="tl-tour-name" hidden>
<div class="tl-tour-head"><span id="tl-tour-name">Learn: which layers write the words?</span>
<button type="button" data-full aria-pressed="false">Full screen</button>
<button type="button" data-close aria-label="Close the tour">✕</button></div>
<div class="tl-steps"></div>
<div class="tl-tour-foot"><button type="button" data-move="-1">← Back</button>
<ol class="tl-dots" aria-label="Steps of the tour"></ol>
<button type="button" class="tl-next" data-move="1">Next →</button></div>
<p class="tl-sr" role="status"></p></div>"""
