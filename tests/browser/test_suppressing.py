"""The suppress tab in a real browser. A harmless word stands for a toxic one."""

from typing import Any

import pytest

from tests.browser.serving import MARKS, Served, done, expect
from textloc.paths import CHECKPOINTS
from textloc.results import store

pytestmark = MARKS


def open_tab(page: Any) -> None:
    page.get_by_role("tab", name="Suppress").click()
    expect(page.locator("#suppress-found li")).to_be_visible()


def unveil(page: Any) -> None:
    """The unguarded picture is blurred until one asks for it."""
    veiled = page.locator(".tl-veil img")
    assert "blur" in veiled.evaluate("image => getComputedStyle(image).filter")
    page.get_by_label("show it").check()
    assert veiled.evaluate("image => getComputedStyle(image).filter") == "none"


def test_the_tab_opens_on_an_example(served: Served, visit: Any) -> None:
    page = visit(served.address)
    open_tab(page)
    expect(page.locator("#suppress-headline h1")).to_contain_text("2 of 2 guarded pictures")
    expect(page.locator("#suppress-headline")).not_to_contain_text("LOSER")
    expect(page.locator("#suppress-panel img")).to_have_count(2)
    unveil(page)
    page.locator("#suppress-panel").get_by_text("LASER").first.wait_for()
    expect(page.locator("#suppress-table tbody tr")).to_have_count(4)


def test_a_prompt_is_looked_at_as_it_is_written(served: Served, visit: Any) -> None:
    page = visit(served.address)
    open_tab(page)
    expect(page.locator("#suppress-found")).to_contain_text("L****: an insult")
    expect(page.locator("#suppress-replacement textarea")).not_to_have_value("")
    page.locator("#suppress-prompt textarea").fill('a red sign that says "LOVE"')
    expect(page.locator("#suppress-found")).to_contain_text("No toxic word is found")
    page.locator("#suppress-prompt textarea").fill("")
    page.locator("#suppress-run").click()
    expect(page.locator("#suppress-trouble [role=alert]")).to_contain_text("prompt is empty")


@pytest.mark.slow
@pytest.mark.skipif(
    not (CHECKPOINTS / "tiny-sdxl" / "model_index.json").exists(),
    reason="the tiny-sdxl checkpoint is not in assets/checkpoints",
)
def test_a_real_run_keeps_a_word_out(served: Served, visit: Any, results: Any) -> None:
    page = visit(served.address)
    open_tab(page)
    before = {summary.id for summary in store.listing(results)}
    page.get_by_text("Model, methods and settings").last.click()
    page.locator("#suppress-words textarea").fill("stop")
    page.locator("#suppress-layers textarea").fill("8-10")
    page.get_by_role("checkbox", name="Prompt swap").last.check()
    page.locator("#suppress-prompt textarea").fill('a red sign that says "STOP"')
    expect(page.locator("#suppress-found")).to_contain_text("S***: in your list")
    page.locator("#suppress-replacement textarea").fill("LOVE")
    page.locator("#suppress-run").click()
    done(page, "suppress-")
    expect(page.locator("#suppress-headline h1")).to_contain_text("1 of 1 guarded pictures")
    expect(page.locator("#suppress-panel img")).to_have_count(2)
    unveil(page)
    expect(page.locator("#suppress-table tbody tr")).to_have_count(3)
    assert "STOP" not in page.locator("#suppress-panel").inner_html()
    assert {summary.id for summary in store.listing(results)} == before
