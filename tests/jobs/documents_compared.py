"""Documents beside each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def without_times(document: Mapping[str, Any]) -> str:
    """The JSON text of a result but for the seconds in it."""
    timing = {name: n for name, n in document["timing"].items() if not name.endswith("_s")}
    costs = {
        name: {key: n for key, n in cost.items() if key != "seconds"}
        for name, cost in document["costs"].items()
    }
    return json.dumps({**document, "timing": timing, "costs": costs})
