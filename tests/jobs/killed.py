"""What the processes of `test_killed` do: a localization that notes what it makes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import tiny_pipelines
from textloc.jobs import keeping
from textloc.jobs.localize import localize_stream
from textloc.patching import generation
from textloc.prompts import parse_pair
from textloc.reading import ocr
from textloc.reading.ocr import Box, Engine
from textloc.results.cache import VARIABLE

COUNT = int(os.environ.get("TEXTLOC_KILLED_PAIRS", "3"))
PAIRS = [parse_pair(f'sign {number} that says "AB"', "XYZ") for number in range(COUNT)]


class Toy(Engine):
    """Reads letters that depend on all pixels, at once."""

    package = "numpy"
    aims = (8,)

    def detect(self, pictures: Any) -> list[list[Box]]:
        words = ("AB", "AY", "XYB", "XYZ")
        sums = [int(picture.astype(int).sum()) for picture in pictures]
        corners = ((1.0, 1.0), (9.5, 1.0), (9.5, 6.25), (1.0, 6.25))
        return [[Box(words[total % 4], (total % 7) / 7, corners)] for total in sums]


def localize(log: str, out: str, cache: str, search: str) -> None:
    """Localize, note in the file `log` what begins and ends, and write the document to `out`."""
    os.environ[VARIABLE] = cache
    ocr.ENGINES["toy"] = Toy
    file = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def note(what: str, cell: object) -> None:
        name = hashlib.sha256(repr(cell).encode()).hexdigest()[:16]
        os.write(file, f"{what} {name}\n".encode())

    call, read, look = generation._call, ocr.read, keeping.shares_stream

    def calling(model: Any, batch: Any, wanted: Any, *rest: Any) -> Any:
        cell = (batch, [run in wanted for run in batch])
        note("begin call", cell)
        found = call(model, batch, wanted, *rest)
        note("end call", cell)
        return found

    def reading(pictures: Any, *rest: Any, **options: Any) -> Any:
        cell = [picture.tobytes() for picture in pictures]
        note("begin read", cell)
        found = read(pictures, *rest, **options)
        note("end read", cell)
        return found

    def looking(model: Any, source: Any, target: Any, **options: Any) -> Iterator[Any]:
        note("begin look", (source, target))
        yield from look(model, source, target, **options)
        note("end look", (source, target))

    generation._call, ocr.read, keeping.shares_stream = calling, reading, looking  # type: ignore[assignment]
    note("start process", os.getpid())
    model = tiny_pipelines.sdxl()
    asked: dict[str, Any] = {"seeds": (0, 1), "ocr": "toy", "search": search, "chunk_rows": 5}
    *_, last = localize_stream(model, PAIRS, **asked)
    pictures = {k: hashlib.sha256(one.tobytes()).hexdigest() for k, one in last.images.items()}
    said = {"document": last.document, "pictures": pictures, "found": last.found}
    Path(out).write_text(json.dumps(said))
