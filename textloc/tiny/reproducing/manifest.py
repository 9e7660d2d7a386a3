"""What ships and is made from the checkpoints, in the order in which it is made."""

from __future__ import annotations

import heapq
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textloc.errors import ReproduceError

MANIFEST = Path(__file__).with_name("manifest.toml")
KINDS = ("result", "measure", "file")
_PROGRAMS = ("textloc", "python")
_PLACE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Entry:
    """One thing that is made.

    name: what it is known by. makes: of `KINDS`. command: words, with places to be filled (see
    `manifest.toml`). of: checkpoints that it is made from. needs: names of entries before it.
    seconds: about how long it takes. path: of what a `file` entry makes, a file or folder in the
    checkout. lines: whether a measure is what the command prints. alone: whether nothing
    may run beside it.
    """

    name: str
    makes: str
    command: tuple[str, ...]
    of: tuple[str, ...]
    needs: tuple[str, ...] = ()
    seconds: float = 60
    path: str = ""
    lines: bool = False
    alone: bool = False

    def places(self) -> list[str]:
        """What is to be filled in the command, such as `run` and `found:start:start_step`."""
        return [match[1] for word in self.command for match in _PLACE.finditer(word)]

    def filled(self, fill: Callable[[str], str]) -> list[str]:
        """The command's words with each place filled by what `fill` gives for it."""
        return [_PLACE.sub(lambda match: fill(match[1]), word) for word in self.command]


def read(path: Path = MANIFEST) -> dict[str, Entry]:
    """The entries of a manifest by name, those that others need before them.

    Raises:
        ReproduceError: it cannot be read, or an entry is not whole; the message names it.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ReproduceError(f"cannot read the manifest {path.name}: {error}") from error
    entries: dict[str, Entry] = {}
    for one in given.get("entry", []):
        for entry in _entries(one):
            if entry.name in entries:
                raise ReproduceError(f"the manifest names {entry.name} twice; rename one of them")
            entries[entry.name] = entry
    for entry in entries.values():
        _check(entry, entries)
    return {name: entries[name] for name in ordered(entries, {})}


def _entries(given: Mapping[str, Any]) -> list[Entry]:
    """One entry, or one for each model of `each`."""
    given = dict(given)
    each = given.pop("each", None)
    if each is None:
        return [_entry(given)]
    return [_entry({"of": [model], **_of(given, model)}) for model in each]


def _of(value: Any, model: str) -> Any:
    """The same with `{model}` filled."""
    if isinstance(value, str):
        return value.replace("{model}", model)
    if isinstance(value, list):
        return [_of(one, model) for one in value]
    if isinstance(value, dict):
        return {key: _of(one, model) for key, one in value.items()}
    return value


def _entry(given: Mapping[str, Any]) -> Entry:
    try:
        command = tuple(shlex.split(given["command"]))
        lists = {name: tuple(given.get(name, ())) for name in ("of", "needs")}
        return Entry(**{**given, "command": command, **lists})
    except (KeyError, TypeError, ValueError) as error:
        name = given.get("name", "without a name")
        raise ReproduceError(f"the manifest's entry {name} is not whole: {error}") from error


def _check(entry: Entry, entries: Mapping[str, Entry]) -> None:
    why = None
    if entry.makes not in KINDS:
        why = f"makes {entry.makes!r}; write one of {', '.join(KINDS)}"
    elif not entry.command or entry.command[0] not in _PROGRAMS:
        why = f"has a command that begins with none of {', '.join(_PROGRAMS)}"
    elif (entry.makes == "file") != bool(entry.path):
        why = "has a path and makes no file, or makes a file and has no path"
    elif strange := sorted(set(entry.needs) - set(entries)):
        why = f"needs {strange[0]}, which is no entry"
    for place in entry.places():
        name = place.split(":")[1] if ":" in place else None
        if name is not None and name not in entry.needs:
            why = f"asks for {{{place}}} and does not need {name}; add it to its needs"
    if why:
        raise ReproduceError(f"the manifest's entry {entry.name} {why}")


def ordered(entries: Mapping[str, Entry], seconds: Mapping[str, float]) -> list[str]:
    """Names in the order of the work: what is needed first, then what is cheap.

    seconds: what entries took, where that is known; else what the manifest says.

    Raises:
        ReproduceError: entries need each other.
    """

    def cost(name: str) -> tuple[float, str]:
        return seconds.get(name, entries[name].seconds), name

    waiting = {name: set(entry.needs) for name, entry in entries.items()}
    ready = [cost(name) for name, needs in waiting.items() if not needs]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        _, done = heapq.heappop(ready)
        order.append(done)
        for name, needs in waiting.items():
            if done in needs:
                needs.remove(done)
                if not needs:
                    heapq.heappush(ready, cost(name))
    if len(order) < len(entries):
        left = ", ".join(sorted(set(entries) - set(order)))
        raise ReproduceError(f"the manifest's entries {left} need each other")
    return order


def with_needs(entries: Mapping[str, Entry], names: Iterable[str]) -> set[str]:
    """These entries and all that they need.

    Raises:
        ReproduceError: an unknown name.
    """
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in entries:
            raise ReproduceError(f"there is no entry {name!r}; --list names them all")
        if name not in found:
            found.add(name)
            waiting += entries[name].needs
    return found


def joined(value: object) -> str:
    """What is found, as an option takes it: `9`, or `0,1,4`."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)
