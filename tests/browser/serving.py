"""The page served by a process of its own, and what the browser tests share."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.documents import edit_document, localize_document, lora_document
from textloc.paths import ROOT
from textloc.results import store

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium") or ""
"""The same engine twice: the shell has no window to draw, which takes a quarter of the time."""
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed"),
]
PATIENCE = 40_000
"""Milliseconds to wait for the page; a busy machine is slow."""

# The product's page, with results made up in place of the model's.
MADE_UP_RUNS = """
import sys, time
from types import SimpleNamespace

from PIL import Image

import textloc.jobs.lora_trial
import textloc.checkpoints.loading
import textloc.jobs.edit
import textloc.jobs.localize
from tests.documents import edit_document, localize_document
from textloc.checkpoints import loras
from textloc.errors import Cancelled, OutOfMemoryError, PromptError
from textloc.ui import page


def localize_stream(model, pairs, *, seeds, on_step, cancelled, **_options):
    words = [(pair.source_text, pair.target_text) for pair in pairs]
    if "Ä" in words[0][1]:
        raise PromptError("made-up cannot spell 'Ä'; it knows the letters A to Z")
    pause = {"SLOW": 0.2, "MOON": 0.06}.get(words[0][1], 0.02)
    for finished in (0, 3, 6, 9, None):
        if words[0][1] == "LATE" and finished == 6:
            pause = 0.5
        for step in range(20):
            if cancelled():
                raise Cancelled("stopped")
            on_step(step + 1, 20)
            time.sleep(pause)
        if words[0][1] == "HALF" and finished == 6:
            raise OutOfMemoryError("the memory is full; choose a smaller size")
        document, images = localize_document(words=words, seeds=seeds, finished=finished)
        done = 14 if finished is None else 3 + finished
        yield SimpleNamespace(
            document=document, images=images, done=done, total=14, message="patching"
        )


def edit_stream(model, pairs, layers, *, seeds, on_step, cancelled, pictures, **_options):
    words = [(pair.source_text, pair.target_text) for pair in pairs]
    options = dict(words=words, seeds=seeds, own=bool(pictures))
    for number, made in enumerate(("sources", "starts", "all")):
        for step in range(20):
            if cancelled():
                raise Cancelled("stopped")
            on_step(step + 1, 20)
            time.sleep(0.2 if words[0][1] == "SLOW" else 0.02)
        document, images = edit_document(made=made, **options)
        yield SimpleNamespace(
            document=document, images=images, done=4 * number + 2, total=10, message="editing"
        )


def trial_stream(model, lora, prompts, *, seeds, **_options):
    if lora != "made/up":
        loras.find(lora)
    images, sides = {}, {"base": [], "lora": []}
    for number, side in enumerate(sides):
        time.sleep(0.3)
        read = "2048" if side == "lora" else "ZOAB"
        images["p0-s0-" + side] = Image.new("RGB", (64, 64), (80, 90 * number, 120))
        one = {"prompt": 0, "seed": 0, "text": "2048", "read": read, "ocr_f1": 0.5}
        sides[side] = [{**one, "exact": float(side == "lora"), "image": "p0-s0-" + side}]
        request = {"prompts": list(prompts), "seeds": list(seeds), "steps": 20, "guidance": 3.0}
        scores = {name: {"exact": [1, None, None], "ocr_f1": [1, None, None]} for name in sides}
        yield SimpleNamespace(
            document={
                "schema": "textloc.lora_trial/1",
                "id": "0" * 16,
                "complete": number == 1,
                "request": {**request, "lora": {"name": lora, "scale": 1.0}},
                "checkpoint": {"name": "made-up"},
                "layers": [],
                **sides,
                "scores": scores if number == 1 else None,
                "ssim": 0.9,
            },
            images=dict(images),
            done=number + 1,
            total=2,
            message="drawing both",
        )


textloc.jobs.lora_trial.trial_stream = trial_stream
textloc.jobs.localize.localize_stream = localize_stream
textloc.jobs.edit.edit_stream = edit_stream
textloc.checkpoints.loading.load = lambda name: SimpleNamespace(name=name, layers=range(11))
page.serve()
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Served:
    """A page in a process of its own."""

    def __init__(self, script: list[str], results: Path, **environment: str) -> None:
        port = free_port()
        self.address, self.results = f"http://127.0.0.1:{port}/", results
        self.log = results.parent / f"server-{port}.log"
        settings = {
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "TEXTLOC_RESULTS": str(results),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "TEXTLOC_WORKER": "1" if script == ["app.py"] else "0",  # made-up runs are made here
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *script],
                cwd=ROOT,
                env={**os.environ, **settings, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self.address, timeout=20):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        pytest.fail(f"the page did not start:\n{self.log.read_text()}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)


def fill(results: Path) -> dict[str, str]:
    """Store five results and a damaged one; name → ID."""
    made = {
        "usual": localize_document(size=64),
        "pairs": localize_document(words=(("BOOK", "RAIN"), ("MUG", "TEA")), seeds=(3, 4)),
        "sdxl": localize_document(70, seeds=(0,)),
        "edit": edit_document(words=(("STOP", "LOVE"), ("CAT", "DOG"))),
        "lora": lora_document(),
    }
    for document, images in made.values():
        store.save(document, images, results)
    ids = {name: str(document["id"]) for name, (document, _) in made.items()}
    (results / "index.json").write_text(json.dumps({"textloc.localize": ids["usual"]}))
    (results / ("f" * 16)).mkdir()
    (results / ("f" * 16) / "result.json").write_text("{")
    return ids


def expect(locator: Any) -> Any:
    from playwright import sync_api

    sync_api.expect.set_options(timeout=PATIENCE)
    return sync_api.expect(locator)


def column(page: Any, layer: int, layers: int = 11) -> dict[str, float]:
    """Where in the plot area the middle of a layer's column is."""
    box = page.locator("#effect .nsewdrag").bounding_box()
    return {"x": box["width"] * (layer + 0.6) / (layers + 0.2), "y": box["height"] / 2}


def fill_setting(page: Any, field: str, text: str) -> None:
    if not page.locator("#model").is_visible():
        page.get_by_text("Model and settings").click()
    write(page, f"#{field} input, #{field} textarea", text)


def write(page: Any, selector: str, text: str) -> None:
    """Fill a field; one that has just unfolded may still take the page's own value."""
    entry = page.locator(selector).first
    for _ in range(5):
        entry.fill(text)
        entry.press("Tab")
        page.wait_for_timeout(300)
        if entry.input_value() == text:
            break
    expect(entry).to_have_value(text)


def ask(page: Any, target: str) -> None:
    expect(page.locator("#source textarea")).to_have_value('a red sign that says "STOP"')
    if not page.locator("#model").is_visible():
        page.get_by_text("Model and settings").click()
    model = page.locator("#model input")
    model.fill("made/up")
    model.press("Enter")
    page.locator("#target textarea").fill(target)
    page.locator("#run").click()
