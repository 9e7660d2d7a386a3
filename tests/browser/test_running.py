"""The page in a real browser: the form, and runs."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.serving import MARKS, Served, ask, done, expect, fill_setting, write
from textloc.paths import CHECKPOINTS
from textloc.results import store

pytestmark = MARKS


# ---------------------------------------------------------------------------- bad input


def test_bad_input_is_told_in_the_page(served: Served, visit: Any) -> None:
    page = visit(served.address)
    usual = {"source": 'a red sign that says "STOP"', "target": "LOVE"}
    expect(page.locator("#source textarea")).to_have_value(usual["source"])
    for field, text, message in (
        ("source", "a red sign", "quotes no text"),
        ("source", 'a red sign that says ""', "quotes an empty text"),
        ("source", "", "the prompt is empty"),
        ("target", 'a red sign that says "stop"', "both prompts ask for the text"),
    ):
        page.locator(f"#{field} textarea").fill(text)
        page.locator("#run").click()
        expect(page.locator("#trouble [role=alert]")).to_contain_text(message, ignore_case=True)
        expect(page.locator("#trouble [role=alert]")).to_be_visible()
        expect(page.locator("#run")).to_be_enabled()
        page.locator(f"#{field} textarea").fill(usual[field])
    expect(page.locator("#headline h1")).to_contain_text("Layers 7, 8 and 9 of 11")


def test_bad_settings_are_told_in_the_page(served: Served, visit: Any) -> None:
    page = visit(served.address)
    expect(page.locator("#source textarea")).to_have_value('a red sign that says "STOP"')
    expect(page.locator("#share button").first).to_be_enabled()  # all is drawn
    for field, text, message in (
        ("layers", "7-3", "runs backwards"),
        ("start", "99", "start step 99"),
        ("seeds", "0,x", "cannot read the seeds"),
        ("model", "nonesuch", "there is no checkpoint 'nonesuch'"),
    ):
        fill_setting(page, field, text)  # what is wrong further up the form is told first
        page.locator("#run").click()
        expect(page.locator("#trouble [role=alert]")).to_contain_text(message, ignore_case=True)


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
        (str(broken), "has no weights"),
        ("nobody/nothing", "the Hub cannot be reached"),
        ("black-forest-labs/FLUX.1-dev", "the Hub cannot be reached"),
    ):
        fill_setting(page, "model", name)
        page.locator("#run").click()
        expect(trouble).to_contain_text(message)
        expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#headline h1")).to_contain_text("Layers 7, 8 and 9 of 11")


# ---------------------------------------------------------------------------- running


def test_a_run_grows_and_leaves_a_link(live: Served, visit: Any) -> None:
    live.let(3)
    page = visit(live.address)
    ask(page, "HELD")
    expect(page.locator("#progress")).to_contain_text("step")
    expect(page.locator("#headline h1")).to_contain_text("6 of 11 layers measured so far")
    expect(page.locator("#effect .bars .point")).to_have_count(6)
    live.let(5)
    expect(page.locator("#progress")).to_contain_text("Done: 14 images")
    expect(page.locator("#effect .bars .point")).to_have_count(11)
    expect(page.locator("#headline h1")).to_contain_text("write the words")
    expect(page).to_have_url(re.compile(r"\?r=[0-9a-f]{16}$"))
    link = page.locator("#share input").input_value()
    assert page.url == link
    expect(page.locator("#results input")).to_have_value(re.compile("HELD"))
    again = visit(link)
    expect(again.locator("#headline")).to_contain_text("HELD")
    expect(again.locator("#notice [role=alert]")).to_have_count(0)


def test_a_page_that_is_loaded_again_finds_its_run(live: Served, visit: Any) -> None:
    live.let(2)
    page = visit(live.address)
    shown = page.url
    ask(page, "HELD")
    expect(page.locator("#headline h1")).to_contain_text("3 of 11 layers measured so far")
    expect(page).to_have_url(re.compile(r"\?run=[\w-]{16}$"))
    expect(page.locator("#share [data-copy]")).to_be_disabled()  # the earlier result's link
    address = page.url
    page.reload()
    expect(page.locator("#headline h1")).to_contain_text("3 of 11 layers measured so far")
    expect(page.locator("#target textarea")).to_have_value("HELD")
    expect(page.locator("#run")).to_be_disabled()
    expect(page.locator("#stop")).to_be_enabled()
    stranger = visit(f"{live.address}?{address.partition('?')[2]}")
    expect(stranger.locator("#trouble [role=alert]")).to_contain_text("in another browser")
    expect(stranger.locator("#stop")).to_be_disabled()
    expect(stranger.locator("#headline h1")).to_contain_text("Layers 7, 8 and 9 of 11")
    other = visit(live.address)  # another page is not told of it
    expect(other.locator("#target textarea")).to_have_value('a red sign that says "LOVE"')
    page.get_by_role("tab", name="Gallery").click()
    expect(page).to_have_url(re.compile("tab=gallery"))
    page.get_by_role("tab", name="Localize").click()
    expect(page).to_have_url(address)
    page.go_back()
    expect(page.get_by_role("tab", name="Gallery")).to_have_attribute("aria-selected", "true")
    page.go_back()
    expect(page.get_by_role("tab", name="Localize")).to_have_attribute("aria-selected", "true")
    expect(page).to_have_url(address)
    expect(page.locator("#stop")).to_be_enabled()
    live.let(5)
    expect(page.locator("#progress")).to_contain_text("Done: 14 images")
    expect(page).to_have_url(re.compile(r"\?r=[0-9a-f]{16}$"))
    link = page.url
    page.goto(address)
    expect(page).to_have_url(link)
    expect(page.locator("#headline")).to_contain_text("HELD")
    page.goto(shown)
    page.go_back()
    expect(page.locator("#headline")).to_contain_text("HELD")


def test_what_was_finished_before_stop_is_found_again(live: Served, visit: Any) -> None:
    live.let(3)
    page = visit(live.address)
    ask(page, "HELD")
    expect(page.locator("#headline h1")).to_contain_text("6 of 11 layers measured so far")
    page.locator("#stop").click()
    expect(page.locator("#progress")).to_contain_text("Stopped: 9 of 14 images")
    page.reload()
    expect(page.locator("#progress")).to_contain_text("Stopped: 9 of 14 images")
    expect(page.locator("#headline")).to_contain_text("6 of 11 layers")
    expect(page.locator("#run")).to_be_enabled()
    page.goto(f"{live.address}?run={'x' * 16}")
    expect(page.locator("#notice [role=alert]")).to_contain_text("is not known here")
    expect(page).to_have_url(re.compile(r"\?r=[0-9a-f]{16}$"))  # a dead address does not stay


def test_a_run_of_another_tab_is_found_again(live: Served, visit: Any) -> None:
    live.let(2)
    page = visit(f"{live.address}?tab=edit", wait_for="#edit-headline h1")
    page.get_by_text("Model, methods and settings").first.click()
    write(page, "#edit-model input", "made/up")
    write(page, "#edit-layers textarea", "7-9")
    page.locator("#edit-target textarea").fill("HELD")
    page.locator("#edit-run").click()
    expect(page.locator("#edit-progress")).to_contain_text("step")
    expect(page).to_have_url(re.compile(r"\?run=[\w-]{16}$"))
    page.reload()
    expect(page.locator("#edit-progress")).to_contain_text("editing")
    expect(page.locator("#edit-target textarea")).to_have_value("HELD")
    live.let(9)
    expect(page.locator("#edit-progress")).to_contain_text("Done:")
    expect(page).to_have_url(re.compile(r"\?r=[0-9a-f]{16}$"))


def test_how_long_a_run_takes_is_told_before_it(live: Served, visit: Any) -> None:
    """Not known, learnt, and once somebody else runs; the line keeps its place and height."""

    def place() -> Any:
        return page.evaluate(
            """() => [document.querySelector("#estimate"), document.querySelector("#options")]
            .map((one) => one.getBoundingClientRect())
            .map((one) => [one.top + scrollY, one.height])"""
        )

    page = visit(live.address)
    expect(page.locator("#source textarea")).to_have_value('a red sign that says "STOP"')
    line = page.locator("#estimate p")
    expect(line).to_have_text(re.compile("tells how long|on this machine"))
    page.get_by_text("Model and settings").click()
    model = page.locator("#model input")
    model.fill("made/timed")  # no other test runs it
    model.press("Enter")
    expect(line).to_have_text("The first run tells how long it takes")
    unknown = place()
    page.locator("#target textarea").fill("MOON")
    page.locator("#run").click()
    expect(page.locator("#progress")).to_contain_text("Done: 14 images")
    expect(line).to_have_text(re.compile(r"^About \d+ (s|min) on this machine$"))
    assert place()[0] == unknown[0]
    live.let(1)
    other = visit(live.address)
    ask(other, "HELD")
    expect(other.locator("#progress")).to_contain_text("step")
    page.locator("#target textarea").press_sequentially("S")
    expect(line).to_have_text(re.compile(r"1 run first"))
    assert place()[0] == unknown[0]
    page.locator("#source textarea").fill("a red sign")
    page.locator("#source textarea").press_sequentially(" ")
    expect(line).to_have_text("")
    assert line.bounding_box()["height"] == unknown[0][1]
    other.locator("#stop").click()
    expect(other.locator("#progress")).to_contain_text("Stopped")


def test_a_pick_holds_while_the_run_goes_on(live: Served, visit: Any) -> None:
    live.let(2)
    page = visit(live.address)
    ask(page, "HELD")
    expect(page.locator("#headline h1")).to_contain_text("3 of 11 layers measured so far")
    page.locator("#strip [data-pick=layer-1]").click()
    expect(page.locator("#panel")).to_contain_text("Layer 1 patched")
    live.let(3)
    expect(page.locator("#headline h1")).to_contain_text("6 of 11 layers measured so far")
    expect(page.locator("#panel")).to_contain_text("Layer 1 patched")
    page.locator("#stop").click()
    expect(page.locator("#progress")).to_contain_text("Stopped")


def test_chips_write_the_prompts(served: Served, visit: Any) -> None:
    page = visit(served.address)
    expect(page.locator("#source textarea")).to_have_value('a red sign that says "STOP"')
    page.locator("#examples").get_by_role("button", name="mug", exact=True).click()
    expect(page.locator("#source textarea")).to_have_value('a red mug that says "STOP"')
    expect(page.locator("#target textarea")).to_have_value('a red mug that says "LOVE"')
    expect(page.locator("#hint")).to_contain_text("4 of 6 letters")
    page.locator("#target textarea").fill("GARDENS")  # at once, as a paste over it
    page.locator("#target textarea").press("Tab")
    expect(page.locator("#hint")).to_contain_text("7 of 6 letters")
    expect(page.locator("#hint")).to_contain_text("spells words of 2 to 6 letters")
    page.locator("#examples").get_by_role("button", name="blue", exact=True).click()
    expect(page.locator("#source textarea")).to_have_value('a blue mug that says "STOP"')
    expect(page.locator("#target textarea")).to_have_value("GARDENS")


def test_stop_stops_and_keeps_what_is_there(live: Served, visit: Any) -> None:
    live.let(2)
    page = visit(live.address)
    ask(page, "HELD")
    expect(page.locator("#headline h1")).to_contain_text("3 of 11 layers measured so far")
    page.locator("#stop").click()
    expect(page.locator("#progress")).to_contain_text("Stopped: 6 of 14 images")
    expect(page.locator("#headline h1")).to_contain_text("Stopped before its end")
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#stop")).to_be_disabled()
    live.let(5)
    page.wait_for_timeout(1000)  # the next pictures would have come by now
    expect(page.locator("#effect .bars .point")).to_have_count(3)
    expect(page.locator("#headline")).to_contain_text("3 of 11 layers measured so far")
    expect(page.get_by_role("button", name="Copy link")).to_be_disabled()
    expect(page.get_by_role("button", name="Save CSV")).to_be_enabled()
    ask(page, "MOON")  # the device is free again
    expect(page.locator("#progress")).to_contain_text("Done: 14 images")


@pytest.mark.slow
def test_a_second_visitor_waits_for_the_device(live: Served, visit: Any) -> None:
    live.let(1)
    first, second = visit(live.address), visit(live.address)
    ask(first, "HELD")
    expect(first.locator("#progress")).to_contain_text("step")
    ask(second, "MOON")
    expect(second.locator("#progress")).to_contain_text("waiting for the device")
    second.locator("#stop").click()
    expect(second.locator("#progress")).to_contain_text("Stopped: no image was made")
    ask(second, "MOON")
    expect(second.locator("#progress")).to_contain_text("waiting for the device")
    first.locator("#stop").click()
    expect(second.locator("#progress")).to_contain_text("Done: 14 images")


def test_a_closed_page_frees_the_device_for_who_waits(live: Served, visit: Any) -> None:
    live.let(1)
    first = visit(live.address)
    ask(first, "HELD")
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
    done(page)
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
