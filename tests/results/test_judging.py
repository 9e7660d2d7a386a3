"""No claim on pictures that cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.documents import localize_document
from textloc.results import plots
from textloc.results.judging import doubt
from textloc.results.sentences import describe, describe_edit, headline


def read_as(document: dict[str, Any], name: str, own: float, other: float, exact: float) -> None:
    """Have a reference read its own words and the other prompt's that well."""
    others = {"source": "target", "target": "source"}
    scores = document["references"][name]["scores"]
    scores |= {f"ocr_f1_{name}": own, f"exact_{name}": exact}
    scores[f"ocr_f1_{others[name]}"] = other


@pytest.mark.parametrize("name", ["source", "target"])
@pytest.mark.parametrize(
    ("pictures", "own", "other", "exact", "judged"),
    [
        (1, 1.0, 0.3, 1.0, True),
        (1, 0.75, 0.3, 0.0, True),
        (1, 0.6, 0.1, 0.0, False),  # two letters of five
        (1, 0.8, 0.7, 0.0, False),  # reads the other word as well
        (1, 1.0, 1.0, 1.0, True),  # an anagram that reads exactly
        (4, 0.6, 0.1, 0.0, True),  # many pictures average out
        (4, 0.4, 0.1, 0.0, False),
    ],
)
def test_what_is_readable(
    name: str, pictures: int, own: float, other: float, exact: float, judged: bool
) -> None:
    document, _ = localize_document(seeds=range(pictures))
    read_as(document, name, own, other, exact)
    assert (doubt(document) is None) == judged


def test_garbage_names_no_layer_and_has_no_scale() -> None:
    document, _ = localize_document(seeds=(0,))
    document["references"]["source"]["read"][0]["text"] = "0DEM"
    read_as(document, "source", 0.25, 0.2, 0.0)
    said = describe(document)
    assert "'0DEM' where 'STOP' was asked for" in said
    assert "Layer" not in headline(document)
    assert "No layer is named" in said
    figure = plots.effect_figure(document)
    assert "cannot be judged" in figure.layout.yaxis.title.text
    assert max(figure.data[0].y) <= 1


def test_an_edit_that_is_not_to_be_trusted_says_so_first() -> None:
    from tests.documents import edit_document

    document, _ = edit_document()
    document["inversions"] = [{"pair": 0, "seed": 0, "ssim": 0.3, "poor": True}]
    assert describe_edit(document).startswith("This edit is not to be trusted")
    document["inversions"] = []
    for edit in document["edits"]:
        edit["read_source"] = "%%"
    assert describe_edit(document).startswith("This edit cannot be judged")
