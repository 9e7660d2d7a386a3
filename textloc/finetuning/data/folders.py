"""A folder of pictures with captions, laid out as the `datasets` library reads an image folder.

`metadata.jsonl` (or `metadata.csv`, of whose columns the first line tells) names for each picture
its `file_name`, from the folder, and its caption: `text`, `caption` or `prompt`, the first that is
not empty. `texts`, where there is one, is what is written in it, a list or one text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textloc.errors import TrainingError
from textloc.finetuning.data.sample import Damaged, Sample, as_object, as_text, of_file

METADATA = ("metadata.jsonl", "metadata.csv")
CAPTIONS = ("text", "caption", "prompt")
"""Columns that hold captions; the first that is not empty counts."""

_SEPARATORS = ",;\t|"
_LONGEST_FIELD = 2**31 - 1


def fits(place: str) -> bool:
    """A folder with metadata, or the metadata itself."""
    return bool(_metadata(place))


def files(place: str) -> list[Path]:
    """The metadata and all files beside it."""
    found = _metadata(place)
    return sorted(path for path in found[0].parent.rglob("*") if path.is_file())


def read(place: str) -> Iterator[Sample | Damaged]:
    """In the order of the metadata."""
    found = _metadata(place)
    if len(found) > 1:
        raise TrainingError(
            f"{place} holds both {' and '.join(path.name for path in found)}; name the one to use, "
            f"such as {found[0]}"
        )
    (path,) = found
    content = as_text(path)
    if content is None:
        raise TrainingError(f"cannot read {path}; it is text in UTF-8")
    records = _json_lines(content) if path.suffix == ".jsonl" else _table(content, path)
    for number, record in records:
        where = f"{path.name}, line {number}"
        if isinstance(record, str):
            yield Damaged(where, record)
        else:
            yield _sample(path.parent, where, record)


def _metadata(place: str) -> list[Path]:
    given = Path(place)
    if given.name in METADATA:
        return [given] if given.is_file() else []
    return [given / name for name in METADATA if (given / name).is_file()]


def _json_lines(content: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Records, or what is wrong with them, with the numbers of their lines."""
    for number, line in enumerate(content.split("\n"), 1):
        if line.strip():
            found = as_object(line)
            yield number, "the line of metadata is no JSON object" if found is None else found


def _table(content: str, path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The same of a table, whatever separates its columns."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield from _rows(content, path)
    finally:
        csv.field_size_limit(before)


def _rows(content: str, path: Path) -> list[tuple[int, dict[str, Any] | str]]:
    found: list[tuple[int, dict[str, Any] | str]] = []
    heads = {by: _head(content, by) for by in _SEPARATORS}
    separator = next((by for by, head in heads.items() if "file_name" in head), None)
    if separator is None:
        raise TrainingError(
            f"the first line of {path} names no column file_name; it names "
            f"{', '.join(heads[','])[:80] or 'nothing'}"
        )
    rows = csv.reader(io.StringIO(content, newline=""), delimiter=separator)
    columns = [name.strip() for name in next(rows)]
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error:
            found.append((line, "the table is damaged from here on"))
            break
        if row is None:
            break
        if not row:
            continue
        if len(row) > len(columns):
            reason = "the row has more fields than the first line; put captions in quotation marks"
            found.append((line, reason))
        else:
            found.append((line, dict(zip(columns, row, strict=False))))
    return found


def _head(content: str, separator: str) -> list[str]:
    try:
        row = next(csv.reader(io.StringIO(content, newline=""), delimiter=separator), [])
    except csv.Error:
        return []
    return [name.strip() for name in row]


def _sample(folder: Path, where: str, record: dict[str, Any]) -> Sample | Damaged:
    name, caption = record.get("file_name"), caption_of(record)
    if not isinstance(name, str) or not name.strip():
        return Damaged(where, "the metadata names no file_name")
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return Damaged(where, "the file_name leads out of the folder")
        if not path.is_file():
            return Damaged(name, "the picture is missing")
    except (OSError, ValueError):  # too long, or with signs that no name has
        return Damaged(where, "the file_name is no name of a file")
    if caption is None:
        return Damaged(name, f"the metadata has no {', '.join(CAPTIONS)}")
    return Sample(name, caption, of_file(path), texts_of(record))


def caption_of(record: dict[str, Any]) -> str | None:
    """The caption of a record, where it has one: the first that is not empty."""
    found = [readable(record[name]) for name in CAPTIONS if isinstance(record.get(name), str)]
    return next(filter(None, found), found[0] if found else None)


def readable(caption: str) -> str:
    """A caption without marks of its encoding and without halves of letters, which no file holds
    and no tokenizer reads."""
    return caption.encode("utf-8", "ignore").decode().strip("\ufeff \t\r\n\f\v")


def texts_of(record: dict[str, Any]) -> tuple[str, ...] | None:
    """What a record says is written in its picture, where it says so."""
    given = record.get("texts")
    if isinstance(given, str):
        return (given,)
    if isinstance(given, list) and all(isinstance(text, str) for text in given):
        return tuple(given)
    return None
