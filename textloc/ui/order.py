"""What a form asks for: read and checked before anything waits in a queue."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textloc.cli.common import parse_seeds
from textloc.errors import CheckpointError, LayerError, PromptError
from textloc.known import KNOWN, find
from textloc.layers import parse_layers
from textloc.prompts import Pair, parse_pair

if TYPE_CHECKING:
    from textloc.localize import Event

MOST_SEEDS, MOST_STEPS, MOST_LAYERS = 16, 1000, 10_000
CHUNK_ROWS = 8
"""Rows in one pipeline call at most: few enough for the figure to grow while one watches."""


@dataclass(frozen=True)
class LocalizeOrder:
    """A localization to run; None leaves a value to the checkpoint. `layers` is text or None."""

    model: str
    pair: Pair
    seeds: tuple[int, ...]
    steps: int | None
    guidance: float | None
    start_step: int
    layers: str | None

    stored: ClassVar[bool] = True

    def stream(
        self,
        model: Any,
        on_step: Callable[[int, int], None],
        on_images: Callable[[int, int, str], None],
        cancelled: Callable[[], bool],
    ) -> "Iterator[Event]":
        """Run it, as `live.Order` says."""
        from textloc.localize import localize_stream

        return localize_stream(
            model,
            [self.pair],
            seeds=self.seeds,
            steps=self.steps,
            guidance=self.guidance,
            start_step=self.start_step,
            layers=parse_layers(self.layers, len(model.layers)) if self.layers else None,
            chunk_rows=CHUNK_ROWS,
            on_step=on_step,
            cancelled=cancelled,
        )


def read(
    model: str | None,
    source: str | None,
    target: str | None,
    seeds: str | None,
    steps: float | None,
    guidance: float | None,
    start_step: float | None,
    layers: str | None,
) -> LocalizeOrder:
    """The order that the fields of the form make.

    Raises:
        PromptError, LayerError, CheckpointError: a field cannot be right, whatever the model.
    """
    pair = parse_pair(source or "", target or "")
    name, numbers = check_model(model), check_seeds(seeds)
    whole, scale = check_call(steps, guidance)
    start = whole_number(start_step or 0, "start step", 0)
    if whole is not None and start > whole:
        raise LayerError(f"start step {start} does not lie in 0 to {whole} denoising steps")
    text = (layers or "").strip()
    if text:
        parse_layers(text, MOST_LAYERS)  # how many there are is known once the model is loaded
    return LocalizeOrder(name, pair, numbers, whole, scale, start, text or None)


def check_model(model: str | None) -> str:
    """The name of a checkpoint. One that nothing can be loaded from is refused here; the rest is
    found out by loading."""
    name = (model or "").strip()
    known = [entry.name for entry in KNOWN]
    if name in known or (name and ("/" in name or Path(name).is_dir())):
        return name
    said = f"there is no checkpoint {name!r}" if name else "no model is chosen"
    raise CheckpointError(
        f"{said}: give one of {', '.join(known)}, a diffusers folder, or "
        "a Hub name such as owner/model"
    )


def check_seeds(seeds: str | None) -> tuple[int, ...]:
    """The seeds; empty is 0."""
    numbers = parse_seeds((seeds or "").strip() or "0")
    if len(numbers) > MOST_SEEDS:
        raise PromptError(f"{len(numbers)} seeds are too many for the page; give {MOST_SEEDS}")
    return numbers


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


def offered() -> list[tuple[str, str]]:
    """(label, name) of the known checkpoints that are on this machine, or else of the first."""
    here = [entry for entry in KNOWN if entry.available] or KNOWN[:1]
    return [(f"{entry.name}: {entry.about}", entry.name) for entry in here]
