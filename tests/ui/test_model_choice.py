"""The model that is chosen: a stored result of it is shown, and it stays loaded."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from tests.documents import localize_document
from textloc.checkpoints import loading
from textloc.results import store
from textloc.ui import live, settings
from textloc.ui.edit.tab import EditTab
from textloc.ui.localize import order
from textloc.ui.localize.tab import LocalizeSession, LocalizeTab
from textloc.ui.runner import loaded, places, worker
from textloc.ui.suppress.tab import SuppressTab


def test_a_stored_result_of_the_model_that_is_chosen_is_shown(results: Path) -> None:
    usual, other = localize_document(), localize_document(70)
    for document, images in (usual, other):
        store.save(document, images)
    (results / "index.json").write_text(json.dumps({"textloc.localize": usual[0]["id"]}))
    with gr.Blocks() as page:
        tab = LocalizeTab(page)
    session = LocalizeSession()
    tab.open(session, None)  # type: ignore[arg-type]
    count = len(tab._first) + 2

    def shown(model: str) -> list[Any]:
        values = tab.open_of_model(session, model)
        assert len(values) == count  # what the visitor wrote in the form stays
        return values

    assert session.view is not None
    assert shown("example-11") == [gr.skip()] * count  # it is shown already
    assert shown("example-3") == [gr.skip()] * count
    values = shown("example-70")
    assert session.view.document["id"] == other[0]["id"] == values[-1].value
    again = tab.open_stored(session, other[0]["id"])  # as tabbing past the list asks
    assert again == [gr.skip()] * len(tab.opened)
    assert tab.open_stored(session, None) == again  # nothing was chosen in it
    assert session.follow
    session.job = live.Job(order.read("tiny-sdxl", 'a "STOP"', "LOVE", "0", 2, 3.0, 0, ""))
    assert shown("example-11") == [gr.skip()] * count  # a run is shown as it grows
    session.job.stop()


def test_layers_and_steps_of_the_last_model_are_not_asked_of_the_next() -> None:
    """A stored edit fills the form with its start step and layers; another model has others."""
    with gr.Blocks() as page:
        localize = LocalizeTab(page)
        with gr.Tab() as tab:
            edit = EditTab(page, tab)
            suppress = SuppressTab(tab)
    for form, fields in (
        (localize, {localize.start: 0, localize.layers: ""}),
        (edit, {edit.start: "auto", edit.layers: "auto"}),
        (suppress, {suppress.layers: "auto"}),
    ):
        assert form._of_model == list(fields)
        assert form._asked_of("tiny-sd3")[2:] == list(fields.values())
        assert form._asked_of(None) == [gr.skip()] * (2 + len(fields))  # it was chosen before
        chosen = [
            listener
            for listener in page.fns.values()
            if (form.model._id, "input") in listener.targets and form.steps in listener.outputs
        ]
        assert [listener.outputs for listener in chosen] == [[form.steps, form.guidance, *fields]]


@pytest.mark.slow
def test_models_stay_loaded_as_far_as_the_memory_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[str] = []
    sizes: dict[str, int | None] = {"a/small": 10, "a/other": 10, "a/large": 25, "a/unknown": None}

    def load(name: str) -> Any:
        times.append(name)
        return SimpleNamespace(name=name)

    monkeypatch.setattr(loading, "load", load)
    monkeypatch.setattr(loaded, "_kept", type(loaded._kept)())
    monkeypatch.setattr(loaded, "_size", sizes.__getitem__)
    free = lambda: 100 - sum(sizes[name] or 50 for name, _ in loaded._kept)  # noqa: E731
    monkeypatch.setattr(loaded, "_free", free)
    for name in ("a/small", "a/other", "a/small", "a/other"):
        assert loaded.load(name).name == name
    assert times == ["a/small", "a/other"]
    loaded.load("a/small")
    loaded.load("a/large")  # three times 25 bytes, and 80 are free
    loaded.load("a/large")
    assert [name for name, _ in loaded._kept] == ["a/other", "a/small", "a/large"]
    sizes["a/large"] = 21
    loaded.load("a/unknown")
    assert [name for name, _ in loaded._kept] == ["a/unknown"]
    loaded.load("a/small")
    sizes["a/large"] = 30
    loaded.load("a/large")
    assert [name for name, _ in loaded._kept] == ["a/small", "a/large"]  # the older one went


@pytest.mark.parametrize(
    ("public", "gpu", "worker_", "asked"),
    [
        (True, 2**34, True, ["tiny-ldm"]),
        (True, None, True, []),
        (False, 2**34, True, []),
        (True, 2**34, False, []),
    ],
)
def test_the_first_model_is_loaded_at_the_start_of_a_public_page_with_a_gpu(
    public: bool, gpu: int | None, worker_: bool, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTLOC_MODELS", "tiny-ldm,tiny-sdxl")
    here = replace(settings.read(), public=public, worker=worker_)
    monkeypatch.setattr(settings, "read", lambda: here)
    monkeypatch.setattr(places.hardware, "gpu_memory", lambda: gpu)
    told: list[str] = []
    monkeypatch.setattr(worker, "started", lambda: SimpleNamespace(load=told.append))
    places.prepare()
    assert told == asked
