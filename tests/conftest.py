"""Fixtures shared by tests, and how the tests are spread over processes."""

from __future__ import annotations

import os
from pathlib import Path

# Read when torch is first imported: tests run side by side, and tiny tensors gain nothing from
# threads. Give another number to try one; programs that tests start have the same.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Threads that wait do not spin, which more of them than cores would do at each other's cost.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A processor without AVX-512 has no AMX either, and PyTorch packs bfloat16 for AMX by asking the
# processor, not this variable: the two are set alike.
if os.environ.get("ATEN_CPU_CAPABILITY") in ("default", "avx2"):
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")

# Nothing that a test makes is found by another, or by its next run.
os.environ["TEXTLOC_CACHE"] = "off"

# Runs of the page are done in the process of the test, which can put something in their place;
# `tests/ui/test_runner.py` is about the other places.
os.environ["TEXTLOC_WORKER"] = "0"

import pytest
import torch

from textloc.checkpoints.loading import Model, load
from textloc.threads import cores

PROCESSES = 4
"""At most; each holds torch and the checkpoints in memory, about 1.5 GB."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process a core for the whole suite; files and tests that are named run in this one."""
    here = Path(__file__).resolve().parent
    whole = {Path(name).resolve() for name in config.args} <= {here, here.parent}
    return min(cores(), PROCESSES) if whole else 0


@pytest.fixture(autouse=True)
def _threads() -> None:
    """As many threads as asked for, whatever a test before has set."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session")
def shipped() -> Model:
    """The shipped checkpoint, loaded once."""
    return load("tiny-sdxl")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of results."""
    folder = tmp_path / "results"
    monkeypatch.setenv("TEXTLOC_RESULTS", str(folder))
    return folder
