"""Results from an ID, a folder, a ZIP file or a link; hostile ones are refused."""

from __future__ import annotations

import json
import shutil
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import textloc
from tests.documents import localize_document
from textloc.errors import StoreError
from textloc.results import export, opening, store
from textloc.results.result import Result


@pytest.fixture
def saved(results: Path) -> Path:
    return store.save(*localize_document())


def same(found: Result, saved: Path) -> bool:
    stored = store.load(saved.name, saved.parent)
    pictures = {key: found.images[key].tobytes() for key in found.images}
    wanted = {path.stem: stored.image(path.stem).tobytes() for path in stored.files()[1:]}
    return found.document == stored.document and pictures == wanted


def test_every_way_to_a_result(saved: Path, tmp_path: Path) -> None:
    archive = export.export_zip(saved.name, tmp_path / "x.zip")
    copied = tmp_path / "under another name"
    shutil.copytree(saved, copied)
    for where in (saved.name, saved, archive, copied, f"http://nowhere.test/?a=1&r={saved.name}"):
        assert same(textloc.load(where), saved), where


def test_what_is_saved_in_a_folder_is_opened_again(saved: Path, tmp_path: Path) -> None:
    found = textloc.load(saved.name)
    folder = found.save(tmp_path / "deep" / "kept")
    assert same(textloc.load(folder), saved)
    with pytest.raises(StoreError, match="Give a new folder"):
        found.save(folder)
    (next((folder / "images").glob("*.png"))).write_bytes(b"no picture")
    with pytest.raises(StoreError, match="damaged"):
        textloc.load(folder)


@pytest.mark.parametrize("where", ["", "0123456789abcdef", "../../etc", "no-such-folder/", "ABC"])
def test_what_is_not_there_is_told(results: Path, where: str) -> None:
    with pytest.raises(StoreError):
        textloc.load(where)


@pytest.mark.parametrize(
    "name",
    [
        *("../{id}/result.json", "/{id}/result.json", "{id}/../../x.json", "{id}/other.json"),
        *("{id}/images/../../x.png", "{id}/images/no key.png", "{id}/images/deep/p0-s0-x.png"),
        "second/result.json",
    ],
)
def test_an_archive_with_anything_else_is_refused(saved: Path, tmp_path: Path, name: str) -> None:
    archive = tmp_path / "in" / "x.zip"
    archive.parent.mkdir()
    export.export_zip(saved.name, archive)
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(name.format(id=saved.name), b"{}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreError):
        textloc.load(archive)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_unpacks_to_too_much_is_not_unpacked(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = export.export_zip(saved.name, tmp_path / "x.zip")
    monkeypatch.setattr(opening, "LARGEST", 1000)
    with pytest.raises(StoreError, match="unpacks to more than"):
        textloc.load(archive)
    (tmp_path / "y.zip").write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(StoreError, match="cannot be unpacked"):
        textloc.load(tmp_path / "y.zip")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[str]:
    """A server in the place of somebody's page; its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    (tmp_path / "site" / "gradio_api" / "textloc").mkdir(parents=True)
    handler = partial(Quiet, directory=str(tmp_path / "site"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def test_a_link_is_fetched_from_its_page(
    saved: Path, tmp_path: Path, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site" / "gradio_api" / "textloc"
    export.export_zip(saved.name, folder / f"{saved.name}.zip")
    monkeypatch.setenv("TEXTLOC_RESULTS", str(tmp_path / "elsewhere"))
    assert same(textloc.load(f"{page}?r={saved.name}&layer=9"), saved)
    with pytest.raises(StoreError, match="has no result"):
        textloc.load(f"{page}?r=0123456789abcdef")
    with pytest.raises(StoreError, match="not a result ID"):
        textloc.load(f"{page}?r=../../x")
    with pytest.raises(StoreError, match="cannot be reached"):
        textloc.load("http://127.0.0.1:9/?r=0123456789abcdef")


@pytest.mark.parametrize(
    ("link", "address"),
    [
        ("http://h:7860/?r=1", "http://h:7860/"),
        ("https://h/app?r=1&x=2", "https://h/app/"),
        ("https://huggingface.co/spaces/Own_er/na.me?r=1", "https://own-er-na-me.hf.space/"),
    ],
)
def test_where_the_page_of_a_link_is(link: str, address: str) -> None:
    assert opening._page(link) == address


def test_a_document_that_calls_itself_another_is_refused(saved: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(saved, copied)
    document = json.loads((copied / "result.json").read_text(encoding="utf-8"))
    document["id"] = "../../../etc/cron"
    (copied / "result.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(StoreError, match="not a result ID"):
        textloc.load(copied)
