"""What the tests of fine-tuning share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image folder of twelve pictures, read whole."""
    place = tmp_path / "data"
    place.mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for number in range(12):
        pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
        lines.append(json.dumps({"file_name": f"{number}.png", "text": f'a sign "W{number}"'}))
    (place / "metadata.jsonl").write_text("\n".join(lines))
    return place
