"""Which contents were found to be whole: what has not changed since need not be hashed again.

A content is a document's bytes and the names, sizes and times of change of its pictures.
"""

import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

Pictures = list[tuple[str, int, int]]
"""Name, size in bytes and time of change in nanoseconds of each picture file, by name."""

_MOST = 65536
_known: set[bytes] = set()
_checking = threading.Lock()  # of visitors who open the same result at once, one decodes it


def pictures(folder: Path, endings: tuple[str, ...]) -> Pictures:
    """The picture files in a folder, by their endings; none where there is no folder."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(endings):
                    with suppress(OSError):  # deleted meanwhile
                        status = entry.stat()
                        found.append((entry.name, status.st_size, status.st_mtime_ns))
    except OSError:
        return []
    return sorted(found)


def once(folder: Path, document: bytes, shown: Pictures, check: Callable[[], None]) -> None:
    """Run `check` unless it has passed for just this content of the folder. What it raises is
    raised, and not remembered."""
    content = hashlib.sha256(repr((str(folder), shown)).encode() + document).digest()
    if content in _known:
        return
    with _checking:
        if content in _known:
            return
        check()
        if len(_known) >= _MOST:
            _known.clear()
        _known.add(content)
