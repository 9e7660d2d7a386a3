"""A result from wherever it lies: an ID, a folder, a ZIP file, or a link to a page that shows it.

Whatever comes from outside is unpacked into a temporary folder and verified there as a stored
result is: nothing else in it is read, and nothing is written beside it.
"""

from __future__ import annotations

import lzma
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

from PIL import Image

from textloc.errors import StoreError
from textloc.results import store
from textloc.results.result import Result

LARGEST = 2 * 2**30
"""Bytes that an unpacked result may have."""
MOST_FILES = 200_000
_SPACE = re.compile(r"/spaces/([\w.-]+)/([\w.-]+)/?")
_PATIENCE = 60.0  # seconds to wait for an answer


class StoredImages(Mapping[str, Image.Image]):
    """The pictures of a stored result, each read when it is asked for."""

    def __init__(self, stored: store.Stored, keeper: object = None) -> None:
        self._stored, self._keeper = stored, keeper
        self._keys = stored.image_keys()

    def __getitem__(self, key: str) -> Image.Image:
        if key not in self._keys:
            raise KeyError(key)
        return self._stored.image(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def open_result(where: str | Path) -> Result:
    """The result at an ID, a folder, a ZIP file or a link.

    Args:
        where: 16 characters of an ID, the folder of a result, a file such as `textloc show ID
            --zip` writes, or a link with `r=<id>`. The result of a link is looked for among the
            stored ones first and fetched from its page only where it is not there.

    Raises:
        StoreError: nothing is there, it is damaged, or it cannot be fetched.
    """
    text = str(where).strip()
    if re.match(r"https?://", text):
        return _linked(text)
    path = Path(text).expanduser()
    if path.is_dir():
        return _of_folder(path)
    if path.is_file():
        return _of_zip(path)
    if re.fullmatch(r"[0-9a-f]{16}", text):
        return opened(store.load(text))
    raise StoreError(
        f"there is no result {text[:80]!r}: give an ID (`textloc show` lists them), a folder that "
        "holds result.json, a ZIP file, or a link with ?r=<id>"
    )


def opened(stored: store.Stored, keeper: object = None) -> Result:
    """A stored result with its pictures. keeper: what keeps its folder there."""
    return Result(stored.document, StoredImages(stored, keeper))


def _of_folder(folder: Path) -> Result:
    document = _document(folder / "result.json")
    if folder.name == document:
        return opened(store.load(folder.name, folder.parent))
    keeper = tempfile.TemporaryDirectory(prefix="textloc-result-")
    shutil.copytree(folder, Path(keeper.name) / store.check_id(document))
    return opened(store.load(document, Path(keeper.name)), keeper)


def _document(file: Path) -> str:
    """The ID in a result's file; nothing else of it is believed."""
    import json

    try:
        found: Any = json.loads(file.read_text(encoding="utf-8"))
        return str(found["id"])
    except (OSError, ValueError, RecursionError, LookupError, TypeError) as error:
        raise StoreError(
            f"the folder {file.parent.name!r} holds no result: result.json is missing or damaged"
        ) from error


def _of_zip(file: Path) -> Result:
    with file.open("rb") as archive:
        return _unpacked(archive)


def _unpacked(file: BinaryIO) -> Result:
    """The one result in an archive."""
    keeper = tempfile.TemporaryDirectory(prefix="textloc-result-")
    name = unpack(file, Path(keeper.name))
    return opened(store.load(name, Path(keeper.name)), keeper)


def unpack(file: BinaryIO, root: Path, largest: int | None = None, most: int = MOST_FILES) -> str:
    """Unpack an archive of one result, `<id>/result.json` and `<id>/images/<key>.png` (or `.webp`),
    into `root`.

    largest: bytes that it may have unpacked, `LARGEST` unless given. most: files that it may have.

    Returns:
        Its ID; nothing in it is verified yet.

    Raises:
        StoreError: anything else is in it, it is damaged, encrypted or too large.
    """
    left = limit = LARGEST if largest is None else largest
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            found = {(PurePosixPath(entry.filename).parts or ("",))[0] for entry in entries}
            if len(found) != 1 or len(entries) > most:
                raise StoreError("the archive does not hold one result; make it by `show ID --zip`")
            name = store.check_id(found.pop())
            for entry in entries:
                path = root / name / _inside(entry.filename, name)
                if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
                    raise StoreError("the archive holds a link or device, no part of a result")
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as packed, path.open("xb") as out:
                    while block := packed.read(2**20):
                        left -= len(block)
                        if left < 0:
                            raise StoreError(
                                f"the archive unpacks to more than {_size(limit)}; not opened"
                            )
                        out.write(block)
    except _UNPACKABLE as error:
        raise StoreError(f"the archive cannot be unpacked: {_reason(error)}") from error
    return name


_UNPACKABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError),
    *(ValueError, RuntimeError),  # encrypted, or packed in a way that is not known here
)


def _reason(error: Exception) -> str:
    """What is wrong with an archive, without a path of this machine."""
    return (error.strerror or "") if isinstance(error, OSError) else str(error)


def _size(limit: int) -> str:
    return f"{limit // 2**30} GiB" if limit >= 2**30 else f"{limit / 2**20:.3g} MiB"


def _inside(filename: str, name: str) -> str:
    """The place of an archive's file in the result's folder; any other file is refused."""
    parts = PurePosixPath(filename).parts
    if parts == (name, "result.json"):
        return "result.json"
    if len(parts) == 3 and parts[:2] == (name, "images"):
        key, dot, ending = parts[2].partition(".")
        if f"{dot}{ending}" in store.ENDINGS:
            return f"images/{store.check_image_key(key)}.{ending}"
    raise StoreError(f"the archive holds {filename[:80]!r}, which is no part of a result")


def _linked(link: str) -> Result:
    """The result that a link shows: the stored one, or fetched from the link's page."""
    parts = urlsplit(link)
    named = parse_qs(parts.query).get("r", [""])[0]
    result = store.check_id(named)
    try:
        return opened(store.load(result))
    except StoreError:
        pass
    return _fetched(_page(link), result)


def _page(link: str) -> str:
    """Address of the page of a link, without its query; that of a Space is where it is served."""
    parts = urlsplit(link)
    space = _SPACE.match(parts.path) if parts.hostname == "huggingface.co" else None
    if space is not None:
        host = re.sub(r"[^a-z0-9-]", "-", f"{space[1]}-{space[2]}".lower())
        return f"https://{host}.hf.space/"
    path = parts.path if parts.path.endswith("/") else f"{parts.path}/"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _fetched(page: str, result: str) -> Result:
    import httpx

    address = f"{page}gradio_api/textloc/{result}.zip"
    try:
        with (
            tempfile.TemporaryFile() as file,
            httpx.stream("GET", address, timeout=_PATIENCE, follow_redirects=True) as answer,
        ):
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise StoreError(f"the page of the link has no result {result}; ask for a new link")
            answer.raise_for_status()
            for block in answer.iter_bytes():
                file.write(block)
                if file.tell() > LARGEST:
                    raise StoreError("the result of the link is larger than 2 GiB; not opened")
            file.seek(0)
            return _unpacked(file)
    except httpx.HTTPError as error:
        raise StoreError(
            f"the result {result} is not stored here, and its page cannot be reached ({error}); "
            "download its ZIP file and open that"
        ) from error
