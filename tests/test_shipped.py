"""What travels with the project: checkpoints that spell, and results that are theirs."""

from __future__ import annotations

import json

import pytest

from textloc import checkpoints, store
from textloc.checkpoints import Model
from textloc.known import KNOWN
from textloc.localize import localize
from textloc.paths import CHECKPOINTS, ROOT, WORDS
from textloc.prompts import parse_pair
from textloc.tiny import evaluate, words

RESULTS = ROOT / "cached_results"
SHIPPED = [entry.name for entry in KNOWN if entry.shipped]


@pytest.fixture(scope="module", params=SHIPPED)
def checkpoint(request: pytest.FixtureRequest) -> Model:
    """Each shipped checkpoint."""
    return checkpoints.load(request.param)


def shipped_results() -> list[str]:
    return sorted(folder.name for folder in RESULTS.iterdir() if folder.is_dir())


def test_at_least_three_results_are_shipped_and_one_is_the_default() -> None:
    assert len(shipped_results()) >= 3
    default = json.loads((RESULTS / "index.json").read_text(encoding="utf-8"))["default"]
    assert store.default_id(RESULTS) == default
    assert default in shipped_results()


@pytest.mark.parametrize("result", shipped_results())
def test_shipped_results_are_those_of_the_shipped_weights(result: str) -> None:
    document = store.load(result, RESULTS).document
    checkpoint = document["checkpoint"]
    assert checkpoint["digest"] == checkpoints.digest(CHECKPOINTS / checkpoint["name"])
    assert document["complete"]


@pytest.mark.parametrize("name", SHIPPED)
def test_files_stay_small(name: str) -> None:
    folder = CHECKPOINTS / name
    assert (folder / "README.md").is_file()
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    assert max(sizes) <= 10_000_000
    assert sum(sizes) <= 30_000_000


@pytest.mark.slow
def test_a_shipped_checkpoint_spells(checkpoint: Model) -> None:
    """A third of the words that it is measured with; the model card has the whole measurement."""
    listed = words.read_list(WORDS / "evaluation.txt")[::3]
    spelled, _ = evaluate.spell(checkpoint, evaluate.ask(listed, "plain"))
    assert sum(s.exact for s in spelled) >= 0.5 * len(spelled)
    assert sum(s.scene_right for s in spelled) >= 0.9 * len(spelled)


@pytest.mark.slow
def test_a_shipped_checkpoint_has_layers_that_write(checkpoint: Model) -> None:
    pairs = [
        parse_pair('a red sign that says "STOP"', "LOVE"),
        parse_pair('a blue mug that says "RAIN"', "HOPE"),
    ]
    document = localize(checkpoint, pairs).document
    assert document["ceiling"] > document["floor"] + 0.3
    assert 0 < len(document["selected"]) <= len(checkpoint.layers) // 2
    chosen = next(e for e in document["sets"] if e["layers"] == document["selected"])
    untouched = document["references"]["source"]["scores"]
    assert chosen["scores"]["effect"] >= 0.9
    assert chosen["scores"]["ocr_f1_source"] < untouched["ocr_f1_source"]
    assert document["fraction_of_parameters"] < 0.1
