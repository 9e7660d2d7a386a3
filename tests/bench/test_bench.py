"""The bench suites on random tiny models."""

from __future__ import annotations

import pytest

from tests import tiny_pipelines
from textloc import cli
from textloc.bench import cost, edit, paper, step, swap
from textloc.checkpoints.loading import Model
from textloc.errors import LayerError, PromptError
from textloc.jobs.edit import edit_stream
from textloc.prompts import parse_pair

PAIRS = [parse_pair('a red sign "AB"', "XYZ"), parse_pair('a mug, blue "CD"', "E")]


@pytest.fixture(scope="module", params=["sd", "sdxl", "sd3"])
def model(request: pytest.FixtureRequest) -> Model:
    builders = {**tiny_pipelines.FAMILIES, **tiny_pipelines.OTHERS}
    return tiny_pipelines.precise(builders[request.param]())


def test_every_swap_is_measured(model: Model) -> None:
    rows = swap.measure(model, PAIRS, [0, 1], seeds=(0, 1))
    names = [row["name"] for row in rows]
    encoders = {"sd": 0, "sdxl": 2, "sd3": 3}
    count = sum("encoder" in name for name in names)
    assert names[:4] == ["no patch", "S:T", "T:S", "T:T"]
    assert count in encoders.values()
    assert ("S:T, quoted tokens alone" in names) == (count != 3)
    assert all(row["pictures"] == 4 for row in rows)
    assert rows[0]["ssim_source"][0] == pytest.approx(1)
    assert all(row["ssim_source"][0] < 1 for row in rows[1:4])
    assert "layers 0-1 patched, 4 pictures a row" in swap.table(rows, [0, 1])


def test_the_quoted_tokens_are_found(model: Model) -> None:
    span = swap.quoted_tokens(model, PAIRS[0])
    if span is not None:
        tokenizer, _ = model.family.readers(model.pipe, model.defaults)[0]
        ids = tokenizer(PAIRS[0].target).input_ids[slice(*span)]
        assert tokenizer.decode(ids).replace(" ", "") == "xyz"


def test_bad_swaps_are_refused(model: Model) -> None:
    with pytest.raises(PromptError, match="at least two"):
        swap.measure(model, PAIRS[:1], [0])
    with pytest.raises(LayerError, match="no text layer 99"):
        swap.measure(model, PAIRS, [99])


@pytest.mark.slow
def test_the_papers_settings_are_measured() -> None:
    small = tiny_pipelines.sdxl()
    result = paper.measure("sdxl", small, PAIRS, seeds=(42, 43), steps=5)
    assert (result["steps"], result["guidance"], result["start_step"]) == (5, 5.0, 0)
    assert result["localized"]["published"] == [55, 56, 57]
    names = [row["name"] for row in result["rows"]]
    assert names[:3] == ["no layer", names[1], "all layers"]
    assert names[1].startswith("best layer alone")
    published = {(r["name"], r["score"]): r["published"] for r in result["rows"]}
    assert published["S:T", "OCR F1 to target"] == 0.324
    assert all(len(row["measured"]) == 3 for row in result["rows"])
    text = paper.table(result)
    assert "sdxl as in the paper, measured on random: 5 steps, guidance 5" in text
    assert "55-57" in text


def test_the_papers_sets_are_counted_on_its_own_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With as many layers as the paper's model, its sets are patched."""
    small = tiny_pipelines.sdxl()
    sets = (((), 1.0, 0.3, 0.2), ((0, 1), 0.9, 0.2, 0.3))
    monkeypatch.setattr(paper, "_layers_of", lambda _name: len(small.layers))
    published = paper.replace(paper.PUBLISHED["sdxl"], sets=sets)
    monkeypatch.setitem(paper.PUBLISHED, "sdxl", published)
    entry = paper.replace(paper.known.find("sdxl"), localized=(1,))
    monkeypatch.setattr(paper.known, "find", lambda _name: entry)
    result = paper.measure("sdxl", small, PAIRS, steps=4)
    rows = {(r["name"], r["score"]): r for r in result["rows"]}
    assert rows["layers 0-1", "SSIM to source"]["published"] == 0.9
    assert rows["layers 0-1", "SSIM to source"]["measured"][0] < 1


def test_the_paper_refuses_other_models() -> None:
    small = tiny_pipelines.sdxl()
    with pytest.raises(PromptError, match="choose one of sdxl, if, sd3"):
        paper.measure("flux-dev", small, PAIRS)
    with pytest.raises(PromptError, match="at least two"):
        paper.measure("sdxl", small, PAIRS[:1])


SMALL = {
    "sdxl": {"block_out_channels": (32, 32, 32), "transformer_layers_per_block": 1},
    "if": {"block_out_channels": (64, 64, 64, 64), "layers_per_block": 1},
    "sd3": {"num_layers": 2},
    "pixart-sigma": {"num_layers": 1},
    "sana-600m": {"num_layers": 1},
}


@pytest.mark.parametrize("name", SMALL)
def test_a_step_is_timed(name: str) -> None:
    row = step.measure(name, dtype="float32", size=64, repeats=1, arguments=SMALL[name])
    assert row["plain_s"] > 0
    assert row["ratio"] == pytest.approx(row["patched_s"] / row["plain_s"])
    assert row["peak_gib"] >= row["weights_gib"] > 0
    assert f"patched at {len(row['layers'])} layers" in step.table(row)


@pytest.mark.slow
def test_what_cannot_be_timed_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LayerError, match="as a sequence"):
        step.measure("flux-dev", size=64, arguments={"num_layers": 1, "num_single_layers": 1})
    assert cli.main(["bench", "step", "--model", "nothing"]) == 2
    assert "choose one of ldm" in capsys.readouterr().err
    assert cli.main(["bench", "step", "--size", "100"]) == 2


@pytest.mark.slow
def test_an_edit_costs_what_its_family_asks_for() -> None:
    """One row a guidance pass where text is static, two in joint attention."""
    pair = parse_pair('a red sign "AB"', "XYZ")
    for model, beside in ((tiny_pipelines.sd(), "plain"), (tiny_pipelines.OTHERS["sd3"](), "two")):
        report = cost.measure(model, pair, [0], repeats=2, methods=["prompt-swap", "inpainting"])
        assert report["beside"].startswith(beside)
        ways = report["ways"]
        assert ways["localized"]["denoiser_rows"] == ways[report["beside"]]["denoiser_rows"]
        assert ways["prompt-swap"]["denoiser_rows"] == ways["plain"]["denoiser_rows"]
        assert ways["inpainting"]["denoiser_rows"] == 2 * ways["plain"]["denoiser_rows"]
        assert ways[report["beside"]]["ratio"] == [1, 1, 1]
        assert "localized" in cost.table(report)
    with pytest.raises(PromptError, match="two repeats"):
        cost.measure(tiny_pipelines.sd(), pair, [0], repeats=1)


def test_the_table_of_edits_says_what_failed() -> None:
    pairs = [parse_pair('a red sign "AB"', "XYZ"), parse_pair('a blue mug "CD"', "EF")]
    methods = ["prompt-swap", "regenerate"]
    *_, last = edit_stream(tiny_pipelines.sd(), pairs, [0], start_step=0, methods=methods)
    rows = edit.rows(last.document)
    assert [row["name"] for row in rows] == ["localized", *methods]
    assert all(row["seconds"] > 0 and row["denoiser_rows"] > 0 for row in rows)
    text = edit.table(last.document, legacy=True, clip={row["name"]: 0.5 for row in rows})
    assert "Localized patching failed on 2" in text
    assert "AB → XYZ" in text
    assert "CLIP-T" in text
    assert "MSE*" in text
    assert len(edit.failures(last.document)) == 2
    assert edit.clip_t(last.document, last.images) is None  # no weights of CLIP here
