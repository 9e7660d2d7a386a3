"""Where things stand in the page, and that they stay there."""

from typing import Any

import pytest

from tests.browser.serving import MARKS, Served

pytestmark = MARKS

TABS = ("localize", "edit", "suppress", "fine-tune", "gallery")
SHIFTS = """
() => new Promise((told) => {  // all since the page began to load
  let shifts = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) shifts += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => told(shifts), 100);
})
"""


@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_moves_while_the_page_fills(served: Served, visit: Any, width: int) -> None:
    """Cumulative layout shift: below 0.1 is good, by web.dev/articles/cls. On a phone the form is
    within the first two screens and nothing is wider than the screen."""
    high = 780
    page = visit(served.address, viewport={"width": width, "height": high})
    shifts, tops, wide = {}, {}, {}
    for tab in TABS:
        page.goto(f"{served.address}?tab={tab}")
        first = ".tl-item:visible" if tab == "gallery" else ".tl-claim:visible"
        page.locator(first).first.wait_for()
        page.wait_for_timeout(1500)  # what is drawn later is there then
        shifts[tab] = page.evaluate(SHIFTS)
        wide[tab] = page.evaluate("document.documentElement.scrollWidth")
        form = {"localize": "#form", "fine-tune": "#lora-form"}.get(tab, f"#{tab}-form")
        if tab != "gallery":
            tops[tab] = page.locator(form).bounding_box()["y"]
    assert max(shifts.values()) < 0.1, shifts
    assert max(wide.values()) <= width, wide
    assert max(tops.values()) < 2 * high - 200, tops  # so much of it is seen there
