"""Where things stand in the page, and that they stay there."""

from typing import Any

import pytest

from tests.browser.serving import MARKS, Served

pytestmark = MARKS

TABS = ("localize", "edit", "suppress", "fine-tune", "gallery")
SHIFTS = """
window.shifts = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_moves_while_the_page_fills(served: Served, browser: Any, width: int) -> None:
    """Cumulative layout shift: below 0.1 is good, by web.dev/articles/cls. On a phone the form is
    within the first two screens and nothing is wider than the screen."""
    high = 780
    context = browser.new_context(viewport={"width": width, "height": high})
    context.add_init_script(SHIFTS)
    try:
        page = context.new_page()
        shifts, tops, wide = {}, {}, {}
        for tab in TABS:
            page.goto(f"{served.address}?tab={tab}")
            first = ".tl-item:visible" if tab == "gallery" else ".tl-claim:visible"
            page.locator(first).first.wait_for()
            page.wait_for_timeout(1500)  # what is drawn later is there then
            shifts[tab] = page.evaluate("window.shifts")
            wide[tab] = page.evaluate("document.documentElement.scrollWidth")
            form = {"localize": "#form", "fine-tune": "#lora-form"}.get(tab, f"#{tab}-form")
            if tab != "gallery":
                tops[tab] = page.locator(form).bounding_box()["y"]
    finally:
        context.close()
    assert max(shifts.values()) < 0.1, shifts
    assert max(wide.values()) <= width, wide
    assert max(tops.values()) < 2 * high - 200, tops  # so much of it is seen there
