"""What a report shows, as plain data: a module a kind of result fills a `Sheet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Document = Mapping[str, Any]
Place = tuple[str, int, int]
"""Pick, number of the pair or prompt, seed."""
Target = tuple[str | None, int | None, int | None]
"""Where a click leads: a place, None for what stays."""


@dataclass(frozen=True)
class Card:
    """A picture with what was read in it.

    note: plain words after the title. key: None for a picture that is not made. read: what OCR
    read; None where it is not told. wanted: the word that `read` is compared with; None where no
    letter is wrong or right. main: whether it is the one to look at. veiled: blurred until it is
    asked for. under: key of a picture from which it is subtracted. missing: said in the place of a
    picture that is not there.
    """

    title: str
    note: str = ""
    key: str | None = None
    read: str | None = None
    wanted: str | None = None
    main: bool = False
    veiled: bool = False
    under: str | None = None
    missing: str = "not made"


class Look(NamedTuple):
    """What is shown of a place: pictures side by side, and terms with their values."""

    cards: tuple[Card, ...]
    facts: tuple[tuple[str, str], ...] = ()


class Pick(NamedTuple):
    """What can be looked at. short: for a small picture. chosen: whether the result chose it."""

    pick: str
    name: str
    short: str
    chosen: bool = False


class Figure(NamedTuple):
    """A Plotly figure: `light` and `dark` as JSON. looks: for each trace, where each of its
    points leads (of a map a list a row). pointed: whether the picked layers are marked in it."""

    title: str
    hint: str
    light: dict[str, Any]
    dark: dict[str, Any]
    looks: list[Any]
    pointed: bool = False


class Row(NamedTuple):
    """A row of a table. target: where a click on its first cell leads. badge: said after it."""

    cells: tuple[str, ...]
    target: Target | None = None
    badge: str = ""


class Table(NamedTuple):
    """A table; a long one is folded."""

    title: str
    hint: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    folded: bool = False


@dataclass
class Sheet:
    """A report but for its headline and what was asked.

    choice: what one picks, such as `Layers`. pairs: names of the pairs or prompts. start: the place
    that is shown first. rows: pictures that are all shown, by prompt. facts: what it was made with.
    """

    facts: Sequence[str] = ()
    choice: str = ""
    picks: Sequence[Pick] = ()
    pairs: Sequence[str] = ()
    seeds: Sequence[int] = ()
    start: Place | None = None
    looks: dict[Place, Look] = field(default_factory=dict)
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    rows: Sequence[tuple[str, Sequence[Card]]] = ()
