"""Which layers write the words: tables and findings of the localizations over many pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textloc.reading.metrics import exact_match
from textloc.results.judging import doubt
from textloc.tiny.figures.text import (
    MODELS,
    Figures,
    blocks,
    bold,
    capital,
    cell,
    counted,
    effect,
    layers,
    number,
    paragraph,
    percent,
    table,
)

Document = Mapping[str, Any]

QUIET, UNCHANGED = 0.05, 0.985
"""A layer of which nothing is seen: effect below, SSIM to the source picture from."""
FEW_SETS = 3
"""Random sets that are told one by one."""


def whole(document: Document) -> str:
    """Every layer alone, and sets of them, with what they show."""
    if (why := doubt(document)) is not None:
        return paragraph(_asked(document), why)
    return blocks(
        paragraph(_asked(document)),
        _alone_table(document),
        paragraph(_strongest(document), _lengths(document)),
        paragraph("Chosen on one half of the pairs and reported on the other:"),
        _sets_table(document),
        paragraph(_held_out(document), _rivals(document)),
    )


def sets(document: Document) -> str:
    """Sets of layers, with what they show."""
    if (why := doubt(document)) is not None:
        return paragraph(_asked(document), why)
    return blocks(
        paragraph(_asked(document), _strongest(document), "Reported on the other half:"),
        _sets_table(document),
        paragraph(_held_out(document), _rivals(document)),
    )


def short(document: Document) -> str:
    """The same in one paragraph."""
    if (why := doubt(document)) is not None:
        return paragraph(_asked(document), why)
    return paragraph(
        _strongest(document),
        _held_out(document),
        _rivals(document),
        f"(`python -m textloc show {document['id']}`)",
    )


def found(*documents: Document) -> str:
    """The chosen layers of several checkpoints, and what they do, a row each."""
    rows = []
    for document in documents:
        name, chosen = document["checkpoint"]["name"], _chosen(document)
        if (why := doubt(document)) is not None or chosen is None:
            rows.append([name, why or "no set of layers was chosen", *[""] * 4])
            continue
        full = max(document["sets"], key=lambda entry: len(entry["layers"]))
        pictures = _hits(document, chosen)[1]
        said = _hits(document, chosen)[0], _hits(document, full)[0]
        best = max((entry["scores"]["effect"] for entry in document["controls"]), default=None)
        rows.append(
            [
                name,
                f"{bold(cell(chosen['layers']))} of {_count(document)}",
                percent(chosen["fraction_of_parameters"]),
                effect(chosen["scores"]),
                f"{said[0]} and {said[1]} of {pictures}",
                number(best),
            ]
        )
    head = ("", "layers", "parameters", "effect", "read exactly by them and by all", "random sets")
    return table(head, rows)


FIGURES: Figures = {
    "localized": (tuple(f"localize-{model}" for model in MODELS), found),
    "localized-tiny-sdxl": (("localize-tiny-sdxl",), whole),
    "localized-tiny-ldm": (("localize-tiny-ldm",), short),
    "localized-tiny-sd3": (("localize-tiny-sd3",), sets),
    "localized-tiny-if": (("localize-tiny-if",), short),
}


def _asked(document: Document) -> str:
    request = document["request"]
    lengths = {len(p["source_text"]) == len(p["target_text"]) for p in request["pairs"]}
    mixed = " of equal and of unequal length" if len(lengths) == 2 else ""
    seeds = counted(len(request["seeds"]), "seed")
    start = request["start_step"]
    since = "the first step" if start == 0 else f"step {start}"
    return (
        f"{len(request['pairs'])} pairs of words{mixed}, {seeds} each, patched from {since} on "
        f"(`python -m textloc show {document['id']}`); intervals are over pairs."
    )


# -- layers alone ---------------------------------------------------------------------------


def _quiet(layer: Document) -> bool:
    scores = layer["scores"]
    return (
        abs(scores["effect"]) < QUIET
        and scores["ssim_source"] >= UNCHANGED
        and not scores["exact_target"]
    )


def _alone_table(document: Document) -> str:
    head = (
        "patched",
        "effect on the words",
        "read exactly",
        "OCR F1 to target",
        "to source",
        "picture kept (SSIM)",
    )
    references, strong = document["references"], _first(document)["index"]
    rows = [_row("nothing", "0", [references["source"]["scores"]])]
    quiet = [layer for layer in document["layers"] if _quiet(layer)]
    if len(quiet) > 1:
        where = cell([layer["index"] for layer in quiet])
        scores = [layer["scores"] for layer in quiet]
        rows.append(_row(f"each of layers {where} alone", _range(scores, "effect"), scores))
    for layer in document["layers"]:
        if len(quiet) > 1 and layer in quiet:
            continue
        own, scores = layer["index"] == strong, layer["scores"]
        row = _row(f"layer {layer['index']} alone", effect(scores), [scores])
        rows.append([*(bold(one, own) for one in row[:2]), *row[2:]])
    rows.append(_row(f"all {_count(document)} layers", "1", [references["all"]["scores"]]))
    return table(head, rows)


def _row(name: str, said: str, scores: Sequence[Document]) -> list[str]:
    columns = ("exact_target", "ocr_f1_target", "ocr_f1_source", "ssim_source")
    return [name, said, *(_range(scores, column) for column in columns)]


def _range(scores: Sequence[Document], name: str) -> str:
    """Least to most of several."""
    ends = [number(end(one[name] for one in scores)) for end in (min, max)]
    return " to ".join(dict.fromkeys(ends))


def _first(document: Document) -> Document:
    """The layer with the strongest effect alone."""
    found: Document = max(document["layers"], key=lambda layer: layer["scores"]["effect"])
    return found


def _count(document: Document) -> int:
    return max(len(entry["layers"]) for entry in document["sets"])


def _strongest(document: Document) -> str:
    """What the strongest layer does alone, and the others."""
    first = _first(document)
    others = [layer for layer in document["layers"] if layer is not first]
    most = max(layer["scores"]["effect"] for layer in others)
    share = first["kv_parameters"] / document["checkpoint"]["parameters"]
    hits, pictures = _hits(document, first)
    return (
        f"Layer {first['index']} of {_count(document)} (`{_name(first)}`, {percent(share)} of the "
        f"parameters) has the strongest effect alone, {effect(first['scores'])}, and writes "
        f"{hits} of {pictures} words exactly; the others alone have {number(most)} at most."
    )


def _name(layer: Document) -> str:
    """Name of a layer up to its block."""
    return str(layer["name"]).removesuffix(".attn2").removesuffix(".transformer_blocks.0")


def _lengths(document: Document) -> str:
    """How many words the strongest layer writes whose length stays, and of the others."""
    first, pairs = _first(document), document["request"]["pairs"]
    same = [n for n, p in enumerate(pairs) if len(p["source_text"]) == len(p["target_text"])]
    other = [n for n in range(len(pairs)) if n not in same]
    if not same or not other:
        return ""
    (hits, of), (more, rest) = (_hits(document, first, which) for which in (same, other))
    return f"Of words as long as the source's it writes {hits} of {of}, of others {more} of {rest}."


def _hits(
    document: Document, entry: Document, pairs: Sequence[int] | None = None
) -> tuple[int, int]:
    """Pictures that read exactly the target, and all."""
    asked = document["request"]["pairs"]
    reads = [read for read in entry["read"] if pairs is None or read["pair"] in pairs]
    exact = [exact_match(read["text"], asked[read["pair"]]["target_text"]) for read in reads]
    return sum(map(bool, exact)), len(reads)


# -- sets -----------------------------------------------------------------------------------


def _chosen(document: Document) -> Document | None:
    chosen = sorted(document["selected"])
    return next((e for e in document["sets"] if chosen and sorted(e["layers"]) == chosen), None)


def _sets_table(document: Document) -> str:
    chosen, count = _chosen(document), _count(document)
    rows = []
    for entry in document["sets"]:
        if not entry["layers"]:
            continue
        full = len(entry["layers"]) == count
        name = "all" if full else cell(entry["layers"])
        own, scores = entry is chosen, entry["scores"]
        said = "1" if full else effect(scores)
        if own and not full:
            name = f"{bold(name)} ({percent(entry['fraction_of_parameters'])} of the parameters)"
        if list(entry["layers"]) == document["selection"].get("used"):
            name = f"{name} (grown on all pairs, for use)"
        rows.append([name, bold(said, own), *_kept(scores)])
    shown = sorted(document["controls"], key=lambda e: -e["scores"]["effect"])[:FEW_SETS]
    for entry in shown:
        name = f"random: {cell(entry['layers'])}"
        rows.append([name, effect(entry["scores"]), *_kept(entry["scores"])])
    return table((f"layers patched, of {count}", "effect", "read exactly", "SSIM"), rows)


def _kept(scores: Document) -> list[str]:
    return [number(scores["exact_target"]), number(scores["ssim_source"])]


def _held_out(document: Document) -> str:
    """What the chosen set does on pairs that it was not chosen on."""
    chosen = _chosen(document)
    if chosen is None:
        return "No set of layers was chosen."
    full = max(document["sets"], key=lambda entry: len(entry["layers"]))
    if chosen is full:
        return f"It takes all {_count(document)} layers: no smaller set does what they do."
    hits, pictures = _hits(document, chosen)
    reached = document["selection"]["reached"]
    short_of = "" if reached else f", short of {percent(document['selection']['share'])}"
    held = " held-out" if document["selection"]["split"] else ""
    one = len(chosen["layers"]) == 1
    return (
        f"{capital(layers(chosen['layers']))}, {percent(chosen['fraction_of_parameters'])} of the "
        f"parameters, {'has' if one else 'have'} {effect(chosen['scores'])} of the effect of all"
        f"{short_of}, and {'writes' if one else 'write'} {hits} of {pictures}{held} pictures "
        f"exactly; all {_count(document)} write {_hits(document, full)[0]}."
    )


def _rivals(document: Document) -> str:
    """How random sets as large as the chosen one do beside it."""
    chosen, controls = _chosen(document), document["controls"]
    if chosen is None or not controls:
        return ""
    mine = chosen["scores"]["effect"]
    best = max(controls, key=lambda entry: entry["scores"]["effect"])
    rivals = [entry for entry in controls if entry["scores"]["effect"] >= mine]
    many = f"{len(controls)} {'other' if _every(document) else 'random'} sets as large"
    if rivals:
        return (
            f"Of {many}, {len(rivals)} did as well, so these layers are not the only ones "
            f"({layers(best['layers'])} have {effect(best['scores'])})."
        )
    return f"Of {many} the best, {layers(best['layers'])}, has {effect(best['scores'])}."


def _every(document: Document) -> bool:
    """Whether the other sets are all that there are, not drawn."""
    return len(document["controls"]) > FEW_SETS
