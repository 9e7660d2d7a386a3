"""Samples to learn from: pictures with the captions that describe them.

A source is one module and one line in `SOURCES`: `fits(place)` says whether it reads a folder, file
or name, `read(place)` yields its samples in a fixed order. What is damaged comes as `Damaged` and
is counted, never fatal.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from textloc.errors import TrainingError
from textloc.finetuning.data import folders, mario, scenes, shards
from textloc.finetuning.data.sample import Damaged as Damaged
from textloc.finetuning.data.sample import Sample as Sample
from textloc.pictures import notes
from textloc.reading import metrics

SOURCES: dict[str, Source]


class Source(Protocol):
    """What a module of this package offers."""

    def fits(self, place: str) -> bool:
        """Whether it reads this folder, file or name."""

    def files(self, place: str) -> list[Path]:
        """The files that decide the samples; empty where the name alone does."""

    def read(self, place: str) -> Iterator[Sample | Damaged]:
        """The samples in order.

        Raises:
            TrainingError: the place holds none, or cannot be read at all.
        """


SOURCES = {
    "scenes": scenes,
    "webdataset": shards,
    "mario": mario,
    "folder": folders,
}
"""Kinds of sources."""

_CALLED = {"webdataset": "shards", "folder": "metadata", "mario": "caption.txt files"}


def source(place: str) -> tuple[str, Source]:
    """The kind of source that a place is, and its reader.

    Raises:
        TrainingError: none fits, or several.
    """
    try:
        found = [(name, module) for name, module in SOURCES.items() if module.fits(place)]
    except (OSError, ValueError):  # no name of a file
        found = []
    if len(found) > 1:
        beside = ", ".join(_CALLED[name] for name, _ in found)
        raise TrainingError(
            f"{place} can be read in several ways ({beside}); name the metadata itself, such as "
            f"{place}/metadata.jsonl, or the shards, such as {place}/*.tar"
        )
    if found:
        return found[0]
    raise TrainingError(
        f"cannot read data from {place[:200]!r}: give a folder of pictures with metadata.jsonl, a "
        "folder in the layout of MARIO-LAION, webdataset shards such as shards/{000..009}.tar, or "
        f"rendered scenes ({', '.join(scenes.KINDS)})"
    )


def digest(place: str) -> str:
    """Hash of what the samples depend on: names, sizes and times of the files, or the name."""
    name, module = source(place)
    total = hashlib.sha256(f"{name} {'' if module.files(place) else place}\n".encode())
    for path in module.files(place):
        about = path.stat()
        total.update(f"{path} {about.st_size} {about.st_mtime_ns}\n".encode())
    return total.hexdigest()


@dataclass
class Report:
    """What became of the samples: how many were kept, and why the others were not.

    skipped: reason to count. noted: what was decided when pictures that were kept were read
    (`pictures.notes`), to count. examples: the first of each reason and note, by its name.
    """

    kept: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def skip(self, reason: str, key: str) -> None:
        """Count one."""
        self.skipped[reason] += 1
        self._show(reason, key)

    def keep(self, key: str, picture: Image.Image) -> None:
        """Count one that is kept."""
        self.kept += 1
        for note in notes(picture):
            self.noted[note] += 1
            self._show(note, key)

    def _show(self, what: str, key: str) -> None:
        """Keep the first as an example, its name as any file can hold it."""
        shown = key.encode("utf-8", "backslashreplace").decode()
        self.examples.setdefault(what, shown if len(shown) <= 200 else f"{shown[:200]}…")

    def described(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "kept": self.kept,
            "skipped": dict(self.skipped),
            "noted": dict(self.noted),
            "examples": dict(self.examples),
        }

    def lines(self) -> list[str]:
        """For people."""
        said = [f"{self.kept} samples"]
        return (
            said
            + [
                f"{count} skipped: {reason} (such as {self.examples[reason]})"
                for reason, count in self.skipped.most_common()
            ]
            + [
                f"{count} kept: {note} (such as {self.examples[note]})"
                for note, count in self.noted.most_common()
            ]
        )


def agreement(caption: str, texts: tuple[str, ...]) -> float:
    """How far a caption says what its picture shows, in [0, 1]: the letters of the picture's words
    that stand in the caption as words, over all letters of its words; 0 where it shows none."""
    said = set(metrics.fold(caption).split())
    shown = [word for text in texts for word in metrics.fold(text).split()]
    letters = sum(map(len, shown))
    return sum(len(word) for word in shown if word in said) / letters if letters else 0.0


def samples(
    place: str,
    report: Report,
    *,
    least_agreement: float = 0.0,
    smallest: int = 0,
    limit: int | None = None,
    engine: str = "auto",
) -> Iterator[tuple[Sample, Image.Image]]:
    """The samples that pass, each with its picture in RGB.

    Args:
        place: a source. report: is filled while they are read. least_agreement: of `agreement`;
            texts that the data does not name are read by OCR. smallest: least shorter side in
            pixels. limit: stop after so many. engine: of OCR.

    Raises:
        TrainingError: as `source` and its reader. OCRError.
    """
    _, module = source(place)
    for sample in module.read(place):
        if limit is not None and report.kept >= limit:
            return
        if isinstance(sample, Damaged):
            report.skip(sample.reason, sample.key)
            continue
        picture = sample.picture()
        if isinstance(picture, Damaged):
            report.skip(picture.reason, sample.key)
        elif min(picture.size) < smallest:
            report.skip(f"smaller than {smallest} pixels", sample.key)
        elif not sample.caption.strip():
            report.skip("without a caption", sample.key)
        elif least_agreement > 0 and _agrees(sample, picture, engine) < least_agreement:
            report.skip(f"caption and writing agree less than {least_agreement:g}", sample.key)
        else:
            report.keep(sample.key, picture)
            yield sample, picture


def _agrees(sample: Sample, picture: Image.Image, engine: str) -> float:
    from textloc.reading import ocr

    texts = sample.texts
    if texts is None:
        texts = (ocr.read([picture], engine)[0].text,)
    return agreement(sample.caption, texts)
