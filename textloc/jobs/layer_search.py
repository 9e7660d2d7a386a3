"""Localize by attribution: the layers in the order of their shares, cut where the words come out.

1. The shares of every layer (`patching.attribution`) on the pairs that the set is chosen on.
2. The shortest prefix of that order which reaches the asked share of what all layers change, found
   by bisection: prefixes are generated and read as `localize` does.
3. Layers that the prefix does not need are dropped: halves of it at first, then parts of them.
4. A check on what the ranking may have missed, after the diagnostics of AtP* (Kramár et al. 2024,
   arXiv 2403.00745, section 3.3): all other layers together, and random halves of them, patched
   without the set. What they can still write bounds what was left out. Beside it stand the shares
   outside of the set and the completeness error.

What was not generated is not claimed: a layer alone has an effect only where it was asked for.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from textloc.errors import LayerError
from textloc.jobs.attribute import layer_entries, share_costs, share_maps
from textloc.jobs.job import Event
from textloc.jobs.localize import Sweep
from textloc.patching.attribution import Shares, default_steps
from textloc.runs import Run

HALVES = 2
"""Random halves of the layers outside of the set that are patched to check the ranking."""
STEPS = 2
"""Steps that are looked at: the first ones of `default_steps`. A later one needs the picture to be
generated up to there, and orders the layers alike (LOG.md)."""
POINTS = 32
"""Points on the way at a step at most."""


@dataclass(kw_only=True)
class SearchByShares(Sweep):
    """One localization by attribution in progress.

    alone: layers that are patched alone as well. found: shares of the pairs that the set is chosen
    on. order: layers, the largest share first. prefix: how many of them reach the words.
    """

    LEAN = True

    alone: tuple[int, ...] = ()
    found: dict[tuple[int, int], Shares] = field(default_factory=dict, init=False)
    order: tuple[int, ...] = field(default=(), init=False)
    prefix: int = field(default=0, init=False)
    checks: list[tuple[int, ...]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        left = self.sampling.steps - self.start_step
        if not left:
            raise LayerError(
                "patching begins after the last step, so there is no step to look at; begin "
                "earlier, or use `--search sweep`"
            )
        self.steps_at = tuple(self.start_step + step for step in default_steps(left)[:STEPS])

    def plan(self) -> Iterator[Event]:
        yield from self.find()
        every = tuple(range(len(self.pairs)))
        _, reported_on = self.halves()
        self.message = "patching the set, the other layers, and random sets"
        self.controls = self.random_sets()
        self.checks = self._others()
        yield from self.patched("references", ["target"], every)
        shown = [*self.sets[1:], *self.controls, *self.checks]
        yield from self.patched("report", shown, reported_on)
        if self.alone:
            self.message = "patching one layer at a time"
            yield from self.patched("alone", [(layer,) for layer in self.alone], every)
        yield from self.suffice()

    def larger(self, chosen: tuple[int, ...]) -> list[tuple[int, ...]]:
        """A chosen set with the layer of the largest share outside of it."""
        rest = [layer for layer in self.order if layer not in chosen]
        return [tuple(sorted((*chosen, layer))) for layer in rest[:1]]

    def find(self) -> Iterator[Event]:
        every = tuple(range(len(self.pairs)))
        chosen_on, _ = self.halves()
        self.message = "looking at the shares of all layers"
        yield from self._look(chosen_on)
        self.message = "patching all layers"
        yield from self.patched("references", ["source", "all"], every)
        self.sets = [()]
        self.message = "looking for the shortest set of layers"
        yield from self.search(chosen_on)

    # -- shares ----------------------------------------------------------------------------

    def _look(self, pairs: Sequence[int]) -> Iterator[Event]:
        """The shares of these pairs; an event after each step of each."""
        places = [(pair, seed) for pair in pairs for seed in self.seeds]
        runs = [
            (Run(self.pairs[pair].source, seed), Run(self.pairs[pair].target, seed))
            for pair, seed in places
        ]
        began = self.keeping.clock()
        for number, shares in self.keeping.shares(
            self.model,
            runs,
            sampling=self.sampling,
            steps=self.steps_at,
            points=POINTS,
            cancelled=self.cancelled,
        ):
            self.found[places[number]] = shares
            spent = self.keeping.clock() - began
            self.costs["attribution"] = share_costs(self.found) | {"seconds": spent}
            yield self.event(complete=False)
        self.timing["denoiser_rows"] += share_costs(self.found)["denoiser_rows"]
        mean = np.mean([shares.by_layer for shares in self.found.values()], axis=0)
        self.order = tuple(sorted(self.layers, key=lambda layer: -float(mean[layer])))

    # -- the set ---------------------------------------------------------------------------

    def search(self, pairs: Sequence[int]) -> Iterator[Event]:
        """The shortest prefix of `order` that reaches the words on these pairs, and of it what is
        needed: sets `selected` and `reached`."""
        if self.scores.f1("all", pairs) <= self.scores.f1("source", pairs):
            return
        everything = len(self.order)
        low, high = 0, everything  # the longest known to be too short, the shortest known to reach
        if everything < len(self.model.layers):
            yield from self._try(self.order, pairs)
            if not self._reaches(self.order, pairs):
                self.sets.append(tuple(sorted(self.order)))
                return
        length = self._first_guess()
        while high - low > 1:
            length = min(max(length, low + 1), high - 1)
            yield from self._try(self.order[:length], pairs)
            if self._reaches(self.order[:length], pairs):
                high = length
            else:
                low = length
            length = (low + high) // 2 if high < everything else 2 * low
        self.prefix, needed = high, set(self.order[:high])
        yield from self._drop(needed, list(reversed(self.order[:high])), pairs)
        self.selected = tuple(sorted(needed))
        self.reached = True
        grown = [layer for layer in self.order if layer in needed]
        self.sets += [tuple(sorted(grown[:size])) for size in range(1, len(grown) + 1)]

    def _first_guess(self) -> int:
        """Length of the prefix that carries the asked share of the change."""
        if not self.found:
            return min(2, len(self.order))
        maps = share_maps(self.found, self.sampling.steps)
        total = 0.0
        for length, layer in enumerate(self.order, 1):
            total += maps["by_layer"][layer][0]
            if total >= self.share:
                return length
        return max(1, len(self.order) // 2)

    def _drop(self, needed: set[int], parts: list[int], pairs: Sequence[int]) -> Iterator[Event]:
        """Take what is not needed out of `needed`: all `parts` if they can go, else by halves."""
        rest = needed.difference(parts)
        if rest:
            yield from self._try(rest, pairs)
            if self._reaches(rest, pairs):
                needed.difference_update(parts)
                return
        if len(parts) > 1:
            middle = len(parts) // 2
            yield from self._drop(needed, parts[:middle], pairs)
            yield from self._drop(needed, parts[middle:], pairs)

    def _try(self, layers: Sequence[int] | set[int], pairs: Sequence[int]) -> Iterator[Event]:
        yield from self.patched("sets", [tuple(sorted(layers))], pairs)

    def _reaches(self, layers: Sequence[int] | set[int], pairs: Sequence[int]) -> bool:
        return self.reaches(tuple(sorted(layers)), pairs)

    def _others(self) -> list[tuple[int, ...]]:
        """All layers outside of the set, and random halves of them."""
        others = [n for n in range(len(self.model.layers)) if n not in self.selected]
        if not self.selected or not others:
            return []
        rng, found = random.Random(0), [tuple(others)]
        for _ in range(HALVES if len(others) > 2 else 0):
            found.append(tuple(sorted(rng.sample(others, len(others) // 2))))
        return list(dict.fromkeys(found))

    # -- the document ----------------------------------------------------------------------

    def request(self) -> dict[str, Any]:
        return super().request() | {
            "search": "attribution",
            "steps_at": list(self.steps_at),
            "points": POINTS,
            "alone": list(self.alone),
        }

    def body(self, complete: bool) -> dict[str, Any]:
        found = super().body(complete)
        _, reported_on = self.halves()
        maps = share_maps(self.found, self.sampling.steps)
        found["shares"] = maps
        found["text_layers"] = layer_entries(self.model.layers)
        found["selection"] |= {
            "search": "attribution",
            "order": list(self.order),
            "prefix": self.prefix,
        }
        found["selection"].pop("candidates")
        if complete and self.selected:
            others = [n for n in range(len(self.model.layers)) if n not in self.selected]
            found["selection"]["missed"] = {
                "share_outside": sum(abs(maps["by_layer"][n][0]) for n in others),
                "error": maps["error"],
                "patched_without_the_set": [
                    self.set_entry(layers, reported_on) for layers in self.checks
                ],
            }
        return found
