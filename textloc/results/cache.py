"""What is finished of a long job, kept on disk under what decides it.

An entry is one ZIP file: `entry.json` and members beside it, such as pictures (PNG) and arrays
(`.npy`). Nothing in it is ever a pickle.

1. Its **name** is the SHA-256 of what decides its content (`jobs.keeping`), so equal questions
   share it, and it says nothing of what was asked.
2. It is written aside and renamed, so it is there whole or not at all, and two processes that
   write the same entry at once leave one of them. What was cut off, changed or put elsewhere does
   not match its checksums or its name: it counts as not there and is written again.
3. Entries lie in *shelves*, one a checkpoint and one for readings, each with its name for people.
4. Beyond a size the entries that were used longest ago go. A disk that is full, or a folder that
   cannot be written, ends the keeping, never the job.

`$TEXTLOC_CACHE` is the folder, or `off`; `$TEXTLOC_CACHE_SIZE` the most that it holds.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import secrets
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from textloc.errors import StoreError
from textloc.paths import own_cache

VARIABLE = "TEXTLOC_CACHE"
"""Environment variable: the folder, or `off`."""
SIZE_VARIABLE = "TEXTLOC_CACHE_SIZE"
"""Environment variable: the most that is kept, such as `5GB`."""
MOST = 20 * 10**9
"""Bytes that are kept where nothing else is said: a sweep of SDXL over a hundred pairs."""
LEAST_FREE = 2**30
"""Bytes of the disk that are left free."""

_OFF = ("off", "0", "no", "none", "false")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_NAME = re.compile(r"[0-9a-f]{64}")
_SHELF = re.compile(r"[0-9a-z]{1,64}")
_WRITING = re.compile(r"\.writing-[0-9a-f]{8}")
_ABOUT, _ENTRY = "about.json", "entry.json"
_ABANDONED = 3600
"""Seconds after which a file that nobody ended to write goes."""
_ROOM = 0.9
"""Of the most that is kept, what is left where entries had to go."""

_LOG = logging.getLogger(__name__)

Content = TypeVar("Content")


class Shelf(NamedTuple):
    """Where entries of one kind lie. folder: lower-case letters and digits. label: for people."""

    folder: str
    label: str


@dataclass(frozen=True)
class Held:
    """What a shelf holds: entries, bytes, and when one was used last, in seconds since 1970."""

    label: str
    entries: int
    bytes: int
    used: float


class _File(NamedTuple):
    used: float
    size: int
    path: Path


def opened() -> Cache | None:
    """The cache that the environment names; None where it is off.

    Raises:
        StoreError: a size that cannot be read.
    """
    within = folder()
    if within is None:
        return None
    most = os.environ.get(SIZE_VARIABLE, "").strip()
    return _of(within / "finished", parse_size(most) if most else MOST)


def folder() -> Path | None:
    """The folder that the environment names, absolute, which need not be there; None where it is
    off."""
    asked = os.environ.get(VARIABLE, "").strip()
    if asked.lower() in _OFF:
        return None
    return (Path(asked).expanduser() if asked else own_cache()).absolute()


@lru_cache(maxsize=16)
def _of(root: Path, most: int) -> Cache:
    return Cache(root, most)


def parse_size(text: str) -> int:
    """Read a size such as `500MB` or `1.5 GB`, in bytes.

    Raises:
        StoreError: it is none.
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([KMGT]?)B?", text.strip().upper())
    if match is None:
        raise StoreError(f"cannot read the size {text[:40]!r}; write one such as 500MB or 5GB")
    return int(float(match[1]) * _UNITS[match[2]])


def display_size(size: int) -> str:
    """Bytes for people, such as `1.5 GB`."""
    for unit in ("T", "G", "M", "K"):
        if size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.1f} {'k' if unit == 'K' else unit}B"
    return f"{size} B"


@dataclass
class Cache:
    """Entries in the folder `root`, of `most` bytes together."""

    root: Path
    most: int
    _held: int | None = field(default=None, init=False)
    _began: float = field(default_factory=time.time, init=False)
    _told: set[str] = field(default_factory=set, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    # -- entries ---------------------------------------------------------------------------

    def get(
        self, shelf: Shelf, name: str, read: Callable[[Any, dict[str, bytes]], Content]
    ) -> Content | None:
        """What `read` makes of what an entry says and of its members; None for one that is not
        there or not whole."""
        path = self._path(shelf, name)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        try:
            found = read(*_unpacked(content, name))
        except Exception as error:  # a damaged file can make a reader raise almost anything
            _LOG.debug("%s is not whole: %s", path.name, error)
            return None
        with suppress(OSError):  # a folder that is only read, or an entry that went
            os.utime(path)  # used now
        return found

    def holds(self, shelf: Shelf, name: str) -> bool:
        """Whether an entry is there, which may not be whole."""
        return self._path(shelf, name).exists()

    def put(self, shelf: Shelf, name: str, said: Any, members: Mapping[str, bytes]) -> None:
        """Keep an entry; where that cannot be, say so once and go on."""
        content = _packed(name, said, members)
        path = self._path(shelf, name)
        try:
            self._make_room(path, len(content))
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            about = json.dumps({"label": shelf.label})
            if not (self.root / shelf.folder / _ABOUT).exists():
                _write(self.root / shelf.folder / _ABOUT, about.encode())
            _write(path, content)
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
            self._tell(f"what is finished is not kept ({why}); name another folder in {VARIABLE}")

    def _path(self, shelf: Shelf, name: str) -> Path:
        if not _SHELF.fullmatch(shelf.folder) or not _NAME.fullmatch(name):
            raise ValueError(f"{shelf.folder!r} or {name!r} names no entry")
        return self.root / shelf.folder / name[:2] / f"{name}.zip"

    def _make_room(self, path: Path, size: int) -> None:
        """Have the oldest entries go where the limit would be passed."""
        with self._lock:
            if self._held is None:
                self._held = sum(file.size for file in self._files(clean=True))
            try:
                self._held += size - path.stat().st_size
            except OSError:
                self._held += size
            if self._held > self.most:
                youngest = self._shrink(int(_ROOM * self.most) - size)
                if youngest is not None and youngest >= self._began:
                    self._tell(
                        f"the cache is full ({display_size(self.most)}), so what was finished "
                        f"first is not kept; {SIZE_VARIABLE} raises that"
                    )
        place = next(folder for folder in self.root.parents if folder.exists())
        if shutil.disk_usage(place).free < LEAST_FREE + size:
            raise OSError(0, f"less than {display_size(LEAST_FREE)} of the disk are free")

    def _tell(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            _LOG.warning("textloc: %s", what)

    # -- all of them -----------------------------------------------------------------------

    def held(self) -> list[Held]:
        """What the shelves hold, the largest first."""
        found: dict[str, list[_File]] = {}
        for file in self._files():
            found.setdefault(file.path.parent.parent.name, []).append(file)
        shelves = [
            Held(self._label(folder), len(files), sum(f.size for f in files), max(files).used)
            for folder, files in found.items()
        ]
        return sorted(shelves, key=lambda shelf: (-shelf.bytes, shelf.label))

    def clear(self, label: str | None = None) -> tuple[int, int]:
        """Remove all entries, or those of the shelves with this label; entries and bytes that went.

        Only files that have an entry's name are touched, whatever else the folder holds.
        """
        gone, size = 0, 0
        for file in self._files(clean=label is None, young=0):
            if label is None or self._label(file.path.parent.parent.name) == label:
                file.path.unlink(missing_ok=True)
                gone, size = gone + 1, size + file.size
        self._tidy()
        with self._lock:
            self._held = None
        return gone, size

    def shrink(self, most: int) -> tuple[int, int]:
        """Remove those used longest ago until `most` bytes are left; entries and bytes that
        went."""
        before = self._files_sorted()
        with self._lock:
            self._shrink(most)
        left = {file.path for file in self._files()}
        gone = [file for file in before if file.path not in left]
        self._tidy()
        return len(gone), sum(file.size for file in gone)

    def _shrink(self, most: int) -> float | None:
        """The same; when the youngest of what went was used."""
        files = self._files_sorted()
        held, youngest = sum(file.size for file in files), None
        for file in files:
            if held <= max(0, most):
                break
            try:
                file.path.unlink(missing_ok=True)
            except OSError:
                continue
            held, youngest = held - file.size, file.used
        self._held = held
        return youngest

    def _files_sorted(self) -> list[_File]:
        return sorted(self._files(clean=True))

    def _files(self, clean: bool = False, young: float = _ABANDONED) -> Iterator[_File]:
        """Every entry; `clean` removes files that nobody wrote on for `young` seconds."""
        for path in self.root.glob("*/*/*") if self.root.is_dir() else ():
            try:
                about = path.stat()
            except OSError:
                continue  # it went meanwhile
            if path.suffix == ".zip" and _NAME.fullmatch(path.stem):
                yield _File(about.st_mtime, about.st_size, path)
            elif clean and _WRITING.fullmatch(path.name) and time.time() - about.st_mtime >= young:
                path.unlink(missing_ok=True)

    def _label(self, folder: str) -> str:
        try:
            return str(json.loads((self.root / folder / _ABOUT).read_text("utf-8"))["label"])
        except (OSError, ValueError, LookupError, TypeError):
            return folder

    def _tidy(self) -> None:
        """Remove shelves without entries."""
        for shelf in self.root.glob("*"):
            if not shelf.is_dir() or not _SHELF.fullmatch(shelf.name):
                continue
            for folder in shelf.iterdir():
                _remove_empty(folder)
            if [path.name for path in shelf.iterdir()] == [_ABOUT]:
                (shelf / _ABOUT).unlink(missing_ok=True)
                _remove_empty(shelf)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # not empty, or no folder
        folder.rmdir()


def _write(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all. It is not flushed to the disk: what a power
    cut leaves of it is not whole, which `get` sees."""
    temporary = path.with_name(f".writing-{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _packed(name: str, said: Any, members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_ENTRY, json.dumps({"name": name, "said": said}))
        for member, content in members.items():
            archive.writestr(member, content)
    return file.getvalue()


def _unpacked(content: bytes, name: str) -> tuple[Any, dict[str, bytes]]:
    """What `_packed` packed; reading a member checks its CRC-32."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        head = json.loads(archive.read(_ENTRY))
        if head["name"] != name:
            raise ValueError("it is another entry")
        others = [info.filename for info in archive.infolist() if info.filename != _ENTRY]
        return head["said"], {member: archive.read(member) for member in others}
