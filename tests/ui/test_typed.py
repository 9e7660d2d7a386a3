"""What is said of a prompt while one types it, and of what a checkpoint draws."""

from __future__ import annotations

import pytest

from textloc.checkpoints.spelling import Spelling, advice
from textloc.ui import typed

KNOWN = Spelling("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 2, 6, ("sign", "mug"), ("red", "orange"))


@pytest.mark.parametrize(
    ("prompt", "missing"),
    [
        ('a red sign that says "STOP"', 0),
        ('two orange mugs, "TEA"', 0),
        ('RED SIGN: "TEA"', 0),
        ('a sign that says "STOP"', 1),
        ('a red t-sign that says "STOP"', 1),  # a word with a hyphen is another word
        ('a cup that says "RED SIGN"', 2),  # what is quoted is not drawn
        ('"STOP"', 2),
    ],
)
def test_what_a_prompt_lacks(prompt: str, missing: int) -> None:
    assert len(KNOWN.unknown(prompt)) == missing
    said = advice("x", KNOWN, prompt)
    assert (said is None) == (missing == 0)
    works = KNOWN.works(prompt)
    assert works is not None
    assert KNOWN.unknown(works) == []


def test_what_is_near_is_kept() -> None:
    assert KNOWN.works('a mug in the rain that says "tea"') == 'a red mug that says "TEA"'
    assert KNOWN.works('orange banner "TEA"') == 'an orange sign that says "TEA"'
    assert KNOWN.works('a sign "12345678"') == 'a red sign that says "LOVE"'


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert advice("x", Spelling("AB", 1, 2), "anything") is None
    assert advice("x", None, "anything") is None
    assert typed.reasons("sdxl", 'a photo "12345678"', "x") == []


def test_all_reasons_at_once() -> None:
    said = typed.reasons("tiny-sdxl", 'a spaceship "A1"', 'a spaceship "TOOLONGWORD"')
    assert len(said) == 3
    assert any("'1'" in one for one in said)
    assert any("11" in one for one in said)
    assert any("try:" in one for one in said)


@pytest.mark.parametrize(
    ("prompt", "with_marks"),
    [
        ("a red stop sign that says HELLO", 'a red stop sign that says "HELLO"'),
        ("a red sign saying hello", 'a red sign saying "hello"'),
        ("a red HELLO sign", 'a red "HELLO" sign'),
        ("a red mug saying hello on a table", 'a red mug saying "hello" on a table'),
        ("a sign that reads the word HELLO", 'a sign that reads the word "HELLO"'),
        ("a book titled DUNE, in the rain", 'a book titled "DUNE", in the rain'),
        ("the text on a sign, OPEN", 'the text on a sign, "OPEN"'),
        ("a card saying 'hello", 'a card saying "hello"'),
    ],
)
def test_quotation_marks_are_offered(prompt: str, with_marks: str) -> None:
    assert with_marks in " ".join(typed.reasons("tiny-sdxl", prompt, ""))


def test_examples_are_known_to_work() -> None:
    for model in ("tiny-sdxl", "tiny-if"):
        for source, target in typed.examples(model):
            assert typed.reasons(model, source, target) == []
    assert typed.reasons("tiny-sdxl", "", "") == []
    assert "<script" not in typed.hint("tiny-sdxl", '<script>"A1"', "x")


@pytest.mark.parametrize(
    ("prompt", "pick", "made"),
    [
        ('a red sign that says "STOP"', "object:mug", 'a red mug that says "STOP"'),
        ('a red sign that says "STOP"', "colour:orange", 'an orange sign that says "STOP"'),
        ('a crimson cup, "TOOLONGWORD"', "object:book", 'a crimson book that says "TOOLONGWORD"'),
        ('a mauve cup that says "TEA"', "object:book", 'a red book that says "TEA"'),
        ("", "colour:blue", 'a blue sign that says "LOVE"'),
    ],
)
def test_chips_build_the_prompt(prompt: str, pick: str, made: str) -> None:
    assert typed.chosen("tiny-sdxl", prompt, pick) == made


@pytest.mark.parametrize("pick", ["object:submarine", "colour:sign", "0", "", "x:y", "object:"])
def test_what_is_no_chip_changes_nothing(pick: str) -> None:
    assert typed.chosen("tiny-sdxl", 'a red sign "STOP"', pick) is None
    assert typed.chosen("tiny-sdxl", "LOVE", "object:mug") is None
    assert typed.chosen("sdxl", 'a red sign "STOP"', "object:mug") is None


def test_letters_are_counted() -> None:
    said = typed.hint("tiny-sdxl", 'a red sign that says "STOP"', "GARDEN")
    assert '<b translate="no">STOP</b> <span>4 of 6 letters</span>' in said
    assert '<b translate="no">GARDEN</b> <span>6 of 6 letters</span>' in said
    assert "role" not in said  # a reader is told what is wrong, not every letter
    assert "letters" not in typed.hint("sdxl", 'a red sign that says "STOP"', "GARDEN")
