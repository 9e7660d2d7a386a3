"""What a result was made with, in a line of short facts."""

from collections.abc import Mapping
from typing import Any

from textloc.layers import display_layers

Document = Mapping[str, Any]


def asked(document: Document, *more: str) -> list[str]:
    """Of a run with pairs of prompts; `more` come after the number of steps."""
    request = document["request"]
    seeds = request["seeds"]
    told = [
        str(document["checkpoint"]["name"]),
        *lora_of(document),
        f"{request['steps']} steps",
        *more,
        f"guidance {request['guidance']:g}",
        f"seed{'s' if len(seeds) > 1 else ''} {_some(seeds)}",
    ]
    if request.get("ocr"):
        told.append(f"read by {request['ocr']['engine']} {request['ocr']['version']}")
    return told


def trained(document: Document) -> list[str]:
    """Of a comparison of LoRA trainings."""
    request = document["request"]
    settings = request["settings"]
    return [
        str(document["checkpoint"]["name"]),
        str(request["data"]),
        f"{settings['steps']} steps of {settings['batch']}",
        f"rank {settings['rank']}",
        f"seeds {', '.join(map(str, request['seeds']))}",
        f"localized: {display_layers(request['localized'])}",
    ]


def tried(document: Document) -> list[str]:
    """Of pictures without and with a LoRA."""
    request = document["request"]
    lora = request["lora"]
    name = lora["name"].replace("\\", "/").rstrip("/").split("/")[-1]
    return [
        str(document["checkpoint"]["name"]),
        f"LoRA {name} × {lora['scale']:g}",
        f"{request['steps']} steps",
        f"guidance {request['guidance']:g}",
    ]


def lora_of(document: Document) -> list[str]:
    """The LoRA that a result was made with, if any."""
    lora = document["checkpoint"].get("lora")
    if not lora:
        return []
    scale = f" at {lora['scale']:g}" if lora["scale"] != 1 else ""
    return [f"with the LoRA {lora['name']}{scale}"]


def _some(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:6]))
    return shown if len(numbers) <= 6 else f"{shown} and {len(numbers) - 6} more"
