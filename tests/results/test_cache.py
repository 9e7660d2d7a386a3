"""What is kept of unfinished jobs: whole or not at all, bounded, and cleared without harm."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from textloc import cli
from textloc.errors import StoreError
from textloc.paths import own_cache
from textloc.results import cache
from textloc.results.cache import Cache, Shelf, display_size, opened, parse_size

SHELF, OTHER = Shelf("aa", "tiny-sdxl"), Shelf("bb", "ein Modell “ß”")


def name(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def everything(said: Any, members: dict[str, bytes]) -> tuple[Any, dict[str, bytes]]:
    return said, members


@pytest.fixture
def kept(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "finished", 10**6)


def the_file(kept: Cache) -> Path:
    (path,) = kept.root.glob("*/*/*.zip")
    return path


def test_an_entry_comes_back_as_it_was(kept: Cache) -> None:
    said = {"gap": 0.1 + 0.2, "far": float("inf"), "text": "“ß” \ud800", "none": None}
    kept.put(SHELF, name(0), said, {"0.png": b"\x00\xff" * 9, "empty": b""})
    assert kept.get(SHELF, name(0), everything) == (said, {"0.png": b"\x00\xff" * 9, "empty": b""})
    assert kept.get(SHELF, name(1), everything) is None
    assert kept.get(OTHER, name(0), everything) is None
    assert not list(kept.root.rglob(".writing-*"))


@pytest.mark.parametrize("damage", ["cut", "empty", "bit", "other", "pickle", "no-entry"])
def test_a_damaged_entry_counts_as_not_there_and_is_written_again(kept: Cache, damage: str) -> None:
    kept.put(SHELF, name(0), {"a": 1}, {"0.png": b"picture" * 50})
    path = the_file(kept)
    content = path.read_bytes()
    if damage == "other":
        kept.put(SHELF, name(1), {"a": 2}, {"0.png": b"another" * 50})
        source = next(p for p in kept.root.glob("*/*/*.zip") if p != path)
        shutil.copy(source, path)
    else:
        middle = content.index(b"picturepicture") + 5
        path.write_bytes(
            {
                "cut": content[: len(content) // 2],
                "empty": b"",
                "bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
                "pickle": b"cos\nsystem\n(S'touch no-such-file'\ntR.",
                "no-entry": content.replace(b"entry.json", b"entry.jsom"),
            }[damage]
        )
    assert kept.get(SHELF, name(0), everything) is None
    kept.put(SHELF, name(0), {"a": 1}, {"0.png": b"picture" * 50})
    assert kept.get(SHELF, name(0), everything) == ({"a": 1}, {"0.png": b"picture" * 50})


def test_what_cannot_be_read_counts_as_not_there(kept: Cache) -> None:
    kept.put(SHELF, name(0), {}, {})
    assert kept.get(SHELF, name(0), lambda said, _: said["images"]) is None


@pytest.mark.parametrize("bad", ["../../x", "A" * 64, "", "0" * 63])
def test_names_never_lead_elsewhere(kept: Cache, bad: str) -> None:
    with pytest.raises(ValueError, match="names no entry"):
        kept.put(SHELF, bad, {}, {})
    with pytest.raises(ValueError, match="names no entry"):
        kept.get(Shelf("../x", "x"), name(0), everything)


def test_beyond_the_size_what_was_used_longest_ago_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Cache(tmp_path / "finished", 6000)
    for number in range(4):
        kept.put(SHELF, name(number), {}, {"0": bytes(1000)})
        path = kept._path(SHELF, name(number))
        os.utime(path, (1000 + number, 1000 + number))
    assert kept.get(SHELF, name(0), everything) is not None  # used now
    kept.put(OTHER, name(9), {}, {"0": bytes(1500)})
    kept.put(OTHER, name(8), {}, {"0": bytes(1000)})
    there = [n for n in range(4) if kept._path(SHELF, name(n)).exists()]
    assert 0 in there
    assert 1 not in there
    assert kept._path(OTHER, name(8)).exists()
    assert sum(shelf.bytes for shelf in kept.held()) <= 6000
    assert not caplog.records  # of what this process kept nothing went
    with caplog.at_level(logging.WARNING):
        for number in range(20, 30):
            kept.put(OTHER, name(number), {}, {"0": bytes(1500)})
    assert [record.message.count("TEXTLOC_CACHE_SIZE") for record in caplog.records] == [1]


def test_a_folder_that_cannot_be_written_ends_the_keeping_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "finished").write_text("a file")
    kept = Cache(tmp_path / "finished", 10**6)
    for number in range(3):
        kept.put(SHELF, name(number), {}, {})
        assert kept.get(SHELF, name(number), everything) is None
    assert len(caplog.records) == 1
    assert "TEXTLOC_CACHE" in caplog.records[0].message


def test_a_disk_that_is_nearly_full_is_left_alone(
    kept: Cache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache, "LEAST_FREE", 2**62)
    kept.put(SHELF, name(0), {}, {})
    assert not list(kept.root.rglob("*.zip"))
    assert "of the disk are free" in caplog.records[0].message


def test_clearing_touches_only_what_is_an_entry(kept: Cache) -> None:
    kept.put(SHELF, name(0), {}, {})
    kept.put(OTHER, name(1), {}, {})
    mine = [kept.root / "thesis.zip", kept.root / "aa" / "notes.txt"]
    mine += [kept.root / "aa" / name(0)[:2] / "holiday.zip"]
    for path in mine:
        path.write_text("keep me")
    abandoned = kept.root / "bb" / name(1)[:2] / ".writing-0123abcd"
    abandoned.write_bytes(b"cut off")
    assert kept.clear("ein Modell “ß”")[0] == 1
    assert [shelf.label for shelf in kept.held()] == ["tiny-sdxl"]
    assert kept.clear()[0] == 1
    assert kept.held() == []
    assert all(path.exists() for path in mine)
    assert not abandoned.exists()
    kept.put(OTHER, name(1), {}, {})
    assert [shelf.label for shelf in kept.held()] == ["ein Modell “ß”"]


def test_threads_that_write_and_read_the_same_entries_see_them_whole(kept: Cache) -> None:
    wrong: list[Any] = []

    def work() -> None:
        for number in range(40):
            kept.put(SHELF, name(number % 4), {"n": number % 4}, {"0": bytes(5000)})
            found = kept.get(SHELF, name(number % 4), everything)
            if found != ({"n": number % 4}, {"0": bytes(5000)}):
                wrong.append(found)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert [shelf.entries for shelf in kept.held()] == [4]


@pytest.mark.parametrize(
    ("text", "size"), [("5GB", 5 * 10**9), ("1.5 gb", 15 * 10**8), ("500M", 5 * 10**8), ("0", 0)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "much", "5 PB", "1e9", "5GiB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(StoreError, match="500MB"):
        parse_size(text)


def test_sizes_for_people() -> None:
    assert [display_size(n) for n in (0, 999, 1500, 20 * 10**9)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "20.0 GB",
    ]


def test_the_environment_names_folder_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened() is None  # as the tests have it
    monkeypatch.setenv("TEXTLOC_CACHE", str(tmp_path))
    found = opened()
    assert found is not None
    assert (found.root, found.most) == (tmp_path / "finished", cache.MOST)
    monkeypatch.setenv("TEXTLOC_CACHE_SIZE", "3MB")
    found = opened()
    assert found is not None
    assert found.most == 3 * 10**6
    monkeypatch.setenv("TEXTLOC_CACHE_SIZE", "lots")
    with pytest.raises(StoreError, match="lots"):
        opened()
    monkeypatch.delenv("TEXTLOC_CACHE_SIZE")
    monkeypatch.delenv("TEXTLOC_CACHE")
    found = opened()
    assert found is not None
    assert found.root.is_relative_to(own_cache())


def test_the_command_shows_shrinks_and_clears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEXTLOC_CACHE", str(tmp_path))
    kept = opened()
    assert kept is not None
    assert cli.main(["cache"]) == 0
    assert "0 B of at most 20.0 GB" in capsys.readouterr().out
    for number in range(3):
        kept.put(SHELF, name(number), {}, {"0": bytes(2000)})
    kept.put(OTHER, name(9), {}, {})
    assert cli.main(["cache", "--json", "-"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [(one["label"], one["entries"]) for one in said["held"]] == [
        ("tiny-sdxl", 3),
        ("ein Modell “ß”", 1),
    ]
    assert cli.main(["cache", "--shrink", "3kB"]) == 0
    assert sum(shelf.bytes for shelf in kept.held()) <= 3000
    assert "removed" in capsys.readouterr().err
    assert cli.main(["cache", "--clear", "--model", "sdxl"]) == 2
    assert "nothing is kept of 'sdxl'" in capsys.readouterr().err
    assert cli.main(["cache", "--clear"]) == 0
    assert kept.held() == []
    for wrong in (["--model", "x"], ["--clear", "--shrink", "1GB"], ["--shrink", "all"]):
        assert cli.main(["cache", *wrong]) == 2
    monkeypatch.setenv("TEXTLOC_CACHE", "off")
    capsys.readouterr()
    assert cli.main(["cache"]) == 0
    assert "off" in capsys.readouterr().out
    assert cli.main(["cache", "--clear"]) == 2
