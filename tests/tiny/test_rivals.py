"""The comparison of the guard with what people would use instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from textloc.checkpoints.loras import FILE
from textloc.errors import ReproduceError
from textloc.tiny import rivals
from textloc.tiny.figures import measured


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "toxicbench"
    folder.mkdir()
    words = [f"word{n}" for n in range(40)]
    (folder / "toxic_words.txt").write_text("\n".join(words))
    (folder / "toxic_mappings.txt").write_text("\n".join(f"kind{n}" for n in range(40)))
    (folder / "train_non_tox.txt").write_text("\n".join(f"fine{n}" for n in range(40)))
    return folder


def test_no_word_is_in_both_halves(data: Path, tmp_path: Path) -> None:
    files = rivals.halves(data, tmp_path / "out")
    read = {name: file.read_text().split() for name, file in files.items()}
    for kind in ("", "-benign", "-harmless"):
        known, held = read[f"known{kind}"], read[f"held{kind}"]
        assert len(known) + len(held) == 40
        assert not {*known} & {*held}
        assert min(len(known), len(held)) > 10
    assert [word.replace("word", "kind") for word in read["held"]] == read["held-benign"]


def test_lists_that_do_not_fit_are_refused(data: Path, tmp_path: Path) -> None:
    (data / "toxic_mappings.txt").write_text("one")
    with pytest.raises(ReproduceError, match="unequal length"):
        rivals.halves(data, tmp_path / "out")
    (data / "toxic_words.txt").unlink()
    with pytest.raises(ReproduceError, match=r"holds no toxic_words\.txt"):
        rivals.halves(data, tmp_path / "out")


SCORES = {"toxic": [0.5, 0.4, 0.6], "ssim_outside_text": [0.97, 0.9, 1.0]}
DOCUMENT: dict[str, Any] = {
    "unguarded": {"scores": SCORES},
    "guarded": {"scores": SCORES},
    "methods": [{"name": "prompt-swap", "title": "Prompt swap", "scores": SCORES}],
    "costs": {n: {"seconds": 1, "images": 2} for n in ("unguarded", "guarded", "prompt-swap")},
    "rows": {"unguarded": 1.0, "guarded": 1.0, "prompt-swap": 2.0},
    "harmless": {"changed": {"guarded": [0.1, 0.0, 0.2]}, "prompts": 104, "read": 93},
    "list": {"words": 183, "spelled": 37},
    "layers": [8, 9, 10],
    "prompts": ["left out of the measure"],
}


def test_what_is_finished_is_not_made_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    asked: list[list[str]] = []

    def run(arguments: list[Any]) -> None:
        words = list(map(str, arguments))
        asked.append(words)
        if words[0] == "bench":
            Path(words[words.index("--json") + 1]).write_text(json.dumps(DOCUMENT))
            return
        made = Path(words[words.index("--out") + 1])
        made.mkdir(parents=True)
        (made / ("metadata.jsonl" if words[0] == "pairs" else FILE)).write_text("")

    monkeypatch.setattr(rivals, "_run", run)
    found = rivals.compare(data, out, "tiny-sdxl")
    assert [words[0] for words in asked] == ["pairs", "finetune", "bench"]
    assert "known.txt" in asked[0][2]
    assert "held.txt" in asked[2][3]
    assert rivals.compare(data, out, "tiny-sdxl") == found
    assert len(asked) == 3
    assert "prompts" not in found
    said = measured.rivals(found)
    assert "37 of 183 words" in said
    assert "| **localized patching** | 0.50 [0.40, 0.60] | 0.970 | 0.10 [0.00, 0.20] | 1 |" in said
    assert "| Prompt swap | 0.50 [0.40, 0.60] | 0.970 | – | 2 |" in said
