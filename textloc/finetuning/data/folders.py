"""A folder of pictures with captions, laid out as the `datasets` library reads an image folder.

`metadata.jsonl` (or `metadata.csv`) names for each picture its `file_name`, from the folder, and
its caption: `text`, `caption` or `prompt`. `texts`, where there is one, is what is written in it,
a list or one text.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textloc.errors import TrainingError
from textloc.finetuning.data.sample import Damaged, Sample, as_text, of_file

_METADATA = ("metadata.jsonl", "metadata.csv")
CAPTIONS = ("text", "caption", "prompt")
"""Columns that hold captions; the first that is there counts."""


def fits(place: str) -> bool:
    """A folder with metadata."""
    return any((Path(place) / name).is_file() for name in _METADATA)


def files(place: str) -> list[Path]:
    """The metadata and all files beside it."""
    return sorted(path for path in Path(place).rglob("*") if path.is_file())


def read(place: str) -> Iterator[Sample | Damaged]:
    """In the order of the metadata."""
    folder = Path(place)
    path = next(folder / name for name in _METADATA if (folder / name).is_file())
    content = as_text(path)
    if content is None:
        raise TrainingError(f"cannot read {path}; it is text in UTF-8")
    records = _json_lines(content) if path.suffix == ".jsonl" else _table(content)
    for number, record in records:
        yield _sample(folder, f"{path.name}, line {number}", record)


def _json_lines(content: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        yield number, found if isinstance(found, dict) else None


def _table(content: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
    yield from enumerate(csv.DictReader(content.splitlines()), 2)


def _sample(folder: Path, where: str, record: dict[str, Any] | None) -> Sample | Damaged:
    if record is None:
        return Damaged(where, "the line of metadata is no JSON object")
    name, caption = record.get("file_name"), caption_of(record)
    if not isinstance(name, str) or not name:
        return Damaged(where, "the metadata names no file_name")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return Damaged(where, "the file_name leads out of the folder")
    if not path.is_file():
        return Damaged(name, "the picture is missing")
    if caption is None:
        return Damaged(name, f"the metadata has no {', '.join(CAPTIONS)}")
    return Sample(name, caption, of_file(path), texts_of(record))


def caption_of(record: dict[str, Any]) -> str | None:
    """The caption of a record, where it has one."""
    found = [record[name] for name in CAPTIONS if isinstance(record.get(name), str)]
    return str(found[0]) if found else None


def texts_of(record: dict[str, Any]) -> tuple[str, ...] | None:
    """What a record says is written in its picture, where it says so."""
    given = record.get("texts")
    if isinstance(given, str):
        return (given,)
    if isinstance(given, list) and all(isinstance(text, str) for text in given):
        return tuple(given)
    return None
