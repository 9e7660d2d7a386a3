"""LoRA on the localized layers beside LoRA on others, and localizations before and after."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from tests.documents import localize_document
from tests.finetuning.conftest import folder  # noqa: F401  (a fixture)
from tests.finetuning.test_training import settings
from tests.tiny_pipelines import FAMILIES
from textloc.bench import lora
from textloc.cli import main
from textloc.errors import PromptError, StoreError
from textloc.finetuning.encoded import Filter
from textloc.finetuning.training import Progress
from textloc.results import compare, store

PROMPTS = """# a comment
words\ta sign "AB"
words\ta book "CD"

new\ta mug "12"
variety\ta sign "X"
variety\ta book "Y"
"""


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.tsv"
    path.write_text(PROMPTS)
    return path


def bench(place: Path, prompts: Path, out: Path, seeds: tuple[int, ...] = (0, 1)) -> lora.Bench:
    return lora.Bench(
        FAMILIES["sdxl"](),
        str(place),
        (1,),
        settings(steps=4),
        seeds,
        lora.read_prompts(prompts),
        out,
        Filter(),
        pictures=3,
        points=2,
    )


def test_prompts_by_group(prompts: Path) -> None:
    found = lora.read_prompts(prompts)
    assert [one.group for one in found] == ["words", "words", "new", "variety", "variety"]
    assert found[2].text == "12"
    prompts.write_text('words a sign "AB"\n')
    with pytest.raises(PromptError, match="line 1: a line is a group and a prompt"):
        lora.read_prompts(prompts)
    prompts.write_text("words\ta sign\n")
    with pytest.raises(PromptError, match="line 1: the prompt 'a sign' quotes no text"):
        lora.read_prompts(prompts)
    prompts.write_text('words\ta sign "AB"\n')
    with pytest.raises(PromptError, match="'variety'"):
        lora.read_prompts(prompts)


def test_random_layers_are_others() -> None:
    model = FAMILIES["sdxl"]()
    count = len(model.layers)
    found = lora.choices(model, (1,), (0, 1, 2, 3))
    assert found["localized"] == [(1,)] * 4
    assert found["text"][0] == tuple(range(count))
    assert found["attention"] == [None] * 4
    assert all(len(one) == 1 and 1 not in one for one in found["random"])
    assert len(set(found["random"])) > 1
    assert found["random"][1:] == lora.choices(model, (1,), (1, 2, 3))["random"]


@pytest.mark.slow
def test_a_comparison_is_trained_measured_and_stored(
    folder: Path,  # noqa: F811
    prompts: Path,
    tmp_path: Path,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    looked = mock.Mock(side_effect=lora.Bench._look, autospec=True)
    monkeypatch.setattr(lora.Bench, "_look", lambda *args: looked(*args))
    seen: list[tuple[str, Progress]] = list(bench(folder, prompts, out).run())
    names = list(dict.fromkeys(name for name, _ in seen))
    assert names == [
        f"{n}-{s}" for s in (0, 1) for n in ("localized", "text", "attention", "random")
    ]
    assert looked.call_count == 1 + 2 * len(names)  # the base once, each run at 2 and 4 steps
    again = bench(folder, prompts, out)
    assert list(again.run()) == []
    document, images = again.result()
    assert [choice["name"] for choice in document["choices"]] == list(lora.TITLES)
    base, localized, text, attention, _ = document["choices"]
    assert base["parameters"] == 0
    assert base["curves"] == []
    assert 0 < localized["parameters"] < text["parameters"] < attention["parameters"]
    for choice in document["choices"]:
        assert set(choice["scores"]) == {"words", "new"}
        assert 0 <= choice["recall"][0] <= 1
    assert [p["step"] for p in localized["curves"][0]["points"]] == [0, 2, 4]
    for choice in document["choices"][1:]:
        last = [curve["points"][-1]["letters words"] for curve in choice["curves"]]
        assert sum(last) / len(last) == pytest.approx(choice["scores"]["words"]["characters"][0])
    assert {p["prompt"] for p in document["pictures"]} == {
        'a sign "AB"',
        'a book "CD"',
        'a mug "12"',
    }
    assert len(images) == 15
    assert "Every attention" in lora.table(document)
    store.save(document, images)
    assert store.load(document["id"]).document["groups"] == ["words", "new"]
    assert store.title(document).startswith("LoRA of random")


def test_the_weights_counted_are_those_that_are_written(
    folder: Path,  # noqa: F811
    prompts: Path,
    tmp_path: Path,
) -> None:
    from safetensors.torch import load_file

    from textloc.checkpoints.loras import FILE

    made = bench(folder, prompts, tmp_path / "out", (0,))
    made.only = ("localized",)
    list(made.run())
    document, _ = made.result()
    written = load_file(tmp_path / "out" / "localized-0" / FILE)
    (localized,) = (one for one in document["choices"] if one["name"] == "localized")
    assert localized["parameters"] == sum(value.numel() for value in written.values())


def test_nothing_finished(prompts: Path, tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="no run"):
        bench(tmp_path, prompts, tmp_path / "out").result()


def test_the_command_names_the_choices(
    prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["bench", "lora", "--data", "scenes:digits:20", "--eval", str(prompts)]
    assert main([*asked, "--out", str(tmp_path), "--choices", "all"]) == 2
    assert "unknown choices all; use localized, text, attention, random" in capsys.readouterr().err


# ---------------------------------------------------------------------------- before and after


def moved() -> tuple[dict[str, Any], dict[str, Any]]:
    """A localization, and one whose layer 0 does what its strongest layer did."""
    first, _ = localize_document()
    second = copy.deepcopy(first)
    layers = second["layers"]
    strongest = max(range(len(layers)), key=lambda i: layers[i]["scores"]["effect"])
    layers[0]["scores"], layers[strongest]["scores"] = (
        layers[strongest]["scores"],
        layers[0]["scores"],
    )
    second["selected"] = [0]
    return first, second


def test_layers_that_stay_and_layers_that_move() -> None:
    first, second = moved()
    same = compare.drift(first, first)
    assert same["rank_correlation"] == pytest.approx(1)
    assert same["overlap"] == 1
    assert not any(layer["apart"] for layer in same["layers"])
    other = compare.drift(first, second)
    assert other["overlap"] == 0
    assert other["rank_correlation"] < 1
    assert np.isclose(
        other["layers"][0]["values"][1][0],
        max(layer["scores"]["effect"] for layer in first["layers"]),
    )
    assert "in common" in compare.table(other)
    assert "was read by" not in compare.table(other)
    read_otherwise = {**other, "readers": ["rapidocr 3", "easyocr 1"]}
    assert "the first was read by rapidocr 3, the second by easyocr 1" in compare.table(
        read_otherwise
    )


def test_unlike_localizations_are_refused() -> None:
    first, second = moved()
    second["layers"][0]["name"] = "elsewhere"
    with pytest.raises(StoreError, match="different layers"):
        compare.drift(first, second)
    with pytest.raises(StoreError, match="only localizations"):
        compare.drift(first, {"schema": "textloc.edit/1"})


def test_the_command_compares_stored_localizations(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document, images = localize_document()
    store.save(document, images)
    assert main(["compare", document["id"], document["id"], "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["rank_correlation"] == pytest.approx(1)
    assert main(["compare", document["id"], "0" * 16]) == 2
