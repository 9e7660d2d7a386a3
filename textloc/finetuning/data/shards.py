"""WebDataset shards: tar files whose members `key.jpg`, `key.txt` and `key.json` are one sample.

The caption is that of `.txt` or `.caption`, else a column of the `.json` as an image folder's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textloc.errors import TrainingError
from textloc.finetuning.data.folders import caption_of, texts_of
from textloc.finetuning.data.sample import Damaged, Sample, of_bytes

_PICTURES = ("jpg", "jpeg", "png", "webp")


def fits(place: str) -> bool:
    """A tar file, several in the notation `{000..009}`, or a folder of them."""
    folder = Path(place)
    return place.endswith(".tar") or (
        folder.is_dir() and next(folder.glob("*.tar"), None) is not None
    )


def files(place: str) -> list[Path]:
    """The shards in order."""
    folder = Path(place)
    if folder.is_dir():
        return sorted(folder.glob("*.tar"))
    from webdataset import shardlists

    return [Path(name) for name in shardlists.expand_urls(place)]


def read(place: str) -> Iterator[Sample | Damaged]:
    """Shard by shard; one that ends early or is no tar file gives what it can and one damage."""
    for path in files(place):
        if not path.is_file():
            raise TrainingError(f"there is no shard {path}; check the path")
        yield from _shard(path)


def _shard(path: Path) -> Iterator[Sample | Damaged]:
    from webdataset import tariterators

    trouble: list[Exception] = []

    def note(error: Exception) -> bool:
        trouble.append(error)
        return False

    with path.open("rb") as stream:
        opened = [{"url": str(path), "stream": stream}]
        members = tariterators.tar_file_expander(opened, handler=note)
        for record in tariterators.group_by_keys(members, handler=note):
            yield _sample(path, record)
    if trouble:
        yield Damaged(path.name, "the shard is damaged")


def _sample(path: Path, record: dict[str, Any]) -> Sample | Damaged:
    key = f"{path.name}:{record['__key__']}"
    picture = next((record[ending] for ending in _PICTURES if ending in record), None)
    if picture is None:
        return Damaged(key, "the picture is missing")
    try:
        about = json.loads(record["json"]) if "json" in record else {}
        written = record.get("txt", record.get("caption"))
        caption = written.decode("utf-8") if written is not None else caption_of(about)
    except (ValueError, AttributeError):
        return Damaged(key, "the caption cannot be read")
    if caption is None:
        return Damaged(key, "without a caption")
    return Sample(key, " ".join(caption.split()), of_bytes(picture, key), texts_of(about))
