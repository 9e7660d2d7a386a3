"""The page in other languages, in a real browser."""

from typing import Any

import pytest

from tests.browser.serving import MARKS, Served, expect

pytestmark = MARKS


@pytest.mark.parametrize(
    ("language", "tab", "run"), [("pl", "Edycja", "Uruchom"), ("ja", "編集", "実行")]
)
def test_the_page_speaks(served: Served, visit: Any, language: str, tab: str, run: str) -> None:
    page = visit(f"{served.address}?lang={language}")
    expect(page.get_by_role("tab", name=tab)).to_be_visible()
    expect(page.get_by_role("button", name=run, exact=True).first).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", language)
    expect(page.locator(".tl-prompts").first).to_contain_text("that says")  # what people wrote


def test_the_browser_says_which(served: Served, visit: Any) -> None:
    page = visit(served.address, locale="pl-PL")
    expect(page.get_by_role("tab", name="Edycja")).to_be_visible()


def test_a_language_stays_and_tabs_keep_their_addresses(served: Served, visit: Any) -> None:
    page = visit(f"{served.address}?lang=pl")
    page.get_by_role("tab", name="Wyciszanie").click()
    page.wait_for_url("**tab=suppress**")
    page.reload()
    expect(page.get_by_role("tab", name="Wyciszanie")).to_have_attribute("aria-selected", "true")
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("tab", name="Suppress")).to_be_visible()
