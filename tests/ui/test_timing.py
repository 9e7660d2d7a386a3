"""How long a run will take: learnt from finished ones, and told before it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from tests.ui.made_up import MadeUp
from textloc.results import cache
from textloc.ui import limits, live, status
from textloc.ui.edit import order as edits
from textloc.ui.edit.tab import EditTab
from textloc.ui.localize import order
from textloc.ui.localize.tab import LocalizeTab
from textloc.ui.runner import loaded, timing
from textloc.ui.runner.news import Growth, Ready
from textloc.ui.suppress import order as suppressions

SOURCE = 'a red sign that says "STOP"'
DOCUMENT = {"request": {"steps": 20}, "complete": True}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> timing.Timings:
    """Nothing is known yet, and nobody waits."""
    monkeypatch.setattr(limits, "LINE", limits.Line())
    found = timing.Timings()
    monkeypatch.setattr(timing, "TIMINGS", found)
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    made = SimpleNamespace(now=100.0)
    monkeypatch.setattr(timing, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


def asked(
    model: str = "tiny-sdxl", seeds: str = "0", steps: int | None = 20
) -> order.LocalizeOrder:
    return order.read(model, SOURCE, "MOON", seeds, steps, 3.0, 0, "")


def run(
    known: timing.Timings,
    clock: SimpleNamespace,
    asked: Any,
    *,
    load: float = 0.0,
    before: float = 0.0,
    picture: float = 2.0,
    found: int = 0,
    steps: int = 20,
) -> None:
    """A run of ten pictures, five a call: `load` until its model is there, `before` the first."""
    watch = timing.Watch()
    clock.now += load
    watch.hear(Ready())
    clock.now += before
    for done in (5, 10):
        clock.now += 5 * picture
        watch.hear(Growth(done, 10, "", {}, {}, (), found))
    known.learn(asked, watch, {"request": {"steps": steps}})


def test_seconds_grow_with_what_is_asked_for(known: timing.Timings, clock: SimpleNamespace) -> None:
    assert known.seconds(asked()) is None
    run(known, clock, asked())
    assert known.seconds(asked()) == pytest.approx(20)
    assert known.seconds(asked(seeds="0,1")) == pytest.approx(40)
    assert known.seconds(asked(steps=10)) == pytest.approx(10)
    assert known.seconds(asked("tiny-ldm")) is None  # another model
    edit = edits.read("tiny-sdxl", SOURCE, "MOON", None, "0", [], "auto", "", 20, 3.0)
    assert known.seconds(edit) is None


def test_what_is_done_once_is_counted_until_it_is_done(
    known: timing.Timings, clock: SimpleNamespace
) -> None:
    run(known, clock, asked(), load=9, before=15)
    assert known.seconds(asked()) == pytest.approx(20)
    known.cool()  # the process that computes has ended
    assert known.seconds(asked()) == pytest.approx(20 + 9 + 15)
    run(known, clock, asked())
    assert known.seconds(asked()) == pytest.approx(20)
    run(known, clock, asked(), before=4)  # in a later run that is work like any other
    run(known, clock, asked(), before=4)
    run(known, clock, asked(), before=4)
    assert known.seconds(asked()) == pytest.approx(24)


def test_the_newest_runs_count_and_the_median_of_them(
    known: timing.Timings, clock: SimpleNamespace
) -> None:
    for picture in (50, 50, 50, 1, 2, 9, 3, 4):
        run(known, clock, asked(), picture=picture)
    assert known.seconds(asked()) == pytest.approx(30)


def test_pictures_that_were_found_are_not_timed(
    known: timing.Timings, clock: SimpleNamespace
) -> None:
    run(known, clock, asked(), found=6)
    assert known.seconds(asked()) is None
    run(known, clock, asked(), found=5)
    assert known.seconds(asked()) == pytest.approx(2 * 20)


def test_usual_steps_of_a_checkpoint_that_is_not_known_are_those_of_its_run(
    known: timing.Timings, clock: SimpleNamespace
) -> None:
    run(known, clock, asked("owner/model", steps=None), steps=40)
    assert known.seconds(asked("owner/model", steps=None)) == pytest.approx(20)
    assert known.seconds(asked("owner/model", steps=20)) == pytest.approx(10)


def test_they_are_kept_for_the_next_start(
    known: timing.Timings,
    clock: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    run(known, clock, asked(), load=9)
    file = tmp_path / "timings.json"
    assert timing.Timings().seconds(asked()) == pytest.approx(20 + 9)  # its model is loaded anew
    monkeypatch.setattr(timing.platform, "node", lambda: "another machine")
    other = timing.Timings()
    assert other.seconds(asked()) is None
    run(other, clock, asked(), picture=3)
    assert len(json.loads(file.read_text())) == 2
    (machine, *_) = json.loads(file.read_text())
    for wrong in ("", "{", "[]", '{"x": 3}', "null"):
        file.write_text(wrong)
        assert timing.Timings().seconds(asked()) is None
    good = {"kind": "LocalizeOrder", "model": "tiny-sdxl", "each": 1.0, "steps": 20, "once": 0}
    bad = [{}, [], None, {**good, "each": "1"}, {**good, "steps": -1}, {**good, "more": 1}]
    file.write_text(json.dumps({machine: [*bad, good], "another machine cpu": [*bad, good]}))
    assert timing.Timings().seconds(asked()) == pytest.approx(30 * 20)


@pytest.mark.parametrize(
    ("public", "folder", "kept"),
    [("0", "off", False), ("0", "here", True), ("1", "", False), ("1", "here", True)],
)
def test_a_public_page_keeps_them_only_in_a_folder_that_is_named(
    public: str, folder: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTLOC_PUBLIC", public)
    monkeypatch.setenv(cache.VARIABLE, folder)
    assert (timing._file() is not None) == kept


def test_a_real_job_teaches(
    known: timing.Timings, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(loaded._kept, ("tiny-sdxl", 0.0), None)
    monkeypatch.setattr(loaded, "_changed", lambda _: 0.0)
    assert live.Job(MadeUp()).left is None
    assert list(live.Job(MadeUp("wrong")).updates())[-1].state == "failed"
    assert known.seconds(MadeUp()) is None  # what is cut off says nothing of the whole
    assert list(live.Job(MadeUp()).updates())[-1].state == "complete"
    assert known.seconds(MadeUp()) is not None
    assert live.Job(MadeUp()).left == known.seconds(MadeUp())


def test_pictures_are_those_of_what_is_asked_for() -> None:
    def edit(start: str, methods: list[str]) -> int:
        asked = edits.read("tiny-sdxl", SOURCE, "MOON", None, "0", methods, start, "", 20, 3.0)
        return asked.asked.pictures

    assert edit("4", []) < edit("auto", []) < edit("auto", ["prompt-swap"])

    def suppress(prompt: str, methods: list[str]) -> int:
        made = suppressions.read("tiny-sdxl", prompt, "", "", methods, True, "", "0", "", 20, 3.0)
        return made.asked.pictures

    toxic = 'a red sign that says "LOSER"'
    assert (
        suppress(SOURCE, ["prompt-swap"]) < suppress(toxic, []) < suppress(toxic, ["prompt-swap"])
    )


# ---------------------------------------------------------------------------- what is told


def line(*left: float | None) -> limits.Line:
    """A line of runs that have so many seconds left."""
    made = limits.Line()
    for seconds in left:
        one: Any = SimpleNamespace(over=False, began=True, left=seconds, stop=lambda: None)
        made.enter(one, limits.Visitor())
    return made


@pytest.mark.parametrize(
    ("seconds", "left", "said"),
    [
        (38.0, [], "About 40 s on this machine"),
        (200.0, [], "About 3 min on this machine"),
        (38.0, [10.0, 20.0], "About 70 s in all · 2 runs first"),
        (38.0, [60.0], "About 2 min in all · 1 run first"),
        (38.0, [10.0, None], "2 runs first · then about 40 s"),
        (None, [], "The first run tells how long it takes"),
        (None, [10.0], "1 run first · time not known yet"),
    ],
)
def test_how_long_it_takes_in_words(seconds: float | None, left: list[Any], said: str) -> None:
    assert f">{said}<" in status.likely(seconds, *line(*left).ahead())


@pytest.fixture
def localizing(results: Path) -> Iterator[LocalizeTab]:
    with gr.Blocks() as page:
        yield LocalizeTab(page)


def test_the_form_says_how_long_it_takes(
    localizing: LocalizeTab,
    known: timing.Timings,
    clock: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    form = ("tiny-sdxl", SOURCE, "MOON", "0", 20, 3.0, 0, "")
    assert "first run tells" in localizing.foresee(*form)
    run(known, clock, asked())
    assert "About 20 s on this machine" in localizing.foresee(*form)
    monkeypatch.setattr(limits, "LINE", line(30.0))
    assert "About 50 s in all · 1 run first" in localizing.foresee(*form)
    hint, estimate = localizing.look_at_form(*form)
    assert "4 of 6 letters" in hint
    assert estimate == localizing.foresee(*form)
    monkeypatch.setattr(order.LocalizeOrder, "before", lambda _: "0" * 16)
    assert "opens at once" in localizing.foresee(*form)


@pytest.mark.parametrize(
    "wrong", [{1: ""}, {1: "a sign"}, {0: "nonesuch"}, {3: "x"}, {4: 1e9}, {6: 99}, {7: "9-1"}]
)
def test_what_would_be_refused_has_an_empty_line_of_the_same_height(
    wrong: dict[int, Any], localizing: LocalizeTab
) -> None:
    form = ["tiny-sdxl", SOURCE, "MOON", "0", 20, 3.0, 0, ""]
    for place, value in wrong.items():
        form[place] = value
    assert localizing.foresee(*form) == status.estimate("")
    assert 'class="tl-hint tl-estimate"></p>' in status.estimate("")


def test_a_picture_of_ones_own_is_not_read_for_that(
    known: timing.Timings, clock: SimpleNamespace, tmp_path: Path
) -> None:
    with gr.Blocks() as page, gr.Tab("Edit") as tab:
        editing = EditTab(page, tab)
    form = ["tiny-sdxl", SOURCE, "MOON", str(tmp_path / "none.png"), "0", [], "auto", "", 20, 3.0]
    run(known, clock, edits.read(*form[:3], None, *form[4:]))  # type: ignore[arg-type]
    assert "About 20 s on this machine" in editing.foresee(*form)


def test_a_page_that_is_opened_asks_for_it_with_what_it_asks_for_anyway(
    localizing: LocalizeTab,
) -> None:
    rest = localizing.open_rest(
        localizing.session.value, "tiny-sdxl", SOURCE, "MOON", *["0", 20, 3.0, 0, ""]
    )
    assert "first run tells" in rest[-1]
    assert len(rest) == len(localizing.rest)
    assert localizing.open_rest(localizing.session.value)[-1] == gr.skip()
