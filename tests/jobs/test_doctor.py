"""`textloc doctor`: what it says of checkpoints that work, and of those that do not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny_pipelines
from textloc.cli import main
from textloc.jobs import doctor

BUILD: dict[str, Any] = {**tiny_pipelines.FAMILIES, **tiny_pipelines.OTHERS}


def found(model: Any) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.examine(model)}


@pytest.mark.parametrize("name", ["sd", "if", "sd3", "flux"])
def test_nothing_fails_where_all_is_well(name: str) -> None:
    findings = found(BUILD[name]())
    assert [one for one in findings.values() if one.ok is False] == []
    for title in ("a call", "rows stand alone", "patching nothing", "patching everything"):
        assert findings[title].ok
    assert "differ by 0 of 255" in findings["left as it was"].said or findings["left as it was"].ok
    if name == "flux":
        assert "prompt-to-prompt: " in findings["other methods"].said


def test_pictures_of_one_colour_are_told() -> None:
    """What half precision out of its range looks like."""
    model = BUILD["sdxl"]()
    with torch.no_grad():
        model.pipe.vae.decoder.conv_out.weight.fill_(float("nan"))
    findings = found(model)
    assert findings["a call"].ok is False
    assert "Try --dtype bfloat16 or float32" in findings["a call"].said


def test_a_check_that_fails_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    model = BUILD["sdxl"]()

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("cuDNN does not like this")

    monkeypatch.setattr(type(model.pipe), "__call__", broken)
    findings = found(model)
    assert findings["a call"].said == "RuntimeError: cuDNN does not like this"
    assert findings["patching everything"].ok is None
    assert findings["OCR"].ok
    assert len(findings) == len(doctor.CHECKS)


def test_patching_that_does_not_reach_all_is_told() -> None:
    model = BUILD["sdxl"]()
    findings = found(replace(model, layers=model.layers[:1]))  # the others are not known
    assert findings["patching everything"].ok is False


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    BUILD["sdxl"]().pipe.save_pretrained(tmp_path / "it")
    asked = ["doctor", "--model", str(tmp_path / "it"), "--device", "cpu", "--size", "16"]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert said.count("\n   ok  ") >= 7
    assert "sha256:" in said
    assert "torch" in said.splitlines()[-1]
    assert main([*asked, "--json", "-", "--scheduler", "UniPCMultistepScheduler"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == doctor.SCHEMA
    assert document["failed"] == []
    assert document["checkpoint"]["scheduler"] == "UniPCMultistepScheduler"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "large"], "cannot read the size 'large'; write 512, or height x width"),
        (["--size", "0"], "cannot read the size '0'"),
        (["--size", "63"], "give multiples of 32"),
        (["--scheduler", "Nonesuch"], "cannot be replaced by 'Nonesuch'"),
        (["--variant", "fp16"], "has no weights of the variant 'fp16'; it has plain weights only"),
        (["--device", "cpu", "--offload", "model"], "offload model moves weights"),
    ],
)
def test_options_of_loading_that_do_not_fit(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--model", "tiny-ldm", *options]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
