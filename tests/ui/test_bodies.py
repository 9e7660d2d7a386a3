"""Requests that are too large are refused before they are kept."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from textloc.ui.serving.bodies import Bodies
from textloc.ui.serving.uploads import Uploads


async def _length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("TEXTLOC_PUBLIC", "1")
    monkeypatch.setenv("TEXTLOC_MAX_UPLOAD", "3")
    route = Route("/{path:path}", _length, methods=["GET", "POST", "PUT"])
    return TestClient(Bodies(Starlette(routes=[route])))


def _parts(size: int) -> Iterator[bytes]:
    for _ in range(size // 100_000):
        yield bytes(100_000)


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/upload/../queue", "/"])
def test_a_body_may_have_a_megabyte(client: TestClient, path: str) -> None:
    assert client.post(path, content=bytes(1_000_000)).text == "1000000"
    for method in ("POST", "PUT"):
        answer = client.request(method, path, content=bytes(1_000_001))
        assert answer.status_code == 413
        assert "larger than 1 MB" in answer.text


def test_one_that_does_not_say_its_length_is_measured(client: TestClient) -> None:
    assert client.post("/x", content=_parts(900_000)).text == "900000"
    assert client.post("/x", content=_parts(1_100_000)).status_code == 413


def test_a_length_that_is_none_is_refused(client: TestClient) -> None:
    for said in ("-1", "1e3", "9" * 30):
        headers = {"content-length": said}
        assert client.post("/x", content=_parts(100_000), headers=headers).status_code == 413


def test_an_upload_may_have_more(client: TestClient) -> None:
    assert client.post("/gradio_api/upload", content=bytes(3_000_000)).status_code == 200
    assert client.post("/gradio_api/upload/", content=bytes(3_100_001)).status_code == 413


def test_a_page_for_oneself_takes_any(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTLOC_PUBLIC", "0")
    assert client.post("/x", content=bytes(5_000_000)).status_code == 200


def test_a_question_that_says_it_has_a_body_is_held_to_the_same(client: TestClient) -> None:
    assert client.get("/x", headers={"content-length": "9" * 20}).status_code == 413
    assert client.get("/x").text == "0"


def test_uploads_take_so_much_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go; what others have in the same folder does not count and stays."""
    monkeypatch.setenv("TEXTLOC_PUBLIC", "1")
    monkeypatch.setenv("TEXTLOC_MAX_UPLOADS", "1")
    own: set[str] = set()

    async def upload(request: Request) -> PlainTextResponse:
        path = tmp_path / request.headers["name"] / "picture.png"
        path.parent.mkdir()
        path.write_bytes(await request.body())
        os.utime(path, (len(own), len(own)))
        own.add(str(path))
        return PlainTextResponse("")

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "picture.png").write_bytes(bytes(2_000_000))
    route = Route("/gradio_api/upload", upload, methods=["POST"])
    client = TestClient(Uploads(Starlette(routes=[route]), files=[own, {str(tmp_path / "gone")}]))
    for name in "abcd":
        client.post("/gradio_api/upload", content=bytes(400_000), headers={"name": name})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "d", "other"]
    client.post("/gradio_api/upload", content=bytes(1_500_000), headers={"name": "e"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e", "other"]
    monkeypatch.setenv("TEXTLOC_PUBLIC", "0")
    monkeypatch.delenv("TEXTLOC_MAX_UPLOADS")
    client.post("/gradio_api/upload", content=bytes(1_500_000), headers={"name": "f"})
    assert (tmp_path / "e").exists()
