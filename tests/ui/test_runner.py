"""Runs in a process of their own: what happens to it is told, and the page goes on."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.documents import localize_document
from tests.ui.made_up import WORDS, MadeUp
from textloc.paths import FONTS, ROOT
from textloc.pictures import address
from textloc.reading import ocr
from textloc.results import store
from textloc.ui import limits, live, settings
from textloc.ui.endpoints import functions
from textloc.ui.runner import worker


@pytest.fixture(scope="module", autouse=True)
def own_process() -> Iterator[None]:
    """All of these tests have one, as long as it lives."""
    yield
    if worker._worker is not None:
        worker._worker.end()
        worker._worker = None


@pytest.fixture(autouse=True)
def own_results(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTLOC_WORKER", "1")


def run(doing: str = "", at: str = "") -> live.Update:
    return list(live.Job(MadeUp(doing, at)).updates(patience=0.05))[-1]


def fine(last: live.Update) -> bool:
    """Whether a run came to its end, as one in this process does, and is stored."""
    document, _ = localize_document(words=WORDS)
    if last.document != document or last.images is None:
        return False
    return last.state == "complete" and bool(store.load(document["id"]).document["complete"])


def test_a_run_is_done_in_one_process_for_all(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    last = run(at=str(first))
    assert fine(last)
    assert last.images is not None
    assert last.document is not None
    _, images = localize_document(words=WORDS)
    assert list(last.images) == list(images)
    assert {key: picture.tobytes() for key, picture in last.images.items()} == {
        key: picture.tobytes() for key, picture in images.items()
    }
    assert fine(run(at=str(second)))
    assert first.read_text() == second.read_text() != str(os.getpid())


@pytest.mark.parametrize(
    ("doing", "said"),
    [
        ("killed", "was killed, most likely because the memory is full"),
        ("ended", "has ended with status 7"),
        ("full", "the memory is full"),
        ("fault", "should not (ZeroDivisionError: oops)"),
        ("wrong", "there is no layer 99"),
    ],
)
def test_what_goes_wrong_is_told_and_the_next_run_works(doing: str, said: str) -> None:
    last = run(doing)
    assert last.state == "failed"
    assert said in last.message
    assert last.document is not None
    assert len(last.document["layers"]) == 2  # what was finished is kept
    assert last.images
    assert store.listing() == []
    assert fine(run())


def test_one_that_is_killed_between_runs_is_started_again() -> None:
    assert fine(run())
    old = worker.started()
    os.kill(old.pid, 9)
    assert fine(run())
    assert worker.started().pid != old.pid


def test_one_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fine(run())
    here = replace(settings.read(), silence=1)
    monkeypatch.setattr(settings, "read", lambda: here)
    hung = worker.started()
    last = run("hangs")
    assert last.state == "failed"
    assert "nothing was heard" in last.message
    assert last.document is not None
    assert not hung.alive
    assert fine(run())


@pytest.mark.parametrize(("doing", "stays"), [("slow", True), ("hangs", False)])
def test_stop_ends_a_run_by_itself_or_with_its_process(
    doing: str, stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "GRACE", 1.0)
    job = live.Job(MadeUp(doing))
    for update in job.updates(patience=0.05):
        if update.document is not None:
            old = worker.started()
            job.stop()
    assert job.last.state == "stopped"
    assert job.last.document is not None
    end = time.monotonic() + 30
    while not job.over:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert old.alive == stays
    assert fine(run())


def a_sign() -> Any:
    """A picture that says BREAD, as callers send one."""
    picture = Image.new("RGB", (300, 200), "white")
    font = ImageFont.truetype(str(FONTS / "DejaVuSans-Bold.ttf"), 60)
    ImageDraw.Draw(picture).text((50, 60), "BREAD", "black", font)
    return address(picture)


def test_a_picture_is_read_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("it is read in the process of the page")

    monkeypatch.setattr(ocr, "read", read)
    found = functions.read(a_sign())
    assert found["text"] == "BREAD"
    assert found["engine"] == "rapidocr"
    assert found["boxes"][0]["polygon"]


def test_reading_waits_in_the_same_line(monkeypatch: pytest.MonkeyPatch) -> None:
    here = replace(settings.read(), waiting=1)
    monkeypatch.setattr(settings, "read", lambda: here)
    monkeypatch.setattr(limits, "LINE", limits.Line())
    live.Job(MadeUp())
    with pytest.raises(gr.Error, match="the most that this page takes"):
        functions.read(a_sign())


def test_it_ends_when_the_page_does(results: Path, tmp_path: Path) -> None:
    code = """
import os, threading
from tests.ui.made_up import MadeUp
from textloc.ui import live
for update in live.Job(MadeUp("hangs", os.environ["AT"])).updates():
    if update.document is not None:
        os.kill(os.getpid(), 9)
"""
    at = tmp_path / "at"
    environment = {**os.environ, "AT": str(at), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, timeout=120)
    assert done.returncode == -9
    end = time.monotonic() + 30
    while Path(f"/proc/{at.read_text()}").exists() or not at.exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_picture_is_sent_once() -> None:
    """A run of a hundred pictures does not send the first a hundred times."""
    from textloc.ui.runner import loaded, news, work

    loaded._kept["tiny-sdxl", 0.0] = None
    told: list[news.News] = []
    try:
        ended = work.to_the_end(MadeUp(), told.append, lambda: False)
    finally:
        loaded._kept.clear()
    assert ended.state == "complete"
    grown = [one for one in told if isinstance(one, news.Growth)]
    kinds = [set(one.pictures) for one in grown]
    assert kinds[0]
    assert set.union(*kinds) == set(grown[-1].keys)
