"""The page served by a process of its own, and what the browser tests share."""

import json
import os
import re
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

GATE = "TEXTLOC_TEST_GATE"
"""Environment variable: a file that says in its length how many events a HELD run has."""
MADE_UP = str(Path(__file__).with_name("made_up.py"))
"""The product's page, with results made up in place of the model's."""


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
        self.gate = results.parent / f"gate-{port}"
        self.let(1)
        settings = {
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "TEXTLOC_RESULTS": str(results),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "TEXTLOC_WORKER": "0" if script == [MADE_UP] else "1",  # made-up runs are made here
            GATE: str(self.gate),
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

    def let(self, events: int) -> None:
        """Let a made-up run of the word HELD have this many events, and wait then."""
        aside = self.gate.with_suffix(".new")
        aside.write_bytes(bytes(events))
        aside.replace(self.gate)

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


def done(page: Any, tab: str = "") -> None:
    """Wait for the end of a tab's run; one that failed says why."""
    progress = page.locator(f"#{tab}progress")
    expect(progress).to_contain_text(re.compile("Done|Stopped|Not finished"), timeout=300_000)
    said = f"{progress.inner_text()} {page.locator(f'#{tab}trouble').inner_text()}"
    assert "Done" in said, " ".join(said.split())


def ask(page: Any, target: str) -> None:
    expect(page.locator("#source textarea")).to_have_value('a red sign that says "STOP"')
    if not page.locator("#model").is_visible():
        page.get_by_text("Model and settings").click()
    model = page.locator("#model input")
    model.fill("made/up")
    model.press("Enter")
    page.locator("#target textarea").fill(target)
    page.locator("#run").click()
