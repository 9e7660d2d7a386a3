"""The figures of README, documentation and model cards, written from what is stored.

A figure is the text between the lines `<!-- figures:NAME -->` and `<!-- /figures -->`: a table, or
paragraphs that say what was found. Each is one function of results and measures, known by the names
that the manifest of `textloc.tiny.reproducing` gives them; nothing that it says is written by hand.
To add one, write its function in the file of its kind, put it into that file's `FIGURES`, and put
the two markers into the README, a page of `docs/` or a card.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
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
    """A page with its figures written. changed: names of those that differed. left: names of those
    that stay, with the reason."""

    text: str
    changed: list[str]
    left: dict[str, str]


def pages(root: Path) -> list[Path]:
    """The pages of a checkout that may have figures: README, docs, cards of the checkpoints."""
    cards = sorted((root / "assets" / "checkpoints").glob("*/README.md"))
    return [root / "README.md", *sorted((root / "docs").glob("*.md")), *cards]


def written(text: str, found: Callable[[str], Any]) -> Written:
    """A page's `text` with every figure between markers written anew.

    found: gives what an entry says (`record.found`), or raises `ReproduceError` or `StoreError`
    where it has not been made: then the figure stays as it is.

    Raises:
        ReproduceError: a marker without its other, or of an unknown figure.
    """
    names = [match[1] for match in _BLOCK.finditer(text)]
    if len(_MARKER.findall(text)) != 2 * len(names):
        raise ReproduceError(
            "a page has a marker of figures without its other; write <!-- figures:NAME --> "
            "before them and <!-- /figures --> after them, each on a line of its own"
        )
    if strange := sorted(set(names) - set(FIGURES)):
        raise ReproduceError(
            f"a page asks for the figures {strange[0]!r}; there are {', '.join(FIGURES)}"
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


def _written(root: Path) -> dict[Path, Written]:
    entries, known = manifest.read(), record.read(root)
    said = cache(lambda name: record.found(root, known, entries[name]))
    return {path: written(path.read_text(encoding="utf-8"), said) for path in pages(root)}


def _told(found: Iterable[Written]) -> tuple[list[str], dict[str, str]]:
    """Names of figures that differed, and those that stay with the reason, of several pages."""
    found = list(found)
    changed = dict.fromkeys(name for one in found for name in one.changed)
    return list(changed), {name: why for one in found for name, why in one.left.items()}


def compare(root: Path) -> tuple[list[str], dict[str, str]]:
    """Figures of a checkout's pages that are not what is stored, and those that cannot be compared,
    with the reason. Raises `ReproduceError` as `written`."""
    return _told(_written(root).values())


def write(root: Path) -> tuple[list[str], Mapping[str, str]]:
    """Write the figures of a checkout's pages; those that were changed, and those that stay, with
    the reason. Raises `ReproduceError` as `written`."""
    found = _written(root)
    for path, one in found.items():
        if one.changed:
            replace_file(path, partial(Path.write_text, data=one.text, encoding="utf-8"))
    return _told(found.values())
