"""What is told outside: without paths of the server; and pictures that are kept for a while."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from textloc.paths import ROOT
from textloc.results import store
from textloc.ui.endpoints import running
from textloc.ui.endpoints.plain import without_paths
from textloc.ui.serving import made


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Could not write to /srv/data/results: full.", "Could not write to results: full."),
        ("no such file: '/a b/c/d.json'", "no such file: 'd.json'"),
        (r"it is at D:\data\me\x.bin", "it is at x.bin"),
        ("cannot read ~/models/sd/unet", "cannot read unet"),
        ("see https://huggingface.co/owner/model, or owner/model", None),
        ("write 1/2 and 8-10", None),
        (f"in {ROOT}/cached_results", "in cached_results"),
    ],
)
def test_paths_become_names(text: str, plain: str | None) -> None:
    assert without_paths(text) == (text if plain is None else plain)


def test_folders_of_the_server_go_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "with space" / "results"
    monkeypatch.setenv(store.RESULTS_VARIABLE, str(folder))
    error = running.refusal(f"Could not write the result to {folder}/x: full")
    assert error.message == "Could not write the result to x: full"
    assert not error.print_exception


def test_the_newest_pictures_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "MOST", 3000)
    for number in range(40):
        made.keep("a" * 16, f"p{number}-s0-x", Image.new("RGB", (64, 64), (number, 0, 0)))
    assert made.find("a" * 16, "p0-s0-x") is None
    assert made.find("a" * 16, "p39-s0-x")
    assert made.find("b" * 16, "p39-s0-x") is None
