"""What the orders of one pair of prompts share."""

from abc import ABC, abstractmethod

from textloc.prompts import Pair
from textloc.ui.limits import Asked


class PairOrder(ABC):
    """A base of orders (`live.Order`) of one pair; its dataclasses name the fields themselves."""

    model: str
    pair: Pair
    seeds: tuple[int, ...]
    steps: int | None

    @property
    @abstractmethod
    def pictures(self) -> int:
        """As `Asked.pictures`."""

    @property
    def asked(self) -> Asked:
        """What it takes of the page, as `live.Order` says."""
        return Asked(
            model=self.model,
            prompts=(self.pair.source, self.pair.target),
            pairs=1,
            seeds=len(self.seeds),
            steps=self.steps,
            pictures=self.pictures,
        )
