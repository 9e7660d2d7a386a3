"""axe-core finds nothing serious in any tab: with a result open, light and dark, wide and narrow.

The tour is looked at in `test_learn.py`. One page is loaded for all tabs.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.serving import MARKS, PATIENCE, Served, expect

pytestmark = MARKS
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 780}


@pytest.fixture(scope="module")
def page(live: Served, browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport=WIDE)
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    opened.goto(live.address)
    opened.locator("#effect [data-ready]").wait_for()
    yield opened
    context.close()


def open_localization(page: Any) -> None:
    expect(page.locator("#share button").first).to_be_enabled()
    page.locator(".label-wrap", has_text="All layers as a table").click()


def open_edit(page: Any) -> None:
    expect(page.locator("#edit-share button").first).to_be_enabled()
    expect(page.locator("#methods-table tbody tr").first).to_be_visible()


def open_suppression(page: Any) -> None:
    expect(page.locator("#suppress-found li")).to_be_visible()
    unfold(page, "suppress-options")
    page.locator("#suppress-layers textarea").fill("8-10")
    page.locator("#suppress-run").click()
    expect(page.locator("#suppress-panel img")).to_have_count(2)
    expect(page.locator("#suppress-save button").first).to_be_enabled()


def open_trainings(page: Any) -> None:
    expect(page.locator("#lora-share button").first).to_be_enabled()


def open_comparison(page: Any) -> None:
    cards = page.locator("#gallery [data-choose]:enabled")
    cards.nth(0).click()
    cards.nth(1).click()
    page.locator("#gallery [data-compare]").click()
    expect(page.locator(".tl-comparison")).to_be_visible()


def unfold(page: Any, block: str) -> None:
    """Open the block of settings of a form."""
    label = page.locator(f"#{block} .label-wrap")
    if "open" not in (label.get_attribute("class") or "").split():
        label.click()


@pytest.mark.parametrize(
    ("tab", "block", "open_result"),
    [
        ("Localize", "options", open_localization),
        ("Edit", "edit-options", open_edit),
        ("Suppress", "suppress-options", open_suppression),
        ("Fine-tune", "lora-options", open_trainings),
        ("Gallery", None, open_comparison),
    ],
)
def test_axe_finds_nothing_serious(
    page: Any, tab: str, block: str | None, open_result: Callable[[Any], None]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.set_viewport_size(WIDE)
    page.get_by_role("tab", name=tab).click()
    open_result(page)
    if block is not None:
        unfold(page, block)
    for scheme in ("light", "dark"):
        page.evaluate("dark => document.body.classList.toggle('dark', dark)", scheme == "dark")
        for size in (WIDE, NARROW):
            page.set_viewport_size(size)
            page.wait_for_timeout(300)  # colours change for 0.2 s
            found = axe.run(page).response
            assert "color-contrast" in {one["id"] for one in found["passes"]}
            serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
            told = [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in serious]
            assert told == [], f"{tab}, {scheme}, {size['width']} pixels wide"
