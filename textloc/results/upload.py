"""A result in a file from a stranger: the JSON or the ZIP file that the page gives to save.

It is held to more than a file of one's own: sizes are bounded before anything is decoded, and text
stands only where results have text, so that nothing in it can be taken for a part of a page. An
archive is verified as a stored result is; a document alone has no pictures, so only its shape and
its ID can be. Nothing is kept: the pictures lie in a temporary folder as long as they are used.
"""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from textloc.errors import StoreError
from textloc.results import opening, store
from textloc.results.result import Result

LARGEST_FILE = 64 * 2**20
"""Bytes that a file may have."""
LARGEST = 256 * 2**20
"""Bytes that an archive may have unpacked."""
LARGEST_DOCUMENT = 16 * 2**20
MOST_FILES = 5_000
MOST_PIXELS, MOST_PIXELS_IN_ALL = 2**24, 2**28
_DEEPEST, _MOST_VALUES = 24, 1_000_000
_KEY = re.compile(r"[\w .:+/-]{0,100}")
_NOT_PLAIN = re.compile(r"[<>&\"'`]")
_TEXTS = frozenset(
    {
        *("source", "target", "source_text", "target_text", "prompt", "text", "letter"),
        *("read", "read_source", "read_edit"),
    }
)
"""Names of what people wrote and OCR read: the only texts that may hold signs of HTML. The page
escapes them wherever it shows them."""


def open_upload(file: Path) -> Result:
    """The result in a ZIP or JSON file.

    Raises:
        StoreError: it is none, too large, damaged, or holds what no result does.
    """
    try:
        size = file.stat().st_size
        if size > LARGEST_FILE:
            raise StoreError(
                f"This file has {size / 2**20:.0f} MB; one of at most {LARGEST_FILE // 2**20} MB "
                "can be imported here. Open it on your own machine: `textloc show`."
            )
        if zipfile.is_zipfile(file):
            return _of_archive(file)
        return Result(_checked(file.read_bytes()))
    except OSError as error:
        raise StoreError("This file cannot be read. Choose it again.") from error


def _of_archive(file: Path) -> Result:
    keeper = tempfile.TemporaryDirectory(prefix="textloc-import-")
    root = Path(keeper.name)
    with file.open("rb") as opened:
        name = opening.unpack(opened, root, LARGEST, MOST_FILES)
    folder = root / name
    if not (folder / "result.json").is_file():
        raise StoreError(f"The archive of {name} has no result.json. Save its ZIP file again.")
    _checked((folder / "result.json").read_bytes())
    left = MOST_PIXELS_IN_ALL
    for path in store.Stored({}, folder).files()[1:]:
        pixels = _pixels(path)
        left -= pixels
        if pixels > MOST_PIXELS or left < 0:
            raise StoreError("The pictures in the archive are too large to be imported here.")
    stored = store.load(name, root)
    return Result(stored.document, opening.StoredImages(stored, keeper))


def _pixels(path: Path) -> int:
    """Pixels of a picture, from its header."""
    try:
        with Image.open(path, formats=[store.ENDINGS[path.suffix]]) as image:
            return image.width * image.height
    except Exception as error:  # a damaged file can make the decoder raise almost anything
        raise StoreError(f"The picture {path.stem} in the archive cannot be read.") from error


def _checked(data: bytes) -> dict[str, Any]:
    """The document in the bytes of a file, of the current schema."""
    if len(data) > LARGEST_DOCUMENT:
        raise StoreError("The document is too large to be imported here.")
    try:
        document = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise StoreError(
            "This is neither a ZIP file nor JSON. Import a file that Save ZIP or Save JSON gave."
        ) from error
    if not isinstance(document, dict):
        raise StoreError("This JSON holds no result. Import a file that Save JSON gave.")
    for name, text in _texts(document):
        if name not in _TEXTS and _NOT_PLAIN.search(text):
            raise StoreError(
                f"The result says {text[:40]!r} for {name[:40]!r}, which no textloc writes. It is "
                "not imported."
            )
    store.check_document(document)
    return store.migrate(document)


def _texts(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, text) of every text; refuses what is nested deeper, or holds more, than results do."""
    waiting: list[tuple[str, object, int]] = [("", document, 0)]
    seen = 0
    while waiting:
        name, value, depth = waiting.pop()
        seen += 1
        if depth > _DEEPEST or seen > _MOST_VALUES:
            raise StoreError("The document is nested too deep, or too large, for a result.")
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, list):
            waiting += [(name, item, depth + 1) for item in value]
        elif isinstance(value, dict):
            for key, item in value.items():
                if not _KEY.fullmatch(key):
                    raise StoreError(f"The result has {key[:40]!r}, which no textloc writes.")
                waiting.append((key, item, depth + 1))


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
