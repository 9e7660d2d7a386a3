"""Picks that a link names as they are, of results whose first pair or prompt is shown first."""

from collections.abc import Mapping

from textloc.ui.stored import Document


def said(pick: str) -> dict[str, str]:
    """What a link says of a pick."""
    return {"view": pick}


def meant(document: Document, told: Mapping[str, str]) -> str:
    """The pick that a link means."""
    return told.get("view", "")


def usual_pair(document: Document) -> int:
    """The pair or prompt that is shown first."""
    return 0
