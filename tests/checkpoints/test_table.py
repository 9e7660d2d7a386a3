"""The table of families: every one is in it, whole, and it is what the documentation says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from textloc.checkpoints import families
from textloc.checkpoints.families import table
from textloc.checkpoints.known import KNOWN
from textloc.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "checkpoints.md"


def test_every_pipeline_denoiser_and_known_checkpoint_is_in_one_row() -> None:
    rows = table.rows()
    pipelines = [name for row in rows for name in row.pipelines]
    assert sorted(pipelines) == sorted(families.PIPELINES)
    assert {name for row in rows for name in row.denoisers} == families.DENOISERS.keys()
    known = [name for row in rows for name, _ in row.known]
    assert sorted(known) == sorted(entry.name for entry in KNOWN)
    assert [row.name for row in rows if not row.tokens] == []
    assert len({row.name for row in rows}) == len(rows)


def test_the_order_of_tokens_is_that_of_the_family() -> None:
    """Where text is first, it stands first in the table."""
    for row in table.rows():
        first = getattr(families.PIPELINES[row.pipelines[0]], "TEXT_FIRST", None)
        if first is not None:
            assert row.tokens == ("[text, image]" if first else "[image, text]")


def test_shipped_checkpoints_are_of_the_pipeline_that_is_said() -> None:
    from textloc.paths import CHECKPOINTS

    for entry in KNOWN:
        if entry.shipped:
            index = json.loads((CHECKPOINTS / entry.source / "model_index.json").read_text())
            assert index["_class_name"] == entry.pipeline


def test_the_command_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "--families"])
    assert capsys.readouterr().out.strip() == table.markdown()
    main(["models", "--families", "--json", "-"])
    assert len(json.loads(capsys.readouterr().out)) == len(table.rows())


def test_the_readme_holds_it() -> None:
    assert table.markdown() in PAGE.read_text(encoding="utf-8")
