"""The command line: output, exit status, one-line errors."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.documents import localize_document
from textloc import cli
from textloc.checkpoints.loading import Model
from textloc.errors import PromptError
from textloc.paths import CHECKPOINTS, ROOT
from textloc.results import store
from textloc.runs import parse_seeds

SOURCE = 'a red sign that says "STOP"'


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "textloc", *arguments], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.slow
def test_json_on_standard_output_is_one_document(shipped: Model, results: Path) -> None:
    done = run(
        "localize", "--source", SOURCE, "--target", "LOVE", "--layers", "8-9", "--steps", "6",
        "--save", "--json", "-",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    expected = {"schema", "id", "request", "layers", "floor", "ceiling", "selected",
                "fraction_of_parameters", "timing"}  # fmt: skip
    assert expected <= document.keys()
    assert [layer["index"] for layer in document["layers"]] == [8, 9]
    layer = document["layers"][0]
    assert {"index", "name", "kv_parameters", "read", "scores"} <= layer.keys()
    assert {"ocr_f1_target", "ocr_f1_source", "exact_target", "ssim_source", "effect"} <= layer[
        "scores"
    ].keys()
    assert "saved" in done.stderr
    assert store.load(document["id"]).document["request"] == document["request"]


def test_show_prints_stored_results(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document, images = localize_document()
    store.save(document, images)
    assert cli.main(["show"]) == 0
    assert document["id"] in capsys.readouterr().out
    assert cli.main(["show", document["id"]]) == 0
    shown = capsys.readouterr().out
    assert f"result {document['id']}" in shown
    assert " all " in shown
    assert cli.main(["show", document["id"], "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == document["id"]
    assert cli.main(["show", document["id"], "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(document["layers"])
    assert cli.main(["show", document["id"], "--zip", str(results / "packed.zip")]) == 0
    assert f"{document['id']}/result.json" in ZipFile(results / "packed.zip").namelist()


def test_models_lists_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    assert "tiny-sdxl" in capsys.readouterr().out
    assert cli.main(["models", "--json", "-"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["sdxl"]["localized"] == [55, 56, 57]
    assert rows["sd-1.5"]["localized"] is None


needs_shipped = pytest.mark.skipif(
    not (CHECKPOINTS / "tiny-sdxl" / "model_index.json").is_file(), reason="tiny-sdxl not shipped"
)
pair = ["--source", SOURCE, "--target", "LOVE"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "a red sign", "--target", "LOVE"], "quotes no text"),
        (["--source", 'a sign that says ""', "--target", "LOVE"], "empty text"),
        (["--source", SOURCE], "give --source and --target"),
        ([], "give --source and --target"),
        (["--source", SOURCE, "--target", "stop"], "another word"),
        (["--pairs", "no-such-file.tsv"], "cannot read"),
        ([*pair, "--seeds", "one"], "cannot read the seeds"),
        ([*pair, "--model", "no-such-model"], "there is no checkpoint"),
        ([*pair, "--json", "no-such-folder/x.json"], "no folder"),
        pytest.param([*pair, "--layers", "99"], "no text layer 99", marks=needs_shipped),
        pytest.param([*pair, "--layers", "nine"], "cannot read the layers", marks=needs_shipped),
        pytest.param([*pair, "--ocr", "eyes"], "OCR engine", marks=needs_shipped),
        pytest.param([*pair, "--start-step", "99"], "start step", marks=needs_shipped),
        pytest.param(["--source", SOURCE, "--target", "ÄÖ"], "cannot spell", marks=needs_shipped),
        pytest.param(
            ["--source", SOURCE, "--target", "EXTRAORDINARY"], "letters", marks=needs_shipped
        ),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["localize", *arguments]) == 2
    captured = capsys.readouterr()
    last = captured.err.strip().splitlines()[-1]
    assert last.startswith("textloc: ")
    assert message in last
    assert captured.out == ""


def test_an_unreachable_hub_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert cli.main(["localize", *pair, "--model", "nobody/nothing"]) == 2
    assert "the Hub cannot be reached; check the network" in capsys.readouterr().err


def test_bench_layers_is_the_papers_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "layers", "--json", "-"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows)[:3] == ["sdxl", "if", "sd3"]
    assert [rows[name]["layers"] for name in ("sdxl", "if", "sd3")] == [70, 22, 24]
    assert [rows[name]["localized_kv"] for name in ("sdxl", "sd3")] == [15_728_640, 4_718_592]
    assert rows["if"]["image_kv"] == 2 * 2112**2
    assert rows["if"]["modules"] == ["up_blocks.1.attentions.3"]
    assert round(100 * rows["sdxl"]["share"], 2) == 0.61
    assert round(100 * rows["sd3"]["share"], 2) == 0.23
    assert rows["flux-dev"]["layers"] == 57


def test_unknown_ids_are_refused(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "../../etc/passwd"]) == 2
    assert cli.main(["show", "0123456789abcdef"]) == 2
    assert "textloc: " in capsys.readouterr().err


def test_seeds() -> None:
    assert parse_seeds("0, 3") == (0, 3)
    for bad in ("", "1,1", "-1", "1.5"):
        with pytest.raises(PromptError):
            parse_seeds(bad)


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, textloc, textloc.cli, textloc.results.store, textloc.checkpoints.loading\n"
        "print([m for m in ('torch', 'diffusers', 'gradio', 'transformers') if m in sys.modules])"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
    assert time.perf_counter() - began < 10
