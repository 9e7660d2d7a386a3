"""Tables of a report, from the rows that `results.export` gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from textloc.results import export
from textloc.results.report.sheet import Document, Row, Sheet, Table, Target

HEADS = {
    "layer": "Layer",
    "name": "Module",
    "selected": "Selected",
    "heads": "Heads",
    "kv_parameters": "K+V parameters",
    "effect": "Effect on the words",
    "effect_low": "Effect, from",
    "effect_high": "Effect, to",
    "ocr_f1_target": "OCR F1 to target",
    "ocr_f1_source": "OCR F1 to source",
    "exact_target": "Reads target exactly",
    "exact_source": "Reads source exactly",
    "levenshtein_target": "Letters wrong",
    "ssim_source": "Picture kept (SSIM)",
    "mse_source": "MSE",
    "psnr_source": "PSNR",
    "ssim": "Kept as a whole (SSIM)",
    "mse": "MSE",
    "psnr": "PSNR",
    "ssim_outside_text": "Kept outside the text (SSIM)",
    "mse_outside_text": "MSE outside the text",
    "psnr_outside_text": "PSNR outside the text",
    "share": "Share of the change",
    "share_low": "Share, from",
    "share_high": "Share, to",
    "start_step": "From step",
    "read_source": "Source reads",
    "read_edit": "Edit reads",
    "memory_gb": "Memory, GiB",
    "samples_per_second": "Samples a second",
    "ocr_f1": "OCR F1",
    "window_levenshtein": "Letters from the toxic text",
}
"""What a column is called, where that is not its name with a capital."""


def head(name: str) -> str:
    """What a column is called."""
    return HEADS.get(name) or name.replace("_", " ").capitalize()


def told(value: object) -> str:
    """A value as text: three digits of a fraction, a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def scored(scores: Mapping[str, Any], names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Terms and values of those scores that there are; a mean's with its interval."""
    found = []
    for name in names:
        value = scores.get(name)
        low, high = scores.get(f"{name}_low"), scores.get(f"{name}_high")
        if isinstance(value, list):
            value, low, high = value
        if value is None:
            continue
        between = "" if None in (low, high) or low == high else f" ({told(low)} to {told(high)})"
        found.append((head(name), f"{told(value)}{between}"))
    return tuple(found)


def exported(
    document: Document,
    title: str,
    hint: str = "",
    target: Callable[[Mapping[str, Any]], Target | None] = lambda row: None,
    badge: Callable[[Mapping[str, Any]], str] = lambda row: "",
    leave_out: tuple[str, ...] = (),
    folded: bool = False,
) -> Table:
    """The table of `export.to_table` without columns that are empty."""
    rows = export.to_table(document)
    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [n for n in names if n not in leave_out and any(row.get(n) is not None for row in rows)]
    shown = (Row(tuple(told(row.get(n)) for n in names), target(row), badge(row)) for row in rows)
    return Table(title, hint, tuple(map(head, names)), tuple(shown), folded)


def readings(sheet: Sheet, between: str = "Pair") -> Table:
    """What was read in every picture that can be looked at, each with its button."""
    names = {pick.pick: pick.name for pick in sheet.picks}
    rows, told_of = [], set()
    for (pick, pair, seed), look in sheet.looks.items():
        for card in look.cards:
            if card.read is None or (card, pair, seed) in told_of:
                continue
            told_of.add((card, pair, seed))
            name = names[pick] if card.main else card.title
            cells = (name, sheet.pairs[pair], str(seed), card.read or "nothing")
            rows.append(Row(cells, (pick if card.main else None, pair, seed)))
    heads = ("Picture", between, "Seed", "OCR reads")
    hint = "The button in the first column shows the picture."
    return Table("Every reading", hint, heads, tuple(rows), folded=len(rows) > 60)
