"""How many threads the programs compute with."""

import subprocess
import sys
from pathlib import Path

import pytest

from textloc import threads


@pytest.mark.parametrize(("cores", "expected"), [(1, "1"), (2, "1"), (3, "2"), (16, "15")])
def test_a_core_is_left_to_other_programs(
    cores: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "cores", lambda: cores)
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)
    threads.leave_a_core()
    assert threads.os.environ["OMP_NUM_THREADS"] == expected
    assert threads.os.environ["GOMP_SPINCOUNT"] == threads.SPINS


def test_what_was_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("GOMP_SPINCOUNT", "")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    threads.leave_a_core()
    assert threads.os.environ["OMP_NUM_THREADS"] == "7"
    assert "GOMP_SPINCOUNT" not in threads.os.environ


@pytest.mark.parametrize(
    ("quota", "most"), [("max 100000", 64), ("200000 100000", 2), ("50000 100000", 1), ("?", 64)]
)
def test_the_quota_of_a_container_counts(
    quota: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    monkeypatch.setattr(threads, "_QUOTA", file)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _pid: set(range(64)), raising=False)
    assert threads.cores() == most


def test_the_command_line_leaves_a_core_before_torch_is_there() -> None:
    said = (
        "import os, sys\n"
        "from textloc import threads\n"
        "threads.cores = lambda: 3\n"
        "from textloc.cli import main\n"
        "main(['models'])\n"
        "assert os.environ['OMP_NUM_THREADS'] == '2'\n"
        "import torch\n"
        "assert torch.get_num_threads() == 2, torch.get_num_threads()\n"
    )
    unset = {"OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
    environment = {k: v for k, v in threads.os.environ.items() if k not in unset}
    subprocess.run([sys.executable, "-c", said], check=True, env=environment, capture_output=True)
