"""What a checkpoint's folder says that it can draw and spell."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from textloc.checkpoints import spelling
from textloc.checkpoints.known import KNOWN
from textloc.checkpoints.spelling import Spelling, advice, read
from textloc.paths import CHECKPOINTS
from textloc.scenes import rendering, wording
from textloc.tiny.export import SPELLING

KNOWN_NAMES = Spelling(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    2,
    6,
    ("sign", "mug"),
    ("red", "blue"),
    {"mug": ("cup", "coffee cup", "artist's mug")},
    ("navy blue",),
)


@pytest.mark.parametrize(
    ("prompt", "missing"),
    [
        ('a navy blue coffee cup that says "TEA"', 0),
        ('two red Coffee Cups, "TEA"', 0),
        ('a blue artist\'s thing that says "TEA"', 1),
        ('a blue artist’s mug that says "TEA"', 0),
        ('a navy cup that says "TEA"', 1),  # half of a shade
        ('a navy "TEA" blue cup', 0),  # blue alone is a colour
        ('a red coffee "CUP"', 1),
        ('a red cupboard that says "TEA"', 1),
    ],
)
def test_other_names_count_and_parts_of_them_do_not(prompt: str, missing: int) -> None:
    assert len(KNOWN_NAMES.unknown(prompt)) == missing


def test_what_works_keeps_the_names_that_were_used() -> None:
    said = KNOWN_NAMES.works('a photo of a navy blue coffee cup, 4k, "tea"')
    assert said == 'a navy blue coffee cup that says "TEA"'
    assert KNOWN_NAMES.works('a green cup "TEA"') == 'a red cup that says "TEA"'


def test_a_colour_is_asked_for_only_where_it_is_needed() -> None:
    without = 'a cup that says "TEA"'
    assert "no colour" in str(advice("x", KNOWN_NAMES, without))
    free = Spelling(**{**asdict(KNOWN_NAMES), "colourless": True})
    assert advice("x", free, without) is None
    said = str(advice("x", free, 'a dragon that says "TEA"'))
    assert "no object" in said
    assert "no colour" not in said
    assert 'try: a red sign that says "TEA"' in said


def test_objects_are_told_with_their_other_names() -> None:
    assert KNOWN_NAMES.called() == ["sign", "mug: artist's mug, coffee cup, cup"]


def test_the_folder_may_say_more_or_less(tmp_path: Path) -> None:
    file = tmp_path / spelling.FILE
    file.write_text('{"letters": "AB", "least": 1, "most": 2}')
    assert read(tmp_path) == Spelling("AB", 1, 2)
    file.write_text(json.dumps(asdict(KNOWN_NAMES)))
    assert read(tmp_path) == KNOWN_NAMES
    file.write_text('{"letters": "AB", "least": 1, "most": 2, "names": ["mug"]}')
    assert read(tmp_path) is None


@pytest.mark.parametrize("name", [entry.name for entry in KNOWN if entry.shipped])
def test_shipped_folders_say_what_they_draw(name: str) -> None:
    found = read(CHECKPOINTS / name)
    assert found is not None
    assert found.objects == rendering.OBJECTS
    for line in found.objects:
        assert found.unknown(f'a red {line} that says "TEA"') == []


def test_what_training_says_is_what_prompts_are_checked_by(tmp_path: Path) -> None:
    """Every name and colour that scenes are worded with is known."""
    (tmp_path / spelling.FILE).write_text(json.dumps(SPELLING))
    found = read(tmp_path)
    assert found is not None
    for one, names in wording.NAMES.items():
        for name in names:
            assert found.unknown(f'a {name} that says "TEA"') == [], (one, name)
    for colour in (*rendering.COLOURS, *rendering.SHADES):
        assert found.works(f'a {colour} mug that says "TEA"') in (
            f'a {colour} mug that says "TEA"',
            f'an {colour} mug that says "TEA"',
        )
