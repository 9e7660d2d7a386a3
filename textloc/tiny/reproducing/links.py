"""IDs of results in README, documentation, code and tests, followed to those that took their place.

LOG.md is left as it is: it tells of what was measured then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from textloc.files import replace_file

_PLACES = ("README.md", "pyproject.toml", "cached_results/index.json", "docs", "tests", "textloc")
_ENDINGS = (".md", ".toml", ".json", ".py", ".js", ".css", ".html", ".tsv", ".txt")
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")


def files(root: Path) -> Iterator[Path]:
    """Text files of a checkout that may name a result."""
    for name in _PLACES:
        place = root / name
        found = sorted(place.rglob("*")) if place.is_dir() else [place]
        yield from (path for path in found if path.suffix in _ENDINGS and path.is_file())


def follow(root: Path, now: Mapping[str, str]) -> list[str]:
    """Write the IDs of today in place of older ones; the files that were changed, relative to
    `root`."""
    changed = []
    for path in files(root) if now else ():
        text = path.read_bytes().decode("utf-8", errors="surrogateescape")
        new = _ID.sub(lambda match: now.get(match[0], match[0]), text)
        if new != text:
            _write(path, new.encode("utf-8", errors="surrogateescape"))
            changed.append(path.relative_to(root).as_posix())
    return changed


def _write(path: Path, content: bytes) -> None:
    replace_file(path, lambda file: file.write_bytes(content))
