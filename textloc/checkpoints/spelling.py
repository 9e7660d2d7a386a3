"""What a checkpoint can spell and draw, where its folder says so (`spelling.json`).

Imports no torch: forms check a prompt by it while one types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textloc.prompts import quoted

FILE = "spelling.json"


@dataclass(frozen=True)
class Spelling:
    """What a checkpoint can spell and draw.

    letters: those it knows, after upper-casing. least, most: letters of a text. objects, colours:
    words for what it draws; empty where nothing is said of that.
    """

    letters: str
    least: int
    most: int
    objects: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()

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
        words = _words(prompt)
        missing = []
        if self.objects and not words & {form for one in self.objects for form in _forms(one)}:
            missing.append(f"no object that it draws ({_listed(self.objects)})")
        if self.colours and not words & set(self.colours):
            missing.append(f"no colour that it knows ({_listed(self.colours)})")
        return missing

    def works(self, prompt: str) -> str | None:
        """A prompt near to this one that the checkpoint draws; None where nothing is known."""
        if not self.objects:
            return None
        words = _words(prompt)
        known = [one for one in self.objects if words & set(_forms(one))]
        colours = [one for one in self.colours if one in words] or self.colours[:1]
        text = next((t for t in quoted(prompt) if t and self.misspelt(t) is None), "LOVE")
        said = " ".join([*colours[:1], (known or self.objects)[0]])
        article = "an" if said[0] in "aeiou" else "a"
        return f'{article} {said} that says "{text.upper()}"'


def read(folder: Path) -> Spelling | None:
    """The spelling of a checkpoint's folder; None where it says nothing, or nothing readable."""
    try:
        given = json.loads((folder / FILE).read_text(encoding="utf-8"))
        lists = {name: tuple(map(str, given.get(name, ()))) for name in ("objects", "colours")}
        return Spelling(str(given["letters"]), int(given["least"]), int(given["most"]), **lists)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def advice(name: str, spelling: Spelling | None, prompt: str) -> str | None:
    """What is to be said of a prompt that names nothing the checkpoint draws, with one that works;
    None where all is well or nothing is known."""
    missing = spelling.unknown(prompt) if spelling is not None else []
    if spelling is None or not missing:
        return None
    return f"the prompt names {' and '.join(missing)} of {name}; try: {spelling.works(prompt)}"


def _words(prompt: str) -> set[str]:
    """Words outside of quotation marks, in lower case; one with a hyphen is one word."""
    outside = prompt
    for text in quoted(prompt):
        outside = outside.replace(text, " ")
    return set(re.findall(r"[a-z]+(?:-[a-z]+)*", outside.lower()))


def _forms(name: str) -> tuple[str, str]:
    return name, f"{name}s"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
