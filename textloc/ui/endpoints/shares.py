"""What the endpoint `attribute` asks for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textloc.prompts import Pair
from textloc.ui.pair_order import PairOrder

if TYPE_CHECKING:
    from textloc.jobs.job import Event


@dataclass(frozen=True)
class SharesOrder(PairOrder):
    """An attribution to run; None leaves a value to the checkpoint."""

    model: str
    pair: Pair
    seeds: tuple[int, ...]
    steps: int | None
    guidance: float | None

    stored: ClassVar[bool] = True

    @property
    def pictures(self) -> int:
        """As `PairOrder` says."""
        return 15

    def before(self) -> None:
        """Which steps are looked at is known once torch is loaded; it takes seconds."""

    def stream(
        self,
        model: Any,
        on_step: Callable[[int, int], None],
        on_images: Callable[[int, int, str], None],
        cancelled: Callable[[], bool],
    ) -> "Iterator[Event]":
        """Run it, as `live.Order` says."""
        from textloc.jobs.attribute import attribute_stream

        return attribute_stream(
            model,
            [self.pair],
            seeds=self.seeds,
            steps=self.steps,
            guidance=self.guidance,
            cancelled=cancelled,
        )
