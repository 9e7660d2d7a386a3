"""The page in other languages, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("language", "tab", "run"), [("pl", "Edycja", "Uruchom"), ("ja", "編集", "実行")]
)
def test_the_page_speaks(page: Page, server: str, language: str, tab: str, run: str) -> None:
    page.goto(f"{server}/?lang={language}")
    expect(page.get_by_role("tab", name=tab)).to_be_visible()
    expect(page.get_by_role("button", name=run, exact=True).first).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", language)
    prompts = page.locator(".tl-prompts").first  # what people wrote is left
    expect(prompts).to_contain_text("that says")


def test_a_language_stays_and_tabs_keep_their_addresses(page: Page, server: str) -> None:
    page.goto(f"{server}/?lang=pl")
    page.get_by_role("tab", name="Wyciszanie").click()
    page.wait_for_url("**tab=suppress**")
    page.reload()
    expect(page.get_by_role("tab", name="Wyciszanie")).to_have_attribute("aria-selected", "true")
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("tab", name="Suppress")).to_be_visible()
