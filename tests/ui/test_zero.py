"""Runs on a ZeroGPU, with a stand-in that forks and pickles as `spaces` does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from textloc.paths import ROOT
from textloc.ui.endpoints.reading import ReadOrder
from textloc.ui.localize import order
from textloc.ui.runner import places, zero
from textloc.ui.runner.news import Growth, News

CODE = """
import os, sys, threading, time
from tests.documents import localize_document
from tests.ui import spaces_stand_in
from tests.ui.made_up import WORDS, MadeUp
sys.modules["spaces"] = spaces_stand_in

from textloc.ui import live, models
from textloc.ui.runner import places, zero

assert models.names()[0] == "sdxl"  # what the GPU holds, not what this machine does
os.environ["TEXTLOC_MODELS"] = "tiny-sdxl"
from textloc.checkpoints import loading
loading.load = lambda name: print("loads", name)
places.prepare()


def run(doing="", stop=False):
    job = live.Job(MadeUp(doing, os.environ["AT"]))
    for update in job.updates(patience=0.05):
        if stop and update.document is not None:
            job.stop()
    while not job.over:
        time.sleep(0.02)
    layers = len(update.document["layers"]) if update.document else 0
    print(update.state, "|", update.message, "|", layers)
    return int(open(os.environ["AT"]).read())


guess = zero.seconds(MadeUp())
first, second = run(), run()
assert first == second != os.getpid()
assert spaces_stand_in.durations[0] == guess == zero.LEAST
assert list(zero._timed) == [("MadeUp", "tiny-sdxl")]
run("wrong")
run("fault")
assert run("slow", stop=True) == first
assert run("killed") == first
assert run() != first
spaces_stand_in.refusal = "You have exceeded your free ZeroGPU quota."
last = list(live.Job(MadeUp()).updates())[-1]
print(last.state, "|", last.message)
"""


@pytest.mark.slow
def test_runs_on_a_gpu_that_is_lent(results: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "AT": str(tmp_path / "at"),
        "PYTHONPATH": str(ROOT),
        "SPACES_ZERO_GPU": "true",
        "TEXTLOC_RESULTS": str(results),
    }
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=environment,
        timeout=900,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line != "what a library prints"]
    assert told[:3] == ["loads tiny-sdxl", "complete |  | 11", "complete |  | 11"]
    wrong, fault, stopped, killed, again, refused = told[3:]
    assert wrong == "failed | there is no layer 99 | 2"
    assert fault.startswith(
        "failed | something went wrong that should not (ZeroDivisionError: oops)"
    )
    assert stopped == "stopped | stopped | 2"
    assert "taken away before the run was complete (GPU task aborted)" in killed
    assert again == "complete |  | 11"
    assert refused == (
        "failed | there is no GPU for this run: You have exceeded your free ZeroGPU quota"
    )


def test_reading_asks_for_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        raise AssertionError("a GPU is asked for")

    monkeypatch.setattr(zero, "run", run)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    told: list[News] = []
    blank = ReadOrder(Image.new("RGB", (64, 64), "white"), "rapidocr")
    assert places.run(blank, told.append, lambda: False).state == "complete"
    grown = told[-1]
    assert isinstance(grown, Growth)
    assert grown.document["read"]["text"] == ""


def test_what_is_asked_for_grows_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zero, "_timed", {})

    def seconds(model: str, seeds: str, steps: int) -> int:
        source = 'a red sign that says "STOP"'
        return zero.seconds(order.read(model, source, "LOVE", seeds, steps, 3.0, 0, ""))

    assert zero.LEAST <= seconds("tiny-sdxl", "0", 20) < seconds("sdxl", "0", 20)
    assert seconds("sdxl", "0", 10) < seconds("sdxl", "0", 20) < seconds("sdxl", "0,1", 20)
    assert seconds("sdxl", "0,1,2,3", 100) == 120
    monkeypatch.setenv("TEXTLOC_MAX_GPU", "60")
    assert seconds("sdxl", "0,1,2,3", 100) == 60
    zero._timed["LocalizeOrder", "sdxl"] = 20 / (30 * 10)  # 20 s of a run of ten steps
    assert seconds("sdxl", "0", 10) == 30
    assert seconds("sdxl", "0", 15) == 45
