"""What the orders of one pair of prompts share."""

from typing import ClassVar

from textloc.prompts import Pair
from textloc.ui.limits import Asked


class PairOrder:
    """A base of orders (`live.Order`) of one pair; its dataclasses name the fields themselves."""

    model: str
    pair: Pair
    seeds: tuple[int, ...]
    steps: int | None
    PICTURES: ClassVar[int]
    """`Asked.pictures` of its kind."""

    @property
    def asked(self) -> Asked:
        """What it takes of the page, as `live.Order` says."""
        return Asked(
            model=self.model,
            prompts=(self.pair.source, self.pair.target),
            pairs=1,
            seeds=len(self.seeds),
            steps=self.steps,
            pictures=self.PICTURES,
        )
