"""The suppression that ships, which its tab opens on: a mild word, masked, its picture blurred.

Made by `python -m textloc.tiny reproduce --only suppressed`.
"""

import json
from functools import cache

from PIL import Image

from textloc.paths import SUPPRESSED
from textloc.results.inlined import Pictures
from textloc.ui.stored import View, view_of


@cache
def example() -> View | None:
    """Its view; None where it is not there."""
    try:
        document = json.loads((SUPPRESSED / "document.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    for way in (document["guarded"], document["unguarded"], *document["methods"]):
        for made in way["pictures"]:
            if made["image"]:  # the command names files, views keys
                made["image"] = made["image"].rpartition("/")[2].removesuffix(".png")
    return view_of(document, Pictures(_picture), stored=False)


def _picture(key: str) -> Image.Image:
    return Image.open(SUPPRESSED / f"{key}.png").convert("RGB")
