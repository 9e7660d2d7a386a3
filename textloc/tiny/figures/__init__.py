"""The README's figures, written from what is stored.

A figure is the text between the lines `<!-- figures:NAME -->` and `<!-- /figures -->`: a table, or
paragraphs that say what was found. Each is one function of results and measures, known by the names
that the manifest of `textloc.tiny.reproducing` gives them; nothing that it says is written by hand.
To add one, write its function in the file of its kind, put it into that file's `FIGURES`, and put
the two markers into the README.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textloc.errors import ReproduceError, StoreError
from textloc.files import replace_file
from textloc.tiny.figures import edits, localized, loras, measured, shares
from textloc.tiny.figures.text import Figures
from textloc.tiny.reproducing import manifest, record

FIGURES: Figures = {
    **localized.FIGURES,
    **shares.FIGURES,
    **edits.FIGURES,
    **loras.FIGURES,
    **measured.FIGURES,
}
"""Every figure by name."""

_BLOCK = re.compile(r"^<!-- figures:([a-z0-9-]+) -->\n(.*?)^<!-- /figures -->$", re.S | re.M)
_MARKER = re.compile(r"^<!-- (?:figures:[^\n]*|/figures) -->$", re.M)


@dataclass(frozen=True)
class Written:
    """A README with its figures written. changed: names of those that differed. left: names of
    those that stay, with the reason."""

    text: str
    changed: list[str]
    left: dict[str, str]


def written(text: str, found: Callable[[str], Any]) -> Written:
    """The README `text` with every figure between markers written anew.

    found: gives what an entry says (`record.found`), or raises `ReproduceError` or `StoreError`
    where it has not been made: then the figure stays as it is.

    Raises:
        ReproduceError: a marker without its other, or of an unknown figure.
    """
    names = [match[1] for match in _BLOCK.finditer(text)]
    if len(_MARKER.findall(text)) != 2 * len(names):
        raise ReproduceError(
            "the README has a marker of figures without its other; write <!-- figures:NAME --> "
            "before them and <!-- /figures --> after them, each on a line of its own"
        )
    if strange := sorted(set(names) - set(FIGURES)):
        raise ReproduceError(
            f"the README asks for the figures {strange[0]!r}; there are {', '.join(FIGURES)}"
        )
    changed: list[str] = []
    left: dict[str, str] = {}

    def block(match: re.Match[str]) -> str:
        name = match[1]
        needs, write = FIGURES[name]
        try:
            new = write(*map(found, needs))
        except (ReproduceError, StoreError) as error:
            left[name] = str(error)
            return match[0]
        if match[2] != f"\n{new}\n\n":
            changed.append(name)
        return f"<!-- figures:{name} -->\n\n{new}\n\n<!-- /figures -->"

    return Written(_BLOCK.sub(block, text), changed, left)


def _readme(root: Path) -> Written:
    entries, known = manifest.read(), record.read(root)
    text = (root / "README.md").read_text(encoding="utf-8")
    return written(text, lambda name: record.found(root, known, entries[name]))


def compare(root: Path) -> tuple[list[str], dict[str, str]]:
    """Figures of a checkout's README that are not what is stored, and those that cannot be
    compared, with the reason. Raises `ReproduceError` as `written`."""
    found = _readme(root)
    return found.changed, found.left


def write(root: Path) -> tuple[list[str], Mapping[str, str]]:
    """Write the figures of a checkout's README; those that were changed, and those that stay, with
    the reason. Raises `ReproduceError` as `written`."""
    found = _readme(root)
    if found.changed:
        path = root / "README.md"
        replace_file(path, lambda file: file.write_text(found.text, encoding="utf-8"))
    return found.changed, found.left
