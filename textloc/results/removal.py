"""Stored results taken away for good, and what killed processes left behind."""

import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

from textloc.errors import StoreError
from textloc.results import places, store


def delete(result_id: str, root: Path | None = None) -> None:
    """Delete a stored result from `root`, by default the folder that results are written to.

    What lies in other folders of results is never touched.

    Raises:
        StoreError: a badly formed ID, no such result there, or a disk that cannot be written.
    """
    home = root or store.roots()[0]
    folder = home / store.check_id(result_id)
    gone = f"There is no result {result_id} to delete: it is gone already."
    if folder.is_symlink() or not folder.is_dir():
        raise StoreError(gone)
    mirror = places.written_mirror(home)
    try:
        if mirror is not None:
            mirror.note("delete", result_id)
            mirror.wake()
        aside = set_aside(folder)
    except FileNotFoundError as error:
        raise StoreError(gone) from error
    except OSError as error:
        raise StoreError(
            f"The result {result_id} cannot be deleted ({error.strerror or error}); its folder is "
            "not writable here."
        ) from error
    shutil.rmtree(aside, ignore_errors=True)


def set_aside(folder: Path) -> Path:
    """Rename the folder of a result that is to be deleted, so that nobody opens a half of it; its
    new place. Raises `OSError`."""
    aside = folder.with_name(f".deleted-{folder.name}-{secrets.token_hex(8)}")
    folder.rename(aside)
    return aside


_LEFT = re.compile(r"\.(?:saving|damaged|deleted|trying)-[0-9a-f-]{16,}")
_ABANDONED = 3600
"""Seconds after which what nobody ended to write or to delete goes."""


def tidy(root: Path | None = None) -> int:
    """Remove what processes that were killed left half stored or half deleted in the folder that
    results are written to; how many of them."""
    home = root or store.roots()[0]
    gone = 0
    for place in (home, home / store.UNLISTED):
        with suppress(OSError):
            for folder in [one for one in place.iterdir() if _LEFT.fullmatch(one.name)]:
                if not folder.is_symlink() and time.time() - _touched(folder) > _ABANDONED:
                    shutil.rmtree(folder, ignore_errors=True)
                    gone += 1
    return gone


def _touched(folder: Path) -> float:
    """When something in it was last written, in seconds since 1970."""
    return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
