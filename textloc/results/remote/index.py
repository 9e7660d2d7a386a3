"""The lines about results in a store: what a list shows of each, and that one was deleted.

A line is written once and never changed. What it says of a result is its request, from which the
ID is derived again when it is read: a line that does not belong to its ID is passed over.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from textloc.errors import StoreError
from textloc.results import store
from textloc.results.identity import canonical, request_id

_NAME = re.compile(r"[0-9a-f]{32}\.jsonl")
_WRITER = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Entry:
    """A line. id: of the result. writer: the mirror that wrote it. at: when, in seconds since 1970.
    gone: whether it says that the writer has deleted it; the rest is then empty. schema,
    checkpoint, request: of the result's document; of its checkpoint `name` and `lora`."""

    id: str
    writer: str
    at: float
    gone: bool = False
    schema: str = ""
    checkpoint: Mapping[str, Any] = field(default_factory=dict, hash=False)
    request: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def summary(self) -> store.Summary:
        """The line of a list. Raises `LookupError`, `TypeError` or `AttributeError` where the
        request has another shape than results have."""
        document = {**asdict(self), "checkpoint": self.checkpoint, "request": self.request}
        return store.Summary(
            self.id,
            store.title(document),
            str(self.checkpoint["name"]),
            self.at,
            store.kind(document),
            request=self.request,
        )


def entry_of(document: Mapping[str, Any], writer: str, at: float) -> Entry:
    """The line of a stored result."""
    checkpoint = document["checkpoint"]
    told: dict[str, Any] = {"name": checkpoint["name"]}
    if checkpoint.get("lora"):
        told["lora"] = {"name": checkpoint["lora"]["name"]}
    return Entry(document["id"], writer, at, False, document["schema"], told, document["request"])


def is_name(name: str) -> bool:
    """Whether a file of the index is named so."""
    return _NAME.fullmatch(name) is not None


def is_writer(text: str) -> bool:
    """Whether a mirror is called so."""
    return _WRITER.fullmatch(text) is not None


def packed(entries: Iterable[Entry]) -> tuple[str, bytes]:
    """Name and content of the file that holds these lines."""
    lines = sorted(canonical(asdict(entry)) for entry in entries)
    data = "".join(f"{line}\n" for line in lines).encode()
    return f"{hashlib.sha256(data).hexdigest()[:32]}.jsonl", data


def read(data: bytes) -> list[Entry]:
    """The lines in a file; what is no line of a result is passed over."""
    found = []
    for line in data.splitlines():
        try:
            entry = Entry(**json.loads(line))
            store.check_id(entry.id)
            good = is_writer(entry.writer) and math.isfinite(entry.at)
            if good and entry.gone is False:
                good = entry.id == request_id(entry.request)
                good = good and _complete(entry)
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError, StoreError):
            continue
        if good:
            found.append(entry)
    return found


def _complete(entry: Entry) -> bool:
    """Whether a list can be made with a line; raises as `Entry.summary` where it cannot."""
    asked = entry.request
    whole = entry.summary().kind in store.SCHEMAS and isinstance(asked["checkpoint"]["digest"], str)
    return whole and isinstance(asked.get("layers", []), list)


def newest(entries: Iterable[Entry]) -> list[Entry]:
    """Of each writer and result the last line, in order of time."""
    last: dict[tuple[str, str], Entry] = {}
    for entry in sorted(entries, key=lambda one: (one.at, one.gone)):
        last[entry.id, entry.writer] = entry
    return list(last.values())


def live(entries: Iterable[Entry]) -> dict[str, Entry]:
    """ID → the first line of each result that a writer has listed and not deleted."""
    found: dict[str, Entry] = {}
    for entry in newest(entries):
        if not entry.gone and (entry.id not in found or entry.at < found[entry.id].at):
            found[entry.id] = entry
    return found
