"""From an edit document to what its tab shows; no Gradio, no torch.

Every function takes complete and partial documents, and escapes what comes from outside.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from textloc.checkpoints import known
from textloc.layers import display_layers
from textloc.pictures import fit, read_picture, sentences
from textloc.results.inlined import encoded
from textloc.results.sentences import parted, told
from textloc.runs import Sampling
from textloc.ui import html
from textloc.ui.edit.picks import LOCALIZED, Way, entries
from textloc.ui.figure_data import drawn
from textloc.ui.html import number
from textloc.ui.stored import Document, View


def headline(document: Document) -> str:
    """The claim as a heading, the evidence for it, and what was asked."""
    claim, evidence = parted(told(document))
    layers = document["layers"]
    many = f"layer{'s' if len(layers) > 1 else ''} {display_layers(layers)} patched"
    return html.claim(claim, evidence, html.asked(document, many))


def nothing() -> str:
    """What stands in place of a headline where no edit is stored."""
    return html.nothing("Write a prompt that quotes a word, and the word to put in its place.")


def starts_figure(document: Document) -> dict[str, Any] | None:
    """Value of the figure of start steps, or None where fewer than two were tried."""
    return drawn("starts_figure", document) if len(document["curve"]) > 1 else None


# ---------------------------------------------------------------------------- pictures


def compared(view: View, pick: str, pair: int, seed: int) -> tuple[Image.Image, Image.Image] | None:
    """Source and picked picture for the slider, small ones enlarged without smoothing."""
    source, edit = _keys(view.document, pick, pair, seed)
    found = [view.pictures.large(key) if key else None for key in (source, edit)]
    return (found[0], found[1]) if found[0] is not None and found[1] is not None else None


def panel(view: View, pick: str, pair: int, seed: int) -> str:
    """Source picture, picked picture and their difference, with what was read and the scores."""
    document = view.document
    source = _source(document, pair, seed)
    if source is None:
        return '<p class="tl-empty">The pictures appear here as soon as the first are made.</p>'
    words = document["request"]["pairs"][pair]
    way = entries(document).get(pick)
    edit = way.edits.get((pair, seed)) if way else None
    own = bool(document["request"]["pictures"])
    pictures = view.pictures
    shown = html.picture(
        pictures,
        *(
            "Your picture" if own else "Source",
            "as the model keeps it" if own else "",
            source["image"],
        ),
        *(source["read"], words["source_text"]),
    )
    name, note = _titled(pick, way)
    key, read = (edit["image"], edit["read_edit"]) if edit else (None, "")
    shown += html.picture(pictures, name, note, key, read, words["target_text"], main=True)
    shown += _difference(view, source["image"], key)
    if way is None:
        return f'<div class="tl-panel"><div class="tl-triplet">{shown}</div></div>'
    return (
        f'<div class="tl-panel"><div class="tl-triplet">{shown}</div>'
        f"{_scores(document, way, edit)}</div>{inversion_note(document, pair, seed)}"
    )


def _titled(pick: str, way: Way | None) -> tuple[str, str]:
    if way is None:
        return "Edit", ""
    return ("Edit", f"from step {way.start}") if way.start is not None else (way.name, "")


def _source(document: Document, pair: int, seed: int) -> Document | None:
    sources = document["sources"]
    return next((s for s in sources if (s["pair"], s["seed"]) == (pair, seed)), None)


def _keys(document: Document, pick: str, pair: int, seed: int) -> tuple[str | None, str | None]:
    source, way = _source(document, pair, seed), entries(document).get(pick)
    edit = way.edits.get((pair, seed)) if way else None
    return source["image"] if source else None, edit["image"] if edit else None


def _difference(view: View, source: str, edit: str | None) -> str:
    address = view.pictures.difference(source, edit) if edit else None
    caption = "<figcaption><b>Difference</b> black: nothing changed</figcaption>"
    if address is None:
        image = '<div class="tl-image tl-none">not made</div>'
    else:
        kind = "tl-image tl-pixels" if address[1] else "tl-image"
        said = "Where the edit differs from the source: the brighter, the more"
        image = f'<img class="{kind}" src="{address[0]}" alt="{said}">'
    return f'<figure class="tl-picture">{image}{caption}</figure>'


_FACTS = (
    ("ocr_f1_target", "OCR F1 to the new words", 2),
    ("ocr_f1_source", "OCR F1 to the old words", 2),
    ("ssim_outside_text", "Kept outside the text (SSIM)", 3),
    ("ssim", "Kept as a whole (SSIM)", 3),
    ("psnr_outside_text", "PSNR outside the text, dB", 1),
)


def _scores(document: Document, way: Way, edit: Document | None) -> str:
    measured = edit is not None and "ssim" in edit
    values = edit if measured and edit is not None else {k: v[0] for k, v in way.scores.items()}
    facts = [(title, number(values.get(name), digits)) for name, title, digits in _FACTS]
    if way.start is not None:
        steps = document["request"]["steps"]
        remain = f"step {way.start} of {steps} · t<sub>s</sub> = {steps - way.start}"
        facts.insert(0, ("Patched from", remain))
    if not measured:
        facts.append(("These are", "means of the pictures tried"))
    return html.scores(way.name, facts)


def strip(view: View, pair: int, seed: int) -> str:
    """A small picture of the source and of every way as a button."""
    thumbs = []
    for pick, way in entries(view.document).items():
        edit = way.edits.get((pair, seed))
        if edit is not None:
            label = f"{way.name}, reads {edit['read_edit'] or 'nothing'}"
            chosen = pick == LOCALIZED
            thumbs.append(html.thumb(view.pictures, pick, edit["image"], label, way.short, chosen))
    return html.toolbar(thumbs, "Pictures by start step and method")


# ---------------------------------------------------------------------------- table

_HEADS = (
    *("Method", "Exact", "F1 to new", "F1 to old", "Letters wrong", "SSIM outside", "SSIM"),
    *("PSNR outside", "MSE outside", "Seconds", "Rows"),
)
_COLUMNS = (
    *(("exact_target", 2), ("ocr_f1_target", 2), ("ocr_f1_source", 2), ("levenshtein_target", 2)),
    *(("ssim_outside_text", 3), ("ssim", 3), ("psnr_outside_text", 1), ("mse_outside_text", 0)),
)


def table(document: Document) -> str:
    """Every method with its scores, 95 % intervals and cost; `""` while there is none."""
    if not document["edits"]:
        return ""
    ways = {pick: way for pick, way in entries(document).items() if _is_method(pick)}
    rows = []
    for pick, way in ways.items():
        cost = document["costs"].get(pick, {})
        count = cost.get("images")
        texts = [_interval(way.scores[name], digits) for name, digits in _COLUMNS]
        texts.append(number(cost["seconds"] / count if count else None))
        texts.append(number(cost["denoiser_rows"] / count if count else None, 0))
        button = f'<button type="button" data-pick="{escape(pick)}">{escape(way.name)}</button>'
        rows.append(f'<tr><th scope="row">{button}</th>{html.as_cells(texts)}</tr>')
    count = len(document["edits"])
    note = (
        f"Means over {count} picture{'s' if count > 1 else ''}, with 95 % intervals. Exact: share "
        "that says exactly the new words. F1: of the letters that OCR reads. Outside: outside of "
        "the text of source and edit. Seconds and denoiser rows are a picture's, without the "
        "source picture; none stand where the edit was made in the search for the start step."
    )
    shown = html.table("Methods", "A method's button shows its pictures.", _HEADS, rows)
    return f'<p class="tl-hint">{note}</p>{shown}'


def _is_method(pick: str) -> bool:
    return not pick.startswith("start-")


def _interval(values: Sequence[float | None], digits: int) -> str:
    mean, low, high = values
    text = number(mean, digits)
    if low is None or high is None or (low == high == mean):
        return text
    return f"{text} <small>{low:.{digits}f}–{high:.{digits}f}</small>"


def inversion_note(document: Document, pair: int, seed: int) -> str:
    """How well one's own picture was kept; `""` where it was not one's own."""
    found = document["inversions"]
    one = next((o for o in found if (o["pair"], o["seed"]) == (pair, seed)), None)
    if one is None:
        return ""
    poor = (
        " The model hardly knows pictures like this one from this prompt: do not trust the edit."
        if one["poor"]
        else ""
    )
    return (
        '<p class="tl-hint">Your picture is followed on its way from noise. It came back with '
        f"SSIM {number(one['ssim'], 3)} and PSNR {number(one['psnr'], 1)} dB; at each step the "
        f"model had to be corrected by {number(one['correction'])} of its own step.{poor}</p>"
    )


_WIDE = 512  # pixels of a preview's longest side


def preview(path: str, model: str) -> str:
    """A picture file as it will be used, cut to the shape of the model's pictures where that is
    known. Raises `PromptError` as `pictures.read_picture` and `pictures.fit`."""
    picture = read_picture(Path(path))
    if (entry := known.find(model)) is not None:
        size = entry.size
        used = fit(picture, Sampling(entry.steps, entry.guidance, size, size))
        side = min(*picture.size, _WIDE)
        picture = ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS)
        picture.info = used.info
    address, small = encoded(picture)
    kind = "tl-image tl-pixels" if small else "tl-image"
    image = f'<img class="{kind}" src="{address}" alt="Your picture">'
    told = "".join(f'<p class="tl-hint">{escape(note)}.</p>' for note in sentences(picture))
    return f'<figure class="tl-picture">{image}</figure>{told}'
