"""Pictures of the README: the page as it is, opened on a stored result, seen by Chromium.

Needs `playwright` (requirements-dev.txt) and Chromium (`apt-get install chromium`).
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from textloc.errors import ReproduceError
from textloc.files import replace_file
from textloc.results import store

PATIENCE = 600
"""Seconds to wait for the page, and for what is clicked there."""
_WIDTH, _HEIGHT = 1280, 900


def _page(page: Any, _document: dict[str, Any]) -> bytes:
    """The Localize tab, as far as a laptop's screen goes."""
    page.locator("#effect [data-ready]").first.wait_for()
    page.locator("#share button").first.wait_for()
    page.locator("#walk [data-play]").wait_for()
    return bytes(page.screenshot())


def _edit(page: Any, _document: dict[str, Any]) -> bytes:
    """The Edit tab."""
    page.locator("#edit-panel img").first.wait_for()
    page.locator("#edit-strip img").first.wait_for()
    return bytes(page.screenshot())


def _finetune(page: Any, _document: dict[str, Any]) -> bytes:
    """The Fine-tune tab: curves, table and pictures."""
    page.set_viewport_size({"width": _WIDTH, "height": 1500})
    page.locator("#lora-curves [data-ready]").first.wait_for()
    page.locator("#lora-panel img").first.wait_for()
    return bytes(page.screenshot())


def _shares(page: Any, document: dict[str, Any]) -> bytes:
    """The shares of the layers, and the first letter patched alone in the layer that takes up most
    of it."""
    shares = document["shares"]["by_letter"][0]["shares"]
    layer = max(range(len(shares)), key=lambda n: shares[n][0])
    page.locator("#shares [data-ready]").first.wait_for()
    page.locator("#map-by").get_by_text("Letters").click()
    rows = page.locator("#map .ytick")
    rows.filter(has_text="around").first.wait_for()
    plot = page.locator("#map .nsewdrag")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    plot.click(
        position={
            "x": box["width"] * (layer + 0.5) / len(shares),
            "y": box["height"] * 0.5 / rows.count(),
        }
    )
    page.locator("#cell img").nth(1).wait_for()
    page.locator(".tl-sticky").first.evaluate(  # it would lie over them
        "panel => panel.style.setProperty('position', 'static', 'important')"
    )
    return bytes(page.locator("#shares-card").screenshot())


def _walk(page: Any, _document: dict[str, Any]) -> bytes:
    """An animation: the layers looked at one by one, then what is picked; at three
    quarters of the size."""
    page.locator("#walk [data-play]").wait_for()
    page.locator("#curve [data-ready]").wait_for()
    box = page.locator(".tl-main-column").first.bounding_box()
    clip = {"x": box["x"] - 8, "y": 0, "width": box["width"] + 16, "height": _HEIGHT}
    layers = page.locator("#strip [data-pick^=layer-]")
    page.evaluate("document.querySelector('#strip').scrollIntoView({block: 'end'})")
    frames = []
    for number in range(layers.count() + 1):
        if number < layers.count():
            layers.nth(number).hover()
        else:
            page.mouse.move(2, 2)
        page.wait_for_timeout(_SETTLED)
        picture = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
        frames.append(picture.resize((picture.width * 3 // 4, picture.height * 3 // 4)))
    file = io.BytesIO()
    times = [_PACE] * (len(frames) - 1) + [4 * _PACE]
    first, *rest = frames
    moving: dict[str, Any] = {"save_all": True, "append_images": rest, "duration": times, "loop": 0}
    first.save(file, "WEBP", quality=80, method=6, **moving)
    return file.getvalue()


_PACE, _SETTLED = 700, 400
"""Milliseconds a picture of an animation is shown, and waited for."""

SHOTS: dict[str, Callable[[Any, dict[str, Any]], bytes]] = {
    "page": _page,
    "shares": _shares,
    "edit": _edit,
    "finetune": _finetune,
    "walk": _walk,
}
"""Name → what is done on the page that shows a document; gives a PNG, of `walk` a WebP."""


def draw(name: str, result: str, path: Path, root: Path) -> None:
    """Write the picture `name` (of `SHOTS`) of the page of the checkout `root` that shows a result
    to `path`.

    Raises:
        ReproduceError: no Chromium, no playwright, or a page that does not come up or does not show
            what is looked for. StoreError: no such result.
    """
    document = store.load(result).document
    try:
        from playwright import sync_api
    except ImportError as error:
        raise ReproduceError(
            "the page is drawn by playwright: pip install -r requirements-dev.txt"
        ) from error
    chromium = shutil.which("chromium") or shutil.which("chromium-headless-shell")
    if chromium is None:
        raise ReproduceError("the page is drawn by Chromium: apt-get install chromium")
    with _served(root) as address, sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
            page.set_default_timeout(1000 * PATIENCE)
            page.goto(f"{address}?r={result}")
            picture = SHOTS[name](page, document)
        except sync_api.Error as error:
            said = str(error).splitlines()[0]
            raise ReproduceError(f"the page of {result} does not show {name}: {said}") from error
        finally:
            browser.close()
    replace_file(path, lambda file: file.write_bytes(picture))


@contextmanager
def _served(root: Path) -> Iterator[str]:
    """The page in a process of its own while the block lasts; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    asked = {
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
    }
    address = f"http://127.0.0.1:{port}/"
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=root, env={**os.environ, **asked}, stdout=sys.stderr
    )
    try:
        _wait(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=20):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise ReproduceError("the page does not come up; `python app.py` tells why")
