"""Fixtures shared by tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from textloc.checkpoints.loading import Model, load
from textloc.paths import CHECKPOINTS


@pytest.fixture(scope="session")
def shipped() -> Model:
    """The shipped checkpoint, loaded once."""
    if not (CHECKPOINTS / "tiny-sdxl" / "model_index.json").is_file():
        pytest.skip("tiny-sdxl is not shipped")
    torch.set_num_threads(2)
    return load("tiny-sdxl")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of results."""
    folder = tmp_path / "results"
    monkeypatch.setenv("TEXTLOC_RESULTS", str(folder))
    return folder
