"""A page for strangers, and what strangers may send."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ui.endpoints import served
from tests.ui.hostile import FILES, IMAGE, SCRIPT, Hostile, form, sent
from textloc.paths import ROOT
from textloc.results import store

pytestmark = pytest.mark.slow  # a server of its own, and a thousand requests

REQUESTS = int(os.environ.get("TEXTLOC_HOSTILE", "1000"))
SEED = int(os.environ.get("TEXTLOC_HOSTILE_SEED", "0"))
TRACES = (b"Traceback (most recent", b'File "/', b"site-packages", b"/usr/lib/python", b"root:x:0")


class Place:
    """A page for strangers, and the folders that it may write to."""

    def __init__(self, page: Any, ids: dict[str, str], folder: Path) -> None:
        self.page, self.ids, self.folder = page, ids, folder
        self.http = httpx.Client(base_url=page.address, timeout=600)
        self.config = self.http.get("config").json()
        port = httpx.URL(page.address).port
        assert port is not None
        self.at = ("127.0.0.1", port)

    def event(self, name: str, event: str) -> int:
        """The number of what an event of a component asks for."""
        names = {one["id"]: one["props"].get("elem_id") for one in self.config["components"]}
        (number,) = (
            asked["id"]
            for asked in self.config["dependencies"]
            if any(e == event and names.get(one) == name for one, e in asked["targets"])
        )
        return int(number)

    def ask(self, number: int, data: list[Any]) -> str:
        """What the page answers to an event."""
        session = secrets.token_hex(6)
        body = {"data": data, "fn_index": number, "session_hash": session}
        joined = self.http.post("gradio_api/queue/join", json=body)
        if joined.status_code != 200:
            assert joined.status_code < 500
            return joined.text
        return self.http.get("gradio_api/queue/data", params={"session_hash": session}).text

    def upload(self, name: str, content: bytes) -> str:
        """Upload a file; its path there."""
        body, kind = form(name, content)
        answer = self.http.post("gradio_api/upload", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text
        return str(answer.json()[0])

    def alive(self) -> None:
        """The page still serves a good result, and quietly."""
        assert self.page.process.poll() is None
        answer = self.http.get(f"gradio_api/textloc/{self.ids['usual']}.zip")
        assert answer.status_code == 200
        assert self.http.get("").status_code == 200


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("hostile")
    for name in ("uploads", "tmp", "home"):
        (folder / name).mkdir()
    given = {
        "TEXTLOC_PUBLIC": "1",
        "HF_HUB_OFFLINE": "1",
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "TMPDIR": str(folder / "tmp"),
        "HOME": str(folder / "home"),
    }
    with served(folder, **given) as (page, ids):
        yield Place(page, ids, folder)


def _files(folder: Path) -> set[str]:
    skipped = ("__pycache__", ".git", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis")
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not any(part in skipped for part in path.parts)
    }


def test_a_thousand_hostile_requests(place: Place) -> None:
    project, results = _files(ROOT), _files(place.page.results)
    fallen = []
    for number, request in enumerate(Hostile(SEED, place.config).requests(REQUESTS)):
        status, answer = sent(place.at, request)
        told = [trace for trace in TRACES if trace in answer]
        unanswered = not status and len(request) < 1_000_000  # a large one is cut off
        if status >= 500 or told or unanswered:
            fallen.append((number, status, told, request[:300], answer[-300:]))
    report = "\n".join(map(repr, fallen[:40]))
    assert not fallen, f"{len(fallen)} of {REQUESTS} fell:\n{report}"
    place.alive()
    assert _files(ROOT) == project, "a file was written into the project"
    new = _files(place.page.results) - results
    assert all(name.startswith(f"{store.UNLISTED}/") for name in new)
    beside = {name.split("/")[0] for name in _files(place.folder)}
    allowed = {"results", "uploads", "tmp", "home", place.page.gate.name, place.page.log.name}
    assert beside <= allowed
    assert not list((place.folder / "uploads").rglob("*evil*/.."))


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_as_a_result_and_as_a_picture(place: Place, name: str) -> None:
    content = FILES[name]()
    files = {"meta": {"_type": "gradio.FileData"}}
    for ending in (".zip", ".json"):  # what it says it is, right or wrong
        path = place.upload(f"hostile{ending}", content)
        answer = place.ask(place.event("gallery-import", "upload"), [None, {"path": path, **files}])
        assert "process_completed" in answer
        assert "Traceback" not in answer
        assert str(place.folder) not in answer.replace(path, "")
        assert SCRIPT not in answer
        assert IMAGE not in answer
        assert 'data-ref=\\"imported-' not in answer
    path = place.upload("hostile.png", content)
    asked = place.http.post(
        "gradio_api/call/read", json={"data": [{"path": path, **files}, "auto"]}
    )
    assert asked.status_code == 422, asked.text  # refused before it waits
    assert "Traceback" not in asked.text
    assert str(place.folder) not in asked.text
    place.alive()


def test_a_hostile_upload_is_not_served_as_a_page(place: Place) -> None:
    for name in ("svg", "html"):
        path = place.upload(f"hostile.{name}", FILES[name]())
        answer = place.http.get(f"gradio_api/file={path}")
        if answer.status_code == 200:
            assert "attachment" in answer.headers.get("content-disposition", "")


def test_scripts_in_prompts_are_only_text(place: Place) -> None:
    """A prompt with HTML in it is run and stored, and no answer holds it as HTML."""
    prompt = f'a red sign that says "STOP" {SCRIPT} {IMAGE}'
    body = {"data": [prompt, "LOVE"]}
    values = [*body["data"], "tiny-sdxl", [0], None, None, 0, "", "none"]
    asked = place.http.post("gradio_api/call/localize", json={"data": values})
    assert asked.status_code == 200, asked.text
    told = place.http.get(f"gradio_api/call/localize/{asked.json()['event_id']}").text
    answers = [line[6:] for line in told.splitlines() if line.startswith("data: ")]
    answer = json.loads(answers[-1])[0]
    assert answer["complete"]
    page = place.http.get("", params={"r": answer["id"]}).text
    assert SCRIPT not in page
    report = place.http.get(f"gradio_api/textloc/{answer['id']}.html").text
    assert SCRIPT not in report
    assert "<img src=x" not in report
