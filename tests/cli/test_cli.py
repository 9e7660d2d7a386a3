"""The command line: output, exit status, one-line errors."""

from __future__ import annotations

import io
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
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_console_without_a_sign_shows_another(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for options in (["models"], ["models", "--json", "-"]):
        written = io.BytesIO()
        console = io.TextIOWrapper(written, encoding, write_through=True)
        monkeypatch.setattr(sys, "stdout", console)
        assert cli.main(options) == 0
        said = written.getvalue().decode(encoding)
        assert "tiny-sdxl" in said
    assert "Σ" in str(json.loads(said))


def test_json_on_standard_output_is_one_document(shipped: Model, results: Path) -> None:
    done = run(
        "localize", "--source", SOURCE, "--target", "LOVE", "--layers", "8-9", "--steps", "6",
        "--search", "sweep", "--save", "--json", "-",
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


def test_models_tells_what_one_of_them_draws(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    known = {"letters": "AB", "least": 1, "most": 4, "objects": ["mug"], "colours": ["red"]}
    known |= {"names": {"mug": ["cup"]}, "shades": ["navy"], "colourless": True}
    (tmp_path / "spelling.json").write_text(json.dumps(known))
    assert cli.main(["models", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for part in ("mug: cup", "red, navy; a prompt may name none", "words of 1 to 4 letters"):
        assert part in said
    assert cli.main(["models", "sdxl"]) == 0
    assert "not known here" in capsys.readouterr().out
    assert cli.main(["models", "tiny-sdxl", "--json", "-"]) == 0
    assert "sign" in json.loads(capsys.readouterr().out)["spelling"]["objects"]
    assert cli.main(["models", "nothing/here"]) == 2
    assert "tiny-sdxl" in capsys.readouterr().err


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


@pytest.mark.slow
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


# -- found out before anything is loaded -----------------------------------------------------


def nothing_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    from textloc.checkpoints import loading

    def load(*_: object, **__: object) -> None:
        raise AssertionError("a checkpoint was loaded")

    monkeypatch.setattr(loading, "load", load)


ASKED = ("localize", "--source", SOURCE, "--target", "LOVE")


def test_where_json_cannot_go_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing_loads(monkeypatch)
    for place, said in (
        (tmp_path, "is a folder; name the file"),
        (tmp_path / "none" / "out.json", "there is no folder to write"),
        (Path("/proc/out.json"), "cannot be written"),
        (Path("/dev/null/out.json"), "there is no folder to write"),
    ):
        assert cli.main([*ASKED, "--json", str(place)]) == 2
        assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "verb", [(*ASKED, "--save"), ("edit", *ASKED[1:3], "--target-text", "LOVE")]
)
def test_results_that_cannot_be_kept_are_told_at_once(
    verb: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nothing_loads(monkeypatch)
    (tmp_path / "file").touch()
    monkeypatch.setenv(store.RESULTS_VARIABLE, str(tmp_path / "file"))
    assert cli.main(verb) == 2
    said = capsys.readouterr().err
    assert "Could not write the result" in said
    assert store.RESULTS_VARIABLE in said


def test_what_nobody_saved_is_kept_until_the_next(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from textloc.cli.common import kept_aside

    if not store.listing():
        assert cli.main(["show", "--last"]) == 2
        assert "There is no result yet" in capsys.readouterr().err
    for share in (0.8, 0.7):
        document, images = localize_document()
        document["request"]["share"] = share
        document["id"] = store.request_id(document["request"])
        kept_aside(document, images)
    assert "textloc show --last" in capsys.readouterr().err
    assert document["id"] not in {summary.id for summary in store.listing()}
    assert len(list((store.roots()[0] / ".last").iterdir())) == 1
    assert cli.main(["show", "--last", "--zip", str(tmp_path / "last.zip")]) == 0
    assert ZipFile(tmp_path / "last.zip").testzip() is None
    capsys.readouterr()
    assert cli.main(["show", "--last"]) == 0
    assert f"result {document['id']}" in capsys.readouterr().out
    assert cli.main(["show", "--last", document["id"]]) == 2
    assert cli.main(["show", "--last", "--save"]) == 0
    assert document["id"] in {summary.id for summary in store.listing()}
