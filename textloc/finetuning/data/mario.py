"""The layout of MARIO-LAION (Chen et al., TextDiffuser, NeurIPS 2023).

One folder a picture, at any depth: `image.jpg` (or `.png`), `caption.txt` and `ocr.txt`, whose
lines hold a word, its corners and a confidence, parted by spaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from textloc.finetuning.data.folders import METADATA, readable
from textloc.finetuning.data.sample import Damaged, Sample, as_text, of_file

_PICTURES = ("image.jpg", "image.png", "image.jpeg")


def fits(place: str) -> bool:
    """A folder without metadata that holds `caption.txt` somewhere below."""
    folder = Path(place)
    if not folder.is_dir() or any((folder / name).is_file() for name in METADATA):
        return False
    return next(folder.rglob("caption.txt"), None) is not None


def files(place: str) -> list[Path]:
    """Everything that is read."""
    names = {*_PICTURES, "caption.txt", "ocr.txt"}
    return sorted(path for path in Path(place).rglob("*") if path.name in names)


def read(place: str) -> Iterator[Sample | Damaged]:
    """In the order of the folders' names."""
    root = Path(place)
    for path in sorted(root.rglob("caption.txt")):
        folder = path.parent
        key = folder.relative_to(root).as_posix()
        caption = as_text(path)
        picture = next((folder / name for name in _PICTURES if (folder / name).is_file()), None)
        if caption is None:
            yield Damaged(key, "the caption is no text in UTF-8")
        elif picture is None:
            yield Damaged(key, "the picture is missing")
        elif (folder / "ocr.txt").exists() and as_text(folder / "ocr.txt") is None:
            yield Damaged(key, "the ocr.txt is no text in UTF-8")
        else:
            yield Sample(key, " ".join(readable(caption).split()), of_file(picture), _texts(folder))


def _texts(folder: Path) -> tuple[str, ...] | None:
    """The words of `ocr.txt`; None where there is no such file."""
    content = as_text(folder / "ocr.txt")
    if content is None:
        return None
    return tuple(line.split(" ")[0] for line in content.split("\n") if line.strip())
