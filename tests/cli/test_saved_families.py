"""The whole way from a saved pipeline of a newer family: commands, and as the page asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests import tiny_newer
from textloc.cli import main
from textloc.results import store

SOURCE = 'a mug that says "CAT"'


_SLOW = pytest.param("flux2", marks=pytest.mark.slow)  # its encoder's template is long in bytes


@pytest.fixture(scope="module", params=[_SLOW, *list(tiny_newer.SAVED)[1:]])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("saved") / request.param
    tiny_newer.save(request.param, folder)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.RESULTS_VARIABLE, str(tmp_path / "results"))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What a verb writes as JSON."""
    assert main([*arguments, "--json", "-"]) in (0, None)
    return json.loads(capsys.readouterr().out)


def test_doctor_finds_nothing_wrong(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "doctor", "--model", str(saved))["failed"] == []


def test_localize_and_attribute(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--model", str(saved), "--source", SOURCE, "--target", "DOG")
    found = told(capsys, "localize", *asked)
    assert found["complete"]
    assert found["request"]["search"] == "attribution"
    shares = told(capsys, "attribute", *asked, "--steps-at", "0")["shares"]
    assert shares["reached"]
    letters = [entry["letter"] for entry in shares["by_letter"]]
    assert letters == [0, 1, 2]  # of a byte tokenizer, within the pipeline's template
    most = [max(abs(share[0]) for share in entry["shares"]) for entry in shares["by_letter"]]
    assert max(most) > 0


def test_edit_with_a_lora_that_is_carried(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from textloc.checkpoints.loading import load

    layer = (model := load(saved)).layers[0]
    noise = torch.Generator().manual_seed(0)
    weights = {}
    for place in layer.parts:
        rows, columns = model.denoiser.get_submodule(place).weight.shape
        down, up = ((2, columns), (rows, 2))
        weights[f"transformer.{place}.lora_A.weight"] = torch.randn(down, generator=noise)
        weights[f"transformer.{place}.lora_B.weight"] = torch.randn(up, generator=noise)
    file = tmp_path / "lora.safetensors"
    save_file(weights, file)
    asked = ("--model", str(saved), "--source", SOURCE, "--target-text", "DOG", "--layers", "0")
    plain, changed = (
        told(capsys, "edit", *asked, "--start-step", "0", *more)
        for more in ((), ("--lora", str(file)))
    )
    assert changed["request"]["checkpoint"]["lora"]["base"] == plain["checkpoint"]["digest"]
    assert changed["id"] != plain["id"]


def test_suppress(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.txt").write_text("cat\n", encoding="utf-8")
    out = tmp_path / "out"
    asked = (
        "suppress", "--model", str(saved), "--prompt", SOURCE, "--layers", "0",
        "--words", str(tmp_path / "words.txt"), "--out", str(out),
    )  # fmt: skip
    found = told(capsys, *asked, "--seeds", "0,1")
    assert len(found["guarded"]["pictures"]) == 2
    assert len(list(out.glob("*.png"))) == 2
    (out / "photo.png").write_bytes(b"mine")
    again = told(capsys, *asked, "--seeds", "2")
    files = {Path(one["image"]).name for one in again["guarded"]["pictures"]}
    assert {one.name for one in out.iterdir()} == {"photo.png", *files}


def test_as_the_page_asks(saved: Path) -> None:
    from textloc.checkpoints.loading import load
    from textloc.ui.localize import order

    asked = order.read(str(saved), SOURCE, "DOG", "0", 2, 2.0, 0, "")
    assert asked.before() is None
    *_, last = asked.stream(load(asked.model), lambda *_: None, lambda *_: None, lambda: False)
    assert last.document["complete"]
    assert len(last.document["layers"]) == 3
