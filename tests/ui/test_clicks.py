"""Quick clicks: the last one counts, in whatever order they arrive."""

from __future__ import annotations

from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest

from tests.documents import localize_document
from textloc.results.inlined import Pictures
from textloc.ui.localize.tab import LocalizeSession, LocalizeTab
from textloc.ui.stored import View


@pytest.mark.parametrize("order", list(permutations((3, 4, 5))))
def test_the_last_click_counts_in_whatever_order_they_arrive(order: tuple[int, ...]) -> None:
    document, images = localize_document(size=8)
    session = LocalizeSession()
    session.show(View(document, Pictures(images.__getitem__), stored=False))
    tab = LocalizeTab.__new__(LocalizeTab)
    for layer in order:
        event: Any = SimpleNamespace(_data={"custom": f"layer-{layer}", "turn": 100.0 + layer})
        shown = tab.look_clicked(session, event)
        assert (shown[0] == f"layer-{layer}") == (layer == max(order[: order.index(layer) + 1]))
    assert session.shown == "layer-5"
