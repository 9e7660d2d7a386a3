"""A run beside the page, with made-up pictures in place of a model's."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from tests.documents import localize_document
from textloc.errors import Cancelled, OutOfMemoryError, StoreError
from textloc.results import store
from textloc.ui import limits, live, status
from textloc.ui.localize import order
from textloc.ui.localize.tab import LocalizeSession, LocalizeTab
from textloc.ui.runner import loaded as loaded_models


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.RESULTS_VARIABLE, str(tmp_path / "results"))
    return tmp_path / "results"


SENT = (
    *("trouble", "run", "stop", "progress", "headline"),
    *("shares_card", "shares", "map", "effect_card", "effect"),
)
"""What a run updates first, in order."""


def asked() -> order.LocalizeOrder:
    return order.read("tiny-sdxl", 'a red sign that says "STOP"', "LOVE", "0", 20, 3.0, 0, "")


def made_up(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None = None, wait: float = 0.0
) -> list[str]:
    """Put made-up pictures in place of a model's; returns the names that were loaded."""
    import textloc.checkpoints.loading
    import textloc.jobs.localize

    loaded: list[str] = []

    def load(name: str) -> Any:
        loaded.append(name)
        return SimpleNamespace(name=name, layers=range(11))

    def localize_stream(_model: Any, pairs: Any, **options: Any) -> Any:
        words = [(pair.source_text, pair.target_text) for pair in pairs]
        for finished in (2, 7, None):
            options["on_step"](1, 20)
            time.sleep(wait)
            if options["cancelled"]():
                raise Cancelled("stopped")
            if finished == 7 and error is not None:
                raise error
            document, images = localize_document(
                words=words, seeds=options["seeds"], finished=finished
            )
            yield SimpleNamespace(
                document=document, images=images, done=5, total=14, found=0, message="patching"
            )

    monkeypatch.setattr(textloc.checkpoints.loading, "load", load)
    monkeypatch.setattr(textloc.jobs.localize, "localize_stream", localize_stream)
    loaded_models._kept.clear()
    return loaded


def test_a_run_is_stored_and_keeps_its_model(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = made_up(monkeypatch)
    for _ in range(2):
        updates = list(live.Job(asked()).updates())
        assert updates[-1].state == "complete"
        assert updates[-1].message == ""
        assert updates[-1].document is not None
        assert store.load(updates[-1].document["id"]).document["complete"]
        assert any(update.fresh for update in updates)
    assert loaded == ["tiny-sdxl"]


def test_a_run_that_cannot_be_stored_is_still_shown(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up(monkeypatch)

    def save(*_: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(store, "save_new", save)
    last = list(live.Job(asked()).updates())[-1]
    assert last.state == "complete"
    assert last.document is not None
    assert "the disk is full" in last.message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OutOfMemoryError("choose a smaller size"), "choose a smaller size"),
        (ZeroDivisionError("oops"), "something went wrong that should not"),
    ],
)
def test_an_error_keeps_what_was_computed(
    results: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    made_up(monkeypatch, error)
    last = list(live.Job(asked()).updates())[-1]
    assert last.state == "failed"
    assert message in last.message
    assert last.document is not None
    assert len(last.document["layers"]) == 2
    assert store.listing() == []


def test_stop_ends_a_run_and_frees_the_device(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up(monkeypatch, wait=0.3)
    job = live.Job(asked())
    states = []
    for update in job.updates():
        states.append(update.state)
        if update.document is not None:
            job.stop()
    assert states[-1] == "stopped"
    assert job.last.document is not None
    assert list(live.Job(asked()).updates())[-1].state == "complete"


def test_a_run_that_may_be_alone_is_followed_again(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up(monkeypatch, wait=0.3)
    job = live.Job(asked(), alone=60)
    first = job.updates()
    while next(first).document is None:
        pass
    first.close()
    assert not job.over
    second, third = job.updates(), job.updates(patience=0.05)
    shown = next(second)
    assert shown.document is not None
    assert shown.fresh  # all that came meanwhile is new to who comes back
    assert [*second][-1].state == "complete"
    assert [*third][-1].state == "complete"
    monkeypatch.setenv("TEXTLOC_MAX_WAITING", "1")
    other = live.Job(asked())  # which takes the only place of the line
    last = next(job.updates())  # it has ended: that is told at once, and takes no place
    other.stop()
    assert (last.state, last.fresh) == ("complete", True)
    assert last.document is not None
    assert store.load(last.document["id"]).document["complete"]


def test_a_run_left_alone_ends_after_its_time(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up(monkeypatch, wait=0.4)
    job = live.Job(asked(), alone=0.2)
    updates = job.updates(patience=0.05)
    next(updates)
    updates.close()
    assert job._over.wait(10)
    assert next(job.updates()).state == "stopped"


def test_a_run_left_alone_makes_way(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(monkeypatch, wait=0.4)
    monkeypatch.setattr(live, "_RELOADING", 0.1)
    alone = live.Job(asked(), alone=600)
    updates = alone.updates(patience=0.05)
    next(updates)
    updates.close()
    assert [*live.Job(asked()).updates()][-1].state == "complete"
    assert next(alone.updates()).state == "stopped"


def test_runs_are_done_in_the_order_in_which_they_came(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up(monkeypatch, wait=0.1)
    jobs = [live.Job(asked()) for _ in range(4)]
    ended: list[int] = []

    def follow(number: int) -> None:
        *_, last = jobs[number].updates()
        assert last.state == "complete"
        ended.append(number)

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(4)]
    threads[0].start()
    while not jobs[0].began:
        time.sleep(0.01)
    for thread in reversed(threads[1:]):
        thread.start()
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert ended == [0, 1, 2, 3]


def test_closing_the_updates_stops_the_run(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(monkeypatch, wait=0.3)
    updates = live.Job(asked()).updates()
    next(updates)
    updates.close()  # type: ignore[attr-defined]
    end = time.monotonic() + 30
    while any(t.name == "textloc-run" for t in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert store.listing() == []


def test_a_run_waits_for_the_one_before_and_can_be_stopped_meanwhile(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up(monkeypatch)
    with live._DEVICE:
        job = live.Job(asked())
        updates = job.updates(patience=0.05)
        assert next(updates).state == "waiting"
        job.stop()
        assert [update.state for update in updates][-1] == "stopped"


def test_the_last_update_of_the_page_says_all_again(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradio's client can lose what an update set when the next one follows at once."""
    made_up(monkeypatch)
    save = store.save_new

    def save_slowly(*result: Any) -> Any:
        time.sleep(0.3)
        return save(*result)

    monkeypatch.setattr(store, "save_new", save_slowly)
    with gr.Blocks() as page:
        tab = LocalizeTab(page)
    session = LocalizeSession(job=live.Job(asked()), waiting=True)
    *_, last = tab.follow(session)
    sent = dict(zip(SENT, last, strict=False))
    assert "write the words" in sent["headline"]
    assert len(sent["effect"].value["light"]["data"][0]["x"]) == 11
    assert session.view is not None
    assert session.view.stored


def test_a_run_that_has_begun_tells_of_its_stop_itself(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nothing told before can reach the page after it."""
    made_up(monkeypatch, wait=0.3)
    with gr.Blocks() as page:
        tab = LocalizeTab(page)
    session = LocalizeSession(job=live.Job(asked()), waiting=True)
    waiting, job = tab.halt(session), session.job
    assert waiting[0].interactive
    assert job is None
    assert len(list(tab.follow(session))) == 1
    session = LocalizeSession(job=live.Job(asked()), waiting=True)
    told = tab.follow(session)
    next(told)
    run, stop, progress, *_ = tab.halt(session)
    assert run == progress == gr.skip()
    assert not stop.interactive
    *_, last = told
    assert last[1].interactive
    assert "Stopped" in last[3]
    assert session.job is None


def test_how_a_run_stands_is_told_in_words() -> None:
    assert "waiting for the device<" in status.running(live.Update())
    assert "waiting for the device · 1 run first<" in status.running(live.Update(before=1))
    assert "waiting for the device · 2 runs first<" in status.running(live.Update(before=2))
    for left, said in ((3, "about 5 s"), (42, "about 40 s"), (100, "about 2 min")):
        update = live.Update(state="running", done=3, total=14, message="patching", left=left)
        assert f"3 of 14 images · patching · {said} left<" in status.running(update)
    update = live.Update(state="running", done=3, total=14, step=2, steps=20, message="<patching>")
    text = status.running(update)
    assert "3 of 14 images · &lt;patching&gt; · step 2 of 20" in text
    assert 'aria-valuenow="3"' in text
    assert "Stopped: 3 of 14 images" in status.ended(replace(update, state="stopped"), "headline")
    assert "no image was made" in status.ended(live.Update(state="failed"), "headline")
    assert status.notice("") == ""
    assert status.notice("a <b>") == '<div class="tl-notice" role="alert">A &lt;b&gt;</div>'


def test_what_is_left_is_counted_from_the_first_pictures() -> None:
    """Loading, which comes before them, is not done again; a picture on its way counts down."""
    pace = live.Pace()
    assert pace.left(live.Update(state="loading"), 100) is None
    going = {"state": "running", "total": 14}
    assert pace.left(live.Update(done=2, **going), 160) is None
    assert pace.left(live.Update(done=2, **going), 165) is None
    assert pace.left(live.Update(done=6, **going), 180) == 20 / 4 * 8
    assert pace.left(live.Update(done=6, **going), 190) == 30
    assert pace.left(live.Update(done=6, **going), 900) == 0
    assert pace.left(live.Update(done=10, **going), 940) == 780 / 8 * 4


def test_a_run_knows_how_many_are_before_it() -> None:
    line = limits.Line()
    runs = [SimpleNamespace(over=False, began=number == 0, stop=None) for number in range(3)]
    for run in runs:
        line.enter(run, limits.Visitor())
    assert [line.before(run) for run in runs] == [0, 1, 2]
    runs[0].over = True
    assert [line.before(run) for run in runs[1:]] == [0, 1]


def test_what_is_shown_is_not_taken_for_a_run_that_has_nothing_yet() -> None:
    waiting = live.Update(state="loading", message="loading tiny-sdxl")
    assert "data-bare" in status.running(waiting, ("token", "key"))
    shown = replace(waiting, state="running", document=localize_document()[0], done=1, total=2)
    assert "data-bare" not in status.running(shown, ("token", "key"))
    assert 'data-run="&quot;&gt;"' in status.running(shown, ('">', "key"))
    assert "1 image in 3 s" in status.ended(live.Update("complete", 1, 1, seconds=3.2), "headline")
