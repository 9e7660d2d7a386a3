"""How a result was made: what was asked, the checkpoint, the versions and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textloc.results.report.sheet import Document
from textloc.results.report.tables import told

Term = tuple[str, str, bool]
"""A term, its value, and whether that is to be folded."""


def made(document: Document, longest: int) -> list[tuple[str, list[Term]]]:
    """(title, terms) of all that a document says of it. longest: characters of a value that is not
    folded."""
    parts = (
        ("Asked", document.get("request", {})),
        ("Checkpoint", document.get("checkpoint", {})),
        ("Made with", document.get("environment", {})),
        ("Cost", {**document.get("costs", {}), **document.get("timing", {})}),
        ("Result", {n: document[n] for n in ("schema", "id", "digest") if n in document}),
    )
    return [
        (title, [(_term(name), text, len(text) > longest) for name, text in _flat(values)])
        for title, values in parts
        if values
    ]


def _term(name: str) -> str:
    return (name[:1].upper() + name[1:]).replace("_", " ").replace("Ocr", "OCR")


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Terms and values of nested data, such as `ocr engine`."""
    found = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{before}{name} ")
        else:
            found.append((f"{before}{name}", _text(value)))
    return found


def _text(value: Any) -> str:
    """Lists of plain values in a line, of others a line each."""
    if isinstance(value, list):
        plain = all(isinstance(one, str | int | float) for one in value)
        return (", " if plain else "\n").join(map(_text, value)) or "–"
    if isinstance(value, Mapping):
        if {"source", "target"} <= value.keys():
            return f"{value['source']} → {value['target']}"
        return " · ".join(f"{name}: {_text(one)}" for name, one in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value) if value else told(value)
