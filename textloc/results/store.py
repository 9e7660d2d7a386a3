"""Stored results: what a job found, under an identity that can be re-derived.

A result lives in `cached_results/<id>/` as `result.json` and `images/<key>.png`, or `.webp` where
it was packed.

1. Its **ID** is the hash of its canonical request: the same question always has the same ID.
2. Its **digest** is a hash of everything it says, the pixels of its images included.
3. Saving writes a temporary sibling folder, flushes it to disk and renames it. A folder with a
   result's name is therefore whole, and two jobs that save the same ID cannot mix their files.
4. Loading matches the ID against a strict pattern before the disk is touched, then derives ID and
   digest again. What does not match is reported and skipped, never shown.
5. A result written by an older textloc is verified as it was written, then brought up to date in
   memory by the functions in `MIGRATIONS`. Labels can change, IDs cannot.

This module imports neither torch nor Gradio nor Plotly, so a page of stored results needs none.
"""

import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from PIL import Image

from textloc.errors import StoreError
from textloc.files import sync_folder, write_new
from textloc.pictures import png
from textloc.results import places
from textloc.results import verified as unchanged
from textloc.results.identity import canonical as canonical
from textloc.results.identity import plain
from textloc.results.identity import request_id as request_id
from textloc.results.places import RESULTS_VARIABLE as RESULTS_VARIABLE
from textloc.results.places import UNLISTED as UNLISTED
from textloc.results.places import roots as roots
from textloc.results.titles import kind as kind
from textloc.results.titles import title as title

SCHEMAS: dict[str, int] = {
    "textloc.localize": 1,
    "textloc.edit": 1,
    "textloc.lora": 1,
    "textloc.attribute": 1,
}
"""Kind of result → the schema version that this textloc writes and shows."""

MIGRATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Schema (`"textloc.localize/1"`) → function that returns the document one version up."""

_ID = re.compile(r"[0-9a-f]{16}")
_SCHEMA = re.compile(r"(textloc\.[a-z]+)/([0-9]{1,4})")
_IMAGE_KEY = re.compile(r"p[0-9]{1,6}-s[0-9]{1,20}-[a-z0-9]+(?:[-_][a-z0-9]+)*")
_IMAGE_KEY_LENGTH = 240  # with its ending a file name that every common file system takes
_RESULT, _IMAGES = "result.json", "images"
_ALWAYS: dict[str, type] = {
    "id": str,
    "complete": bool,
    "request": dict,
    "checkpoint": dict,
    "environment": dict,
    "layers": list,
}
_REQUIRED: dict[str, dict[str, type]] = {
    "textloc.localize": {"references": dict, "sets": list, "controls": list, "selected": list},
    "textloc.edit": {"sources": list, "edits": list, "methods": list, "curve": list},
    "textloc.lora": {"choices": list, "pictures": list},
    "textloc.attribute": {"shares": dict},
}


# ---------------------------------------------------------------------------- identity


def digest(document: Mapping[str, Any], images: Mapping[str, Image.Image]) -> str:
    """SHA-256 (64 hex characters) of all that a result says.

    Hashed is the canonical JSON of `{"document": …, "images": {key: hash}}`: the document without
    its own `digest`, and for each image the SHA-256 of its width, height and RGB bytes.
    """
    return _digest(document, {key: _pixels(image) for key, image in images.items()})


def check_id(result_id: object) -> str:
    """`result_id` if it is 16 lower-case hex characters; otherwise raises `StoreError`."""
    if isinstance(result_id, str) and _ID.fullmatch(result_id):
        return result_id
    raise StoreError(
        f"{_short(result_id)} is not a result ID. An ID is 16 characters, each 0-9 or a-f: copy "
        "the link again, or look for it in the Gallery (`textloc show`)."
    )


def check_image_key(key: object) -> str:
    """`key` if it has the form `p0-s0-layer09`; otherwise raises `StoreError`."""
    if isinstance(key, str) and is_image_key(key):
        return key
    raise StoreError(
        f"{_short(key)} is not an image key. A key reads p<pair>-s<seed>-<label>, for example "
        "p0-s0-layer09: take it from the result's document."
    )


def is_image_key(text: str) -> bool:
    """Whether a text has the form of an image key."""
    return len(text) <= _IMAGE_KEY_LENGTH and _IMAGE_KEY.fullmatch(text) is not None


def _pixels(image: Image.Image) -> str:
    rgb = image.convert("RGB")
    return hashlib.sha256(f"{rgb.width}x{rgb.height}\n".encode() + rgb.tobytes()).hexdigest()


def _digest(document: Mapping[str, Any], pixels: Mapping[str, str]) -> str:
    said = {key: value for key, value in document.items() if key != "digest"}
    text = canonical({"document": said, "images": pixels})
    return hashlib.sha256(text.encode()).hexdigest()


def _places(root: Path | None) -> list[Path]:
    return roots() if root is None else [root]


ENDINGS = {".png": "PNG", ".webp": "WEBP"}
"""Ending of a picture's file → its format, as Pillow calls it."""

_PACKED: dict[str, Any] = {"quality": 85, "method": 6}
"""How a picture is packed: 256 x 256 pixels that a decoder drew take 4 KB in place of 45, and are
off by 37.5 dB; quality 95 takes 7 KB for 38.9 dB, as what is lost is the colour's resolution."""

# ---------------------------------------------------------------------------- save


def save(
    document: Mapping[str, Any],
    images: Mapping[str, Image.Image],
    root: Path | None = None,
    packed: bool = False,
) -> Path:
    """Store a complete result and return its folder.

    `images` maps every image key that the document names to its picture, stored as 8-bit RGB PNG,
    or `packed` as WebP, which is smaller and not quite the same. `root` is the folder of results,
    by default the first of `roots()`. A good result that is already there stays as it is; a damaged
    one is replaced. Raises `StoreError` for an incomplete or inconsistent document, and where the
    disk cannot be written.
    """
    return save_new(document, images, root, packed)[0]


def save_new(
    document: Mapping[str, Any],
    images: Mapping[str, Image.Image],
    root: Path | None = None,
    packed: bool = False,
) -> tuple[Path, bool]:
    """`save`, and whether the result is new: False where a good one was there already."""
    content = plain(document, "document")
    assert isinstance(content, dict)
    check_document(content)
    for key in images:
        check_image_key(key)
    if missing := sorted(_named_images(content) - set(images)):
        raise StoreError(
            f"Cannot store this result: its document names the image {missing[0]}, but no such "
            "image was given. Pass every image that it names."
        )
    pictures = {key: image.convert("RGB") for key, image in images.items()}
    ending, encoded = (".webp", _webp) if packed else (".png", png)
    files = {key: encoded(picture) for key, picture in pictures.items()}
    if packed:  # what is told of is what will be read
        pictures = {key: _decoded(data) for key, data in files.items()}
    content["digest"] = digest(content, pictures)

    home = _places(root)[0]
    folder = home / str(content["id"])
    mirror = places.written_mirror(home)
    temporary = home / f".saving-{folder.name}-{secrets.token_hex(8)}"
    try:
        if mirror is not None:
            mirror.note("keep" if home.name == UNLISTED else "list", folder.name)
        (temporary / _IMAGES).mkdir(parents=True)
        for key, data in files.items():
            write_new(temporary / _IMAGES / f"{key}{ending}", data)
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        write_new(temporary / _RESULT, f"{text}\n".encode())
        sync_folder(temporary / _IMAGES)
        sync_folder(temporary)
        new = _put(temporary, folder)
        sync_folder(home)
    except OSError as error:
        raise _unwritable(home, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if mirror is not None:
        mirror.wake()
    return folder, new


def check_writable(root: Path | None = None) -> None:
    """Check that a result can be written to `root`, by default the first of `roots()`.

    Raises:
        StoreError: the folder cannot be made or written, or its address cannot be used here.
    """
    home = _places(root)[0]
    places.written_mirror(home)
    trial = home / f".trying-{secrets.token_hex(8)}"
    try:
        trial.mkdir(parents=True)
        trial.rmdir()
    except OSError as error:
        raise _unwritable(home, error) from error


def _unwritable(home: Path, error: OSError) -> StoreError:
    return StoreError(
        f"Could not write the result to {home}: {error.strerror or error}. Free some space or set "
        f"{RESULTS_VARIABLE} to a folder that can be written."
    )


def _webp(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", **_PACKED)
    return file.getvalue()


def _decoded(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def _put(temporary: Path, folder: Path) -> bool:
    """Rename `temporary` to `folder`, unless a good result is there already: then False."""
    for _ in range(20):
        try:
            temporary.rename(folder)
            return True
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EACCES):
                raise
            if not os.path.lexists(folder):
                if error.errno == errno.EACCES:
                    raise
                continue  # another job moved it away meanwhile
        try:
            load(folder.name, folder.parent)
            return False
        except StoreError:
            aside = folder.with_name(f".damaged-{folder.name}-{secrets.token_hex(8)}")
        try:
            folder.rename(aside)
        except FileNotFoundError:
            continue
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink(missing_ok=True)
    raise OSError(errno.EBUSY, f"{folder.name} is being written by other jobs")


def _named_images(value: object) -> set[str]:
    """Every image key in a document: the `"image"` of each read, wherever it is."""
    if isinstance(value, dict):
        own = {value["image"]} if isinstance(value.get("image"), str) else set()
        return own.union(*(_named_images(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(_named_images(item) for item in value))
    return set()


def check_document(document: Mapping[str, Any]) -> None:
    """Raise `StoreError` unless this is a complete document of a known schema with its own ID."""
    name, _ = _schema(document)
    for key, form in (_ALWAYS | _REQUIRED[name]).items():
        if not isinstance(document.get(key), form):
            raise StoreError(f"The result has no {key!r}. It is not whole: run the job again.")
    if not document["complete"]:
        raise StoreError("The result is partial. Only finished results are stored: let it run on.")
    if document["id"] != (derived := request_id(document["request"])):
        raise StoreError(
            f"The result calls itself {_short(document['id'])}, but its request has the ID "
            f"{derived}. The request was changed after the run: run the job again."
        )


def _schema(document: Mapping[str, Any]) -> tuple[str, int]:
    """Kind and version of a document that this textloc can show."""
    name = document.get("schema")
    match = _SCHEMA.fullmatch(name) if isinstance(name, str) else None
    if match is None or match[1] not in SCHEMAS:
        raise StoreError(
            f"The result has the schema {_short(name)}, which is unknown here. This textloc "
            f"reads {', '.join(sorted(SCHEMAS))}: update textloc, or run the job again."
        )
    kind, version = match[1], int(match[2])
    if version > SCHEMAS[kind]:
        raise StoreError(
            f"The result was written by a newer textloc (schema {name}; this one reads up to "
            f"{kind}/{SCHEMAS[kind]}). Update textloc, then open it again."
        )
    if any(f"{kind}/{step}" not in MIGRATIONS for step in range(version, SCHEMAS[kind])):
        raise StoreError(
            f"The result has the schema {name}, which is no longer read. Run the job again."
        )
    return kind, version


# ---------------------------------------------------------------------------- load


@dataclass(frozen=True)
class Stored:
    """A verified result: its document and the folder that holds its images."""

    document: dict[str, Any]
    folder: Path

    def image_path(self, key: str) -> Path:
        """Path of one image. Raises `StoreError` for a bad key or one that is not there."""
        for ending in ENDINGS:
            path = self.folder / _IMAGES / f"{check_image_key(key)}{ending}"
            if path.is_file():
                return path
        raise StoreError(
            f"The result {self.folder.name} has no image {key}. Take a key from its document."
        )

    def files(self) -> list[Path]:
        """The document's file and those of the images, in order."""
        found = sorted((self.folder / _IMAGES).glob("*"))
        return [self.folder / _RESULT, *(path for path in found if path.suffix in ENDINGS)]

    def image_keys(self) -> list[str]:
        """The keys of the images, in order."""
        return [path.stem for path in self.files()[1:]]

    def image(self, key: str) -> Image.Image:
        """One image, in RGB. Raises `StoreError` for a bad key or one that is not there."""
        return _open(self.image_path(key))


def load(result_id: str, root: Path | None = None) -> Stored:
    """Load a stored result and verify it.

    `root` is the folder of results, by default each of `roots()` in turn, then what is `UNLISTED`
    in them, then what their addresses hold. The document returned is of the current schema. Raises
    `StoreError` for a badly formed ID (before the disk is touched), a result that is not there, or
    one that is damaged.
    """
    check_id(result_id)
    damaged: StoreError | None = None
    homes = _places(root)
    for place in [*homes, *(home / UNLISTED for home in homes)]:
        folder = place / result_id
        if not folder.is_dir():
            continue
        try:
            return Stored(migrate(verified(folder)), folder)
        except StoreError as error:
            damaged = damaged or error
    for home in homes:
        try:
            mirror = places.mirror(home)
            if mirror is not None and (brought := mirror.bring(result_id)) is not None:
                return Stored(migrate(verified(brought)), brought)
        except StoreError as error:
            damaged = damaged or error
    if damaged is not None:
        raise damaged
    raise StoreError(
        f"There is no stored result {result_id} here. Run the job that the link was made from, or "
        f"set {RESULTS_VARIABLE} to the folder that holds it."
    )


def keep_last(document: Mapping[str, Any], images: Mapping[str, Image.Image]) -> Path:
    """Store a complete result aside, in place of the one that was kept so before it; `last` finds
    it. Raises `StoreError` as `save`."""
    aside = _aside()
    folder = save(document, images, aside)
    for other in aside.iterdir():
        if other.name != folder.name:
            shutil.rmtree(other, ignore_errors=True)
    os.utime(folder / _RESULT)
    return folder


def last() -> Stored:
    """The result that was made last, stored or kept aside (`keep_last`).

    Raises:
        StoreError: there is none.
    """
    found = [(s, place) for place in (_aside(), None) for s in listing(place) if not s.damaged]
    if not found:
        raise StoreError(
            "There is no result yet: `textloc localize` makes one, and `textloc show` lists what "
            "is stored."
        )
    summary, place = max(found, key=lambda one: one[0].created)
    return load(summary.id, place)


def _aside() -> Path:
    return _places(None)[0] / ".last"


def is_here(result_id: str) -> bool:
    """Whether a listed result can be opened without asking the store that holds it."""
    return any((place / check_id(result_id)).is_dir() for place in roots())


def verified(folder: Path) -> dict[str, Any]:
    """The document in `folder` as it was written, its ID and digest derived again unless they were
    for just this document and pictures unchanged since."""
    try:
        content = (folder / _RESULT).read_bytes()
        document = json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except FileNotFoundError:
        _damaged(folder, f"{_RESULT} is missing")
    except OSError as error:
        _damaged(folder, f"{_RESULT} cannot be read ({error.strerror or error})")
    except (ValueError, RecursionError) as error:
        _damaged(folder, f"{_RESULT} is not JSON ({error})")
    if not isinstance(document, dict):
        _damaged(folder, f"{_RESULT} does not hold a document")
    pictures = unchanged.pictures(folder / _IMAGES, tuple(ENDINGS))
    unchanged.once(folder, content, pictures, lambda: _verify(folder, document, pictures))
    return document


def _verify(folder: Path, document: dict[str, Any], pictures: unchanged.Pictures) -> None:
    """Raise `StoreError` unless a document and its pictures are what was stored."""
    check_document(document)
    if document["id"] != folder.name:
        _damaged(folder, f"it holds the result {document['id']}")
    pixels = {}
    for name, size, changed in pictures:
        key = check_image_key(Path(name).stem)
        if key in pixels:
            _damaged(folder, f"the image {_short(key)} is there twice")
        pixels[key] = _pixels_of(folder / _IMAGES / name, size, changed)
    if missing := sorted(_named_images(document) - set(pixels)):
        _damaged(folder, f"the image {_short(missing[0])} is missing")
    if _digest(document, pixels) != document.get("digest"):
        _damaged(folder, "its content does not match its digest")


@lru_cache(maxsize=16384)
def _pixels_of(path: Path, size: int, changed: int) -> str:
    """Hash of the picture in a file; remembered until its size or time of change differs."""
    return _pixels(_open(path))


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path, formats=[ENDINGS[path.suffix]]) as image:
            return image.convert("RGB")
    except Exception as error:  # a damaged file can make the decoder raise almost anything
        _damaged(path.parent.parent, f"the image {path.stem} cannot be read ({error})")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _damaged(folder: Path, why: str) -> NoReturn:
    raise StoreError(
        f"The stored result {folder.name} is damaged: {why}. Delete its folder and run it again."
    )


def migrate(document: dict[str, Any]) -> dict[str, Any]:
    """A document of the current schema."""
    kind, version = _schema(document)
    for step in range(version, SCHEMAS[kind]):
        document = MIGRATIONS[f"{kind}/{step}"](document)
    return document


# ---------------------------------------------------------------------------- list


@dataclass(frozen=True)
class Summary:
    """One line in a list of results."""

    id: str
    title: str
    """What was asked, for people: `STOP → LOVE`, or `STOP → LOVE and 19 more`."""
    checkpoint: str
    created: float
    """When it was written here, in seconds since 1970 (the file's time of change)."""
    kind: str = ""
    """What it is a result of: `textloc.localize` or `textloc.edit`."""
    damaged: str | None = None
    """Why it cannot be shown, or None for a good result."""
    request: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What was asked."""


def listing(root: Path | None = None, only: str | None = None) -> list[Summary]:
    """All results of `root` (by default of `roots()`), the newest first. Never raises.

    `only` is the kind wanted, such as `textloc.edit`; what is damaged is listed all the same. Each
    is verified as `load` does it; a folder that fails is listed with the reason in `damaged`. What
    an address holds is listed by its index, and verified when it is opened.
    """
    found: dict[str, Summary] = {}
    for place in _places(root):
        unsent: set[str] | None = None
        with suppress(StoreError):
            if (mirror := places.mirror(place)) is not None:
                unsent = mirror.unsent()
                for told in mirror.listed():
                    found.setdefault(told.id, told)
        try:
            folders = [entry for entry in place.iterdir() if not entry.name.startswith(".")]
        except OSError:
            continue
        for folder in folders:
            if unsent is not None and folder.name not in unsent:
                continue  # a copy of what the index tells of
            known = found.get(folder.name)
            if (known is None or known.damaged) and (summary := _summary(folder)):
                found[folder.name] = summary if not summary.damaged else known or summary
    wanted = [s for s in found.values() if only is None or s.damaged or s.kind == only]
    return sorted(wanted, key=lambda summary: (-summary.created, summary.id))


def default_id(root: Path | None = None, only: str = "textloc.localize") -> str | None:
    """The result of the kind `only` that the page opens with, or None where there is no good one.

    It is what `index.json` of a folder of results names for that kind if that one loads, else the
    newest good one.
    """
    for place in _places(root):
        try:
            index = json.loads((place / "index.json").read_text(encoding="utf-8"))
            return check_id(load(index[only], place).document["id"])
        except (OSError, ValueError, RecursionError, LookupError, TypeError, StoreError):
            continue
    for summary in listing(root, only):
        if not summary.damaged:
            with suppress(StoreError):
                return str(load(summary.id, root).document["id"])
    return None


def _summary(folder: Path) -> Summary | None:
    """The line of one folder; None for what is no folder of a result."""
    try:
        if not folder.is_dir():
            return None
        if not _ID.fullmatch(folder.name) and not (folder / _RESULT).exists():
            return None
        file, images = folder / _RESULT, folder / _IMAGES
        now = (file if file.exists() else folder).stat()
        changed = images.stat().st_mtime_ns if images.is_dir() else 0
    except OSError:
        return None
    return _summary_of(folder, now.st_mtime, now.st_mtime_ns, now.st_size, changed)


@lru_cache(maxsize=4096)
def _summary_of(folder: Path, created: float, *_state: int) -> Summary:
    """The same, remembered until its files change; what is opened is verified anew."""
    try:
        document = load(folder.name, folder.parent).document
        name = str(document["checkpoint"]["name"])
        asked = document["request"]
        return Summary(folder.name, title(document), name, created, kind(document), request=asked)
    except StoreError as error:
        return Summary(folder.name, folder.name, "", created, damaged=str(error))
    except (LookupError, TypeError) as error:  # a digest over a document of the wrong shape
        reason = f"The stored result {folder.name} lacks what a title needs ({error!r})."
        return Summary(folder.name, folder.name, "", created, damaged=reason)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
