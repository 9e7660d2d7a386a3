"""The page in a real browser, served by a process of its own."""

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.documents import localize_document
from textloc import store
from textloc.paths import CHECKPOINTS, ROOT

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="chromium is not installed"),
]
PATIENCE = 40_000
"""Milliseconds to wait for the page; a busy machine is slow."""

# The product's page, with a localization made up in place of the model's.
MADE_UP_RUNS = """
import sys, time
from types import SimpleNamespace

import textloc.checkpoints
import textloc.localize
from tests.documents import localize_document
from textloc.errors import Cancelled, OutOfMemoryError, PromptError
from textloc.ui import page


def localize_stream(model, pairs, *, seeds, on_step, cancelled, **_options):
    words = [(pair.source_text, pair.target_text) for pair in pairs]
    if "Ä" in words[0][1]:
        raise PromptError("made-up cannot spell 'Ä'; it knows the letters A to Z")
    slow = words[0][1] == "SLOW"
    for finished in (0, 3, 6, 9, None):
        for step in range(20):
            if cancelled():
                raise Cancelled("stopped")
            on_step(step + 1, 20)
            time.sleep(0.2 if slow else 0.02)
        if words[0][1] == "HALF" and finished == 6:
            raise OutOfMemoryError("the memory is full; choose a smaller size")
        document, images = localize_document(words=words, seeds=seeds, finished=finished)
        done = 14 if finished is None else 3 + finished
        yield SimpleNamespace(
            document=document, images=images, done=done, total=14, message="patching"
        )


textloc.localize.localize_stream = localize_stream
textloc.checkpoints.load = lambda name: SimpleNamespace(name=name, layers=range(11))
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
    """Store three results and a damaged one; name → ID."""
    made = {
        "usual": localize_document(size=64),
        "pairs": localize_document(words=(("BOOK", "RAIN"), ("MUG", "TEA")), seeds=(3, 4)),
        "sdxl": localize_document(70, seeds=(0,)),
    }
    for document, images in made.values():
        store.save(document, images, results)
    ids = {name: str(document["id"]) for name, (document, _) in made.items()}
    (results / "index.json").write_text(json.dumps({"default": ids["usual"]}))
    (results / ("f" * 16)).mkdir()
    (results / ("f" * 16) / "result.json").write_text("{")
    return ids


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page") / "results"


@pytest.fixture(scope="module")
def ids(results: Path) -> dict[str, str]:
    return fill(results)


@pytest.fixture(scope="module")
def served(results: Path, ids: dict[str, str]) -> Iterator[Served]:
    """`app.py` as it is, without the Hub."""
    page = Served(["app.py"], results, HF_HUB_OFFLINE="1")
    page.wait()
    yield page
    page.stop()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page with made-up runs, and a folder of results of its own."""
    folder = tmp_path_factory.mktemp("live")
    fill(folder / "results")
    script = folder / "made_up.py"
    script.write_text(MADE_UP_RUNS)
    page = Served([str(script)], folder / "results")
    page.wait()
    yield page
    page.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """Open a page and wait until its figure is drawn; fails on an error in the browser."""
    contexts, errors = [], []

    def open_page(address: str, **options: Any) -> Any:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.locator("#effect [data-ready]").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors


def expect(locator: Any) -> Any:
    sync_api.expect.set_options(timeout=PATIENCE)
    return sync_api.expect(locator)


def column(page: Any, layer: int, layers: int = 11) -> dict[str, float]:
    """Where in the plot area the middle of a layer's column is."""
    box = page.locator("#effect .nsewdrag").bounding_box()
    return {"x": box["width"] * (layer + 0.6) / (layers + 0.2), "y": box["height"] / 2}


# ---------------------------------------------------------------------------- looking


def test_opens_on_the_stored_result(served: Served, visit: Any) -> None:
    page = visit(served.address)
    expect(page.locator("#headline h1")).to_contain_text("Layers 7, 8 and 9 of 11")
    expect(page.locator("#panel img")).to_have_count(3)
    expect(page.locator("#panel")).to_contain_text("Layers 7–9 patched")
    assert "LOVE" in page.locator("#panel img").nth(1).get_attribute("alt")
    expect(page.locator("#curve [data-ready]")).to_be_visible()
    expect(page.locator("#damaged")).to_contain_text("1 stored result is damaged")
    assert page.locator("#effect .bars .point").count() == 11


def test_the_figure_is_painted_soon(served: Served, visit: Any) -> None:
    """Aim: 1.5 s on an idle machine of two cores; here it only must not take much longer."""
    visit(served.address)  # the first visit warms the server
    page = visit(served.address)
    painted = "performance.getEntriesByName('textloc-painted')[0].startTime"
    milliseconds = page.evaluate(painted)
    print(f"painted after {milliseconds:.0f} ms")
    assert milliseconds < 10_000


def test_pictures_are_enlarged_without_smoothing(served: Served, visit: Any) -> None:
    page = visit(served.address)
    picture = page.locator("#panel img").nth(1)
    assert picture.evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"
    assert picture.evaluate("e => e.naturalWidth") == 64
    assert picture.bounding_box()["width"] > 150


def test_a_click_in_the_figure_shows_that_layer(served: Served, visit: Any) -> None:
    page = visit(served.address)
    for layer in (9, 2):
        page.locator("#effect .nsewdrag").click(position=column(page, layer))
        expect(page.locator("#panel")).to_contain_text(f"Layer {layer} patched")
        expect(page.locator("#pick input")).to_have_value(re.compile(f"^Layer {layer}"))
        pressed = page.locator("#strip [aria-pressed=true]")
        expect(pressed).to_have_attribute("data-pick", f"layer-{layer}")
    expect(page.locator("#panel")).to_contain_text("down_blocks.2.attentions.0")
    expect(page.locator("#panel")).to_contain_text("43,008")
    assert page.locator("#panel mark").count() > 0  # STOP is not LOVE


def test_a_click_in_the_curve_shows_that_set(served: Served, visit: Any) -> None:
    page = visit(served.address)
    point = page.locator("#curve .scatterlayer .trace").first.locator(".point").nth(2)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#panel")).to_contain_text("Layers 8–9 patched")


def test_a_click_in_the_map_shows_that_picture(
    served: Served, ids: dict[str, str], visit: Any
) -> None:
    page = visit(f"{served.address}?r={ids['pairs']}")
    plot = page.locator("#readings [data-ready]")
    plot.scroll_into_view_if_needed()
    box = page.locator("#readings .nsewdrag").bounding_box()
    # the last row is MUG → TEA with seed 4; layer 5 stands in the middle
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * 7 / 8)
    expect(page.locator("#panel")).to_contain_text("Layer 5 patched")
    expect(page.locator("#pair input")).to_have_value("MUG → TEA")
    expect(page.locator("#seed input")).to_have_value("seed 4")
    expect(page.locator("#panel img").nth(2)).to_have_attribute("alt", re.compile("TEA"))


def test_the_keyboard_picks_too(served: Served, visit: Any) -> None:
    page = visit(served.address)
    page.locator("#strip [data-pick=layer-3]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#panel")).to_contain_text("Layer 4 patched")
    picker = page.locator("#pick input")
    picker.focus()
    picker.fill("Layer 6")
    page.keyboard.press("Enter")
    expect(page.locator("#panel")).to_contain_text("Layer 6 patched")


def test_the_table_says_the_same_and_picks(served: Served, visit: Any) -> None:
    page = visit(served.address)
    page.get_by_text("All layers as a table").click()
    expect(page.locator("#table tbody tr")).to_have_count(14)
    page.locator("#table [data-pick=layer-9]").click()
    expect(page.locator("#panel")).to_contain_text("Layer 9 patched")


def test_the_figure_follows_the_theme(served: Served, visit: Any) -> None:
    page = visit(served.address, color_scheme="dark")
    ink = "getComputedStyle(document.querySelector('#effect .xtick text')).fill"
    assert page.evaluate(ink) == "rgb(243, 244, 246)"


def test_a_phone_shows_it_without_scrolling_sideways(served: Served, visit: Any) -> None:
    page = visit(served.address, viewport={"width": 390, "height": 844})
    expect(page.locator("#curve [data-ready]")).to_be_attached()
    page.get_by_text("All layers as a table").click()
    expect(page.locator("#table tbody tr")).to_have_count(14)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    box = page.locator("#effect .main-svg").first.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


def test_without_results_the_page_invites_to_run_one(tmp_path: Path, browser: Any) -> None:
    served = Served(["app.py"], tmp_path / "results")
    served.wait()
    page = browser.new_page()
    page.goto(served.address)
    expect(page.locator("#headline h1")).to_contain_text("No result is stored here yet")
    expect(page.locator("#run")).to_be_enabled()
    page.close()
    served.stop()


# ---------------------------------------------------------------------------- links


def test_a_link_opens_its_result(served: Served, ids: dict[str, str], visit: Any) -> None:
    page = visit(f"{served.address}?r={ids['sdxl']}")
    expect(page.locator("#headline h1")).to_contain_text("Layers 55, 56 and 57 of 70")
    expect(page.locator("#notice [role=alert]")).to_have_count(0)


@pytest.mark.parametrize(
    ("asked", "message"),
    [("../../etc/passwd", "is not a result ID"), ("0" * 16, "There is no stored result")],
)
def test_a_bad_link_says_so(served: Served, visit: Any, asked: str, message: str) -> None:
    page = visit(f"{served.address}?r={asked}")
    expect(page.locator("#notice [role=alert]")).to_contain_text(message)
    expect(page.locator("#headline h1")).to_contain_text("Layers 7, 8 and 9 of 11")


def test_a_damaged_result_says_so(served: Served, visit: Any) -> None:
    page = visit(f"{served.address}?r={'f' * 16}")
    expect(page.locator("#notice [role=alert]")).to_contain_text("damaged")


def test_copy_link_copies_the_address(served: Served, ids: dict[str, str], visit: Any) -> None:
    page = visit(served.address, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#share [role=status]")).to_have_text("Link copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{served.address}?r={ids['usual']}"
    page.goto(copied)
    expect(page.locator("#headline h1")).to_contain_text("Layers 7, 8 and 9 of 11")


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_files_can_be_saved(served: Served, ids: dict[str, str], visit: Any, kind: str) -> None:
    page = visit(served.address)
    button = page.get_by_role("button", name=f"Save {kind.upper()}")
    expect(button).to_be_enabled()
    with page.expect_download() as found:
        button.click()
    assert found.value.suggested_filename == f"textloc-{ids['usual']}.{kind}"
    text = Path(found.value.path()).read_text(encoding="utf-8")
    if kind == "json":
        assert json.loads(text)["id"] == ids["usual"]
    else:
        assert text.startswith("layer,name,selected")


def test_another_result_opens_from_the_list(
    served: Served, ids: dict[str, str], visit: Any
) -> None:
    page = visit(served.address)
    expect(page.locator("#share button").first).to_be_enabled()
    page.locator("#results input").click()
    page.get_by_role("option", name=re.compile("BOOK → RAIN")).click()
    expect(page.locator("#headline")).to_contain_text("BOOK")
    expect(page).to_have_url(f"{served.address}?r={ids['pairs']}")
    expect(page.locator("#source textarea")).to_have_value('a red sign that says "BOOK"')
    page.locator("#pair input").click()
    page.get_by_role("option", name="MUG → TEA").click()
    expect(page.locator("#panel img").nth(2)).to_have_attribute("alt", re.compile("TEA"))


# ---------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "a red sign"}, "quotes no text"),
        ({"source": 'a red sign that says ""'}, "quotes an empty text"),
        ({"source": ""}, "the prompt is empty"),
        ({"target": 'a red sign that says "stop"'}, "both prompts ask for the text"),
    ],
)
def test_bad_input_is_told_in_the_page(
    served: Served, visit: Any, fields: dict[str, str], message: str
) -> None:
    page = visit(served.address)
    expect(page.locator("#source textarea")).to_have_value('a red sign that says "STOP"')
    for field, text in fields.items():
        page.locator(f"#{field} textarea").fill(text)
    page.locator("#run").click()
    expect(page.locator("#trouble [role=alert]")).to_contain_text(message, ignore_case=True)
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#headline h1")).to_contain_text("Layers 7, 8 and 9 of 11")


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("model", "nonesuch", "there is no checkpoint 'nonesuch'"),
        ("seeds", "0,x", "cannot read the seeds"),
        ("layers", "7-3", "runs backwards"),
        ("start", "99", "start step 99"),
    ],
)
def test_bad_settings_are_told_in_the_page(
    served: Served, visit: Any, field: str, text: str, message: str
) -> None:
    page = visit(served.address)
    expect(page.locator("#source textarea")).to_have_value('a red sign that says "STOP"')
    expect(page.locator("#share button").first).to_be_enabled()  # all is drawn
    fill_setting(page, field, text)
    page.locator("#run").click()
    expect(page.locator("#trouble [role=alert]")).to_contain_text(message, ignore_case=True)


def fill_setting(page: Any, field: str, text: str) -> None:
    if not page.locator("#model").is_visible():
        page.get_by_text("Model and settings").click()
    entry = page.locator(f"#{field} input, #{field} textarea").first
    for _ in range(5):  # a field that has just unfolded may still take the page's own value
        entry.fill(text)
        entry.press("Tab")
        page.wait_for_timeout(300)
        if entry.input_value() == text:
            break
    expect(entry).to_have_value(text)


@pytest.mark.slow
def test_what_only_loading_finds_out_is_told_in_the_page(
    served: Served, visit: Any, tmp_path: Path
) -> None:
    """Too long a word, an unknown layer, missing weights, no network: the stored result stays."""
    broken = tmp_path / "broken"
    shutil.copytree(CHECKPOINTS / "tiny-sdxl", broken)
    for file in (broken / "unet").glob("*.safetensors"):
        file.unlink()
    page = visit(served.address)
    expect(page.locator("#share button").first).to_be_enabled()
    trouble = page.locator("#trouble [role=alert]")
    page.locator("#target textarea").fill("EXTRAORDINARY")
    page.locator("#run").click()
    expect(trouble).to_contain_text("spells words of 2 to 6 letters")
    page.locator("#target textarea").fill("LOVE")
    fill_setting(page, "layers", "99")
    page.locator("#run").click()
    expect(trouble).to_contain_text("There is no text layer 99")
    fill_setting(page, "layers", "")
    for name, message in (
        (str(broken), "does not load"),
        ("nobody/nothing", "the Hub cannot be reached"),
        ("black-forest-labs/FLUX.1-dev", "the Hub cannot be reached"),
    ):
        fill_setting(page, "model", name)
        page.locator("#run").click()
        expect(trouble).to_contain_text(message)
        expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#headline h1")).to_contain_text("Layers 7, 8 and 9 of 11")


# ---------------------------------------------------------------------------- running


def ask(page: Any, target: str) -> None:
    expect(page.locator("#source textarea")).to_have_value('a red sign that says "STOP"')
    if not page.locator("#model").is_visible():
        page.get_by_text("Model and settings").click()
    model = page.locator("#model input")
    model.fill("made/up")
    model.press("Enter")
    page.locator("#target textarea").fill(target)
    page.locator("#run").click()


def test_a_run_grows_and_leaves_a_link(live: Served, visit: Any) -> None:
    page = visit(live.address)
    ask(page, "MOON")
    expect(page.locator("#progress")).to_contain_text("step")
    expect(page.locator("#headline h1")).to_contain_text("layers measured so far")
    expect(page.locator("#effect .bars .point")).not_to_have_count(11)
    expect(page.locator("#progress")).to_contain_text("Done: 14 images")
    expect(page.locator("#effect .bars .point")).to_have_count(11)
    expect(page.locator("#headline h1")).to_contain_text("write the words")
    expect(page).to_have_url(re.compile(r"\?r=[0-9a-f]{16}$"))
    link = page.locator("#share input").input_value()
    assert page.url == link
    expect(page.locator("#results input")).to_have_value(re.compile("MOON"))
    again = visit(link)
    expect(again.locator("#headline")).to_contain_text("MOON")
    expect(again.locator("#notice [role=alert]")).to_have_count(0)


def test_a_pick_holds_while_the_run_goes_on(live: Served, visit: Any) -> None:
    page = visit(live.address)
    ask(page, "SLOW")
    expect(page.locator("#headline h1")).to_contain_text("3 of 11 layers measured so far")
    page.locator("#strip [data-pick=layer-1]").click()
    expect(page.locator("#panel")).to_contain_text("Layer 1 patched")
    expect(page.locator("#headline h1")).to_contain_text("6 of 11 layers measured so far")
    expect(page.locator("#panel")).to_contain_text("Layer 1 patched")
    page.locator("#stop").click()
    expect(page.locator("#progress")).to_contain_text("Stopped")


def test_stop_stops_and_keeps_what_is_there(live: Served, visit: Any) -> None:
    page = visit(live.address)
    ask(page, "SLOW")
    expect(page.locator("#headline h1")).to_contain_text("3 of 11 layers measured so far")
    page.locator("#stop").click()
    expect(page.locator("#progress")).to_contain_text("Stopped: 6 of 14 images")
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#stop")).to_be_disabled()
    time.sleep(5)  # the next pictures would have come after four seconds
    expect(page.locator("#effect .bars .point")).to_have_count(3)
    expect(page.locator("#headline h1")).to_contain_text("3 of 11 layers measured so far")
    expect(page.get_by_role("button", name="Copy link")).to_be_disabled()
    expect(page.get_by_role("button", name="Save CSV")).to_be_enabled()
    ask(page, "MOON")  # the device is free again
    expect(page.locator("#progress")).to_contain_text("Done: 14 images")


def test_a_second_visitor_waits_for_the_device(live: Served, visit: Any) -> None:
    first, second = visit(live.address), visit(live.address)
    ask(first, "SLOW")
    expect(first.locator("#progress")).to_contain_text("step")
    ask(second, "MOON")
    expect(second.locator("#progress")).to_contain_text("waiting for the device")
    second.locator("#stop").click()
    expect(second.locator("#progress")).to_contain_text("Stopped: no image was made")
    ask(second, "MOON")
    expect(second.locator("#progress")).to_contain_text("waiting for the device")
    first.locator("#stop").click()
    expect(second.locator("#progress")).to_contain_text("Done: 14 images")


def test_a_closed_page_frees_the_device(live: Served, visit: Any) -> None:
    first = visit(live.address)
    ask(first, "SLOW")
    expect(first.locator("#progress")).to_contain_text("step")
    first.close()
    second = visit(live.address)
    ask(second, "MOON")
    expect(second.locator("#progress")).to_contain_text("Done: 14 images")


@pytest.mark.parametrize(
    ("word", "message", "layers"), [("Ä", "cannot spell", 11), ("HALF", "memory is full", 3)]
)
def test_an_error_is_told_and_nothing_is_lost(
    live: Served, visit: Any, word: str, message: str, layers: int
) -> None:
    page = visit(live.address)
    ask(page, word)
    expect(page.locator("#trouble [role=alert]")).to_contain_text(message)
    expect(page.locator("#effect .bars .point")).to_have_count(layers)
    expect(page.locator("#run")).to_be_enabled()


@pytest.mark.slow
@pytest.mark.skipif(
    not (CHECKPOINTS / "tiny-sdxl" / "model_index.json").exists(),
    reason="the tiny-sdxl checkpoint is not in assets/checkpoints",
)
def test_a_real_run_on_the_shipped_checkpoint(
    served: Served, results: Path, visit: Any, tmp_path: Path
) -> None:
    page = visit(served.address)
    expect(page.locator("#source textarea")).to_have_value('a red sign that says "STOP"')
    page.locator("#target textarea").fill("LOVE")
    page.locator("#run").click()
    sync_api.expect(page.locator("#progress")).to_contain_text("Done", timeout=300_000)
    expect(page).to_have_url(re.compile(r"\?r=[0-9a-f]{16}$"))
    stored = store.load(page.url[-16:], results)
    assert stored.document["checkpoint"]["name"] == "tiny-sdxl"
    assert isinstance(stored.image("p0-s0-all"), Image.Image)
    page.locator("#target textarea").fill("RAIN")
    page.locator("#run").click()
    expect(page.locator("#progress")).to_contain_text("step")
    page.locator("#stop").click()
    expect(page.locator("#progress")).to_contain_text("Stopped")
    page.locator("#target textarea").fill("ÄÖÜ")
    page.locator("#run").click()
    expect(page.locator("#trouble [role=alert]")).to_contain_text("cannot spell")
