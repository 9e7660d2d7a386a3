"""The page in a real browser: looking at stored results."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.serving import (
    MARKS,
    Served,
    column,
    expect,
)
from textloc.paths import SHIPPED_RESULTS

pytestmark = MARKS


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


def ready_to_walk(page: Any) -> list[str]:
    """Wait until the pictures of all picks are there; the list of requests from then on."""
    expect(page.locator("#walk [data-play]")).to_be_visible()
    page.wait_for_load_state("load")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    return asked


def test_moving_over_layers_shows_them_without_the_server(served: Served, visit: Any) -> None:
    page = visit(served.address)
    expect(page.locator("#curve [data-ready]")).to_be_visible()
    asked = ready_to_walk(page)
    page.locator("#strip [data-pick=layer-2]").hover()
    expect(page.locator("#panel figcaption").nth(1)).to_contain_text("Layer 2 patched")
    assert "down_blocks.2.attentions.0" in page.locator("#panel").inner_text()
    page.locator("#headline").hover()
    expect(page.locator("#panel figcaption").nth(1)).to_contain_text("Layers 7–9 patched")
    page.evaluate("document.querySelector('#strip').scrollIntoView({block: 'end'})")
    page.locator("#effect .nsewdrag").hover(position=column(page, 9))
    expect(page.locator("#panel figcaption").nth(1)).to_contain_text("Layer 9 patched")
    assert "LTOP" in page.locator("#panel img").nth(1).get_attribute("alt")
    panel = page.locator("#panel").bounding_box()
    assert 0 <= panel["y"] < 900 - panel["height"]  # in sight beside what is pointed at
    page.locator("#headline").hover()
    expect(page.locator("#panel figcaption").nth(1)).to_contain_text("Layers 7–9 patched")
    assert not [address for address in asked if not address.startswith("data:")]


@pytest.fixture
def shares(results: Path) -> Iterator[str]:
    """ID of a localization with its shares, stored for one test."""
    folder = SHIPPED_RESULTS / "b2deb6b7d5a62d05"
    shutil.copytree(folder, results / folder.name)
    yield folder.name
    shutil.rmtree(results / folder.name)


def test_a_map_is_gone_through_by_keyboard(served: Served, visit: Any, shares: str) -> None:
    """Arrow keys say what is in a cell, Enter picks it; a link brings the cell back."""
    page = visit(f"{served.address}?r={shares}", wait_for="#map [data-ready]")
    plot = page.locator("#map .tl-plot")
    plot.focus()
    told = page.locator("#map [role=status]")
    expect(told).to_have_text("Arrow keys go from cell to cell, Enter picks one.")
    page.keyboard.press("ArrowRight")
    expect(told).to_contain_text("Layer 1 ·")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # there is nothing on the left
    expect(told).to_contain_text("Layer 0 ·")
    expect(plot.locator(".shapelayer path")).to_have_count(1)
    expect(page.locator("#share input")).not_to_have_value(re.compile("cell="))
    page.get_by_label("Heads").check()
    expect(page.locator("#share input")).to_have_value(re.compile("map=head$"))
    again = visit(f"{served.address}?r={shares}&map=head&cell=2.9", wait_for="#map [data-ready]")
    expect(again.locator("#cell")).to_contain_text("The link marks layer 9, head 2")
    expect(again.get_by_label("Heads")).to_be_checked()
    expect(again.locator("#map .shapelayer path")).to_have_count(1)


def test_play_walks_the_layers_and_holds_at_those_that_write(served: Served, visit: Any) -> None:
    page = visit(served.address)
    ready_to_walk(page)
    play = page.locator("#walk [data-play]")
    play.click()
    expect(play).to_have_text("Pause")
    expect(page.locator("#panel figcaption").nth(1)).to_contain_text("Layer 1 patched")
    expect(page.locator("#strip .tl-walked")).to_have_attribute("data-pick", "layer-2")
    play.click()
    expect(play).to_have_text("Play")
    expect(page.locator("#panel figcaption").nth(1)).to_contain_text("Layers 7–9 patched")
    expect(page.locator("#strip .tl-walked")).to_have_count(0)
    page.locator("#strip [data-pick=layer-3]").click()
    expect(page.locator("#share input")).to_have_value(re.compile("layer=3$"))
    play.click()
    expect(page.locator("#panel figcaption").nth(1)).to_contain_text("Layer 10 patched")
    expect(page.locator("#share input")).to_have_value(re.compile(r"\?r=\w+(&layer=7-9)?$"))
    expect(page.locator("#panel figcaption").nth(1)).to_contain_text("Layers 7–9 patched")
    expect(play).to_have_text("Play")
    expect(page.locator("#walk [role=status]")).to_contain_text("the picture reads LOVE")


def test_the_last_of_quick_picks_counts(served: Served, visit: Any) -> None:
    page = visit(served.address)
    ready_to_walk(page)
    page.evaluate(
        "[3, 4, 5].forEach(n => document.querySelector(`#strip [data-pick=layer-${n}]`).click())"
    )
    expect(page.locator("#share input")).to_have_value(re.compile("layer=5$"))
    expect(page.locator("#panel figcaption").nth(1)).to_contain_text("Layer 5 patched")


def test_it_fills_the_screen_of_a_projector(served: Served, visit: Any) -> None:
    page = visit(served.address)
    ready_to_walk(page)
    full = page.locator("#walk [data-full]")
    full.click()
    expect(full).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("document.fullscreenElement.classList.contains('tl-main-column')")
    page.locator("#strip [data-pick=layer-9]").click()
    expect(page.locator("#panel")).to_contain_text("Layer 9 patched")
    full.click()
    expect(full).to_have_attribute("aria-pressed", "false")


def test_the_pictures_stay_in_sight_on_a_phone(served: Served, visit: Any) -> None:
    page = visit(served.address, viewport={"width": 360, "height": 740})
    ready_to_walk(page)
    page.locator("#curve").scroll_into_view_if_needed()
    page.locator("#effect").scroll_into_view_if_needed()
    page.locator("#effect .nsewdrag").click(position=column(page, 9))
    expect(page.locator("#panel")).to_contain_text("Layer 9 patched")
    assert page.locator("#effect .nsewdrag").bounding_box()["y"] < 740
    for number in range(3):
        picture = page.locator("#panel img").nth(number).bounding_box()
        assert picture["y"] >= 0
        assert picture["y"] + picture["height"] <= 370  # the lower half is for the figure


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
