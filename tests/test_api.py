"""The public face: every job in one typed call."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textloc
from tests import tiny_pipelines
from textloc.checkpoints.loading import Model
from textloc.errors import LayerError, PromptError, TextlocError
from textloc.results.result import Result
from textloc.runs import read_size

SOURCE, TARGET = 'a red sign "AB"', 'a red sign "XYZ"'
JOBS = [name for name in textloc.__all__ if name != "__version__"]


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_pipelines.sdxl()


@pytest.mark.parametrize("name", JOBS)
def test_every_function_tells_how_it_is_used(name: str) -> None:
    function = getattr(textloc, name)
    signature = inspect.signature(function)
    assert not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for word in ("Example:", "Returns:" if name != "guard" else "Yields:"):
        assert word in function.__doc__
    for parameter in signature.parameters:
        assert parameter in function.__doc__, f"{name} does not say what {parameter} is"
    if name != "models":
        assert "Raises:" in function.__doc__


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    heavy = "torch diffusers transformers gradio plotly PIL pandas numpy"
    code = f"import sys, textloc; print(*[m for m in {heavy.split()} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_a_loaded_pipeline_does_for_a_model(model: Model) -> None:
    named = textloc.localize(model, SOURCE, TARGET, layers=[0, 1], search="sweep")
    of_pipe = textloc.localize(
        model.pipe,
        SOURCE,
        TARGET,
        layers="0-1",
        steps=model.defaults.steps,
        guidance=model.defaults.guidance,
        search="sweep",
    )
    assert isinstance(named, Result)
    assert [layer["index"] for layer in of_pipe.document["layers"]] == [0, 1]
    assert set(named.images) == set(of_pipe.images)


def test_edit_and_suppress(model: Model) -> None:
    edited = textloc.edit(model, pairs=[(SOURCE, TARGET)], layers="0-1", start_step=0)
    (edit,) = edited.document["edits"]
    assert edited.images[edit["image"]].size == edited.images[edit["source"]].size
    kept = textloc.suppress(
        model, [SOURCE], words=["AB"], replacements={"AB": "OK"}, layers=(0, 1), unguarded=True
    )
    assert kept.document["prompts"][0]["toxic"]
    assert len(kept.to_pandas()) == 2
    clean = textloc.suppress(model, 'a "OK"', layers=(0,))
    plain = textloc.edit(model, 'a "OK"', 'a "KO"', layers=(0,), start_step=0)
    assert np.array_equal(clean.images["p0-s0-guarded"], plain.images["p0-s0-source"])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"source": SOURCE},
        {"source": SOURCE, "target": TARGET, "pairs": [(SOURCE, TARGET)]},
        {"pairs": [SOURCE]},
        {"pairs": [None]},
        {"pairs": []},
        {"source": "no quotes", "target": TARGET},
    ],
)
def test_bad_pairs_are_told(model: Model, options: dict[str, Any]) -> None:
    with pytest.raises(PromptError):
        textloc.localize(model, **options)


def test_bad_layers_are_told(model: Model) -> None:
    with pytest.raises(LayerError):
        textloc.localize(model, SOURCE, TARGET, layers=[99])
    with pytest.raises(LayerError):
        textloc.edit(model, SOURCE, TARGET, layers=[])


def test_pairs_of_a_file(model: Model, tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text(f"{SOURCE}\t{TARGET}\n", encoding="utf-8")
    found = textloc.localize(model, pairs=file, layers=[0], search="sweep")
    assert found.document["request"]["pairs"][0]["target_text"] == "XYZ"


def test_models_are_a_table() -> None:
    table = textloc.models().to_pandas()
    assert {"tiny-sdxl", "sdxl"} <= set(table["name"])
    assert "<table" in textloc.models()._repr_html_()


@pytest.mark.parametrize("seeds", [np.array([0, 1]), (np.int64(0), 1), range(2), "0,1", [0, 1]])
def test_seeds_as_people_have_them(model: Model, seeds: Any) -> None:
    found = textloc.localize(model, SOURCE, TARGET, layers=[0], search="sweep", seeds=seeds)
    assert found.document["request"]["seeds"] == [0, 1]


@pytest.mark.parametrize(
    "options",
    [
        *({"seeds": seeds} for seeds in ([1.5], [True], ["a"], [None], [2**70], [], 1.5, "x")),
        *({"steps": steps} for steps in ("4", 1.5, 0, -1, 10**6, True)),
        *({"guidance": scale} for scale in ("x", float("nan"), float("inf"))),
        *({"start_step": start} for start in (0.5, "0", -1, 99)),
        *({"layers": layers} for layers in (1.5, [1.5], ["0"], "x", [])),
        *({"size": size} for size in ("x", 0, (1, 2, 3), 1.5, "512x")),
        *({"share": share} for share in ("x", None, 0, 2)),
        *({"image": image} for image in ("mine.png", np.zeros((8, 8, 3), np.uint8))),
        *({"source": source} for source in (3, ["a"], b"x", Path("x"))),
    ],
    ids=str,
)
def test_wrong_values_are_told_in_words(model: Model, options: dict[str, Any]) -> None:
    asked = {"source": SOURCE, "target": TARGET, "layers": [0], "search": "sweep", **options}
    with pytest.raises(TextlocError):
        textloc.localize(model, **asked)


def test_numbers_of_any_kind(model: Model) -> None:
    usual = {"search": "sweep", "steps": 2}
    found = textloc.localize(
        model, SOURCE, TARGET, layers=np.array([0, 1, 1]), guidance=np.float32(3), **usual
    )
    assert found.document["request"]["layers"] == [0, 1]
    assert found.document["request"]["guidance"] == 3
    found = textloc.localize(model, SOURCE, TARGET, layers=np.int64(1), **usual)
    assert found.document["request"]["layers"] == [1]
    for steps_at in (np.array([0]), np.int64(0), 0):
        shares = textloc.attribute(model, SOURCE, TARGET, steps=2, steps_at=steps_at)
        assert shares.document["request"]["steps_at"] == [0]


@pytest.mark.parametrize("size", [16, "16", "16x16", np.int64(16), (np.int64(16), 16), [16, 16]])
def test_a_size_as_people_have_it(size: Any) -> None:
    assert read_size(size) == (16, 16)


def test_a_word_alone_is_a_word(model: Model) -> None:
    for words in ("AB", ("AB",)):
        kept = textloc.suppress(model, SOURCE, words=words, replacements={"AB": "OK"}, layers=(0,))
        assert kept.document["prompts"][0]["toxic"]
    with pytest.raises(TextlocError, match="is no word"):
        textloc.suppress(model, SOURCE, words=[3], layers=(0,))  # type: ignore[list-item]


def test_what_cannot_be_judged_names_no_layer(model: Model) -> None:
    """An untrained model writes nothing that OCR reads."""
    found = textloc.localize(model, SOURCE, TARGET)
    assert "cannot be judged" in repr(found)
    assert found.document["selected"] == []
    assert not found.document["selection"]["reached"]
