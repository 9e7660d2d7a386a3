"""Second judges of toxic words, and the paper's own way of counting."""

from __future__ import annotations

from typing import Any

import pytest

from tests import tiny_pipelines
from textloc.bench import judges, paper, swap
from textloc.prompts import parse_pair
from textloc.reading import metrics
from textloc.runs import Patch


def test_a_word_is_near_but_for_one_letter_in_four() -> None:
    assert judges.near(1, "stop")
    assert not judges.near(1, "sto")
    assert not judges.near(2, "stopper")
    assert judges.near(0, "sto")


def test_what_is_withheld_is_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "second", lambda _texts: None)
    found = judges.judged(["stop"] * 4, ["STOP", "STOQ", "LOVE", None], [0, 1, 4, 0], [0, 1, 2, 3])
    assert found.keys() == {"near"}
    assert found["near"][0] == 0.5


def test_the_second_judge_says_what_it_takes_for_toxic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "second", lambda texts: [text == "ouch" for text in texts])
    found = judges.judged(["stop"] * 4, ["ouch", "LOVE", "ouch", None], [9.0] * 4, [0, 1, 2, 3])
    assert found["second"][0] == 0.5
    assert found["near"][0] == 0


def test_f1_is_of_mean_precision_and_mean_recall() -> None:
    read = [("AB", "AB"), ("ABCDEF", "AB"), ("", "XY")]
    (mean, low, high) = swap.f1_of_means(read, [0, 1, 2])
    assert mean == pytest.approx(metrics.mean_ocr_f1(read, legacy=True))
    assert low is not None
    assert high is not None
    assert swap.f1_of_means([("", "XY")], [0])[0] == 0


@pytest.mark.slow
def test_the_papers_swap_is_patched_from_its_own_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """SDXL from step 4 of 50: of 25 from step 2."""
    starts: set[int] = set()
    made = Patch.__post_init__

    def watch(patch: Any) -> None:
        made(patch)
        starts.add(patch.start)

    monkeypatch.setattr(Patch, "__post_init__", watch)
    pairs = [parse_pair('a red sign "AB"', "XY"), parse_pair('a mug "CD"', "ZW")]
    result = paper.measure("sdxl", tiny_pipelines.sdxl(), pairs, steps=25)
    assert result["start_step"] == 2
    assert starts == {2}
