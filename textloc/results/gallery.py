"""Pictures by key that do not fill the memory: beyond a limit they are kept in files.

A localization of SDXL over a hundred pairs makes some seven thousand pictures of 3 MiB. The files
are lossless and go when the last mapping that names them does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

MOST = 512 * 2**20
"""Bytes of pixels that are kept in memory."""


class Pictures(Mapping[str, Image.Image]):
    """Pictures by key, as they were when the mapping was made."""

    def __init__(self, entries: Mapping[str, Image.Image | Path], folder: object = None) -> None:
        self._entries, self._folder = dict(entries), folder

    def __getitem__(self, key: str) -> Image.Image:
        entry = self._entries[key]
        if isinstance(entry, Path):
            with Image.open(entry) as picture:
                picture.load()
                return picture
        return entry

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def without(self, keys: set[str]) -> Pictures:
        """The same but for these."""
        return self.only([key for key in self._entries if key not in keys])

    def only(self, keys: Iterable[str]) -> Pictures:
        """These alone, in this order."""
        return Pictures({key: self._entries[key] for key in keys}, self._folder)

    def changed(self, before: Pictures) -> list[str]:
        """Keys of those that `before` has not, or has another picture for."""
        was = before._entries
        return [key for key, entry in self._entries.items() if was.get(key) is not entry]


def pictures(images: Mapping[str, Image.Image]) -> Pictures:
    """Any mapping as one that stays as it is."""
    return images if isinstance(images, Pictures) else Pictures(images)


class Gallery(Pictures, MutableMapping[str, Image.Image]):
    """Pictures that a job makes. most: bytes of pixels that are kept in memory."""

    def __init__(self, most: int = MOST) -> None:
        super().__init__({})
        self._most, self._bytes, self._written = most, 0, 0

    def __setitem__(self, key: str, picture: Image.Image) -> None:
        size = picture.width * picture.height * len(picture.getbands())
        if self._bytes + size <= self._most:
            self._bytes += size
            self._entries[key] = picture
            return
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="textloc-pictures-")
        assert isinstance(self._folder, TemporaryDirectory)
        path = Path(self._folder.name) / f"{self._written}.png"
        picture.save(path, "PNG", compress_level=1)
        self._written += 1
        self._entries[key] = path

    def __delitem__(self, key: str) -> None:
        del self._entries[key]

    def snapshot(self) -> Pictures:
        """The pictures as they are now; what is added or taken away later does not show in it."""
        return Pictures(self._entries, self._folder)
