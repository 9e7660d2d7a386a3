"""Picks in a suppression: `guarded` or the name of another method.

The functions take complete and partial documents.
"""

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]
GUARDED = "guarded"


def entries(document: Document) -> dict[str, Document]:
    """Pick → pictures, in the order in which they are offered."""
    found = {GUARDED: document["guarded"]}
    found |= {method["name"]: method for method in document["methods"]}
    return {pick: way for pick, way in found.items() if way["pictures"]}


def usual_pick(document: Document) -> str:
    """What is shown before anything is picked."""
    return next(iter(entries(document)), "")


def choices(document: Document) -> list[tuple[str, str]]:
    """(name, pick) of all that can be looked at."""
    return [(name_of(document, pick), pick) for pick in entries(document)]


def name_of(document: Document, pick: str) -> str:
    """`Localized patching`, or the title of another method."""
    titles = {method["name"]: str(method["title"]) for method in document["methods"]}
    return titles.get(pick, "Localized patching")
