"""A click in a map of shares, and the cell that is patched for it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest

from tests import tiny_pipelines
from textloc.checkpoints.loading import Model
from textloc.jobs.attribute import attribute
from textloc.jobs.cell import Cell, cell_stream
from textloc.patching.generation import generate
from textloc.prompts import parse_pair
from textloc.results.inlined import Pictures
from textloc.results.plots import map_figure
from textloc.runs import Patch, Run
from textloc.ui import links, stored
from textloc.ui.localize import replay
from textloc.ui.localize.cells import MAPS, order_of_click
from textloc.ui.localize.tab import LocalizeSession

PAIR = parse_pair('a red sign "AB"', "XYZ")


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_pipelines.sdxl()


@pytest.fixture(scope="module")
def document(model: Model) -> dict[str, Any]:
    found = attribute(model, [PAIR], seeds=(0,)).document
    found["checkpoint"]["name"] = "tiny-sdxl"
    return found


def test_every_cell_of_every_map_names_what_is_patched(document: dict[str, Any]) -> None:
    for _, by in MAPS:
        rows = map_figure(document, "light", by).data[0].customdata
        for row in rows:
            for cell in row:
                custom = [cell[0], cell[1], cell[2]]
                order = order_of_click(document, custom, 0, 0)
                if custom[2] == ["", None]:  # all tokens around the word: no one cell
                    assert order is None
                    continue
                if by == "head" and custom[2] >= len(document["shares"]["by_head"][custom[0]]):
                    assert order is None
                    continue
                assert order is not None
                assert order.layer == custom[0]
                given = {"step": order.steps, "head": order.heads, "letter": order.tokens}
                assert all((value is not None) == (name == by) for name, value in given.items())


def test_a_link_brings_the_map_and_its_cell_back(document: dict[str, Any]) -> None:
    view = stored.view_of(document, Pictures({}.__getitem__), stored=True)
    for by in ("step", "head", "letter", "pair"):
        lines = replay.places(view.document, by)
        assert lines
        looking = LocalizeSession(by=by)
        looking.show(view)
        looking.at = (len(lines) - 1, 2)
        again = LocalizeSession()
        again.show(view)
        links.look(again, dict(parse_qsl(links.query(looking))))
        assert (again.by, again.at) == (by, looking.at)
        again = LocalizeSession()
        again.show(view)
        for cell in ("99.0", "0.99", "-1.0", "0", "0.", "x.y", "²." + "9" * 30, "0.0.0"):
            links.look(again, {"map": by, "cell": cell})
            assert again.at is None
        links.look(again, {"map": "nothing"})
        assert again.by in ("step", by)


@pytest.mark.parametrize(
    "custom",
    [
        *(None, 3, "x", [], [0, "step"], [99, "step", 0], [0, "step", 99], [0, "hope", 0]),
        *([0, "head", 99], [0, "pair", [4, 0]], [0, "pair", 0], [0, "letter", ["no", 0]]),
        *([[], "step", 0], [0, "letter", None]),
    ],
)
def test_a_click_on_nothing_is_none(document: dict[str, Any], custom: Any) -> None:
    assert order_of_click(document, custom, 0, 0) is None


@pytest.mark.parametrize(
    ("cell", "patch"),
    [
        (Cell(0), {}),
        (Cell(1, heads=(0,)), {"heads": (0,)}),
        (Cell(1, steps=(1, 2)), {"start": 1, "stop": 2}),
        (Cell(2, tokens=(3, 5)), {"tokens": (3, 5)}),
    ],
)
def test_a_cell_is_the_patch_that_it_names(model: Model, cell: Cell, patch: dict[str, Any]) -> None:
    *_, last = cell_stream(model, PAIR, cell, seed=1)
    source = Run(PAIR.source, 1)
    run = source.patched(Patch((cell.layer,), Run(PAIR.target, 1), **patch))
    made = {}
    for chunk in generate(model, [source, run], model.defaults, lean=True):
        made |= chunk.images
    assert np.array_equal(last.images["p0-s1-cell"], made[run])
    assert [one["label"] for one in last.document["pictures"]] == ["source", "cell"]
