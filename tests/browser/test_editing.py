"""The edit tab in a real browser."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.serving import MARKS, Served, done, expect, write
from textloc.paths import CHECKPOINTS
from textloc.results import store

pytestmark = MARKS


def open_tab(page: Any) -> None:
    page.get_by_role("tab", name="Edit").click()
    expect(page.locator("#edit-headline h1")).to_be_visible()
    expect(page.locator("#edit-share button").first).to_be_enabled()


def ask(page: Any, target: str, source: str = 'a red sign that says "STOP"') -> None:
    if not page.locator("#edit-model").is_visible():
        page.get_by_text("Model, methods and settings").click()
        expect(page.locator("#edit-layers textarea")).to_have_value("auto")
    model = page.locator("#edit-model input")
    model.fill("made/up")
    model.press("Enter")
    expect(page.locator("#edit-steps input")).to_have_value("")  # nothing of the last model's
    write(page, "#edit-layers textarea", "7-9")
    page.locator("#edit-source textarea").fill(source)
    page.locator("#edit-target textarea").fill(target)
    page.locator("#edit-run").click()


# ---------------------------------------------------------------------------- looking


def test_the_tab_opens_on_a_stored_edit(served: Served, visit: Any) -> None:
    page = visit(served.address)
    open_tab(page)
    expect(page.locator("#edit-headline h1")).to_contain_text("4 of 4 pictures say exactly")
    expect(page.locator("#edit-panel img")).to_have_count(3)
    expect(page.locator("#slider img")).to_have_count(2)
    expect(page.locator("#starts [data-ready]")).to_be_visible()
    expect(page.locator("#methods-table tbody tr")).to_have_count(3)
    expect(page.locator("#edit-source textarea")).to_have_value('a red sign that says "STOP"')


def test_the_link_of_an_edit_opens_its_tab(served: Served, ids: dict[str, str], visit: Any) -> None:
    page = visit(f"{served.address}?r={ids['edit']}", wait_for="#edit-panel img")
    expect(page.locator("#edit-headline h1")).to_contain_text("4 of 4 pictures")
    expect(page.locator("#edit-share input")).to_have_value(re.compile(f"{ids['edit']}$"))
    expect(page.locator("#edit-notice [role=alert]")).to_have_count(0)
    page.get_by_role("tab", name="Localize").click()
    expect(page.locator("#headline h1")).to_contain_text("Layers 7, 8 and 9 of 11")
    expect(page.locator("#notice [role=alert]")).to_have_count(0)


def test_picks_change_the_pictures(served: Served, visit: Any) -> None:
    page = visit(served.address)
    open_tab(page)
    page.locator("#edit-strip [data-pick=start-05]").click()
    expect(page.locator("#edit-panel")).to_contain_text("Edit from step 5")
    expect(page.locator("#from-step input[type=number]")).to_have_value("5")
    page.locator("#methods-table [data-pick=inpainting]").click()
    expect(page.locator("#edit-panel")).to_contain_text("Inpainting")
    expect(page.locator("#edit-strip [aria-pressed=true]")).to_have_attribute(
        "data-pick", "inpainting"
    )
    point = page.locator("#starts .scatterlayer .trace").nth(1).locator(".point").first
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#edit-panel")).to_contain_text("Edit from step 0")
    bar = page.locator("#from-step input[type=range]")
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2)
    expect(page.locator("#edit-panel")).to_contain_text("Edit from step 10")


def test_other_words_are_shown(served: Served, visit: Any) -> None:
    page = visit(served.address)
    open_tab(page)
    page.locator("#edit-pair input").click()
    page.get_by_role("option", name="CAT → DOG").click()
    expect(page.locator("#edit-panel img").nth(1)).to_have_attribute("alt", re.compile("DOG"))


def test_an_edit_is_taken_away(served: Served, ids: dict[str, str], visit: Any) -> None:
    page = visit(served.address)
    open_tab(page)
    for button, ending in (("JSON", "json"), ("CSV", "csv"), ("ZIP", "zip")):
        with page.expect_download() as download:
            page.locator("#edit-share").get_by_role("button", name=f"Save {button}").click()
        assert download.value.suggested_filename == f"textloc-{ids['edit']}.{ending}"
        path = Path(download.value.path())
        if ending == "json":
            assert json.loads(path.read_text(encoding="utf-8"))["id"] == ids["edit"]
        if ending == "zip":
            assert path.read_bytes().startswith(b"PK")


def test_a_phone_shows_all_without_scrolling_sideways(served: Served, visit: Any) -> None:
    page = visit(served.address, viewport={"width": 360, "height": 740})
    open_tab(page)
    expect(page.locator("#starts [data-ready]")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


# ---------------------------------------------------------------------------- the form


def test_bad_input_is_told_in_the_page(served: Served, visit: Any) -> None:
    page = visit(served.address)
    open_tab(page)
    for field, text, message in (
        ("target", "stop", "both prompts ask for the text"),
        ("source", "a red sign", "quotes no text"),
    ):
        page.locator(f"#edit-{field} textarea").fill(text)
        page.locator("#edit-run").click()
        trouble = page.locator("#edit-trouble [role=alert]")
        expect(trouble).to_contain_text(message, ignore_case=True)
        expect(trouble).to_be_visible()
        expect(page.locator("#edit-run")).to_be_enabled()
    expect(page.locator("#edit-headline h1")).to_contain_text("4 of 4 pictures")


def test_an_upload_is_looked_at_first(served: Served, visit: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.new("RGB", (120, 90), "green").save(good)
    bad.write_text("no picture")
    page = visit(served.address)
    open_tab(page)
    page.locator("#edit-picture input[type=file]").set_input_files(good)
    expect(page.locator("#edit-preview img")).to_be_visible()
    page.locator("#edit-picture").get_by_label("Clear").or_(
        page.locator("#edit-picture").get_by_label("Remove this file")
    ).first.click()
    expect(page.locator("#edit-preview img")).to_have_count(0)
    page.locator("#edit-picture input[type=file]").set_input_files(bad)
    expect(page.locator("#edit-preview [role=alert]")).to_contain_text("cannot be read")
    page.locator("#edit-run").click()
    expect(page.locator("#edit-trouble [role=alert]")).to_contain_text("cannot be read")


# ---------------------------------------------------------------------------- running


def test_an_edit_grows_and_leaves_a_link(live: Served, visit: Any) -> None:
    live.let(2)
    page = visit(live.address)
    open_tab(page)
    ask(page, "HELD")
    expect(page.locator("#edit-progress")).to_contain_text("6 of 10 images")
    live.let(3)
    expect(page.locator("#edit-progress")).to_contain_text("Done: 10 images")
    expect(page.locator("#edit-headline h1")).to_contain_text("say exactly the new words")
    expect(page.locator("#edit-panel img")).to_have_count(3)
    expect(page.locator("#slider img")).to_have_count(2)
    expect(page.locator("#methods-table tbody tr")).to_have_count(3)
    expect(page).to_have_url(re.compile(r"\?r=[0-9a-f]{16}$"))
    again = visit(page.url, wait_for="#edit-panel img")
    expect(again.locator("#edit-headline")).to_contain_text("HELD")


def test_stop_keeps_what_is_there(live: Served, visit: Any) -> None:
    live.let(1)
    page = visit(live.address)
    open_tab(page)
    ask(page, "HELD")
    expect(page.locator("#edit-progress")).to_contain_text("2 of 10 images")
    page.locator("#edit-stop").click()
    expect(page.locator("#edit-progress")).to_contain_text("Stopped")
    expect(page.locator("#edit-run")).to_be_enabled()
    expect(page.locator("#edit-headline h1")).to_contain_text("Stopped before its end")
    expect(page.locator("#edit-headline")).to_contain_text("No picture is edited yet")
    expect(page.locator("#edit-panel img")).to_have_count(1)


def test_another_model_is_not_asked_for_layers_of_the_last(served: Served, visit: Any) -> None:
    """Nor for its start step; passing over the field with the Tab key chooses nothing."""
    page = visit(f"{served.address}?tab=edit", wait_for="#edit-headline h1")
    page.get_by_text("Model, methods and settings").first.click()
    told = {name: page.locator(f"#edit-{name} textarea") for name in ("start", "layers")}
    for name, value in (("start", "9"), ("layers", "7-9")):
        write(page, f"#edit-{name} textarea", value)
    write(page, "#edit-steps input", "12")
    model = page.locator("#edit-model input")
    model.focus()
    model.press("Tab")
    page.wait_for_timeout(500)  # an answer would have come by now
    expect(told["layers"]).to_have_value("7-9")
    expect(page.locator("#edit-steps input")).to_have_value("12")
    model.fill("owner/model")
    model.press("Enter")
    for field in told.values():
        expect(field).to_have_value("auto")
    expect(page.locator("#edit-steps input")).to_have_value("")


@pytest.mark.slow
def test_an_edit_and_a_localization_share_the_device(live: Served, visit: Any) -> None:
    live.let(1)
    first, second = visit(live.address), visit(live.address)
    open_tab(first)
    ask(first, "HELD")
    expect(first.locator("#edit-progress")).to_contain_text("step")
    second.get_by_text("Model and settings").click()
    second.locator("#model input").fill("made/up")
    second.locator("#model input").press("Enter")
    second.locator("#target textarea").fill("MOON")
    second.locator("#run").click()
    expect(second.locator("#progress")).to_contain_text("waiting for the device")
    first.locator("#edit-stop").click()
    expect(second.locator("#progress")).to_contain_text("Done: 14 images")


@pytest.mark.slow
@pytest.mark.skipif(
    not (CHECKPOINTS / "tiny-sdxl" / "model_index.json").exists(),
    reason="the tiny-sdxl checkpoint is not in assets/checkpoints",
)
def test_a_real_edit_on_the_shipped_checkpoint(
    served: Served, results: Path, visit: Any, tmp_path: Path
) -> None:
    page = visit(served.address)
    open_tab(page)
    page.get_by_text("Model, methods and settings").click()
    expect(page.locator("#edit-layers textarea")).to_have_value("auto")  # the fields are there
    write(page, "#edit-layers textarea", "8-10")
    write(page, "#edit-start textarea", "9")
    page.get_by_role("checkbox", name="Prompt swap").check()
    page.locator("#edit-target textarea").fill("MOON")
    page.locator("#edit-run").click()
    done(page, "edit-")
    expect(page).to_have_url(re.compile(r"\?r=[0-9a-f]{16}$"))
    document = store.load(page.url[-16:], results).document
    assert document["layers"] == [8, 9, 10]
    assert document["start_step"] == 9
    # those of the result that the tab opened with stay asked for
    assert [one["name"] for one in document["methods"]] == ["prompt-swap", "inpainting"]
    page.locator("#edit-target textarea").fill("EXTRAORDINARY")
    page.locator("#edit-run").click()
    expect(page.locator("#edit-trouble [role=alert]")).to_contain_text("spells words of 2 to 6")
