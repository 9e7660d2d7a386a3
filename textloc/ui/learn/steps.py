"""The steps of the tour: one idea and one picture each, in the words and numbers of a result."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from textloc.errors import StoreError
from textloc.results import store
from textloc.ui import stored
from textloc.ui.learn import drawing
from textloc.ui.learn.drawing import many, picture, prompt, says
from textloc.ui.learn.examples import Example
from textloc.ui.stored import View


@dataclass(frozen=True)
class Step:
    """title, text: plain words. figure: HTML. more: HTML below it."""

    title: str
    text: str
    figure: str
    more: str = ""

    def html(self) -> str:
        """The step, hidden until it is shown."""
        return (
            f'<section class="tl-step" hidden><div class="tl-say">'
            f'<h2 tabindex="-1">{escape(self.title)}</h2><p>{escape(self.text)}</p>{self.more}'
            f'</div><div class="tl-figure">{self.figure}</div></section>'
        )


def steps(example: Example, edit: View | None) -> list[Step]:
    """The five steps; `edit` is a stored edit to show, or None."""
    return [
        _prompts(example),
        _layers(example),
        _patch(example),
        _map(example),
        _use(example, edit),
    ]


def _prompts(example: Example) -> Step:
    figures = ""
    for side in ("source", "target"):
        read = example.read(example.document["references"][side])
        word = example.words[f"{side}_text"]
        figures += "<div>" + prompt(example.words[side], word, side)
        figures += picture(
            read["image"], f"The picture reads {read['text']}", says(read["text"], word)
        )
        figures += "</div>"
    return Step(
        "Two prompts, one word apart",
        f"Both pictures grow out of the same noise (seed {example.seed}). Only the quoted text "
        "differs. Where in the model does that difference get in?",
        f'<div class="tl-two">{figures}</div>',
    )


def _layers(example: Example) -> Step:
    name, steps = example.document["checkpoint"]["name"], example.document["request"]["steps"]
    return Step(
        "Text layers read the prompt",
        f"{name} has {example.total} text layers: the places where the prompt enters the picture. "
        f"Each reads it anew in all {steps} steps.{_some(example)}",
        drawing.flow(example),
    )


def _patch(example: Example) -> Step:
    return Step(
        "Let one layer read the other prompt",
        "Click a layer: it alone reads the other prompt. That is patching. Which layer changes "
        f"the word?{_some(example)}",
        drawing.patching(example),
    )


def _map(example: Example) -> Step:
    entry = example.chosen
    name, together = many(example.selected), "together " if len(example.selected) > 1 else ""
    reach = "reach" if together else "reaches"
    pictures = len(entry["read"])
    mean = f", over {pictures} pictures" if pictures > 1 else ""
    share = 100 * float(example.document["fraction_of_parameters"])
    return Step(
        "Read the map",
        "A bar is one layer patched alone: 0 leaves the word, 1 changes it as much as all "
        f"{example.total} layers do. {name.capitalize()} {together}{reach} "
        f"{entry['scores']['effect']:.2f}{mean}, with {share:.2g} % of the parameters.",
        drawing.bars(example),
        _page("effect", "Localize", "See it on the page", f' data-result="{_id(example)}"'),
    )


def _use(example: Example, edit: View | None) -> Step:
    buttons = _page("edit-source", "Edit", "Edit a word")
    buttons += _page("suppress-prompt", "Suppress", "Keep a word out")
    buttons += _page("source", "Localize", "Try your own words")
    return Step(
        "Use it: edit, guard",
        "Edit: let these layers read another word, and the rest of the picture stays. Guard: let "
        "them read a masked word in place of a toxic one. No training is needed.",
        _edited(edit) or _patched(example),
        f"<p>{buttons}</p>",
    )


def _edited(edit: View | None) -> str:
    """Before and after of the first edit of a stored result that reads as wanted; may be empty."""
    if edit is None:
        return ""
    document = edit.document
    for one in document["edits"]:
        words = document["request"]["pairs"][one["pair"]]
        source = next(
            (
                s
                for s in document["sources"]
                if (s["pair"], s["seed"]) == (one["pair"], one["seed"])
            ),
            None,
        )
        if source is None or not one["exact_target"] or source["read"] != words["source_text"]:
            continue
        layers = many(document["layers"])
        started = f"from step {document['start_step']}" if document["start_step"] else ""
        kept = one.get("ssim_outside_text")
        outside = f" Outside the text, SSIM is {kept:.2f}." if kept is not None else ""
        note = f"Edit: {layers} patched {started}".rstrip() + f".{outside}"
        return _pair(
            (f"edit:{source['image']}", source["read"], words["source_text"]),
            (f"edit:{one['image']}", one["read_edit"], words["target_text"]),
            note,
        )
    return ""


def _patched(example: Example) -> str:
    source = example.read(example.document["references"]["source"])
    made, words = example.read(example.chosen), example.words
    kept = example.chosen["scores"].get("ssim_source")
    whole = f" SSIM of the whole pictures: {kept:.2f}." if kept is not None else ""
    return _pair(
        (source["image"], source["text"], words["source_text"]),
        (made["image"], made["text"], words["target_text"]),
        f"{many(example.selected).capitalize()} patched.{whole}",
    )


def _pair(before: tuple[str, str, str], after: tuple[str, str, str], note: str) -> str:
    figures = ""
    for name, (key, read, wanted) in (("Before", before), ("After", after)):
        caption = f"<b>{name}</b> {says(read, wanted)}"
        figures += picture(key, f"{name}: the picture reads {read}", caption)
    return f'<div class="tl-two">{figures}</div><p class="tl-note">{escape(note)}</p>'


def usual_edit(example: Example) -> View | None:
    """The stored edit that the page opens with, where it is of the same checkpoint."""
    result_id = store.default_id(only=stored.EDIT)
    try:
        view = stored.stored_view(result_id) if result_id else None
    except StoreError:
        return None
    same = view and view.document["checkpoint"]["digest"] == _checkpoint(example)["digest"]
    return view if same else None


def _checkpoint(example: Example) -> Mapping[str, Any]:
    checkpoint: Mapping[str, Any] = example.document["checkpoint"]
    return checkpoint


def _id(example: Example) -> str:
    return escape(str(example.document["id"]))


def _some(example: Example) -> str:
    shown = len(example.shown)
    return f" {shown} of the {example.total} are shown." if shown < example.total else ""


def _page(field: str, tab: str, text: str, more: str = "") -> str:
    """A button that shows a place of the page."""
    return f'<button type="button" data-tab="{tab}" data-page="{field}"{more}>{text}</button>'
