"""What a report's script works with: its pictures as addresses, and each thing said once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from textloc.errors import StoreError
from textloc.results.inlined import PANEL, encoded
from textloc.results.letters import differences, spoken
from textloc.results.report.sheet import Card, Figure, Sheet, Target

MOST = 64 * 2**20
"""Characters that all pictures of a report may take as addresses."""
MANY, LESS = 300, 256
"""From so many pictures on, large ones are kept at this many pixels a side."""


class Payload:
    """Collects what the script needs. left_out: pictures that found no room."""

    def __init__(self, sheet: Sheet, find: Callable[[str], Image.Image], most: int = MOST) -> None:
        """`find` returns the picture of a key, or raises `KeyError` or `StoreError`."""
        self._find, self._room = find, most
        cards = [card for look in sheet.looks.values() for card in look.cards]
        cards += [card for _, row in sheet.rows for card in row]
        self._side = PANEL if len({card.key for card in cards}) <= MANY else LESS
        self._places: dict[str, int | None] = {}
        self.pictures: list[tuple[str, bool]] = []
        self.left_out = 0
        self._cards: dict[Card, int] = {}
        self._facts: dict[tuple[tuple[str, str], ...], int] = {}
        self.cards: list[dict[str, Any]] = []
        self._sheet = sheet

    def looks(self) -> dict[str, Any]:
        """Cards and facts by pick, pair and place of the seed."""
        looks: dict[str, dict[str, Any]] = {}
        for (pick, pair, seed), look in self._sheet.looks.items():
            place = f"{pair} {self._seed(seed)}"
            shown = [self._card(card) for card in look.cards]
            looks.setdefault(pick, {})[place] = [shown, self._fact(look.facts)]
        return looks

    def data(self, config: dict[str, Any]) -> dict[str, Any]:
        """All that the script needs. config: to draw the figures with."""
        sheet, looks = self._sheet, self.looks()
        start = self.start()
        return {
            "looks": looks,
            "cards": self.cards,
            "facts": list(self._facts),
            "pictures": self.pictures,
            "picks": sheet.picks,
            "pairs": sheet.pairs,
            "start": start,
            "figures": [self._figure(figure) for figure in sheet.figures],
            "config": config,
        }

    def start(self) -> Sequence[Any] | None:
        """The place that is shown first."""
        return None if self._sheet.start is None else self.target(self._sheet.start)

    def target(self, target: Target) -> list[Any]:
        """A target with the place of its seed: JavaScript does not know all seeds exactly."""
        pick, pair, seed = target
        return [pick, pair, None if seed is None else self._seed(seed)]

    def card(self, card: Card) -> dict[str, Any]:
        """A card as the template and the script draw it."""
        note = f" {card.note}" if card.note else ""
        read = card.read or ""
        wanted = read if card.wanted is None else card.wanted
        place, under = self._picture(card.key), self._picture(card.under)
        alt = f"{card.title}{note}: the picture reads {read or 'nothing'}"
        if card.under is not None:
            alt = "Where the edit differs from the source: the brighter, the more"
        elif card.read is None:
            alt = f"{card.title}{note}"
        return {
            "title": card.title,
            "note": card.note,
            "alt": alt,
            "picture": place,
            "under": under,
            "missing": card.missing if card.key is None else "left out of this file",
            "main": card.main,
            "veiled": card.veiled,
            "said": None if card.read is None else self._said(card),
            "letters": differences(read, wanted),
        }

    def _said(self, card: Card) -> str:
        assert card.read is not None
        return card.read or "nothing" if card.wanted is None else spoken(card.read, card.wanted)

    def _card(self, card: Card) -> int:
        if card not in self._cards:
            self._cards[card] = len(self.cards)
            self.cards.append(self.card(card))
        return self._cards[card]

    def _fact(self, facts: tuple[tuple[str, str], ...]) -> int:
        return self._facts.setdefault(facts, len(self._facts))

    def _picture(self, key: str | None) -> int | None:
        if key is None:
            return None
        if key not in self._places:
            self._places[key] = self._inlined(key)
        return self._places[key]

    def _inlined(self, key: str) -> int | None:
        try:
            address, small = encoded(self._find(key).convert("RGB"), self._side)
        except (KeyError, StoreError):
            return None
        if len(address) > self._room:
            self.left_out += 1
            return None
        self._room -= len(address)
        self.pictures.append((address, small))
        return len(self.pictures) - 1

    def _seed(self, seed: int) -> int:
        return list(self._sheet.seeds).index(seed)

    def _figure(self, figure: Figure) -> dict[str, Any]:
        def led(found: Any) -> Any:
            if isinstance(found, list):
                return [led(one) for one in found]
            return None if found is None else self.target(found)

        drawn = {"light": figure.light, "dark": figure.dark}
        return {**drawn, "looks": led(figure.looks), "pointed": figure.pointed}
