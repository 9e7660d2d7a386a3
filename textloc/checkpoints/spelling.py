"""What a checkpoint can spell and draw, where its folder says so (`spelling.json`).

Imports no torch: forms check a prompt by it while one types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from textloc.prompts import quoted

FILE = "spelling.json"


@dataclass(frozen=True)
class Spelling:
    """What a checkpoint can spell and draw.

    letters: those it knows, after upper-casing. least, most: letters of a text. objects, colours:
    words for what it draws; empty where nothing is said of that. names: other names of an object
    (`{"mug": ("cup", "coffee cup")}`). shades: names of colours beside `colours`. colourless:
    whether it draws a prompt that names no colour as well.
    """

    letters: str
    least: int
    most: int
    objects: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    shades: tuple[str, ...] = ()
    colourless: bool = False

    def misspelt(self, text: str) -> str | None:
        """Why a text cannot be spelled, or None."""
        if strange := sorted(set(text.upper()) - set(self.letters)):
            return (
                f"cannot spell {', '.join(map(repr, strange))} in {text!r}; it knows the letters "
                f"{self.letters}"
            )
        if not self.least <= len(text) <= self.most:
            return (
                f"spells words of {self.least} to {self.most} letters and {text!r} has {len(text)}"
            )
        return None

    def unknown(self, prompt: str) -> list[str]:
        """What a prompt names nothing of that the checkpoint draws, as phrases; the quoted words
        do not count."""
        said = _said(prompt)
        missing = []
        if self.objects and self._object(said) is None:
            others = sum(len(set(names)) for names in self.names.values())
            more = f", or one of {others} other names of these" if others else ""
            missing.append(f"no object that it draws ({_listed(self.objects)}{more})")
        if self.colours and not self.colourless and self._colour(said) is None:
            more = f", or one of {len(self.shades)} shades" if self.shades else ""
            missing.append(f"no colour that it knows ({_listed(self.colours)}{more})")
        return missing

    def works(self, prompt: str) -> str | None:
        """A prompt near to this one that the checkpoint draws; None where nothing is known."""
        if not self.objects:
            return None
        text = next((t for t in quoted(prompt) if t and self.misspelt(t) is None), "LOVE")
        return self.naming(prompt, text.upper())

    def naming(self, prompt: str, text: str, thing: str = "", colour: str = "") -> str:
        """A prompt of an object and in a colour that the checkpoint draws, those of `prompt` unless
        `thing` or `colour` says another, with the word `text`. There must be `objects`."""
        words = _said(prompt)
        colour = colour or self._colour(words) or next(iter(self.colours), "")
        said = f"{colour} {thing or self._object(words) or self.objects[0]}".strip()
        article = "an" if said[0] in "aeiou" else "a"
        return f'{article} {said} that says "{text}"'

    def called(self) -> list[str]:
        """Each object with its other names, as lines: `mug: coffee cup, cup`."""
        lines = []
        for one in self.objects:
            others = sorted({*self.names.get(one, ())} - {one}, key=str.casefold)
            lines.append(f"{one}: {', '.join(others)}" if others else one)
        return lines

    def _object(self, said: str) -> str | None:
        """The longest name of an object that stands in a prompt, as `_said` gives it."""
        names = [*self.objects, *(name for of in self.names.values() for name in of)]
        return _longest(said, names, plural=True)

    def _colour(self, said: str) -> str | None:
        """The longest name of a colour that stands in a prompt."""
        return _longest(said, [*self.colours, *self.shades])


def read(folder: Path) -> Spelling | None:
    """The spelling of a checkpoint's folder; None where it says nothing, or nothing readable."""
    try:
        given = json.loads((folder / FILE).read_text(encoding="utf-8"))
        lists = {
            name: tuple(map(str, given.get(name, ()))) for name in ("objects", "colours", "shades")
        }
        names = {str(one): tuple(map(str, of)) for one, of in given.get("names", {}).items()}
        return Spelling(
            str(given["letters"]),
            int(given["least"]),
            int(given["most"]),
            **lists,
            names=names,
            colourless=bool(given.get("colourless", False)),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def advice(name: str, spelling: Spelling | None, prompt: str) -> str | None:
    """What is to be said of a prompt that names nothing the checkpoint draws, with one that works;
    None where all is well or nothing is known."""
    missing = spelling.unknown(prompt) if spelling is not None else []
    if spelling is None or not missing:
        return None
    return f"the prompt names {' and '.join(missing)} of {name}; try: {spelling.works(prompt)}"


def _said(prompt: str) -> str:
    """What stands outside of quotation marks, as `_plain`; a quotation parts words."""
    outside = prompt
    for text in quoted(prompt):
        outside = outside.replace(text, " | ")
    return _plain(outside)


def _plain(text: str) -> str:
    """Words in lower case with a space around each; one with a hyphen is one word."""
    return f" {' '.join(re.findall(r'[a-z]+(?:-[a-z]+)*|[|]', text.lower()))} "


def _longest(said: str, names: Iterable[str], plural: bool = False) -> str | None:
    """The longest of the names that stands there, or None; the first of those as long."""
    found = [
        name
        for name in names
        if _plain(name) in said or (plural and f"{_plain(name).rstrip()}s " in said)
    ]
    return max(found, key=len, default=None)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
