"""From a localize document to what the page shows; no Gradio, no torch.

A view is a document with its pictures, stored or still growing. Every function takes complete and
partial documents, and escapes what comes from outside.
"""

import json
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any, Literal

from textloc import sharing, store
from textloc.errors import StoreError
from textloc.layers import display_layers
from textloc.summary import describe
from textloc.ui.letters import marked
from textloc.ui.picks import Document, entries, name_of, picked_layers
from textloc.ui.pictures import STRIP, Pictures


@dataclass(frozen=True)
class View:
    """What one page shows. `stored` tells whether a link to it can be opened."""

    document: Document
    pictures: Pictures
    stored: bool


def stored_view(result_id: str) -> View:
    """The view of a stored localization, verified.

    Raises `StoreError` as `store.load` does, and for a result of another kind.
    """
    found = store.load(result_id)
    if store.kind(found.document) != "textloc.localize":
        raise StoreError(
            f"The result {result_id} is an edit, which this page does not show: read it with "
            f"`textloc show {result_id}`."
        )
    return _view_of(result_id, str(found.document.get("digest")))


@lru_cache(maxsize=32)
def _view_of(result_id: str, _digest: str) -> View:
    found = store.load(result_id)
    return View(found.document, Pictures(found.image), stored=True)


def opening(asked: str | None) -> tuple[View | None, str]:
    """What the page opens with, given `?r=`: a view, and what went wrong in words or `""`."""
    problem = ""
    if asked:
        try:
            return stored_view(asked), ""
        except StoreError as error:
            problem = f"The link cannot be opened. {error}"
    default = store.default_id()
    if default is None:
        return None, problem
    return stored_view(default), f"{problem} The usual result is shown instead." if problem else ""


# ---------------------------------------------------------------------------- figures


FigureName = Literal["effect_figure", "heatmap_figure", "sets_figure"]
_DRAWING = threading.Lock()  # one waits for the figure that another is drawing


@lru_cache(maxsize=64)
def _drawn(name: FigureName, text: str) -> dict[str, Any]:
    from textloc import plots

    document = json.loads(text)
    draw = getattr(plots, name)
    themes = {theme: json.loads(draw(document, theme).to_json()) for theme in ("light", "dark")}
    return {"label": describe(document), "config": plots.CONFIG, **themes}


def effect_figure(document: Document) -> dict[str, Any]:
    """Value of the figure of effect by layer: one Plotly figure for each theme."""
    with _DRAWING:
        return _drawn("effect_figure", json.dumps(document))


def sets_figure(document: Document) -> dict[str, Any] | None:
    """Value of the figure of growing sets, or None while there are none."""
    with _DRAWING:
        return _drawn("sets_figure", json.dumps(document)) if document["sets"] else None


def readings_figure(document: Document) -> dict[str, Any] | None:
    """Value of the map of all readings, or None where there is one picture a layer."""
    request = document["request"]
    if len(request["pairs"]) * len(request["seeds"]) < 2:
        return None
    with _DRAWING:
        return _drawn("heatmap_figure", json.dumps(document))


# ---------------------------------------------------------------------------- words


def headline(document: Document) -> str:
    """The claim as a heading, the evidence for it, and what was asked."""
    claim, *rest = re.split(r"(?<=[.])\s+(?=[A-Z0-9])", describe(document), maxsplit=1)
    evidence = f'<p class="tl-evidence">{escape(rest[0])}</p>' if rest else ""
    return f'<h1 class="tl-claim">{escape(claim)}</h1>{evidence}{_asked(document)}'


def nothing() -> str:
    """What stands in place of a headline where no result is stored."""
    return (
        '<div class="tl-nothing"><h1 class="tl-claim">No result is stored here yet.</h1>'
        '<p class="tl-evidence">Write two prompts that differ in the quoted word, and run them.</p>'
        "</div>"
    )


def _asked(document: Document) -> str:
    request = document["request"]
    first, *more = request["pairs"]
    others = f" and {len(more)} more pair{'s' if len(more) > 1 else ''}" if more else ""
    seeds = request["seeds"]
    facts = [
        str(document["checkpoint"]["name"]),
        f"{request['steps']} steps",
        f"guidance {request['guidance']:g}",
        f"seed{'s' if len(seeds) > 1 else ''} {_some(seeds)}",
        f"read by {request['ocr']['engine']} {request['ocr']['version']}",
    ]
    if request["start_step"]:
        facts.insert(2, f"patched from step {request['start_step']}")
    return (
        f'<p class="tl-prompts"><span>{escape(first["source"])}</span>'
        f'<span class="tl-arrow" aria-label="becomes">→</span>'
        f"<span>{escape(first['target'])}</span>{escape(others)}</p>"
        f'<p class="tl-facts">{" · ".join(escape(fact) for fact in facts)}</p>'
    )


def _some(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:6]))
    return shown if len(numbers) <= 6 else f"{shown} and {len(numbers) - 6} more"


# ---------------------------------------------------------------------------- pictures


def panel(view: View, pick: str, pair: int, seed: int) -> str:
    """Source picture, picked picture and target picture, with what was read and the scores."""
    document = view.document
    known = entries(document)
    if pick not in known:
        return '<p class="tl-empty">The pictures appear here as soon as the first are made.</p>'
    words = document["request"]["pairs"][pair]
    references = document["references"]
    name = name_of(document, pick)
    shown = [
        ("Source prompt", "", references.get("source"), words["source_text"]),
        (re.sub(r" \(.*", "", name), "patched", known[pick], words["target_text"]),
        ("Target prompt", "", references.get("target"), words["target_text"]),
    ]
    figures = "".join(
        _picture(view, title, note, entry, wanted, pair, seed)
        for title, note, entry, wanted in shown
    )
    scores = _scores(document, pick, known[pick])
    return f'<div class="tl-panel"><div class="tl-triplet">{figures}</div>{scores}</div>'


def _read(entry: Document | None, pair: int, seed: int) -> Document | None:
    reads = entry["read"] if entry else ()
    return next((r for r in reads if r["pair"] == pair and r["seed"] == seed), None)


def _picture(
    view: View,
    title: str,
    note: str,
    entry: Document | None,
    wanted: str,
    pair: int,
    seed: int,
) -> str:
    read = _read(entry, pair, seed)
    address = view.pictures.address(read["image"]) if read else None
    heading = f"<b>{escape(title)}</b>" + (f" {note}" if note else "")
    if read is None or address is None:
        return (
            f'<figure class="tl-picture"><div class="tl-image tl-none">not made</div>'
            f"<figcaption>{heading}</figcaption></figure>"
        )
    text = read["text"]
    alternative = f"{title}{' ' + note if note else ''}: the picture reads {text or 'nothing'}"
    kind = "tl-image tl-pixels" if address[1] else "tl-image"
    return (
        f'<figure class="tl-picture{" tl-main" if note else ""}">'
        f'<img class="{kind}" src="{address[0]}" alt="{escape(alternative)}">'
        f"<figcaption>{heading}"
        f'<span class="tl-read"><span class="tl-label">OCR reads</span> {marked(text, wanted)}'
        f"</span></figcaption></figure>"
    )


def _scores(document: Document, pick: str, entry: Document) -> str:
    scores, numbers = entry["scores"], picked_layers(document, pick)
    layers = {layer["index"]: layer for layer in document["layers"]}
    members = [layers[number] for number in numbers if number in layers]
    facts: list[tuple[str, str]] = []
    if len(numbers) == 1 and members:
        heads = f"{members[0]['heads']} heads"
        facts.append((f"Module, {heads}", f"<code>{_breakable(members[0]['name'])}</code>"))
    if len(members) == len(numbers):  # else some were not tried alone, and their size is unknown
        weights = sum(layer["kv_parameters"] for layer in members)
        share = _share(weights / document["checkpoint"]["parameters"])
        facts.append(("K+V parameters", f"{weights:,} · {share} of all"))
    if scores.get("effect") is not None:
        facts.append(("Effect on the words", _with_interval(scores)))
    facts.append(("OCR F1 to target", _levels(document, scores)))
    facts.append(("Reads target exactly", _percent(scores.get("exact_target"))))
    facts.append(("Picture kept (SSIM)", _number(scores.get("ssim_source"))))
    rows = "".join(f"<div><dt>{term}</dt><dd>{text}</dd></div>" for term, text in facts)
    title = escape(name_of(document, pick))
    return f'<div class="tl-scores"><h2 class="tl-sr">{title}</h2><dl>{rows}</dl></div>'


def _share(part: float) -> str:
    return f"{100 * part:.2g} %" if part < 0.995 else "100 %"


def _breakable(name: str) -> str:
    return escape(name).replace(".", ".<wbr>")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} % of pictures"


def _with_interval(scores: Document) -> str:
    low, high = scores.get("effect_low"), scores.get("effect_high")
    between = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    return f"{scores['effect']:.2f}{between}"


def _levels(document: Document, scores: Document) -> str:
    floor, ceiling = document.get("floor"), document.get("ceiling")
    text = _number(scores.get("ocr_f1_target"))
    if floor is None or ceiling is None:
        return text
    return f"{text} · no patch {floor:.2f}, all layers {ceiling:.2f}"


def strip(view: View, pair: int, seed: int) -> str:
    """A small picture of every pick as a button; the keyboard moves among them."""
    document, known = view.document, entries(view.document)
    buttons = []
    for pick, entry in known.items():
        numbers = picked_layers(document, pick)
        read = _read(entry, pair, seed)
        address = view.pictures.address(read["image"], STRIP) if read else None
        if read is None or address is None:
            continue
        label = f"{name_of(document, pick)}, reads {read['text'] or 'nothing'}"
        short = "all" if pick == "all" else display_layers(numbers)
        chosen = " tl-chosen" if set(numbers) <= set(document["selected"]) else ""
        pixels = ' class="tl-pixels"' if address[1] else ""
        buttons.append(
            f'<button type="button" class="tl-thumb{chosen}" data-pick="{pick}" tabindex="-1"'
            f' aria-label="{escape(label)}" title="{escape(label)}">'
            f'<img src="{address[0]}" alt=""{pixels}><span>{short}</span></button>'
        )
    return (
        f'<div class="tl-strip" role="toolbar" aria-label="Pictures by patched layer">'
        f"{''.join(buttons)}</div>"
        if buttons
        else ""
    )


# ---------------------------------------------------------------------------- table


def table(document: Document) -> str:
    """Every layer with its scores, as a table: says what the figure says."""
    rows = [_row(f"layer-{row['layer']}", row) for row in sharing.to_table(document)]
    names = {"source": "No patch", "all": "All layers", "target": "Target prompt itself"}
    for key, name in names.items():
        if key in document["references"]:
            entry = document["references"][key]
            rows.append(_reference(name, entry["scores"], entry["read"]))
    heads = "".join(f'<th scope="col">{head}</th>' for head in _HEADS)
    return (
        '<div class="tl-scroll" tabindex="0" role="region" aria-label="All layers">'
        '<table class="tl-table"><caption>What patching each layer alone does. '
        "The button in the first column shows its picture.</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


_SCORED = ("ocr_f1_target", "ocr_f1_source", "exact_target", "ssim_source")
_HEADS = (
    *("Layer", "Effect", "OCR F1 to target", "OCR F1 to source", "Exact", "SSIM", "Read"),
    *("K+V parameters", "Module"),
)


def _row(pick: str, row: Mapping[str, Any]) -> str:
    chosen = ' <span class="tl-badge">selected</span>' if row["selected"] else ""
    cells = [
        "–" if row["effect"] is None else _with_interval(row),
        *(_number(row[key]) for key in _SCORED),
        escape(row["read"]),
        f"{row['kv_parameters']:,}",
        f"<code>{escape(row['name'])}</code>",
    ]
    button = f'<button type="button" data-pick="{pick}">{row["layer"]}</button>{chosen}'
    return f'<tr><th scope="row">{button}</th>{_cells(cells)}</tr>'


def _reference(name: str, scores: Document, reads: list[Document]) -> str:
    texts = escape(" | ".join(read["text"] for read in reads))
    cells = ["", *(_number(scores.get(key)) for key in _SCORED), texts, "", ""]
    return f'<tr class="tl-reference"><th scope="row">{name}</th>{_cells(cells)}</tr>'


def _cells(cells: Iterable[str]) -> str:
    return "".join(f"<td>{cell}</td>" for cell in cells)


# ---------------------------------------------------------------------------- list and share


def listed(summaries: Iterable[store.Summary]) -> list[tuple[str, str]]:
    """(name, ID) of the results that can be opened."""
    return [
        (f"{summary.title} · {summary.checkpoint}", summary.id)
        for summary in summaries
        if not summary.damaged
    ]


def damaged(summaries: Iterable[store.Summary]) -> str:
    """A quiet note on the results that cannot be shown, with the reasons; may be empty."""
    reasons = [summary.damaged for summary in summaries if summary.damaged]
    if not reasons:
        return ""
    items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    noun = "stored result is" if len(reasons) == 1 else "stored results are"
    return (
        f'<details class="tl-damaged"><summary>{len(reasons)} {noun} damaged and left out'
        f"</summary><ul>{items}</ul></details>"
    )


def share(view: View) -> dict[str, Any]:
    """Value of the share bar: ID for the link (empty where not stored) and the files to save."""
    document = view.document
    return {
        "id": document["id"] if view.stored else "",
        "name": f"textloc-{document['id']}",
        "json": json.dumps(document, indent=1, ensure_ascii=False),
        "csv": sharing.to_csv(document),
    }
