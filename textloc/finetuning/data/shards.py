"""WebDataset shards: tar files whose members `key.jpg`, `key.txt` and `key.json` are one sample.

The caption is that of `.txt` or `.caption`, else a column of the `.json` as an image folder's; one
that is empty does not hide another. A key goes up to the first dot, as the `webdataset` library has
it, or up to the last where there is no picture otherwise (`0.5.jpg`). The members of a sample may
lie anywhere in the shard.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from textloc.errors import TrainingError
from textloc.finetuning.data.folders import caption_of, readable, texts_of
from textloc.finetuning.data.sample import Damaged, Sample, as_object, decoded, of_bytes
from textloc.pictures import ENDINGS

_PICTURES = tuple(ending.removeprefix(".") for ending in ENDINGS)
_CAPTIONS = ("txt", "caption")
_READ = (*_PICTURES, *_CAPTIONS, "json")
_BLOCK = 512

_Record = dict[str, list[tarfile.TarInfo]]
"""The members of a sample by what their names end in."""


def fits(place: str) -> bool:
    """A tar file, several in the notation `{000..009}` or `*`, or a folder of them."""
    folder = Path(place)
    return place.endswith(".tar") or (
        folder.is_dir() and next(folder.glob("*.tar"), None) is not None
    )


def files(place: str) -> list[Path]:
    """The shards in order."""
    folder = Path(place)
    if folder.is_dir():
        return sorted(folder.glob("*.tar"))
    if "*" in folder.name:
        return sorted(folder.parent.glob(folder.name))
    from webdataset import shardlists

    return [Path(name) for name in shardlists.expand_urls(place)]


def read(place: str) -> Iterator[Sample | Damaged]:
    """Shard by shard; one that ends early or is no tar file gives what it can and one damage."""
    if "://" in place or place.startswith("pipe:"):
        raise TrainingError(f"{place} is not on this machine; download the shards first")
    shards = files(place)
    if not shards:
        raise TrainingError(f"there is no shard {place}; check the path")
    for path in shards:
        if not path.is_file():
            raise TrainingError(f"there is no shard {path}; check the path")
        yield from _shard(path)


def _shard(path: Path) -> Iterator[Sample | Damaged]:
    damaged = Damaged(path.name, "the shard is damaged")
    try:
        with tarfile.open(path, "r:*") as tar:
            records, whole = _records(tar)
            for key, record in records.items():
                yield _sample(tar, f"{path.name}:{key}", record)
            if not whole:
                yield damaged
    except (tarfile.TarError, OSError, EOFError, zlib.error):
        yield damaged


def _records(tar: tarfile.TarFile) -> tuple[dict[str, _Record], bool]:
    """The samples in the order of their first members, and whether the shard has its end."""
    records: dict[str, _Record] = {}
    try:
        for member in tar:
            folder, slash, name = member.name.rpartition("/")
            key, dot, ending = name.partition(".")
            if member.isreg() and key and dot and not key.startswith("__"):
                record = records.setdefault(f"{folder}{slash}{key}", {})
                record.setdefault(ending.lower(), []).append(member)
        assert tar.fileobj is not None
        tar.fileobj.seek(tar.offset)  # it goes no further where it reads no member
        whole = tar.fileobj.read(_BLOCK) == bytes(_BLOCK)
    except (tarfile.TarError, OSError, EOFError, zlib.error):
        whole = False
    return _with_dots(records), whole


def _with_dots(records: dict[str, _Record]) -> dict[str, _Record]:
    """The samples, those without a picture taken apart where their keys have dots."""
    found: dict[str, _Record] = {}
    for key, record in records.items():
        lasts = [ending.rpartition(".")[2] for ending in record]
        if any(name in record for name in _PICTURES) or not any(n in _PICTURES for n in lasts):
            found[key] = record
            continue
        for ending, members in record.items():
            more, dot, last = ending.rpartition(".")
            longer = f"{key}{'.' if dot else ''}{more}"
            found.setdefault(longer, {}).setdefault(last, []).extend(members)
    return found


def _sample(tar: tarfile.TarFile, key: str, record: _Record) -> Sample | Damaged:
    if any(len(record.get(ending, ())) > 1 for ending in _READ):
        return Damaged(key, "two members of the shard have one name")
    ending = next((ending for ending in _PICTURES if ending in record), None)
    if ending is None:
        return Damaged(key, "the picture is missing")
    about, captions = {}, []
    for name in (name for name in _CAPTIONS if name in record):
        text = decoded(_content(tar, record, name))
        if text is None:
            return Damaged(key, "the caption cannot be read")
        captions.append(" ".join(readable(text).split()))
    if "json" in record:
        text = decoded(_content(tar, record, "json"))
        given = None if text is None else as_object(text)
        if given is None:
            return Damaged(key, "the caption cannot be read")
        about = given
        if (said := caption_of(about)) is not None:
            captions.append(" ".join(said.split()))
    if not captions:
        return Damaged(key, "without a caption")
    caption = next(filter(None, captions), "")
    return Sample(key, caption, of_bytes(_content(tar, record, ending), key), texts_of(about))


def _content(tar: tarfile.TarFile, record: _Record, ending: str) -> bytes:
    (member,) = record[ending]
    stream = tar.extractfile(member)
    assert stream is not None  # it is a regular file
    return stream.read()
