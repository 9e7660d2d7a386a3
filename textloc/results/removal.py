"""A stored result taken away for good."""

import secrets
import shutil
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
