"""Text as it is meant: disguises of letters undone, each letter with its place in the original.

Case, diacritics, letters of other scripts that look like Latin ones (Unicode TR39, by
`confusable_homoglyphs`, and `glin_profanity`'s map), invisible and bidirectional characters, digits
and signs in the place of letters (leetspeak), hidden letters, repeated letters, and letters set
apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice, pairwise, product

LEET = {
    "0": "o",
    "1": "il",
    "2": "z",
    "3": "e",
    "4": "a",
    "5": "s",
    "6": "gb",
    "7": "t",
    "8": "b",
    "9": "g",
    "@": "a",
    "$": "s",
    "!": "i",
    "|": "il",
    "+": "t",
    "€": "e",
    "£": "l",
    "(": "c",
    "¢": "c",
    "¡": "i",
    "§": "s",
}
"""Signs that stand for letters, and which."""

APART = "letters set apart"
"""The disguise of letters, or pieces, that only make a word together."""

HIDING = "*#%"
"""Signs that may hide letters of a word."""

_HIDDEN = re.compile(r"\w[\w*#%]*(?:[*#%]|--+)[\w*#%-]*", re.ASCII)
_NAMED = re.compile(
    r"(?:NEGATIVE )?(?:SQUARED |CIRCLED )?(?:LATIN [A-Z ]*|REGIONAL INDICATOR SYMBOL )LETTER "
    r"(?:SMALL CAPITAL )?([A-Z])(?: WITH .*)?"
)
_TURNED = re.compile("\u202e([^\u202c\n]+)")
_MOST = 64  # readings of one word


@dataclass(frozen=True)
class Letters:
    """A word in letters a to z, or of another script, with where each comes from.

    text: lower-case. places: (start, stop) in the original of each character.
    disguise: how they were written, in words; empty for plainly.
    """

    text: str
    places: tuple[tuple[int, int], ...]
    disguise: str = ""

    @property
    def span(self) -> tuple[int, int]:
        """(start, stop) of all in the original."""
        return min(start for start, _ in self.places), max(stop for _, stop in self.places)


@lru_cache(maxsize=4096)
def letter(character: str) -> tuple[str, bool]:
    """The ASCII letters that a character stands for (`""` for an invisible one, itself where it
    stands for none), and whether it is a look-alike of another script."""
    if unicodedata.category(character) in ("Cf", "Mn", "Me", "Cc") and not character.isspace():
        return "", False
    plain = "".join(
        part
        for part in unicodedata.normalize("NFKD", character)
        if unicodedata.category(part) not in ("Mn", "Cf")
    ).lower()
    if plain.isascii():
        return plain, False
    return _look_alike(plain), True


def _look_alike(character: str) -> str:
    from confusable_homoglyphs import confusables
    from glin_profanity import normalize_unicode

    latin = str(normalize_unicode(character)).lower()
    if latin.isascii():
        return latin
    if named := _NAMED.fullmatch(unicodedata.name(character, "")):
        return named[1].lower()
    for form in (character, character.upper()):
        for found in confusables.is_confusable(form, greedy=True, preferred_aliases=[]) or ():
            for other in found["homoglyphs"]:
                if other["c"].isascii() and other["c"].isalpha():
                    return str(other["c"]).lower()
    return character


def _characters(text: str) -> tuple[list[tuple[str, int]], bool, bool]:
    """(character, place) of all that can be seen; whether any was a look-alike or invisible."""
    found: list[tuple[str, int]] = []
    alike = hidden = False
    for place, character in enumerate(text):
        plain, other = letter(character)
        hidden = hidden or not plain
        alike = alike or (other and plain != character)
        found += ((part, place) for part in plain)
    return found, alike, hidden


def words(text: str, whole: Callable[[str], bool]) -> Iterator[Letters]:
    """The words of a text in all readings that are likely: as written, with signs read as letters,
    with letters set apart joined. The same word may come more than once.

    Args:
        text: anything. whole: whether lower-case letters are a word; two that are not joined.
    """
    characters, alike, hidden = _characters(text)
    disguise = "look-alike letters" if alike else "invisible characters" if hidden else ""
    tokens = _tokens(characters)
    for token in tokens:
        yield from _readings(token, disguise)
    for run in _apart(tokens, whole):
        yield from _readings(run, APART)
    for match in _TURNED.finditer(text):  # shown from right to left
        shown = [(part, match.start(1) + place) for part, place in _characters(match[1])[0]]
        for token in _tokens(shown[::-1]):
            yield from _readings(token, "a turned direction")


def hidden(text: str) -> Iterator[tuple[re.Pattern[str], int, int]]:
    """Words in which letters are hidden (`b*g`): a pattern of what they may be, start and stop."""
    for match in _HIDDEN.finditer(text):
        word = match[0].lower()
        if any(character.isalpha() for character in word):
            signs = re.sub(r"-+", lambda run: "*" * len(run[0]), word)
            pattern = "".join("[a-z]?" if sign in HIDING else re.escape(sign) for sign in signs)
            yield re.compile(pattern), *match.span()


def _tokens(characters: list[tuple[str, int]]) -> list[list[tuple[str, int]]]:
    """Runs of letters and of signs that stand for letters or hide them."""
    inside = set(LEET) | set(HIDING)
    keyed = groupby(characters, key=lambda item: item[0].isalnum() or item[0] in inside)
    return [list(group) for wordlike, group in keyed if wordlike]


def _apart(
    tokens: list[list[tuple[str, int]]], whole: Callable[[str], bool]
) -> list[list[tuple[str, int]]]:
    """Neighbouring short tokens as one: letters, or pieces of a word, that are set apart."""
    runs: list[list[tuple[str, int]]] = []
    current: list[list[tuple[str, int]]] = []

    def close() -> None:
        if len(current) > 1:
            runs.append([item for token in current for item in token])
        current.clear()

    for token in tokens:
        near = bool(current) and token[0][1] - current[-1][-1][1] <= 4
        if len(token) > 1 or (current and not near):
            close()
        if len(token) == 1:
            current.append(token)
    close()
    for one, other in pairwise(tokens):  # in two pieces
        pieces = ["".join(part for part, _ in token) for token in (one, other)]
        short = min(map(len, pieces)) <= 3 and max(map(len, pieces)) > 1
        if short and other[0][1] - one[-1][1] == 2 and not all(map(whole, pieces)):
            runs.append([*one, *other])
    return runs


def _readings(token: list[tuple[str, int]], disguise: str) -> Iterator[Letters]:
    """A token in letters: its signs stand for each of their letters in turn."""
    if any(character in HIDING for character, _ in token):
        return
    options = [tuple(LEET.get(character, (character,))) for character, _ in token]
    places = [place for _, place in token]
    signs = any(character in LEET for character, _ in token)
    for reading in islice(product(*options), _MOST):
        if all(part.isalpha() for part in reading):
            how = "signs for letters" if signs and disguise != APART else disguise
            yield Letters("".join(reading), tuple((place, place + 1) for place in places), how)


def collapsed(found: Letters) -> Iterator[Letters]:
    """The word, and the same with repeated letters taken as one or two."""
    yield found
    placed = zip(found.text, found.places, strict=True)
    groups = [list(group) for _, group in groupby(placed, lambda item: item[0])]
    lengths = [len(group) for group in groups]
    for most, many in ((1, 3), (2, 3), (1, 2)):  # letters that are kept, of how many or more
        if max(lengths, default=0) < many:
            continue
        text, places = "", []
        for group in groups:
            kept = group[:most] if len(group) >= many else group
            text += "".join(part for part, _ in kept)
            places += [place for _, place in kept[:-1]]
            places.append((kept[-1][1][0], group[-1][1][1]))
        yield Letters(text, tuple(places), found.disguise or "repeated letters")
