"""The pictures of the README, made from the page as it is.

`python -m docs.pictures` makes all of them, `python -m docs.pictures walk page` those that are
named; Chromium and the stored results that ship are needed. `shares` runs one patch of tiny-sdxl.
"""

import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from tests.browser.serving import CHROMIUM, Served
from textloc.paths import ROOT

ASSETS = ROOT / "assets"
PATIENCE = 300_000  # milliseconds
WALKED, COFFEE = "5bd3109e9262af08", "5146ba4b0e16374a"
"""STOP → LOVE and RAIN → COFFEE, of the stored results."""


def page_png(page: Any, address: str) -> None:
    """A localization as a link opens it."""
    _open(page, f"{address}?r={COFFEE}", "#effect [data-ready]", 1280, 900)
    page.screenshot(path=ASSETS / "page.png")


def edit_png(page: Any, address: str) -> None:
    """The Edit tab."""
    _open(page, f"{address}?tab=edit", "#edit-strip img", 1280, 860)
    page.screenshot(path=ASSETS / "edit.png")


def finetune_png(page: Any, address: str) -> None:
    """The Fine-tune tab."""
    _open(page, f"{address}?tab=fine-tune", "#lora-curves svg", 1280, 1500)
    page.screenshot(path=ASSETS / "finetune.png")


def shares_png(page: Any, address: str) -> None:
    """Shares by letter, and the first letter of layer 10 patched alone."""
    _open(page, address, "#map [data-ready]", 1280, 1400)
    page.get_by_label("Letters").check()
    page.locator("#map .ytick", has_text="→").first.wait_for()
    plot = page.locator("#map .nsewdrag")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    plot.click(position={"x": box["width"] * 10.5 / 11, "y": box["height"] * 0.1})
    page.locator("#cell .tl-picture.tl-main img").wait_for()
    page.wait_for_timeout(1000)
    page.locator("#shares-card").screenshot(path=ASSETS / "shares.png")


def walk_webp(page: Any, address: str) -> None:
    """A walk over the layers: the picture of each alone, then that of the selected ones."""
    _open(page, f"{address}?r={WALKED}", "#effect [data-ready]", 1280, 1080)
    page.locator("#strip img").last.wait_for()
    frames = [(_frame(page), 1800)]
    for button in _layers(page):
        button.click()
        pressed = "button => button.getAttribute('aria-pressed') === 'true'"
        page.wait_for_function(pressed, arg=button.element_handle())
        frames.append((_frame(page), 420))
    frames[-1] = (frames[-1][0], 3200)
    first, *others = [frame for frame, _ in frames]
    first.save(
        ASSETS / "walk.webp",
        save_all=True,
        append_images=others,
        duration=[time for _, time in frames],
        loop=0,
        quality=80,
        method=6,
    )


def _layers(page: Any) -> Iterator[Any]:
    """Buttons of the layers, each alone, in the order in which they run."""
    for button in page.locator("#strip [data-pick]").all():
        if button.inner_text().strip("● \n").isdecimal():
            yield button


def _frame(page: Any) -> Image.Image:
    """The result without the form beside it."""
    page.wait_for_timeout(600)  # the picture and the figure follow the choice
    box = page.locator(".tl-main-column").first.bounding_box()
    clip = {"x": 0, "y": 0, "width": box["x"] + box["width"] + 12, "height": 1080}
    shot = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    return shot.resize((shot.width * 7 // 8, shot.height * 7 // 8), Image.Resampling.LANCZOS)


def _open(page: Any, address: str, wait_for: str, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.goto(address)
    page.locator(wait_for).first.wait_for()
    page.wait_for_timeout(3000)  # what is drawn later


MADE = {
    "page": page_png,
    "edit": edit_png,
    "finetune": finetune_png,
    "shares": shares_png,
    "walk": walk_webp,
}


def main(names: list[str]) -> None:
    """Make the pictures that are named, or all."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        served = Served(["app.py"], Path(folder) / "results", HF_HUB_OFFLINE="1")
        try:
            served.wait()
            chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = chromium.new_page(color_scheme="light", locale="en")
            page.set_default_timeout(PATIENCE)
            for name in names or MADE:
                MADE[name](page, served.address)
                print(name)
            chromium.close()
        finally:
            served.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
