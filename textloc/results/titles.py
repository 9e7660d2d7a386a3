"""What a result is called."""

from collections.abc import Mapping
from typing import Any

_TITLES = {"textloc.edit": "Edit", "textloc.attribute": "Shares of"}


def kind(document: Mapping[str, Any]) -> str:
    """What a document is a result of, such as `textloc.localize`."""
    return str(document["schema"]).partition("/")[0]


def title(document: Mapping[str, Any]) -> str:
    """A result's name for people: `STOP → LOVE`, or `STOP → LOVE and 19 more`."""
    if kind(document) == "textloc.lora":
        return f"LoRA of {document['checkpoint']['name']} on {document['request']['data']}"
    pairs = document["request"]["pairs"]
    first = f"{pairs[0]['source_text']} → {pairs[0]['target_text']}"
    if kind(document) in _TITLES:
        first = f"{_TITLES[kind(document)]} {first}"
    first = first if len(pairs) == 1 else f"{first} and {len(pairs) - 1} more"
    lora = document["checkpoint"].get("lora")
    return f"{first}, with {lora['name']}" if lora else first
