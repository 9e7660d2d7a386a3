"""Data that teach a checkpoint not to write words, with OCR that says what it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_pipelines
from textloc.errors import TrainingError
from textloc.finetuning import pairs
from textloc.finetuning.data import folders
from textloc.prompts import parse_pair
from textloc.reading import ocr
from textloc.reading.ocr import Reading

ASKED = [parse_pair('a red sign "AB"', "XY"), parse_pair('a mug "CD"', "ZZ")]


def reads(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(
        ocr, "read", lambda images, *_args, **_options: [Reading(text, ()) for _ in images]
    )


def test_edits_that_read_their_word_are_kept_with_both_captions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_pipelines.sdxl()
    reads(monkeypatch, "XY")
    counts = pairs.make(model, ASKED, ['a hat "XY"', 'a hat "NO"'], [0, 1], tmp_path)
    assert counts == {"edited": 1, "harmless": 1, "left_out": 2}
    lines = (tmp_path / pairs.METADATA).read_text(encoding="utf-8").splitlines()
    records: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [one["text"] for one in records] == [ASKED[0].source, ASKED[0].target, 'a hat "XY"']
    assert records[0]["file_name"] == records[1]["file_name"] != records[2]["file_name"]
    assert all(isinstance(one, folders.Sample) for one in folders.read(str(tmp_path)))
    with pytest.raises(TrainingError, match="holds data already"):
        pairs.make(model, ASKED, [], [0], tmp_path)


def test_without_a_legible_edit_there_is_nothing_to_train_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads(monkeypatch, "nothing")
    with pytest.raises(TrainingError, match="nothing to train on"):
        pairs.make(tiny_pipelines.sdxl(), ASKED, [], [0], tmp_path / "new")
    assert not (tmp_path / "new" / pairs.METADATA).exists()
