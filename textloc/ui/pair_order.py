"""What the orders of one pair of prompts share."""

from textloc.prompts import Pair
from textloc.ui.limits import Asked


class PairOrder:
    """A base of orders (`live.Order`) of one pair; its dataclasses name the fields themselves."""

    model: str
    pair: Pair
    seeds: tuple[int, ...]
    steps: int | None

    @property
    def asked(self) -> Asked:
        """What it takes of the page, as `live.Order` says."""
        return Asked(
            self.model, (self.pair.source, self.pair.target), 1, len(self.seeds), self.steps
        )
