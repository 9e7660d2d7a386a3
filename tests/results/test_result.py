"""One kind of result for all jobs: figures, table, notebook, saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from PIL import Image

from tests.documents import edit_document, localize_document, lora_document
from textloc.errors import StoreError
from textloc.results.result import Result


def suppression() -> tuple[dict[str, Any], dict[str, Image.Image]]:
    key = "p0-s0-guarded"
    picture = {
        "prompt": 0,
        "seed": 0,
        "read": "<b>LOVE",
        "toxic": 0.0,
        "fallback": None,
        "image": key,
    }
    document = {
        "schema": "textloc.suppress/1",
        "id": "0" * 16,
        "complete": True,
        "request": {"seeds": [0]},
        "prompts": [{"prompt": "a", "benign": "b", "toxic": True}],
        "guarded": {"pictures": [picture, {**picture, "image": None}]},
        "unguarded": None,
        "methods": [],
    }
    return document, {key: Image.new("RGB", (8, 8))}


@pytest.mark.parametrize("made", [localize_document, edit_document, lora_document, suppression])
def test_figures_table_and_notebook_view(made: Any) -> None:
    result = Result(*made())
    for name in result.figures:
        for theme in ("light", "dark"):
            assert isinstance(result.figure(name, theme), go.Figure)  # type: ignore[arg-type]
    assert result.figure().to_json() == result.figure(result.figures[0]).to_json()
    assert len(result.to_pandas()) > 0
    view = result._repr_html_()
    assert view.count("<img") == min(8, len(result.images))
    assert "<b>LOVE" not in view  # what is read is escaped
    assert result.kind in repr(result)
    with pytest.raises(StoreError, match="there is no figure 'hope'"):
        result.figure("hope")


def test_kinds_that_are_not_stored_ask_for_a_folder(tmp_path: Path, results: Path) -> None:
    result = Result(*suppression())
    assert result.link is None
    with pytest.raises(StoreError, match="give a folder"):
        result.save()
    folder = result.save(tmp_path / "kept")
    assert sorted(path.name for path in folder.rglob("*.*")) == ["p0-s0-guarded.png", "result.json"]
    assert not results.exists()


def test_a_saved_result_has_a_link_that_opens_it(results: Path) -> None:
    result = Result(*localize_document())
    assert result.save() == results / result.id
    assert result.link == f"http://127.0.0.1:7860/?r={result.id}"
