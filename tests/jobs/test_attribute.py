"""Attribution as a job: the document, intervals, partial results, figures, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import tiny_pipelines
from textloc import cli
from textloc.checkpoints.loading import Model
from textloc.errors import Cancelled, LayerError, PromptError
from textloc.jobs.attribute import attribute, attribute_stream
from textloc.patching.attribution import shares
from textloc.prompts import Pair, parse_pair
from textloc.results import store
from textloc.results.export import to_table
from textloc.results.plots import FIGURES, map_figure, shares_figure
from textloc.results.sentences import headline, told
from textloc.runs import Run

PAIRS = [parse_pair('a red sign "AB"', "XYZQ"), parse_pair('a blue mug "TEA"', "KLM")]


@pytest.fixture(scope="module")
def model() -> Model:
    torch.set_num_threads(1)
    return tiny_pipelines.sdxl()


@pytest.fixture(scope="module")
def document(model: Model) -> dict[str, Any]:
    return attribute(model, PAIRS, seeds=(0, 1)).document


def test_the_document_holds_what_was_found(model: Model, document: dict[str, Any]) -> None:
    found = document["shares"]
    assert document["complete"]
    assert len(document["layers"]) == len(found["by_layer"]) == len(model.layers)
    assert [len(heads) for heads in found["by_head"]] == [la.heads for la in model.layers]
    assert [step["step"] for step in found["by_step"]] == [0, 1]
    assert [step["remaining"] for step in found["by_step"]] == [3, 2]
    assert [(entry["pair"], entry["seed"]) for entry in found["pairs"]] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    one = shares(model, Run(PAIRS[1].source, 1), Run(PAIRS[1].target, 1))
    assert found["pairs"][3]["by_layer"] == pytest.approx(list(one.by_layer), abs=1e-5)
    assert found["pairs"][3]["steps"][1]["points"] == pytest.approx(one.steps[1].points, abs=1e-5)
    letters = list(found["pairs"][3]["tokens"])
    assert [t["target"] for t in letters] == ["k", "l", "m"]
    assert [t["source"] for t in letters] == ["t", "e", "a"]
    means = np.mean([entry["by_layer"] for entry in found["pairs"]], axis=0)
    assert [layer[0] for layer in found["by_layer"]] == pytest.approx(list(means), abs=1e-5)
    assert found["order"] == sorted(found["order"], key=lambda n: -means[n])
    rows = sum(entry["row_passes"] for entry in found["pairs"])
    assert document["costs"]["attribution"]["denoiser_rows"] == rows
    assert document["timing"]["denoiser_rows"] == rows


def test_what_is_divided_sums_to_what_there_is(document: dict[str, Any]) -> None:
    """Over heads, steps, and letters with what is around them."""
    found = document["shares"]
    for n, (share, _low, _high) in enumerate(found["by_layer"]):
        assert sum(head[0] for head in found["by_head"][n]) == pytest.approx(share, abs=1e-4)
        steps = [step["shares"][n][0] for step in found["by_step"]]
        assert np.mean(steps) == pytest.approx(share, abs=1e-4)
        for entry in found["pairs"]:
            letters = sum(token["shares"][n] for token in entry["tokens"])
            assert letters + entry["around"][n] == pytest.approx(entry["by_layer"][n], abs=1e-4)


def test_letters_of_words_of_unequal_length(document: dict[str, Any]) -> None:
    found = document["shares"]["by_letter"]
    assert [entry["letter"] for entry in found] == [0, 1, 2, 3]
    assert [entry["pairs"] for entry in found] == [2, 2, 2, 1]  # XYZQ alone has a fourth
    assert found[3]["shares"][0][0] is not None


def test_intervals_are_over_pairs_and_over_seeds_of_one(
    model: Model, document: dict[str, Any]
) -> None:
    for share, low, high in document["shares"]["by_layer"]:
        assert low <= share <= high
    seeds = attribute(model, PAIRS[:1], seeds=(0, 1), steps_at=[0]).document["shares"]
    assert all(low <= share <= high for share, low, high in seeds["by_layer"])
    single = attribute(model, PAIRS[:1], steps_at=[0]).document["shares"]
    assert all(low is None and high is None for _, low, high in single["by_layer"])


def test_partial_results(model: Model) -> None:
    events = list(attribute_stream(model, PAIRS))
    done = [event.done for event in events]
    assert sorted(set(done)) == [1, 2, 3, 4]
    assert done == sorted(done)
    assert [event.document["complete"] for event in events] == [False] * (len(done) - 1) + [True]
    assert all(event.total == 4 for event in events)
    first = events[0].document["shares"]
    assert len(first["by_step"]) == 1
    assert first["by_layer"][0][0] is not None
    assert len({event.document["id"] for event in events}) == 1


def test_the_identity_is_what_was_asked(model: Model) -> None:
    ids = {
        attribute(model, PAIRS[:1], **options).document["id"]
        for options in ({}, {"steps_at": [0, 1]}, {"steps_at": (1, 0, 1)})
    }
    assert len(ids) == 1  # the default steps of three are these
    others = [{"points": 9}, {"tolerance": 0.2}, {"seeds": (1,)}, {"steps": 4}, {"guidance": 1.0}]
    for options in others:
        ids.add(attribute(model, PAIRS[:1], **options).document["id"])
    assert len(ids) == 1 + len(others)


def test_it_is_stored_and_shown(document: dict[str, Any], results: Path) -> None:
    json.dumps(document, allow_nan=False)
    store.save(document, {})
    again = store.load(document["id"]).document
    assert again["shares"] == document["shares"]
    assert store.title(again) == "Shares of AB → XYZQ and 1 more"
    rows = to_table(again)
    assert [row["layer"] for row in rows] == list(range(len(again["layers"])))
    assert rows[0]["share"] == again["shares"]["by_layer"][0][0]


def test_what_it_says(document: dict[str, Any]) -> None:
    first = document["shares"]["order"][0]
    assert str(first) in headline(document)
    assert "not that it is enough alone" in told(document)
    shares_of_some = {**document, "shares": {**document["shares"], "reached": False, "error": 0.3}}
    assert "only up to 0.30" in told(shares_of_some)


def test_figures(model: Model, document: dict[str, Any]) -> None:
    count = len(model.layers)
    bar = shares_figure(document)
    assert list(bar.data[0].customdata) == list(range(count))
    for by, lines in (("step", 2), ("head", 3), ("letter", 5), ("pair", 4)):
        figure = map_figure(document, "dark", by)
        assert np.shape(figure.data[0].z) == (lines, count)
        assert figure.data[0].customdata[0][1][:2] == [1, by]
    heads = map_figure(document, by="head").data[0]
    missing = [n for n, layer in enumerate(model.layers) if layer.heads == 1]
    assert missing
    assert all(heads.z[1][n] is None for n in missing)
    step = map_figure(document, by="step").data[0]
    assert step.z[1][2] == document["shares"]["by_step"][1]["shares"][2][0]
    nothing = {**document, "shares": {}}
    for drawn in FIGURES["textloc.attribute"].values():
        assert drawn.draw(nothing, "light").layout.annotations[-1].text == "not looked at yet"


def test_a_prompt_with_markup_is_shown_as_text(model: Model) -> None:
    document = attribute(model, [parse_pair('a sign "<b>"', "<i>")], steps_at=[0]).document
    figure = map_figure(document, by="pair")
    assert "&lt;b&gt;" in figure.data[0].text[0][0]
    assert "<i>" not in str(map_figure(document, by="letter").layout.yaxis.ticktext)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"steps_at": [3]}, LayerError, "0 to 2"),
        ({"steps_at": [-1]}, LayerError, "0 to 2"),
        ({"steps_at": []}, LayerError, "0 to 2"),
        ({"points": 0}, LayerError, "one point"),
        ({"tolerance": 0}, LayerError, "tolerance"),
        ({"steps": 0}, LayerError, "denoising steps"),
        ({"seeds": (1, 1)}, PromptError, "different seeds"),
        ({"source": []}, PromptError, "at least one prompt pair"),
        ({"source": [Pair("x" * 99, 'y "B"', "A", "B")]}, PromptError, "tokens"),
        ({"source": 'a sign "A"', "target": None}, PromptError, "empty"),
    ],
)
def test_bad_input(model: Model, options: dict[str, Any], error: type, said: str) -> None:
    given = {"source": PAIRS, **options}
    with pytest.raises(error, match=said):
        attribute(model, **given)


def test_stopping(model: Model) -> None:
    seen: list[int] = []
    events = attribute_stream(model, PAIRS, cancelled=lambda: bool(seen))
    seen.append(next(events).done)
    with pytest.raises(Cancelled):
        next(events)


def test_the_command_line(shipped: Model, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["attribute", "--source", 'a red sign that says "STOP"', "--target", "LOVE"]
    assert cli.main([*asked, "--steps-at", "0", "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["request"]["steps_at"] == [0]
    assert document["shares"]["order"][:2] == [10, 9]
    assert abs(document["shares"]["error"]) <= 0.05
    assert cli.main([*asked, "--steps-at", "0,x"]) == 2
    assert "cannot read the steps" in capsys.readouterr().err
    assert cli.main([*asked, "--steps-at", "99"]) == 2
    assert "0 to 19" in capsys.readouterr().err
    assert cli.main(["attribute", "--source", 'a sign "A"']) == 2
