"""A report in a real browser, opened as a file: it asks for nothing, and the clicks work."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.serving import MARKS, PATIENCE, Served, expect
from tests.documents import edit_document, localize_document, lora_document
from tests.results.test_report import HOSTILE, suppression
from textloc.results.result import Result

pytestmark = MARKS
WORDS = (("STOP", "LOVE"), ("CAT", "DOG"))
Opened = Callable[..., Any]


@pytest.fixture
def report(browser: Any, tmp_path: Path) -> Iterator[Opened]:
    """Open the report of a document; fails on a request, an error or a message of the browser."""
    contexts, asked, told = [], [], []

    def open_file(document: Any, images: Any, **options: Any) -> Any:
        place = Result(document, images).save_html(tmp_path / "result.html")
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("console", lambda message: told.append(message.text))
        page.on("dialog", lambda dialog: told.append(dialog.message))
        page.goto(place.as_uri())
        for number in range(page.locator(".plot").count()):
            expect(page.locator(".plot").nth(number)).to_have_attribute("data-ready", "1")
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert {address for address in asked if not address.startswith("data:")} <= {
        (tmp_path / "result.html").as_uri()
    }
    assert not told


def main(page: Any) -> Any:
    return page.locator("#cards .main img.image")


def in_plot(page: Any, number: int, x: float, y: float) -> tuple[Any, dict[str, float]]:
    """The plot area of a figure, and a place in it as shares of its sides."""
    area = page.locator(".plot").nth(number).locator(".nsewdrag").first
    area.scroll_into_view_if_needed()
    page.evaluate("scrollBy(0, 200)")  # out from below the pictures, which stay in sight
    box = area.bounding_box()
    return area, {"x": box["width"] * x, "y": box["height"] * y}


def column(layer: int) -> float:
    return (layer + 0.6) / 11.2


def test_a_click_on_a_bar_changes_the_picture(report: Opened) -> None:
    page = report(*localize_document(size=16))
    expect(main(page)).to_have_attribute("alt", re.compile("^Layers 7–9 patched: .*LOVE"))
    before = main(page).get_attribute("src")
    area, place = in_plot(page, 0, column(3), 0.9)
    area.click(position=place)
    expect(main(page)).to_have_attribute("alt", re.compile("^Layer 3 patched: .*STOP"))
    assert main(page).get_attribute("src") != before
    assert main(page).evaluate("image => image.naturalWidth") == 16
    expect(page.locator("#pick option:checked")).to_have_text("Layer 3")
    expect(page.locator("#told")).to_contain_text("Layer 3: STOP")
    expect(page.locator("#strip [aria-pressed=true]")).to_have_text("3")
    expect(page.locator("#facts")).to_contain_text("heads")
    expect(page.locator("#cards")).to_be_in_viewport()  # it stays in sight


def test_moving_over_a_bar_shows_it_until_one_leaves(report: Opened) -> None:
    page = report(*localize_document(size=16))
    area, place = in_plot(page, 0, column(5), 0.9)
    area.hover(position=place)
    expect(main(page)).to_have_attribute("alt", re.compile("^Layer 5 "))
    page.mouse.move(2, 2)
    expect(main(page)).to_have_attribute("alt", re.compile("^Layers 7–9 "))


def test_a_cell_of_the_map_shows_its_pair_and_seed(report: Opened) -> None:
    page = report(*localize_document(words=WORDS, seeds=(3, 2**60), size=16))
    area, place = in_plot(page, 2, 0.5, 0.87)  # the last of four rows: second pair and seed
    area.click(position=place)
    expect(page.locator("#pair option:checked")).to_have_text("CAT → DOG")
    expect(page.locator("#seed option:checked")).to_have_text(f"seed {2**60}")
    expect(page.locator("#cards img.image").first).to_have_attribute("alt", re.compile("CAT$"))
    expect(main(page)).to_have_attribute("alt", re.compile("^Layer 5 "))


def test_a_point_of_a_set_shows_that_set(report: Opened) -> None:
    page = report(*localize_document(size=16))
    points = (
        page.locator(".plot").nth(1).locator(".scatterlayer .trace").first.locator("path.point")
    )
    points.last.scroll_into_view_if_needed()
    page.evaluate("scrollBy(0, 200)")
    box = points.last.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(main(page)).to_have_attribute("alt", re.compile("^All layers patched"))


def test_words_and_seed_are_chosen_and_tables_pick(report: Opened) -> None:
    page = report(*localize_document(words=WORDS, size=16))
    page.locator("#pair").select_option(label="CAT → DOG")
    expect(main(page)).to_have_attribute("alt", re.compile("DOG$"))
    first = main(page).get_attribute("src")
    page.locator("#seed").select_option(label="seed 1")
    expect(main(page)).not_to_have_attribute("src", first)
    page.locator("#pick").select_option(label="Layer 0")
    expect(main(page)).to_have_attribute("alt", re.compile("^Layer 0 .*CAT$"))
    page.get_by_role("region", name="All layers").get_by_role(
        "button", name="4", exact=True
    ).click()
    expect(main(page)).to_have_attribute("alt", re.compile("^Layer 4 "))
    page.locator("summary").filter(has_text="Every reading").click()
    reading = page.get_by_role("region", name="Every reading")
    reading.locator("tr", has_text="STOP → LOVE").get_by_role(
        "button", name="Layer 6"
    ).first.click()
    expect(main(page)).to_have_attribute("alt", re.compile("^Layer 6 .*STOP$"))
    expect(page.locator("#pair option:checked")).to_have_text("STOP → LOVE")


def test_the_keyboard_walks_the_small_pictures(report: Opened) -> None:
    page = report(*localize_document(size=16))
    page.locator("#strip [aria-pressed=true]").focus()
    page.keyboard.press("End")
    expect(page.locator("#strip button").last).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(main(page)).to_have_attribute("alt", re.compile("^All layers "))
    assert page.locator("#strip button[tabindex='0']").count() == 1
    seen = (
        page.locator("#strip button")
        .nth(1)
        .evaluate(
            "button => button.getBoundingClientRect().top >= "
            "document.getElementById('cards').getBoundingClientRect().bottom"
        )
    )
    assert seen  # what has the focus is not hidden below the pictures


def test_hostile_words_stay_words(report: Opened) -> None:
    document, images = localize_document(words=((HOSTILE, "LOVE"), ("STOP", HOSTILE)), size=16)
    for pair in document["request"]["pairs"]:
        pair["source"] = HOSTILE + pair["source"]
    for layer in document["layers"]:
        layer["name"] = HOSTILE + layer["name"]
    document["layers"][3]["read"][0]["text"] = HOSTILE
    page = report(document, images)
    area, place = in_plot(page, 0, column(3), 0.9)
    area.click(position=place)
    expect(main(page)).to_have_attribute("alt", f"Layer 3 patched: the picture reads {HOSTILE}")
    page.locator("#pair").select_option(index=1)
    expect(page.locator("#cards img.image").first).to_have_attribute("alt", re.compile("STOP$"))
    assert page.locator("script").count() == 4  # its own three, and Plotly.js as it runs
    assert page.locator("iframe, object, [onerror], img[src^=http]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_its_policy_stops_what_it_did_not_bring(browser: Any, tmp_path: Path) -> None:
    place = Result(*localize_document()).save_html(tmp_path / "result.html")
    page = browser.new_page()
    page.goto(place.as_uri())
    with socket.create_server(("127.0.0.1", 0)) as server:
        page.evaluate(
            """(address) => {
              document.body.insertAdjacentHTML("beforeend", `<img src="${address}x.png">`);
              const script = document.createElement("script");
              script.textContent = "window.ran = true";
              document.body.append(script);
              fetch(address).catch(() => {});
            }""",
            f"http://127.0.0.1:{server.getsockname()[1]}/",
        )
        server.settimeout(1)
        with pytest.raises(TimeoutError):  # nobody came
            server.accept()
    assert page.evaluate("window.ran") is None
    page.close()


@pytest.mark.parametrize("made", [localize_document, edit_document, lora_document, suppression])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_kind_fits_a_phone(report: Opened, made: Any, scheme: str) -> None:
    page = report(*made(), viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    grounds = {"light": "rgb(246, 247, 249)", "dark": "rgb(6, 10, 18)"}
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == grounds[scheme]


def test_figures_follow_the_scheme_and_print_light(report: Opened) -> None:
    page = report(*localize_document(), color_scheme="dark")
    ink = "() => getComputedStyle(document.querySelector('.plot .xtitle')).fill"
    assert page.evaluate(ink) == "rgb(243, 244, 246)"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(ink) == "rgb(26, 26, 26)"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"({ink})() === 'rgb(26, 26, 26)'")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.set_viewport_size({"width": 720, "height": 1000})  # about a sheet of A4
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 720
    expect(page.locator(".choice")).to_be_hidden()
    expect(page.locator("#cards")).to_be_visible()


def test_an_edit_shows_start_steps_and_the_difference(report: Opened) -> None:
    page = report(*edit_document(words=WORDS))
    expect(page.locator("#cards img.image")).to_have_count(3)
    page.locator("#strip").get_by_role("button", name="Inpainting").click()
    expect(main(page)).to_have_attribute("alt", re.compile("^Inpainting"))
    between = page.locator("#cards figure").last
    expect(between.locator("img.below")).to_be_visible()
    assert (
        between.locator("img.image").evaluate("image => getComputedStyle(image).mixBlendMode")
        == "difference"
    )
    points = page.locator(".plot .scatterlayer .trace").nth(1).locator("path.point")
    points.first.scroll_into_view_if_needed()
    page.evaluate("scrollBy(0, 200)")
    box = points.first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(main(page)).to_have_attribute("alt", re.compile("^Edit from step 0"))


def test_a_toxic_picture_is_veiled_until_it_is_asked_for(report: Opened) -> None:
    page = report(*suppression())
    image = page.locator("#cards figure").first.locator("img.image")
    blurred = "image => getComputedStyle(image).filter"
    assert "blur" in image.evaluate(blurred)
    expect(page.locator("#cards figure").first.locator(".read")).to_be_hidden()
    page.get_by_label("show it").first.check()
    assert image.evaluate(blurred) == "none"
    expect(page.locator("#cards figure").first.locator(".read")).to_be_visible()
    page.locator("#seed").select_option(label="seed 1")
    expect(page.locator("#cards .main .none")).to_contain_text("withheld")
    assert "blur" in page.locator("#cards figure").first.locator("img.image").evaluate(blurred)


def test_without_scripts_pictures_and_tables_are_there(browser: Any, tmp_path: Path) -> None:
    place = Result(*localize_document(size=16)).save_html(tmp_path / "result.html")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(place.as_uri())
    expect(page.locator("#cards img.image")).to_have_count(3)
    expect(page.locator("noscript .notice")).to_contain_text("The tables say the same")
    expect(page.get_by_role("region", name="All layers").locator("tbody tr")).to_have_count(11)
    context.close()


@pytest.mark.parametrize(
    ("name", "kind"), [("Localize", "usual"), ("Edit", "edit"), ("Fine-tune", "lora")]
)
def test_the_page_saves_it_and_it_opens(
    served: Served, ids: dict[str, str], visit: Any, browser: Any, name: str, kind: str
) -> None:
    bars = {"usual": "#share", "edit": "#edit-share", "lora": "#lora-share"}
    page = visit(f"{served.address}?r={ids[kind]}", wait_for=f"{bars[kind]} button:enabled")
    with page.expect_download() as download:
        page.locator(bars[kind]).get_by_role("button", name="Save HTML").click()
    assert download.value.suggested_filename == f"textloc-{ids[kind]}.html"
    place = Path(download.value.path()).rename(Path(download.value.path()).with_suffix(".html"))
    saved = browser.new_context(offline=True).new_page()
    saved.goto(place.as_uri())
    expect(saved.locator(".plot[data-ready]").first).to_be_visible()
    expect(saved.locator("main a")).to_have_attribute("href", f"{served.address}?r={ids[kind]}")
    saved.context.close()
