"""Files from strangers: what is no result is refused before it costs much."""

import io
import json
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.documents import localize_document
from textloc.errors import StoreError
from textloc.results import export, store, upload


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    document, images = localize_document()
    store.save(document, images, tmp_path / "there")
    return export.export_zip(document["id"], tmp_path / "good.zip", tmp_path / "there")


def put(archive: Path, name: str, data: bytes, mode: int = 0) -> None:
    """Put a file into an archive, in the place of one that has its name."""
    with zipfile.ZipFile(archive) as file:
        kept = {one: file.read(one) for one in file.namelist() if one != name}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for one, content in kept.items():
            file.writestr(one, content)
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        file.writestr(entry, data)


def folder(archive: Path) -> str:
    return zipfile.ZipFile(archive).namelist()[0].partition("/")[0]


def refused(file: Path, match: str) -> None:
    with pytest.raises(StoreError, match=match) as told:
        upload.open_upload(file)
    assert "/tmp" not in str(told.value)
    assert str(file.parent) not in str(told.value)


def write(tmp_path: Path, document: Any) -> Path:
    file = tmp_path / "x.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return file


def test_a_packed_result_is_opened(tmp_path: Path) -> None:
    """As those that ship are, with WebP in place of PNG; what is no such picture is refused."""
    document, images = localize_document()
    store.save(document, images, tmp_path / "there", packed=True)
    archive = export.export_zip(document["id"], tmp_path / "packed.zip", tmp_path / "there")
    assert dict(upload.open_upload(archive).images).keys() == images.keys()
    name = next(one for one in zipfile.ZipFile(archive).namelist() if one.endswith(".webp"))
    put(archive, name, b"RIFF\x10\0\0\0WEBPVP8 ")
    refused(archive, "cannot be read")
    put(archive, name.replace(".webp", ".gif"), b"GIF89a")
    refused(archive, "no part of a result")


def test_what_the_page_gives_is_opened(archive: Path, tmp_path: Path) -> None:
    document, images = localize_document()
    found = upload.open_upload(archive)
    assert found.id == document["id"]
    assert found.images["p0-s0-source"].tobytes() == images["p0-s0-source"].tobytes()
    alone = upload.open_upload(write(tmp_path, document))
    assert alone.document == json.loads(json.dumps(document))
    assert not alone.images


@pytest.mark.parametrize("name", ["../x", "{id}/../../x", "/etc/x", "{id}\\..\\x", "{id}/x.html"])
def test_a_path_out_of_the_result_is_refused(archive: Path, name: str) -> None:
    put(archive, name.format(id=folder(archive)), b"x")
    refused(archive, "no part of a result|does not hold one result")


def test_a_link_is_refused(archive: Path) -> None:
    name = f"{folder(archive)}/images/p0-s0-source.png"
    put(archive, name, b"/etc/passwd", stat.S_IFLNK | 0o777)
    refused(archive, "a link or device")


def test_a_bomb_is_not_unpacked(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "LARGEST", 2**20)
    put(archive, f"{folder(archive)}/images/p0-s0-zeros.png", bytes(2**22))
    assert archive.stat().st_size < 2**20
    refused(archive, "unpacks to more than 1 MiB")


def test_a_picture_of_too_many_pixels_is_not_decoded(archive: Path) -> None:
    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    put(archive, f"{folder(archive)}/images/p0-s0-source.png", data)
    refused(archive, "too large|cannot be read")


def test_another_picture_is_not_the_result(archive: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    put(archive, f"{folder(archive)}/images/p0-s0-source.png", file.getvalue())
    refused(archive, "does not match its digest")
    put(archive, f"{folder(archive)}/images/p0-s0-source.png", b"<svg onload=alert(1)>")
    refused(archive, "cannot be read")


@pytest.mark.parametrize("at", [40, 400, 4000])
def test_a_damaged_archive_is_told(archive: Path, at: int) -> None:
    data = bytearray(archive.read_bytes())
    data[at : at + 30] = bytes(30)
    archive.write_bytes(data)
    with pytest.raises(StoreError):
        upload.open_upload(archive)
    archive.write_bytes(data[:-50])
    with pytest.raises(StoreError):
        upload.open_upload(archive)


def test_an_encrypted_archive_is_told(archive: Path) -> None:
    data = archive.read_bytes()
    flagged = data.replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"
    )
    assert flagged != data
    archive.write_bytes(flagged)
    refused(archive, "cannot be unpacked")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", '"x"', "NaN", "\x00\xff", "<html>", "{}", '{"schema": 1}'),
        *('{"schema": "textloc.localize/9999"}', "[" * 100_000, '{"a":' * 5000, "1" * 10_000),
    ],
)
def test_what_is_no_result_is_told(tmp_path: Path, text: str) -> None:
    refused(write(tmp_path, text), ".")


def test_infinite_nested_and_huge_documents_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, _ = localize_document()
    nested: Any = 0
    for _ in range(200):
        nested = [nested]
    refused(write(tmp_path, {**document, "more": nested}), "nested too deep")
    request = json.dumps({**document, "request": {**document["request"], "steps": 1}})
    refused(write(tmp_path, request.replace('"steps": 1', '"steps": 1e999')), "inf")
    monkeypatch.setattr(upload, "LARGEST_DOCUMENT", 100)
    refused(write(tmp_path, document), "too large")
    monkeypatch.setattr(upload, "LARGEST_FILE", 10)
    refused(write(tmp_path, document), "of at most")


def test_signs_of_html_stand_only_in_texts(tmp_path: Path) -> None:
    for change in (
        {"features": "<script>alert(1)</script>"},
        {"checkpoint": {"name": '"><img src=x onerror=alert(1)>'}},
        {"layers": [{"index": "<b>"}]},
        {"<img src=x>": 1},
    ):
        document, _ = localize_document()
        refused(write(tmp_path, {**document, **change}), "no textloc writes")


def test_an_id_of_another_request_is_refused(tmp_path: Path) -> None:
    document, _ = localize_document()
    refused(write(tmp_path, {**document, "id": "0" * 16}), "calls itself")
    refused(write(tmp_path, {**document, "complete": False}), "partial")
