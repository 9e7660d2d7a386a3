"""What the fields of any form may hold: read and checked before anything waits in a queue."""

from pathlib import Path
from typing import Any

from textloc.checkpoints.known import KNOWN, find
from textloc.errors import CheckpointError, LayerError, PromptError
from textloc.reading import ocr
from textloc.runs import parse_seeds
from textloc.ui import models, settings

MOST_STEPS, MOST_LAYERS = 1000, 10_000
CHUNK_ROWS = 8
"""Rows in one pipeline call at most: few enough for the figure to grow while one watches."""


def check_model(model: str | None) -> str:
    """The name of a checkpoint. One that is not listed on a public page, or that nothing can be
    loaded from, is refused here; the rest is found out by loading."""
    name = (model or "").strip()
    if not models.any_other():
        return models.check_listed(name)
    known = [entry.name for entry in KNOWN]
    if name in known or (name and ("/" in name or Path(name).is_dir())):
        return name
    said = f"there is no checkpoint {name!r}" if name else "no model is chosen"
    raise CheckpointError(
        f"{said}: give one of {', '.join(known)}, a diffusers folder, or "
        "a Hub name such as owner/model"
    )


def can_be_run(model: str) -> bool:
    """Whether a result's checkpoint is one that a form can ask for here."""
    try:
        return check_model(model) == model
    except CheckpointError:
        return False


def check_seeds(seeds: str | None) -> tuple[int, ...]:
    """The seeds; empty is 0."""
    numbers = parse_seeds((seeds or "").strip() or "0")
    check_number_of_seeds(len(numbers))
    return numbers


def check_number_of_seeds(count: int) -> None:
    """So many seeds are not more than a run may have here."""
    if count > (most := settings.read().seeds):
        raise PromptError(f"{count} seeds are too many for this page; give {most} or fewer")


ENGINES = {"rapidocr": "rapidocr", "easyocr": "EasyOCR, the paper's"}
"""Engines of `reading.ocr` by name, and what they are called in a form."""


def engines() -> list[tuple[str, str]]:
    """(name for people, name) of the OCR engines that a form offers. A public page offers those
    that download nothing."""
    offered = ocr.here() if settings.read().public else ENGINES
    return [("the usual one here", "auto"), *((ENGINES[name], name) for name in offered)]


def check_ocr(name: str | None) -> str:
    """The OCR engine; empty is `auto`.

    Raises:
        PromptError: the page does not offer it.
    """
    asked, offered = (name or "").strip() or "auto", [one for _, one in engines()]
    if asked not in offered:
        raise PromptError(
            f"there is no OCR engine {asked[:40]!r} here: choose one of {', '.join(offered)}"
        )
    return asked


def read_by(engine: str) -> dict[str, Any]:
    """What the request of a stored result says of an engine that was chosen by name."""
    return {} if engine == "auto" else {"ocr": ocr.describe(engine)}


def check_call(steps: float | None, guidance: float | None) -> tuple[int | None, float | None]:
    """Steps and guidance; None leaves them to the checkpoint."""
    whole = None if steps is None else whole_number(steps, "number of steps", 1)
    if guidance is not None and not 0 <= guidance <= 100:
        raise PromptError(f"the guidance {guidance:g} does not lie in 0 to 100; 3 to 8 is usual")
    return whole, guidance


def whole_number(value: float, name: str, least: int) -> int:
    """A whole number from `least` on; `name` is what the error calls it."""
    if value != int(value) or not least <= value <= MOST_STEPS:
        raise LayerError(f"the {name} {value:g} is not a whole number from {least} to {MOST_STEPS}")
    return int(value)


def usual(name: str | None) -> tuple[int | None, float | None]:
    """Steps and guidance that a known checkpoint is called with; None for any other."""
    entry = find(name or "")
    return (entry.steps, entry.guidance) if entry is not None else (None, None)
