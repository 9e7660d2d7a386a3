"""Results that only their link opens: what visitors of a public page make.

They lie in `unlisted/` of the folder of results. A browser that made one knows a secret key; of
it and the ID a hash is kept in `claims/` beside the result, so that those who made it can delete it
and nobody else can tell who they were. In a store elsewhere (`remote`) the hashes are kept, too.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from textloc.errors import StoreError
from textloc.results import places, removal, store

_CLAIMS = "claims"


def keep(document: Mapping[str, Any], images: Mapping[str, Image.Image], key: str) -> Path:
    """Store a complete result unlisted, as one's own where a key is given; its folder. One that is
    listed anyhow stays as it is.

    Raises:
        StoreError: as `store.save`.
    """
    try:
        listed = store.load(str(document["id"])).folder
        if listed.parent.name != store.UNLISTED:
            return listed
    except StoreError:
        pass  # not there, or damaged: it is written again
    folder = store.save(document, images, store.roots()[0] / store.UNLISTED)
    if key:
        claim = _claim(folder, key)
        try:
            claim.parent.mkdir(exist_ok=True)
            claim.touch()
            if (mirror := places.written_mirror(folder.parent)) is not None:
                mirror.note("keep", folder.name)
                mirror.wake()
        except OSError as error:
            raise StoreError("the result was stored, but not as your own") from error
    return folder


def is_own(result_id: str, key: str) -> bool:
    """Whether a result is one that the browser with this key made."""
    return bool(key) and any(_claim(folder, key).is_file() for folder in _folders(result_id))


def delete(result_id: str, key: str) -> bool:
    """Delete a result of one's own.

    Returns:
        Whether it is gone; what others have made, too, stays for them.

    Raises:
        StoreError: it is not one's own, or not there, or cannot be removed.
    """
    if not is_own(result_id, key):
        raise StoreError("this result is not yours to delete: only the browser that made it can")
    gone = True
    for folder in _folders(result_id):
        mirror = places.written_mirror(folder.parent)
        try:
            if mirror is not None:
                mirror.claims(result_id)
                mirror.note("delete", result_id, _claim(folder, key).name)
                mirror.wake()
            _claim(folder, key).unlink(missing_ok=True)
            if any((folder / _CLAIMS).iterdir()):
                gone = False
                continue
            shutil.rmtree(removal.set_aside(folder))
        except OSError as error:
            raise StoreError("the result could not be deleted; try again") from error
    return gone


def _folders(result_id: str) -> list[Path]:
    name = store.check_id(result_id)
    places = [place / store.UNLISTED / name for place in store.roots()]
    return [folder for folder in places if folder.is_dir()]


def _claim(folder: Path, key: str) -> Path:
    said = f"{folder.name} {key}".encode()
    return folder / _CLAIMS / hashlib.sha256(said).hexdigest()
