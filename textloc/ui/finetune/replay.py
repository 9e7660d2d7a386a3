"""From documents of `bench lora` and of `beside` to what the fine-tune tab shows.

No Gradio, no torch. Functions take complete documents, those of `beside` partial ones too, and
escape what comes from outside.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

from textloc.results import facts
from textloc.results.picks.lora import SIDES, Cell, rows
from textloc.results.picks.lora import is_experiment as is_experiment
from textloc.results.sentences import told
from textloc.ui import html
from textloc.ui.figure_data import drawn
from textloc.ui.html import number
from textloc.ui.letters import marked
from textloc.ui.plain_picks import meant as meant
from textloc.ui.plain_picks import said as said
from textloc.ui.plain_picks import usual_pair as usual_pair
from textloc.ui.stored import Document, View


def entries(document: Document) -> dict[str, Any]:
    """There is nothing to pick: all is shown."""
    return {}


def usual_pick(document: Document) -> str:
    """Nothing is picked."""
    return ""


def nothing() -> str:
    """What stands in place of a headline where no experiment is stored."""
    return html.nothing("`textloc bench lora --save` makes one; or try a LoRA of your own here.")


def headline(document: Document) -> str:
    """What it says, and what was asked."""
    experiment = is_experiment(document)
    asked = facts.trained(document) if experiment else facts.tried(document)
    first, _, rest = told(document).partition(". ")
    shown = f'<p class="tl-facts">{" · ".join(map(escape, asked))}</p>'
    return html.claim(first.rstrip(".") + ".", rest, shown)


def panel(view: View) -> str:
    """All pictures: a row a prompt, a column a choice, or without and with the LoRA."""
    return "".join(_row(view, prompt, cells) for prompt, cells in rows(view.document))


def _row(view: View, prompt: str, cells: Sequence[Cell]) -> str:
    figures = []
    for title, key, read, wanted in cells:
        address = view.pictures.address(key) if key else None
        if address is None:
            image = '<div class="tl-image tl-none">not made</div>'
        else:
            kind = "tl-image tl-pixels" if address[1] else "tl-image"
            said = "" if read is None else f": the picture reads {read or 'nothing'}"
            image = f'<img class="{kind}" src="{address[0]}" alt="{escape(title + said)}">'
        letters = ""
        if read is not None:
            letters = (
                '<span class="tl-read"><span class="tl-label">OCR reads</span> '
                f"{marked(read, wanted)}</span>"
            )
        figures.append(
            f'<figure class="tl-picture">{image}<figcaption><b>{escape(title)}</b>{letters}'
            "</figcaption></figure>"
        )
    columns = f'<div class="tl-columned" style="--columns:{len(cells)}">{"".join(figures)}</div>'
    return f'<section class="tl-compared"><h3>{escape(prompt)}</h3>{columns}</section>'


def curves(document: Document) -> dict[str, Any] | None:
    """The figure of an experiment, as `drawing.drawn` makes it; None for others."""
    if not is_experiment(document):
        return None
    return drawn("lora_figure", document)


def table(document: Document) -> str:
    """An experiment's choices in numbers; the scores of both sides otherwise."""
    if not is_experiment(document):
        return _beside_table(document)
    groups = document["groups"]
    heads = ["LoRA on", *(escape(group) for group in groups), "precision", "recall"]
    heads += ["weights", "samples/s", "GiB"]
    rows = []
    for choice in document["choices"]:
        cells = [
            *(_words(choice["scores"][group]) for group in groups),
            *(_interval(choice[name]) for name in ("precision", "recall")),
            f"{choice['parameters']:,}" if choice["parameters"] else "–",
            number(choice["samples_per_second"], 0),
            number(choice["memory_gb"], 1),
        ]
        title = f'<th scope="row">{escape(choice["title"])}</th>'
        rows.append(f"<tr>{title}{html.as_cells(cells)}</tr>")
    caption = (
        "Words: letters right (1 \u2212 normalised Levenshtein distance) · share read exactly. "
        "Precision: fidelity, recall: variety, to the base's pictures with other seeds "
        f"(k = {document['request']['neighbours']}; features of {escape(document['features'])}). "
        "In brackets 95 % intervals."
    )
    return html.table("Choices in numbers", caption, heads, rows)


def _beside_table(document: Document) -> str:
    if document["scores"] is None:
        return ""
    rows = []
    for side, title in SIDES.items():
        scores = document["scores"][side]
        cells = [_interval(scores[name]) for name in ("exact", "ocr_f1")]
        rows.append(f'<tr><th scope="row">{title}</th>{html.as_cells(cells)}</tr>')
    caption = f"SSIM between both: {document['ssim']:.2f}. In brackets 95 % intervals."
    return html.table("Scores", caption, ["", "read exactly", "OCR F1"], rows)


def _interval(value: Sequence[float | None]) -> str:
    mean, low, high = value
    if mean is None or low is None or high is None:
        return number(mean)
    return f"{mean:.2f}<br><small>[{low:.2f}, {high:.2f}]</small>"


def _words(scores: Document) -> str:
    return f"{number(scores['characters'][0])} · {_interval(scores['exact'])}"


def prompts(document: Document) -> str:
    """Prompts to try: the first of each group of an experiment, or what was asked."""
    if not is_experiment(document):
        return "\n".join(document["request"]["prompts"])
    firsts = {row["group"]: row["prompt"] for row in reversed(document["pictures"])}
    return "\n".join(firsts[group] for group in document["groups"] if group in firsts)
