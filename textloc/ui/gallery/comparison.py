"""Two results side by side; no Gradio, no torch. What comes from outside is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from textloc.errors import StoreError
from textloc.results import compare, store
from textloc.results.result import Result
from textloc.results.sentences import describe_compare, parted, told
from textloc.ui import html, stored
from textloc.ui.figure_data import drawn
from textloc.ui.gallery.cards import JOBS, Card, card_of
from textloc.ui.stored import View

Row = tuple[str, Sequence[Any] | None, Sequence[Any] | None]
_MEASURES = (
    ("exact_target", "Reads the new words exactly"),
    ("ocr_f1_target", "OCR F1 to the new words"),
    ("ocr_f1_source", "OCR F1 to the old words"),
    ("ssim_outside_text", "Kept outside the text (SSIM)"),
    ("ssim", "Kept as a whole (SSIM)"),
)


def beside(first: View, second: View) -> tuple[str, dict[str, Any] | None]:
    """Two results of one kind as HTML, and the value of a figure of both or None.

    Raises:
        StoreError: two of different kinds, or the same one twice.
    """
    both = (first, second)
    kinds = [store.kind(view.document) for view in both]
    if kinds[0] != kinds[1]:
        raise StoreError("Choose two results of one job: two localizations, or two edits.")
    if first is second:
        raise StoreError("Choose two different results.")
    said, rows, figure = _FOUND[kinds[0]](both)
    shown = [card_of(view.document) for view in both]
    sides = "".join(_side(view, card) for view, card in zip(both, shown, strict=True))
    title = escape(f"{JOBS[kinds[0]][1]}: two results side by side")
    close = '<button type="button" class="tl-plain" data-pick="close">Close the comparison</button>'
    text = (
        f'<div class="tl-comparison"><div class="tl-compare-head">'
        f'<h2 class="tl-title" tabindex="-1">{title}</h2>{close}</div>'
        f'<p class="tl-evidence">{escape(said)}</p><div class="tl-sides">{sides}</div>'
        f"{_table(shown, rows)}</div>"
    )
    return text, figure


def _side(view: View, card: Card) -> str:
    claim, evidence = parted(told(view.document))
    pictures = "".join(
        html.picture(
            view.pictures,
            *(one.title, "", one.key, one.read, one.wanted),
            main=number == 1,
        )
        if one.read is not None
        else _unread(view, one.title, one.key)
        for number, one in enumerate(card.pictures)
    )
    below = f'<div class="tl-triplet">{pictures}</div>' if pictures else ""
    return (
        f'<section class="tl-side"><h3>{escape(card.title)}</h3>'
        f'<p class="tl-facts">{escape(card.facts)}</p>{below}'
        f"<p><b>{escape(claim)}</b> {escape(evidence)}</p></section>"
    )


def _unread(view: View, title: str, key: str) -> str:
    address = view.pictures.address(key)
    caption = f"<figcaption><b>{escape(title)}</b></figcaption>"
    if address is None:
        image = '<div class="tl-image tl-none">not made</div>'
    else:
        kind = "tl-image tl-pixels" if address[1] else "tl-image"
        image = f'<img class="{kind}" src="{address[0]}" alt="{escape(title)}">'
    return f'<figure class="tl-picture">{image}{caption}</figure>'


def _table(shown: Sequence[Card], rows: Iterable[Row]) -> str:
    body = [
        f'<tr><th scope="row">{escape(name)}</th>{html.as_cells(map(_cell, values))}</tr>'
        for name, *values in rows
    ]
    if not body:
        return ""
    names = [card.facts for card in shown]
    if names[0] == names[1]:
        names = [card.title for card in shown]
    heads = ["", *(escape(name) for name in names)]
    caption = "Means with 95 % intervals, where there are any."
    return html.table("Both results", caption, heads, body)


def _cell(value: Sequence[Any] | None) -> str:
    if value is None or value[0] is None:
        return "–"
    mean, low, high = value
    return html.number(mean) + (
        "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    )


# ---------------------------------------------------------------------------- by kind

Found = tuple[str, list[Row], dict[str, Any] | None]


def _localizations(both: tuple[View, View]) -> Found:
    try:
        found = compare.compared(*(Result(dict(view.document)) for view in both))
    except StoreError as error:
        return f"The layers of both cannot be told apart one by one: {error}.", [], None
    document = found.document
    if any(document["doubts"]):
        return describe_compare(document), [], None
    chosen = document["selected"]
    rows: list[Row] = []
    for layer in document["layers"]:
        inside = ["first" if i == 0 else "second" for i in (0, 1) if layer["index"] in chosen[i]]
        note = f", selected in {' and '.join(inside)}" if inside else ""
        apart = ", apart" if layer["apart"] else ""
        rows.append((f"Layer {layer['index']}{note}{apart}", *layer["values"]))
    readers = document["readers"]
    said = describe_compare(document)
    if readers[0] != readers[1]:
        said += f" The first was read by {readers[0]}, the second by {readers[1]}; they differ."
    if document["request"]["first"] == document["request"]["second"]:
        said += " Both have the same ID."
    return said, rows, drawn("compare_figure", document)


def _shares(both: tuple[View, View]) -> Found:
    named = [[layer["name"] for layer in view.document["text_layers"]] for view in both]
    if named[0] != named[1]:
        return "These are shares of different layers.", [], None
    triples = [view.document["shares"]["by_layer"] for view in both]
    rows: list[Row] = [
        (f"Layer {number}", one, other)
        for number, (one, other) in enumerate(zip(*triples, strict=True))
    ]
    return "The share of each layer in what the other text changes.", rows, None


def _edits(both: tuple[View, View]) -> Found:
    asked = [
        {(pair["source"], pair["target"]) for pair in view.document["request"]["pairs"]}
        for view in both
    ]
    same = asked[0] == asked[1]
    said = "Both edit the same prompts." if same else "They edit different prompts."
    scores = [view.document["scores"] for view in both]
    rows: list[Row] = [
        (title, scores[0].get(name), scores[1].get(name)) for name, title in _MEASURES
    ]
    return said, rows, None


def _trainings(both: tuple[View, View]) -> Found:
    tables = [
        {
            f"{choice['title']}, {group} read exactly": scores["exact"]
            for choice in view.document["choices"]
            for group, scores in choice["scores"].items()
        }
        for view in both
    ]
    names = list(dict.fromkeys([*tables[0], *tables[1]]))
    rows: list[Row] = [(name, tables[0].get(name), tables[1].get(name)) for name in names]
    return "Two comparisons of LoRA trainings.", rows, None


_FOUND = {
    stored.LOCALIZE: _localizations,
    stored.ATTRIBUTE: _shares,
    stored.EDIT: _edits,
    stored.LORA: _trainings,
}
