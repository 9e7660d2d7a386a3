"""Where results are: folders, and addresses of stores elsewhere that have a mirror folder here.

`$TEXTLOC_RESULTS` names them, joined by `os.pathsep`, the one that is written to first. An address
is one of `fsspec` (`s3://bucket/results`, `file:///mnt/results`), a dataset of the Hub
(`hf://datasets/owner/name`) or a bucket of it (`hf://buckets/owner/name`), with a folder in it
where wanted. `remote` says how results come and go.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from textloc.paths import SHIPPED_RESULTS, own_mirrors, own_results

if TYPE_CHECKING:
    from textloc.results.remote.mirror import Mirror

RESULTS_VARIABLE = "TEXTLOC_RESULTS"
"""Environment variable: the folder or address of results, or several joined by `os.pathsep`."""

UNLISTED = "unlisted"
"""Folder of a folder of results: what its link opens and no list shows."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://.+")
_BARE = re.compile(r"[a-z][a-z0-9+.-]+://[^/]*")
_PORT_OR_PASSWORD = re.compile(r"[0-9]{1,5}(/.*)?|[^/@]*@.*")

_addresses: dict[Path, str] = {}
"""Mirror folder → its address, of every address that was named in this process."""


def roots() -> list[Path]:
    """Folders that hold results, first the one that is written to; an address has its mirror.

    They are those of `$TEXTLOC_RESULTS` where it is set, and what ships where an address is among
    them; else `cached_results/` of the checkout; of an installed textloc the user's data folder,
    and the results that ship.
    """
    named = [_place(part) for part in parts(os.environ.get(RESULTS_VARIABLE, ""))]
    if not named:
        named = [own_results(), SHIPPED_RESULTS]
    elif any(place in _addresses for place in named):
        named.append(SHIPPED_RESULTS)
    return list(dict.fromkeys(named))


def parts(said: str) -> list[str]:
    """The folders and addresses in a list joined by `os.pathsep`, which addresses may hold, too."""
    found: list[str] = []
    for part in said.split(os.pathsep):
        before = found[-1] if found else ""
        address = part.startswith("//") and _SCHEME.fullmatch(before)
        if address or (_BARE.fullmatch(before) and _PORT_OR_PASSWORD.fullmatch(part)):
            found[-1] = f"{before}{os.pathsep}{part}"
        else:
            found.append(part)
    return [part for part in found if part]


def is_address(text: str) -> bool:
    """Whether a part of the list is an address and not a folder."""
    return _ADDRESS.fullmatch(text) is not None


def shown(address: str) -> str:
    """An address for people, without a name and password in it."""
    return re.sub(r"://[^/]*@", "://", address)


def _place(part: str) -> Path:
    if not is_address(part):
        return Path(part).expanduser()
    address = part.rstrip("/")
    folder = own_mirrors() / hashlib.sha256(address.encode()).hexdigest()[:16]
    _addresses[folder] = address
    return folder


def mirror(place: Path) -> Mirror | None:
    """The mirror of an address that a folder of results is, or None for any other folder.

    Raises:
        StoreError: the address cannot be used here.
    """
    address = _addresses.get(place)
    if address is None:
        return None
    from textloc.results.remote import mirror

    return mirror.opened(address, place)


def written_mirror(home: Path) -> Mirror | None:
    """The mirror that a result written to `home`, a folder of results or of unlisted ones, is sent
    from. Raises as `mirror`."""
    return mirror(home.parent if home.name == UNLISTED else home)


def mirrors() -> list[Mirror]:
    """The mirrors of all addresses that results are in. Raises as `mirror`."""
    return [found for found in map(mirror, roots()) if found is not None]


def start() -> None:
    """Have all mirrors send what waits, and look for what others have listed, from now on in a
    thread. Raises as `mirror`."""
    for found in mirrors():
        found.start()


def send() -> str:
    """Send all that waits in the mirrors now; what did not go, in words, or empty. Raises as
    `mirror`."""
    said = []
    for found in mirrors():
        waiting = found.unsent()
        if why := found.flush():
            counted = "1 result" if len(waiting) == 1 else f"{len(waiting)} results"
            kept = f"{counted} kept here" if waiting else "what was deleted is noted here"
            said.append(f"{kept}, to be sent to {found.address} later: {why}")
    return "; ".join(said)
