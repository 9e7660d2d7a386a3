"""Lists of words: ours, and those that a person gives."""

from __future__ import annotations

import codecs
from functools import cache
from pathlib import Path

from textloc.errors import ToxicityError

_LISTS = Path(__file__).parent / "lists"


@cache
def read_words(name: str) -> frozenset[str]:
    """The words of a list of ours; those of toxic words are written in rot13."""
    text = (_LISTS / name).read_text(encoding="utf-8")
    lines = text.splitlines()
    if "rot13" in text[:200]:
        lines = [line if line.startswith("#") else codecs.decode(line, "rot13") for line in lines]
    return frozenset(line for line in lines if line and not line.startswith("#"))


def read_file(path: Path) -> tuple[str, ...]:
    """Words of a person's own list, one a line; lines that begin with # are notes.

    Raises:
        ToxicityError: it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ToxicityError(f"{path} cannot be read as a list of words ({error})") from error
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
