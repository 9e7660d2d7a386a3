"""The fine-tune tab in a real browser."""

import re
from typing import Any

from tests.browser.serving import MARKS, Served, expect

pytestmark = MARKS


def open_tab(page: Any) -> None:
    page.get_by_role("tab", name="Fine-tune").click()
    expect(page.locator("#lora-headline h1")).to_be_visible()
    expect(page.locator("#lora-share button").first).to_be_enabled()


def test_the_tab_opens_on_a_stored_comparison(served: Served, visit: Any) -> None:
    page = visit(served.address)
    open_tab(page)
    expect(page.locator("#lora-headline h1")).to_contain_text("writes numbers best")
    expect(page.locator("#lora-curves [data-ready]")).to_be_visible()
    expect(page.locator("#lora-table tbody tr")).to_have_count(4)
    expect(page.locator("#lora-panel img")).to_have_count(8)
    expect(page.locator("#lora-prompts textarea")).to_have_value(re.compile("2048"))


def test_its_link_opens_its_tab(served: Served, ids: dict[str, str], visit: Any) -> None:
    page = visit(f"{served.address}?r={ids['lora']}", wait_for="#lora-panel img")
    expect(page.locator("#lora-headline h1")).to_contain_text("writes numbers best")
    expect(page.locator("#lora-share input")).to_have_value(re.compile(f"{ids['lora']}$"))


def test_the_page_fits_a_phone(served: Served, ids: dict[str, str], visit: Any) -> None:
    page = visit(
        f"{served.address}?r={ids['lora']}",
        wait_for="#lora-panel img",
        viewport={"width": 360, "height": 780},
    )
    page.locator("#lora-curves [data-ready]").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def ask(page: Any, prompts: str, lora: str = "made/up") -> None:
    field = page.locator("#lora-name input")
    field.fill(lora)
    field.press("Enter")
    page.locator("#lora-prompts textarea").fill(prompts)
    page.locator("#lora-run").click()


def test_a_run_grows_beside_the_base(live: Served, visit: Any) -> None:
    page = visit(live.address)
    open_tab(page)
    ask(page, 'a red sign that says "2048"')
    expect(page.locator("#lora-progress")).to_contain_text("Done: 2 images")
    expect(page.locator("#lora-headline h1")).to_contain_text("With the LoRA 1 of 1")
    expect(page.locator("#lora-panel img")).to_have_count(2)
    expect(page.locator("#lora-panel .tl-letters")).to_have_count(2)
    expect(page.locator("#lora-curves")).to_be_hidden()
    expect(page.locator("#lora-share [role=status]")).to_contain_text("is not stored")
    expect(page.locator("#lora-run")).to_be_enabled()


def test_what_is_wrong_is_told(live: Served, visit: Any) -> None:
    page = visit(live.address)
    open_tab(page)
    ask(page, "a red sign")
    expect(page.locator("#lora-trouble [role=alert]")).to_contain_text("quotes no text")
    ask(page, 'a red sign that says "2048"', lora="no such LoRA")
    expect(page.locator("#lora-trouble [role=alert]")).to_contain_text("There is no LoRA")
    expect(page.locator("#lora-run")).to_be_enabled()
