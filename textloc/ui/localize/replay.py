"""From a localize document to what its tab shows; no Gradio, no torch.

Every function takes complete and partial documents, and escapes what comes from outside.
"""

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from textloc.layers import display_layers
from textloc.results import export
from textloc.results.inlined import PANEL
from textloc.results.sentences import parted, told
from textloc.ui import html
from textloc.ui.figure_data import FigureName, drawn
from textloc.ui.html import as_cells, number
from textloc.ui.localize.cells import CellOrder
from textloc.ui.localize.picks import entries, name_of, picked_layers, usual_pick
from textloc.ui.stored import Document, View

# ---------------------------------------------------------------------------- figures


def effect_figure(document: Document) -> dict[str, Any]:
    """Value of the figure of effect by layer."""
    return drawn("effect_figure", document)


def shares_figure(document: Document) -> dict[str, Any] | None:
    """Value of the bar of shares, or None where none were taken."""
    return drawn("shares_figure", document) if document.get("shares") else None


def map_figure(document: Document, by: str) -> dict[str, Any] | None:
    """Value of the map of shares by `step`, `head`, `letter` or `pair`, or None."""
    if not document.get("shares"):
        return None
    names: dict[str, FigureName] = {
        "step": "steps_figure",
        "head": "heads_figure",
        "letter": "letters_figure",
        "pair": "pairs_figure",
    }
    return drawn(names[by], document)


def places(document: Document, by: str) -> list[list[Any]]:
    """What a click on each cell of `map_figure` means, by line and layer; [] without a map."""
    figure = map_figure(document, by)
    traces = figure["light"]["data"] if figure else ()
    return next((trace["customdata"] for trace in traces if trace["type"] == "heatmap"), [])


def marked(order: CellOrder) -> str:
    """Words for the cell that a link marks."""
    return (
        f'<p class="tl-hint tl-marked">The link marks {escape(order.name[0].lower())}'
        f"{escape(order.name[1:])}. Click the cell to patch just that.</p>"
    )


def cell(view: View, order: CellOrder, made: View | None, said: str) -> str:
    """The picture of a cell that is patched alone beside the source's; `said` while it is made."""
    if made is None:
        text = f"{escape(order.name)}: {escape(said)}"
        return f'<div class="tl-progress"><p role="status">{text}</p></div>'
    titles = {"source": ("Source prompt", ""), "cell": (order.name, "patched alone")}
    figures = ""
    for one in made.document["pictures"]:
        title, note = titles[one["label"]]
        wanted = order.pair.source_text if one["label"] == "source" else order.pair.target_text
        figures += html.picture(
            made.pictures, title, note, one["image"], one["read"], wanted, main=bool(note)
        )
    read = made.document["pictures"][-1]["read"] or "nothing"
    said = f'<p role="status" class="tl-sr">{escape(order.name)}: OCR reads {escape(read)}</p>'
    return f'<div class="tl-panel"><div class="tl-triplet">{figures}</div>{said}</div>'


def sets_figure(document: Document) -> dict[str, Any] | None:
    """Value of the figure of growing sets, or None while there are none."""
    return drawn("sets_figure", document) if document["sets"] else None


def readings_figure(document: Document) -> dict[str, Any] | None:
    """Value of the map of all readings, or None where there is one picture a layer or none."""
    request = document["request"]
    if not document["layers"] or len(request["pairs"]) * len(request["seeds"]) < 2:
        return None
    return drawn("heatmap_figure", document)


# ---------------------------------------------------------------------------- words


def headline(document: Document) -> str:
    """The claim as a heading, the evidence for it, and what was asked."""
    claim, evidence = parted(told(document))
    start = document["request"]["start_step"]
    more = [f"patched from step {start}"] if start else []
    return html.claim(claim, evidence, html.asked(document, *more))


def nothing() -> str:
    """What stands in place of a headline where no result is stored."""
    return html.nothing("Write two prompts that differ in the quoted word, and run them.")


# ---------------------------------------------------------------------------- pictures


def panel(view: View, pick: str, pair: int, seed: int) -> str:
    """Source picture, picked picture and target picture, with what was read and the scores."""
    document = view.document
    known = entries(document)
    if pick not in known and document["complete"]:
        return (
            '<p class="tl-empty">These are shares alone; no picture was made. Click a cell of the '
            "map to patch it and see what it writes.</p>"
        )
    if pick not in known and document.get("stopped"):
        return '<p class="tl-empty">It was stopped before its first picture.</p>'
    if pick not in known:
        return '<p class="tl-empty">The pictures appear here as soon as the first are made.</p>'
    words = document["request"]["pairs"][pair]
    source, target = (
        _picture(view, title, "", document["references"].get(name), pair, seed, wanted)
        for title, name, wanted in (
            ("Source prompt", "source", words["source_text"]),
            ("Target prompt", "target", words["target_text"]),
        )
    )
    picture, scores = _look(view, pick, known[pick], pair, seed)
    figures = source + picture + target
    return f'<div class="tl-panel"><div class="tl-triplet">{figures}</div>{scores}</div>'


def looks(view: View, pair: int, seed: int) -> dict[str, Any] | None:
    """What the panel shows of every pick, so that the browser need not ask: pick → HTML of the
    patched picture and of the scores; the layers in order, and where a walk over them ends; of what
    they are, as the strip says it. None before there is a picture."""
    document, known = view.document, entries(view.document)
    if not known:
        return None
    side = PANEL if len(known) <= MANY else PANEL // 2
    return {
        "of": _of(document, pair, seed),
        "looks": {
            pick: _look(view, pick, entry, pair, seed, side) for pick, entry in known.items()
        },
        "order": [pick for pick in known if pick.startswith("layer-")],
        "hold": usual_pick(document),
    }


MANY = 24
"""Pictures of more picks than this are sent ahead at half their size; a click brings the whole."""


def _look(
    view: View, pick: str, entry: Document, pair: int, seed: int, side: int = PANEL
) -> tuple[str, str]:
    """The patched picture of a pick, and its scores."""
    document = view.document
    title = re.sub(r" \(.*", "", name_of(document, pick))
    wanted = document["request"]["pairs"][pair]["target_text"]
    picture = _picture(view, title, "patched", entry, pair, seed, wanted, side)
    return picture, _scores(document, pick, entry)


def _picture(
    view: View,
    title: str,
    note: str,
    entry: Document | None,
    pair: int,
    seed: int,
    wanted: str,
    side: int = PANEL,
) -> str:
    read = _read(entry, pair, seed)
    key, text = (read["image"], read["text"]) if read else (None, "")
    return html.picture(view.pictures, title, note, key, text, wanted, main=bool(note), side=side)


def _read(entry: Document | None, pair: int, seed: int) -> Document | None:
    reads = entry["read"] if entry else ()
    return next((r for r in reads if r["pair"] == pair and r["seed"] == seed), None)


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
    facts.append(("Picture kept (SSIM)", number(scores.get("ssim_source"))))
    return html.scores(name_of(document, pick), facts)


def _share(part: float) -> str:
    return f"{100 * part:.2g} %" if part < 0.995 else "100 %"


def _breakable(name: str) -> str:
    return escape(name).replace(".", ".<wbr>")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} % of pictures"


def _with_interval(scores: Document) -> str:
    low, high = scores.get("effect_low"), scores.get("effect_high")
    between = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    return f"{scores['effect']:.2f}{between}"


def _levels(document: Document, scores: Document) -> str:
    floor, ceiling = document.get("floor"), document.get("ceiling")
    text = number(scores.get("ocr_f1_target"))
    if floor is None or ceiling is None:
        return text
    return f"{text} · no patch {floor:.2f}, all layers {ceiling:.2f}"


def strip(view: View, pair: int, seed: int) -> str:
    """A small picture of every pick as a button; the keyboard moves among them."""
    document, known = view.document, entries(view.document)
    thumbs = []
    for pick, entry in known.items():
        numbers = picked_layers(document, pick)
        read = _read(entry, pair, seed)
        if read is not None:
            label = f"{name_of(document, pick)}, reads {read['text'] or 'nothing'}"
            short = "all" if pick == "all" else display_layers(numbers)
            chosen = set(numbers) <= set(document["selected"])
            key = read["image"]
            thumbs.append(html.thumb(view.pictures, pick, key, label, short, chosen))
    return html.toolbar(thumbs, "Pictures by patched layer", _of(document, pair, seed))


def _of(document: Document, pair: int, seed: int) -> str:
    """Which pictures are shown: of a result, a pair and a seed."""
    return f"{document['id']}-{pair}-{seed}"


# ---------------------------------------------------------------------------- table


def table(document: Document) -> str:
    """Every layer with its scores, as a table: says what the figure says."""
    rows = [_row(f"layer-{row['layer']}", row) for row in export.to_table(document)]
    names = {"source": "No patch", "all": "All layers", "target": "Target prompt itself"}
    for key, name in names.items():
        if key in document["references"]:
            entry = document["references"][key]
            rows.append(_reference(name, entry["scores"], entry["read"]))
    caption = (
        "What patching each layer alone does. The button in the first column shows its picture."
    )
    return html.table("All layers", caption, _HEADS, rows)


_SCORED = ("ocr_f1_target", "ocr_f1_source", "exact_target", "ssim_source")
_HEADS = (
    *("Layer", "Effect", "OCR F1 to target", "OCR F1 to source", "Exact", "SSIM", "Read"),
    *("K+V parameters", "Module"),
)


def _row(pick: str, row: Mapping[str, Any]) -> str:
    chosen = ' <span class="tl-badge">selected</span>' if row["selected"] else ""
    cells = [
        "–" if row["effect"] is None else _with_interval(row),
        *(number(row[key]) for key in _SCORED),
        escape(row["read"]),
        f"{row['kv_parameters']:,}",
        f"<code>{escape(row['name'])}</code>",
    ]
    button = f'<button type="button" data-pick="{pick}">{row["layer"]}</button>{chosen}'
    return f'<tr><th scope="row">{button}</th>{as_cells(cells)}</tr>'


def _reference(name: str, scores: Document, reads: list[Document]) -> str:
    texts = escape(" | ".join(read["text"] for read in reads))
    cells = ["", *(number(scores.get(key)) for key in _SCORED), texts, "", ""]
    return f'<tr class="tl-reference"><th scope="row">{name}</th>{as_cells(cells)}</tr>'
