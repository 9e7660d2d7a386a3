"""A finished training as a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from textloc.checkpoints.loading import Model
from textloc.finetuning import progress
from textloc.finetuning.settings import Settings
from textloc.results import provenance
from textloc.results.identity import request_id
from textloc.results.result import Result

SCHEMA = "textloc.finetune/1"


def finished(model: Model, settings: Settings, data: str, out: Path, origin: str) -> Result:
    """The result of a training that wrote its LoRA to `out`.

    Its document (`textloc.finetune/1`, not stored) has `folder`, `layers` and where they come from,
    and `log`, the lines of `log.jsonl`; its one picture is the sheet of the last validation.
    """
    request: dict[str, Any] = {
        "job": "finetune",
        "checkpoint": model.identity,
        "data": data,
        "settings": settings.described(),
    }
    sheets = sorted((out / "samples").glob("step-*.png"))
    images = {}
    if sheets:
        with Image.open(sheets[-1]) as sheet:
            images = {f"p0-s{settings.seed}-validation": sheet.convert("RGB")}
    return Result(
        {
            "schema": SCHEMA,
            "id": request_id(request),
            "complete": True,
            "request": request,
            "checkpoint": model.identity,
            "environment": provenance.describe(model.device, {}),
            "folder": str(out),
            "layers": request["settings"]["layers"],
            "layers_from": origin,
            "pictures": [{"image": key, "read": "the last validation"} for key in images],
            "log": progress.read(out),
        },
        images,
    )
