"""The models and LoRAs that the page offers, and which others it takes."""

from __future__ import annotations

from typing import Any

from textloc.checkpoints import hardware
from textloc.checkpoints.known import KNOWN, find
from textloc.errors import CheckpointError
from textloc.ui import settings


def offered() -> list[tuple[str, str]]:
    """(label, name) of the models of the lists, the usual one first.

    They are those of `TEXTLOC_MODELS` where it is set; else with a GPU those that it holds, without
    one those that ship, and on a page for oneself those that were downloaded before.
    """
    here = settings.read()
    if here.models:
        return [(_label(name), name) for name in here.models]
    free = hardware.gpu_memory()
    if free is not None:
        entries = hardware.held(free)
    else:
        entries = [e for e in KNOWN if e.available and (e.shipped or not here.public)]
    return [(_label(entry.name), entry.name) for entry in entries or KNOWN[:1]]


def _label(name: str) -> str:
    entry = find(name)
    return name if entry is None else f"{name}: {entry.about}"


def names() -> list[str]:
    """Names of the models that are offered."""
    return [name for _, name in offered()]


def loras() -> list[str]:
    """Names of the LoRAs that are offered."""
    from textloc.checkpoints.loras import shipped

    return [*shipped(), *settings.read().loras]


def any_other() -> bool:
    """Whether a model or LoRA that is not listed may be named: on a page for oneself."""
    return not settings.read().public


def field(else_: str) -> dict[str, Any]:
    """Options of a list of models or LoRAs: on a page for oneself anything `else_` may be typed."""
    if not any_other():
        return {"allow_custom_value": False}
    return {"info": f"Or type {else_}", "allow_custom_value": True}


def check_listed(name: str) -> str:
    """The name of a model that a public page offers. All others have one answer, whatever they are.

    Raises:
        CheckpointError: it is not listed.
    """
    if name in (known := names()):
        return name
    raise CheckpointError(
        f"this page runs {_joined(known)} only: choose from the list. For any other model run "
        "textloc on a machine or a Space of your own"
    )


def check_lora(name: str) -> str:
    """The name of a LoRA, where the page is public one that it offers.

    Raises:
        CheckpointError: it is not listed.
    """
    if any_other() or name in (known := loras()):
        return name
    raise CheckpointError(
        f"this page takes the LoRAs {_joined(known)} only, or a file that you upload: choose from "
        "the list"
    )


def _joined(known: list[str]) -> str:
    return ", ".join(known) or "none"
