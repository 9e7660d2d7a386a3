"""Pictures that are kept in files beyond a limit."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from PIL import Image

from textloc.results.gallery import Gallery


def picture(number: int) -> Image.Image:
    return Image.new("RGB", (10, 10), (number, 2 * number, 255 - number))


def test_pictures_beyond_the_limit_lie_in_files_and_come_back_as_they_were() -> None:
    gallery = Gallery(most=700)  # two pictures of 300 bytes
    for number in range(5):
        gallery[f"p0-s{number}-x"] = picture(number)
    assert list(gallery) == [f"p0-s{number}-x" for number in range(5)]
    assert sum(isinstance(entry, Path) for entry in gallery._entries.values()) == 3
    for number in range(5):
        assert gallery[f"p0-s{number}-x"].tobytes() == picture(number).tobytes()


def test_a_snapshot_stays_as_it_was_and_the_files_go_with_the_last_mapping() -> None:
    gallery = Gallery(most=0)
    gallery["a"], gallery["b"] = picture(1), picture(2)
    before = gallery.snapshot()
    (path,) = (entry for key, entry in before._entries.items() if key == "a")
    assert isinstance(path, Path)
    gallery["a"] = picture(9)
    del gallery["b"]
    assert before["a"].tobytes() == picture(1).tobytes()
    assert set(before) == {"a", "b"}
    assert set(before.without({"a"})) == {"b"}
    assert gallery["a"].tobytes() == picture(9).tobytes()
    with pytest.raises(KeyError):
        gallery["b"]
    del gallery
    gc.collect()
    assert path.exists()
    del before
    gc.collect()
    assert not path.exists()
