"""What the form of the localize tab asks for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textloc.errors import LayerError
from textloc.layers import parse_layers
from textloc.prompts import Pair, parse_pair
from textloc.ui.fields import (
    CHUNK_ROWS,
    MOST_LAYERS,
    check_call,
    check_model,
    check_ocr,
    check_seeds,
    read_by,
    usual,
    whole_number,
)
from textloc.ui.pair_order import PairOrder
from textloc.ui.stored import LOCALIZE, same

if TYPE_CHECKING:
    from textloc.jobs.job import Event


MOST_ALONE = 24
"""Text layers of a checkpoint up to which the page patches each alone, after the set is found."""


@dataclass(frozen=True)
class LocalizeOrder(PairOrder):
    """A localization to run; None leaves a value to the checkpoint. `layers` is text or None. ocr:
    engine, or `auto`."""

    model: str
    pair: Pair
    seeds: tuple[int, ...]
    steps: int | None
    guidance: float | None
    start_step: int
    layers: str | None
    ocr: str = "auto"

    stored: ClassVar[bool] = True

    @property
    def pictures(self) -> int:
        """As `PairOrder` says."""
        return 30

    def before(self) -> str | None:
        """ID of a stored result of just this run, as `live.Order` says."""
        if self.layers:
            return None  # how many there are is known once the model is loaded
        steps, guidance = usual(self.model)
        return same(
            LOCALIZE,
            self.model,
            {
                "pairs": [vars(self.pair)],
                "seeds": list(self.seeds),
                "steps": self.steps or steps,
                "guidance": self.guidance if self.guidance is not None else guidance,
                "start_step": self.start_step,
                "search": "attribution",
                **read_by(self.ocr),
            },
        )

    def stream(
        self,
        model: Any,
        on_step: Callable[[int, int], None],
        on_images: Callable[[int, int, str], None],
        cancelled: Callable[[], bool],
    ) -> "Iterator[Event]":
        """Run it, as `live.Order` says."""
        from textloc.jobs.localize import localize_stream

        chosen = parse_layers(self.layers, len(model.layers)) if self.layers else None
        return localize_stream(
            model,
            [self.pair],
            seeds=self.seeds,
            steps=self.steps,
            guidance=self.guidance,
            start_step=self.start_step,
            layers=chosen,
            search="auto",
            alone=chosen if chosen is not None else _alone(len(model.layers)),
            chunk_rows=CHUNK_ROWS,
            ocr=self.ocr,
            on_step=on_step,
            cancelled=cancelled,
        )


def _alone(count: int) -> tuple[int, ...]:
    """The layers that are patched alone, too: all where there are few."""
    return tuple(range(count)) if count <= MOST_ALONE else ()


def read(
    model: str | None,
    source: str | None,
    target: str | None,
    seeds: str | None,
    steps: float | None,
    guidance: float | None,
    start_step: float | None,
    layers: str | None,
    ocr: str | None = None,
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
    engine = check_ocr(ocr)
    return LocalizeOrder(name, pair, numbers, whole, scale, start, text or None, engine)
