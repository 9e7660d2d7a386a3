"""The benches of attribution and of the search, on small models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from tests import tiny_pipelines
from textloc import cli
from textloc.bench import attribution, rankings, search
from textloc.checkpoints.loading import Model
from textloc.patching.attribution import on_the_way, record, shares
from textloc.prompts import parse_pair
from textloc.runs import Run

PAIRS = [parse_pair('a red sign "AB"', "XYZ"), parse_pair('a blue mug "TEA"', "KLM")]


@pytest.fixture(scope="module")
def model() -> Model:
    torch.set_num_threads(1)
    return tiny_pipelines.sdxl()


@pytest.fixture(scope="module")
def result(model: Model) -> dict[str, Any]:
    return search.measure(model, PAIRS, cells=1)


@pytest.mark.slow
def test_both_searches_are_compared(model: Model, result: dict[str, Any]) -> None:
    json.dumps(result, allow_nan=False)
    assert [entry["words"] for entry in result["pairs"]] == [["AB", "XYZ"], ["TEA", "KLM"]]
    for entry in result["pairs"]:
        one, other = entry["attribution"], entry["sweep"]
        assert other["pictures"] >= len(model.layers)
        assert one["rows"] > one["ranking_rows"] > 0
        assert other["ranking_rows"] == 0
        assert len(one["held_out"]) == len(other["held_out"]) == 1
        assert set(entry["rankings"]) == {"shares", *rankings.RIVALS, "random order"}
        for ranking in entry["rankings"].values():
            assert sorted(ranking["order"]) == list(range(len(model.layers)))
            assert set(ranking["set"]) <= set(ranking["order"][: ranking["prefix"]])
    summary = result["summary"]
    assert summary["both"] <= min(summary["no_larger"], summary["no_less_exact"]) <= 2
    for name, (mean, *_rest) in result["agreement"].items():
        assert name.startswith("head, ") or -1 <= mean <= 1
    text = search.table(result)
    assert "held-out" in text
    assert "block removal" in text


@pytest.mark.slow
def test_shares_rank_layers_as_patching_does(result: dict[str, Any]) -> None:
    """Better than a random order, by what is lost without a layer."""
    found = result["agreement"]
    assert found["layer, shares, lost without it"][0] > 0.3
    assert (
        found["layer, shares, lost without it"][0]
        > found["layer, random order, lost without it"][0]
    )


class Read(search._Pictures):
    """Pictures that say the target's word where layers 0 and 2 are patched."""

    def make(self, runs: Sequence[Run]) -> None:
        for run in runs:
            layers = {layer for patch in run.patches for layer in patch.layers}
            self.texts[run] = "XYZ" if {0, 2} <= layers else "AB"
            self.arrays[run] = np.zeros(3)


def test_all_sets_where_layers_are_few() -> None:
    model = tiny_pipelines.OTHERS["sd3"]()
    truth = search._truth(search._Pair(Read(model, "auto", lambda _count: None), PAIRS[0], 0))
    assert truth == {"sets": 8, "reach": 2, "smallest": [[0, 2]]}
    result = search.measure(model, PAIRS, compare=0, exhaustive=1)
    assert result["pairs"][0]["truth"]["sets"] == 2 ** len(model.layers)
    assert "truth" not in result["pairs"][1]
    assert "sets" in search.table(result)


def test_rank_correlation() -> None:
    assert search._rank_correlation([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert search._rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert np.isnan(search._rank_correlation([1, 1, 1], [1, 2, 3]))
    assert np.isnan(search._rank_correlation([1, 2, 3], [1, float("nan"), 3]))


def test_rankings(model: Model) -> None:
    """The derivative at the source, what a layer's attention gets of the word, and the prediction
    without a layer's text: each against a version by hand."""
    source, target = Run(PAIRS[0].source), Run(PAIRS[0].target)
    found = rankings.rank(model, source, target, (0,))
    assert set(found) == set(rankings.RIVALS)
    recorded, _ = record(model, source, target, model.defaults, [0], lambda: False)
    with on_the_way(model, recorded[0]) as path:
        derivatives, _ = path.look([0.0])
        start = path.start.clone()
    assert found["first-order"][0] == pytest.approx([float(d.sum()) for d in derivatives], abs=1e-6)
    layer = model.layers[3]
    value = model.denoiser.get_submodule(layer.value)
    handle = value.register_forward_hook(lambda _m, _a, out: torch.zeros_like(out))
    with torch.no_grad():
        without = model.denoiser(**recorded[0].source)[0]
    handle.remove()
    assert found["block removal"][0][3] == pytest.approx(float((without - start).norm()), rel=1e-4)
    word = [t.index for t in shares(model, source, target).tokens if t.letter is not None]
    given: list[torch.Tensor] = []
    output = model.denoiser.get_submodule(f"{layer.name}.to_out.0")
    handles = [output.register_forward_hook(lambda _m, _a, out: given.append(out))]
    with torch.no_grad():
        model.denoiser(**recorded[0].source)

        def silent(_m: Any, _a: Any, out: torch.Tensor) -> torch.Tensor:
            out = out.clone()
            out[:, word] = 0
            return out

        handles.append(value.register_forward_hook(silent))
        model.denoiser(**recorded[0].source)
    for handle in handles:
        handle.remove()
    expected = float((given[0] - given[1]).norm(dim=-1).mean())
    assert found["attention contribution"][0][3] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_points_bring_the_sum_to_one() -> None:
    rows = attribution.points(tiny_pipelines.ldm(), PAIRS, [0, 1], limits=(2, 8, 32))
    adaptive = {row["limit"]: row for row in rows if row["rule"] == "adaptive"}
    assert adaptive[32]["within"] == 1
    assert adaptive[32]["error"] <= 0.05
    assert adaptive[2]["points"] == 2
    assert adaptive[8]["points"] <= 8
    assert adaptive[32]["apart"] == 0
    assert {row["rule"] for row in rows} == {"adaptive", "midpoints", "Gauss-Legendre"}
    assert all(row["steps"] == 4 for row in rows)
    assert "Gauss-Legendre" in attribution.points_table("random", rows)


@pytest.mark.parametrize("name", ["sdxl", "sd3"])
def test_full_size_made_small(name: str) -> None:
    small: dict[str, dict[str, Any]] = {
        "sdxl": {
            "block_out_channels": (32, 64, 64),
            "attention_head_dim": (1, 2, 2),
            "transformer_layers_per_block": (1, 1, 2),
            "cross_attention_dim": 48,
            "projection_class_embeddings_input_dim": 6 * 256 + 32,
        },
        "sd3": {
            "num_layers": 2,
            "num_attention_heads": 2,
            "attention_head_dim": 16,
            "joint_attention_dim": 48,
            "caption_projection_dim": 32,
            "pooled_projection_dim": 32,
        },
    }
    said: list[str] = []
    row = attribution.full_size(
        name, dtype="float32", size=64, arguments=small[name], progress=said.append
    )
    assert row["text_layers"] > 1
    assert min(row["pass_s"], row["look_s"], row["checkpointed_s"]) > 0
    assert len(said) == 4
    assert "without" in attribution.full_size_table(row)


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    for asked, said in (
        (["attribution", "--full", "magic"], "no full-size 'magic'"),
        (["attribution", "--full", "sdxl", "--size", "100"], "multiple of 64"),
        (["attribution", "--count", "0"], "at least 1"),
        (["search", "--count", "1"], "two pairs"),
        (["search", "--cells", "-1"], "0 or more"),
    ):
        assert cli.main(["bench", *asked]) == 2
        assert said in capsys.readouterr().err
