"""Which layers a set is grown from, and when growing ends.

In a full-size model one layer in twenty writes the words, and what changes the pixels most is not
what writes: candidates come from several orders, more of them where there are more layers, and the
neighbours of what is chosen already are always among them, for layers that write stand side by side
(paper, Table 1).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import comb

LEAST = 6
"""Candidates beside neighbours at least, of however few layers."""
PART = 5
"""One layer in so many is a candidate."""
GAIN = 0.01
"""A larger set is better where it has this share of the full effect more."""
PATIENCE = 3
"""Layers that are added without being better before growing ends."""
EVERY = 30
"""Control sets at most that are taken without drawing lots, where the set holds most layers."""


def candidates(orders: Sequence[Mapping[int, float]]) -> list[int]:
    """Layers to grow a set from: the first of every order, the second, and so on.

    Args:
        orders: of the same layers, by layer; larger comes first.
    """
    layers = list(orders[0])
    count = max(LEAST, -(-len(layers) // PART))
    ranked = [sorted(layers, key=values.__getitem__, reverse=True) for values in orders]
    mixed = [ranks[place] for place in range(len(layers)) for ranks in ranked]
    return list(dict.fromkeys(mixed))[:count]


def neighbours(chosen: Collection[int], layers: Collection[int]) -> list[int]:
    """The layers next to chosen ones, in order of numbers."""
    return [n for n in sorted(layers) if n not in chosen and {n - 1, n + 1} & set(chosen)]


class Best:
    """The best of the sets that were tried, by scores of which more is better.

    worth: what the full effect is worth in the first score; smaller gains than its share `GAIN`
    are none.
    """

    def __init__(self, worth: float) -> None:
        self._least = GAIN * worth
        self.layers: tuple[int, ...] = ()
        self._score: tuple[float, float] | None = None
        self.idle = 0
        """Sets in a row that were no better."""

    def see(self, layers: tuple[int, ...], score: float, exact: float) -> None:
        """A set with its scores, each larger than those before."""
        if self._score is None or (
            score > self._score[0] + self._least
            or (exact > self._score[1] and score >= self._score[0] - self._least)
        ):
            self.layers, self._score, self.idle = layers, (score, exact), 0
        else:
            self.idle += 1


def few_enough(size: int, count: int) -> bool:
    """Whether every set of that size of `count` layers can be a control: where the set holds most
    of the layers a few random ones are nearly the set itself."""
    return 2 * size > count and comb(count, size) <= EVERY
