"""What is looked at once, and when it is looked at again."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.documents import localize_document
from textloc.errors import StoreError
from textloc.results import removal, store


@pytest.fixture
def saved(results: Path) -> Path:
    document, images = localize_document()
    return store.save(document, images)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the results that were verified, as they are."""
    found: list[str] = []
    verify = store._verify

    def told(folder: Path, *content: object) -> None:
        found.append(folder.name)
        verify(folder, *content)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "_verify", told)
    return found


def test_what_has_not_changed_is_verified_once(saved: Path, decoded: list[str]) -> None:
    first = store.load(saved.name).document
    first["request"]["steps"] = 999  # the document is the caller's own
    assert store.load(saved.name).document["request"]["steps"] != 999
    assert len(store.listing()) == 1
    assert decoded == [saved.name]


def test_every_change_is_seen(saved: Path, decoded: list[str]) -> None:
    store.load(saved.name)
    picture = next((saved / "images").glob("*.png"))
    before = picture.read_bytes()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(picture)
    with pytest.raises(StoreError, match="does not match its digest"):
        store.load(saved.name)
    picture.write_bytes(before)
    store.load(saved.name)
    result = saved / "result.json"
    said, status = result.read_text(), result.stat()
    result.write_text(said.replace("STOP", "SHOP", 1))
    os.utime(result, ns=(status.st_atime_ns, status.st_mtime_ns))  # as old, and as long
    with pytest.raises(StoreError):
        store.load(saved.name)
    result.write_text(said)
    picture.rename(picture.with_name("p9-s9-other.png"))
    with pytest.raises(StoreError, match="is missing"):
        store.load(saved.name)


def test_of_visitors_who_come_at_once_one_verifies(saved: Path, decoded: list[str]) -> None:
    together = threading.Barrier(8)
    found: list[str] = []

    def visit() -> None:
        together.wait()
        found.append(store.load(saved.name).document["id"])

    visitors = [threading.Thread(target=visit) for _ in range(8)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert found == [saved.name] * 8
    assert decoded == [saved.name]


def test_a_copy_elsewhere_is_verified_for_itself(saved: Path, tmp_path: Path) -> None:
    store.load(saved.name)
    other = tmp_path / "other" / saved.name
    shutil.copytree(saved, other)
    shutil.rmtree(saved / "images")
    with pytest.raises(StoreError):
        store.load(saved.name)
    assert store.load(saved.name, other.parent).folder == other


def test_what_a_killed_process_left_goes_after_an_hour(saved: Path) -> None:
    home = saved.parent
    names = [f".saving-{saved.name}-{'0' * 16}", f".deleted-{saved.name}-{'1' * 16}"]
    left = [home / names[0], home / store.UNLISTED / names[1]]
    own = [home / ".last" / saved.name, home / ".saving-of-somebody", home / "notes"]
    for folder in [*left, *own]:
        (folder / "images").mkdir(parents=True)
    young = home / f".saving-{saved.name}-{'2' * 16}"
    shutil.copytree(left[0], young)
    past = time.time() - 7200
    for folder in [*left, *own]:
        for path in (folder / "images", folder):
            os.utime(path, (past, past))
    assert removal.tidy() == 2
    assert not any(folder.exists() for folder in left)
    assert all(folder.is_dir() for folder in [*own, young])
    assert len(store.listing()) == 1
    assert removal.tidy() == 0


def test_there_is_nothing_to_tidy_where_nothing_is(results: Path) -> None:
    assert removal.tidy() == 0
    assert not results.exists()
