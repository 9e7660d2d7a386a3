"""What was made from what: the record that travels with the results, `cached_results/made.json`.

An entry is *made* when what it made is there and its command, the digests of its checkpoints and
all that it needs are those it was made with. The record also keeps which result took the place of
which, so that links can be followed after a kill, too.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from textloc.checkpoints import weights
from textloc.errors import ReproduceError, StoreError
from textloc.files import replace_file
from textloc.results import store
from textloc.results.identity import request_id
from textloc.tiny.reproducing.manifest import Entry

FILE = "made.json"


@dataclass
class Record:
    """The record of a checkout, in `path`.

    entries: by name what it was made with (`command`, `of`: digest by checkpoint, `needs`:
    `fingerprint` by entry), how many `seconds` it took, and of a result its `id`. renamed: the ID
    that took the place of an older one.
    """

    path: Path
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    def save(self) -> None:
        said = {"entries": dict(sorted(self.entries.items())), "renamed": self.renamed}
        text = json.dumps(said, indent=1, ensure_ascii=False) + "\n"
        replace_file(self.path, lambda file: file.write_text(text, encoding="utf-8"))

    def id(self, name: str) -> str:
        """ID of the result that an entry made.

        Raises:
            ReproduceError: it has made none.
        """
        found = self.entries.get(name, {}).get("id")
        if found is None:
            raise ReproduceError(f"{name} has made no result yet; reproduce it first")
        return str(found)

    def now(self) -> dict[str, str]:
        """Each older ID with the one that stands in its place today."""
        found = {}
        for old, new in self.renamed.items():
            seen = {old}
            while new in self.renamed and new not in seen:
                seen.add(new)
                new = self.renamed[new]
            if new != old:
                found[old] = new
        return found

    def follow(self, old: str | None, new: str) -> None:
        """Note that a result took the place of another."""
        self.renamed.pop(new, None)  # an older one that came back
        if old is not None and old != new:
            self.renamed[old] = new


def read(root: Path) -> Record:
    """The record of a checkout; an empty one where there is none.

    Raises:
        ReproduceError: it is damaged.
    """
    path = root / "cached_results" / FILE
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return Record(path, dict(said["entries"]), dict(said["renamed"]))
    except FileNotFoundError:
        return Record(path)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ReproduceError(
            f"cached_results/{FILE} cannot be read ({error}); restore it, such as by `git checkout`"
        ) from error


def measure_path(root: Path, name: str) -> Path:
    """Where a measure is kept."""
    return root / "assets" / "measures" / f"{name}.json"


def digest(root: Path, checkpoint: str) -> str:
    """Digest of a checkpoint's present weights.

    Raises:
        ReproduceError: it is not there.
    """
    folder = root / "assets" / "checkpoints" / checkpoint
    if not (folder / "model_index.json").is_file():
        raise ReproduceError(f"there is no checkpoint {checkpoint} in assets/checkpoints")
    files = [path.stat() for path in folder.rglob("*")]
    return _digest(folder, max(f.st_mtime_ns for f in files), sum(f.st_size for f in files))


@lru_cache(maxsize=64)
def _digest(folder: Path, *_state: int) -> str:
    return weights.digest(folder)


def made_with(root: Path, entry: Entry, entries: Mapping[str, Entry]) -> dict[str, Any]:
    """All that decides what an entry makes today."""
    needs = {name: fingerprint(root, entries[name], entries) for name in entry.needs}
    return {
        "command": shlex.join(entry.command),
        "of": {name: digest(root, name) for name in entry.of},
        "needs": needs,
    }


def fingerprint(root: Path, entry: Entry, entries: Mapping[str, Entry]) -> str:
    """16 hex characters of `made_with`."""
    return request_id(made_with(root, entry, entries))


def missing(root: Path, record: Record, entry: Entry, entries: Mapping[str, Entry]) -> str | None:
    """Why an entry is to be made, in a few words; None where it is made."""
    known = record.entries.get(entry.name)
    if known is None:
        return "never made"
    today = made_with(root, entry, entries)
    if known.get("of") != today["of"]:
        return "made from other weights"
    if known.get("command") != today["command"]:
        return "made by another command"
    if known.get("needs") != today["needs"]:
        return "made from what is made anew"
    return _lost(root, entry, known, today["of"])


def _lost(root: Path, entry: Entry, known: Mapping[str, Any], of: Mapping[str, str]) -> str | None:
    """Why what an entry made does not count: it is gone, damaged, or of other weights."""
    if entry.makes == "measure":
        return None if measure_path(root, entry.name).is_file() else "its measure is gone"
    if entry.makes == "file":
        return None if (root / entry.path).exists() else f"{entry.path} is gone"
    try:
        document = store.load(str(known.get("id")), root / "cached_results").document
    except StoreError:
        return "its result is gone or damaged"
    said = document["checkpoint"]
    base = (said.get("lora") or {}).get("base") or said["digest"]
    return None if of.get(said["name"], base) == base else "made from other weights"


def found(root: Path, record: Record, entry: Entry) -> Any:
    """What an entry says: the document of a result, or a measure.

    Raises:
        ReproduceError: it has not been made. StoreError: its result is damaged.
    """
    if entry.makes == "result":
        return store.load(record.id(entry.name), root / "cached_results").document
    try:
        said = json.loads(measure_path(root, entry.name).read_text(encoding="utf-8"))
        return said["found"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ReproduceError(f"{entry.name} is not measured yet; reproduce it first") from error
