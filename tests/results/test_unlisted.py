"""Results that only their link opens."""

from pathlib import Path

import pytest

from tests.documents import localize_document
from textloc.errors import StoreError
from textloc.results import export, store, unlisted

ANN, BOB = "a" * 32, "b" * 32


def test_a_link_opens_it_and_no_list_shows_it(results: Path, tmp_path: Path) -> None:
    document, images = localize_document()
    folder = unlisted.keep(document, images, ANN)
    assert store.load(document["id"]).folder == folder
    assert store.listing() == []
    assert store.default_id() is None
    packed = export.export_zip(document["id"], tmp_path / "it.zip")
    assert ANN.encode() not in packed.read_bytes()
    assert not any(ANN in str(path) or BOB in str(path) for path in results.rglob("*"))


def test_who_made_it_can_delete_it_and_nobody_else(results: Path) -> None:
    document, images = localize_document()
    unlisted.keep(document, images, ANN)
    name = document["id"]
    for key in (BOB, "", "../" + ANN):
        assert not unlisted.is_own(name, key)
        with pytest.raises(StoreError, match="not yours"):
            unlisted.delete(name, key)
    assert unlisted.delete(name, ANN)
    with pytest.raises(StoreError, match="no stored result"):
        store.load(name)
    assert not list(results.rglob("*.png"))


def test_what_others_made_too_stays_for_them(results: Path) -> None:
    document, images = localize_document()
    for key in (ANN, BOB):
        unlisted.keep(document, images, key)
    assert not unlisted.delete(document["id"], ANN)
    assert not unlisted.is_own(document["id"], ANN)
    assert store.load(document["id"])
    assert unlisted.delete(document["id"], BOB)


def test_a_listed_result_is_nobodys(results: Path) -> None:
    document, images = localize_document()
    folder = store.save(document, images)
    assert unlisted.keep(document, images, ANN) == folder
    with pytest.raises(StoreError, match="not yours"):
        unlisted.delete(document["id"], ANN)
    assert store.load(document["id"])


def test_a_damaged_one_is_written_again(results: Path) -> None:
    document, images = localize_document()
    folder = unlisted.keep(document, images, ANN)
    (folder / "result.json").write_text("{")
    unlisted.keep(document, images, BOB)
    assert store.load(document["id"])


@pytest.mark.parametrize("name", ["../x", "unlisted", "", "0" * 15])
def test_an_id_is_checked_before_the_disk_is_touched(name: str, results: Path) -> None:
    with pytest.raises(StoreError, match="not a result ID"):
        unlisted.delete(name, ANN)
