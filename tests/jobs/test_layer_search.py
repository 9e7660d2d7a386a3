"""Localization by attribution: the order, the bisection, what is dropped, what is claimed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny_pipelines
from tests.jobs.test_localize import MadeUp
from textloc.checkpoints.loading import Model
from textloc.errors import LayerError, PromptError
from textloc.jobs import localize
from textloc.jobs.layer_search import SearchByShares
from textloc.jobs.localize import localize_stream
from textloc.prompts import parse_pair
from textloc.results import store
from textloc.results.identity import request_id
from textloc.results.plots import FIGURES
from textloc.results.sentences import told

PAIR = parse_pair('a red sign "AB"', "XYZ")


@pytest.fixture(scope="module")
def model() -> Model:
    torch.set_num_threads(1)
    return tiny_pipelines.sdxl()


def searched(
    model: Model, order: tuple[int, ...], needed: set[int], layers: tuple[int, ...] | None = None
) -> tuple[SearchByShares, list[tuple[int, ...]]]:
    """A search in this order with made-up readings, and the sets that it tried."""
    count = len(model.layers)
    job = SearchByShares(
        model=model,
        sampling=model.defaults,
        engine="auto",
        seeds=(0,),
        pairs=(PAIR,),
        start_step=0,
        layers=layers or tuple(range(count)),
        share=0.9,
    )
    job.scores = MadeUp((PAIR,), (0,), count, job.images, job.readings)
    job.scores.needed = job.scores.whole = frozenset(needed)
    job.order = order
    job.sets = [()]
    tried: list[tuple[int, ...]] = []

    def patched(_what: str, sets: Any, _pairs: Any) -> Any:
        tried.extend(sets)
        return iter(())

    job.patched = patched  # type: ignore[method-assign]
    for _ in job.search([0]):
        pass
    return job, tried


def test_the_shortest_prefix_and_of_it_what_is_needed(model: Model) -> None:
    order = (5, 3, 8, 0, 9, 1, 2, 4, 6, 7, 10)
    for needed in ({5}, {5, 8}, {3, 8}, {9}, {5, 3, 8, 0, 9}, {10}, {7, 10, 5}, set(range(11))):
        job, tried = searched(model, order, needed)
        assert set(job.selected) == needed
        assert job.reached
        assert job.prefix == 1 + max(order.index(layer) for layer in needed)
        assert set(job.sets[-1]) == needed
        assert len(set(tried)) <= 4 + 3 * (1 + len(needed)) * 4
    job, tried = searched(model, order, {5, 3})
    assert len(set(tried)) <= 6


def test_the_set_is_made_of_the_layers_that_were_asked_for(model: Model) -> None:
    job, _ = searched(model, (3, 1, 2), {1, 2}, layers=(1, 2, 3))
    assert job.selected == (1, 2)
    short, tried = searched(model, (3, 1, 2), {1, 9}, layers=(1, 2, 3))
    assert not short.reached
    assert short.selected == ()
    assert tried == [(1, 2, 3)]


def test_the_document(model: Model, results: Path) -> None:
    events = list(localize_stream(model, [PAIR], seeds=(0, 1), search="attribution"))
    first, last = events[0].document, events[-1].document
    assert first["layers"] == []
    assert first["shares"]["by_layer"]
    assert not first["references"]
    assert last["complete"]
    assert last["request"]["search"] == last["selection"]["search"] == "attribution"
    assert last["selection"]["order"] == last["shares"]["order"]
    assert last["layers"] == [] or all(
        len(entry["read"]) == 2 for entry in last["layers"]
    )  # only what was generated
    assert last["costs"]["attribution"]["denoiser_rows"] > 0
    if last["selected"]:
        missed = last["selection"]["missed"]
        others = set(range(len(model.layers))) - set(last["selected"])
        assert set(missed["patched_without_the_set"][0]["layers"]) == others
        outside = sum(abs(last["shares"]["by_layer"][n][0]) for n in others)
        assert missed["share_outside"] == pytest.approx(outside)
    json.dumps(last, allow_nan=False)
    store.save(last, events[-1].images)
    assert store.load(last["id"]).document["selected"] == last["selected"]
    for event in (events[0], events[-1]):
        assert told(event.document)
        for figure in FIGURES["textloc.localize"].values():
            assert figure.draw(event.document, "light") is not None


def test_layers_alone_are_measured_where_they_are_asked_for(model: Model) -> None:
    *_, last = localize_stream(model, [PAIR], search="attribution", alone=[4, 2])
    assert {2, 4} <= {layer["index"] for layer in last.document["layers"]}
    assert last.document["request"]["alone"] == [2, 4]


def test_a_sweep_is_asked_as_ever(model: Model) -> None:
    """Its request says nothing of searches, so stored results keep their IDs."""
    *_, plain = localize_stream(model, [PAIR], steps=1)
    *_, named = localize_stream(model, [PAIR], steps=1, search="sweep")
    *_, other = localize_stream(model, [PAIR], steps=1, search="attribution")
    assert plain.document["request"] == named.document["request"]
    assert set(plain.document["request"]) == {
        *("job", "checkpoint", "seeds", "steps", "guidance", "height", "width", "ocr", "dtype"),
        *("pairs", "start_step", "layers", "share"),
    }
    assert other.document["id"] != plain.document["id"] == request_id(plain.document["request"])


def test_steps_begin_where_patching_does(model: Model) -> None:
    *_, last = localize_stream(model, [PAIR], search="attribution", start_step=1)
    assert [step["step"] for step in last.document["shares"]["by_step"]] == [1]
    with pytest.raises(LayerError, match="--search sweep"):
        localize_stream(model, [PAIR], search="attribution", start_step=3)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"search": "magic"}, PromptError, "no search 'magic'; there are auto, attribution, sweep"),
        ({"search": "attribution", "alone": [99]}, LayerError, "no text layer 99"),
    ],
)
def test_bad_input(model: Model, options: dict[str, Any], error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        localize.localize(model, [PAIR], **options)


@pytest.mark.slow
def test_the_shipped_checkpoint(shipped: Model) -> None:
    """Words of unequal length need the layer that places them (README: 8 to 10); in fewer
    pictures than a layer each."""
    pair = parse_pair('a red sign that says "STOP"', "GARDEN")
    *_, last = localize_stream(shipped, [pair], search="attribution")
    assert last.document["selected"] == [8, 9, 10]
    assert last.document["selection"]["missed"]["share_outside"] < 0.1
    made = sum(last.document["costs"][name]["images"] for name in ("references", "sets"))
    assert made <= 10
