"""What a word may be in letters: as written, without the signs at its ends, signs and digits in the
place of letters (leetspeak), repeated letters taken as one or two, letters that are hidden."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby, islice, product

from textloc.toxicity.characters import HIDING, LEET, Sign
from textloc.toxicity.tokens import APART, LONGEST, WEAK, Token

LAPIDARY = "v for u"
"""The disguise of letters as they stand on stones."""

_ANY = "[a-z]?"  # a letter that is hidden, or none
_MOST = 64  # readings of one word; of one with many signs for letters
_FEW = 8
_MOST_FORMS = 120  # of one token


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


def forms(token: Token, whole: Callable[[str], bool]) -> Iterator[Letters]:
    """What a token may be in letters, the likeliest first; each is given once.

    Args:
        token: of a text. whole: whether lower-case letters are a word, whose repeated letters are
            its own.
    """
    seen = tuple((sign.plain, sign.latin) for sign in token.signs)
    for text, places, disguise in _shapes(seen, token.disguise, whole):
        signs_ = token.signs
        yield Letters(
            text,
            tuple((signs_[first].start, signs_[last].stop) for first, last in places),
            disguise,
        )


_Shape = tuple[str, tuple[tuple[int, int], ...], str]


@lru_cache(maxsize=8192)
def _shapes(
    seen: tuple[tuple[str, str], ...], disguise: str, whole: Callable[[str], bool]
) -> tuple[_Shape, ...]:
    """The forms of signs, with the numbers of the first and last sign of each letter."""
    letters = [Sign(plain, latin, n, n) for n, (plain, latin) in enumerate(seen)]
    found: dict[str, _Shape] = {}
    for start, stop in _parts(letters, whole):
        for reading in _readings(letters[start:stop], disguise):
            if reading.text in found:
                continue
            if len(found) >= _MOST_FORMS:
                return tuple(found.values())
            found[reading.text] = (reading.text, reading.places, reading.disguise)
            if not whole(reading.text):
                for other in (*collapsed(reading), *_lapidary(reading)):
                    found.setdefault(other.text, (other.text, other.places, other.disguise))
    return tuple(found.values())


def _parts(letters: Sequence[Sign], whole: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    """Spans of a token that may be a word: all; without signs at its ends; pieces between signs."""
    groups: list[tuple[bool, int, int]] = []  # whether letters, start, stop
    at = 0
    for key, group in groupby(letters, _grouped):
        count = len(list(group))
        groups.append((key == "letter", at, at + count))
        at += count
    worded = [n for n, (is_word, _, _) in enumerate(groups) if is_word]
    if not worded:
        return
    first, last = worded[0], worded[-1]
    if len(groups) > LONGEST:  # no word
        yield groups[first][1], groups[last][2]
        return
    pieces = [groups[n][1:] for n in worded]
    weak = {sign.latin for sign in letters[pieces[0][1] : pieces[-1][0]]} & set(WEAK)
    texts = ["".join(sign.plain for sign in letters[start:stop]) for start, stop in pieces]
    if not (weak and len(pieces) > 1 and all(len(text) > 1 and whole(text) for text in texts)):
        begins = range(first + 1) if first < 5 else (0, first)
        ends = range(len(groups) - 1, last - 1, -1) if len(groups) - last < 6 else (-1, last)
        spans = [(groups[begin][1], groups[end][2]) for begin in begins for end in ends]
        yield from dict.fromkeys([(groups[first][1], groups[last][2]), *spans])
    if len(pieces) > 1:
        yield from (span for span in pieces if span[1] - span[0] > 2)


def _grouped(sign: Sign) -> str:
    """Letters, digits, and each sign of its own."""
    if sign.latin.isalpha() or unicodedata.category(sign.plain[0])[0] == "M":
        return "letter"
    return "digit" if sign.latin.isdigit() else sign.latin


def _readings(letters: Sequence[Sign], disguise: str) -> Iterator[Letters]:
    """Signs in letters, which stand for each of their letters in turn."""
    if any(sign.latin in HIDING for sign in letters):
        return
    worded = sum(_grouped(sign) == "letter" for sign in letters)
    if not worded or (len(letters) <= 3 and 2 * worded < len(letters)):
        return  # a number, or a road's
    plain = [sign.plain for sign in letters]
    latin = [sign.latin for sign in letters]
    ways = [plain] if plain == latin else [latin, plain]
    most = _MOST if len(letters) <= LONGEST else 2
    if not all(part.isascii() for part in latin) and not any(
        part.isascii() and part.isalpha() for part in plain
    ):
        ways = [plain]  # a word of another script
    for way in ways:
        options = [LEET.get(part, (part,)) for part in way]
        signed = any(part in LEET for part in way)
        few = sum(part in LEET for part in way) > 5
        for reading in islice(product(*options), _FEW if few else most):
            if not all(part.isalpha() or _mark(part) for part in reading):
                continue
            how = "signs for letters" if signed and disguise != APART else disguise
            places = [
                (sign.start, sign.stop)
                for sign, part in zip(letters, reading, strict=True)
                for _ in part
            ]
            yield Letters("".join(reading), tuple(places), how)


def _lapidary(found: Letters) -> Iterator[Letters]:
    """A word with v for u, or vv for w, as on stones."""
    if "v" not in found.text or len(found.text) > LONGEST:
        return
    yield replace(found, text=found.text.replace("v", "u"), disguise=LAPIDARY)
    if "vv" in found.text:
        text, places = "", []
        for part in re.finditer("vv|.", found.text, re.S):
            text += "w" if part[0] == "vv" else part[0]
            places.append((found.places[part.start()][0], found.places[part.end() - 1][1]))
        yield Letters(text, tuple(places), LAPIDARY)


def _mark(part: str) -> bool:
    return all(unicodedata.category(one)[0] in "LM" for one in part)


def collapsed(found: Letters) -> Iterator[Letters]:
    """A word with repeated letters taken as one or two."""
    placed = zip(found.text, found.places, strict=True)
    groups = [list(group) for _, group in groupby(placed, lambda item: item[0])]
    lengths = [len(group) for group in groups]
    most = max(lengths, default=0)
    if most < 2:
        return
    counts: list[list[int]] = []
    if (every := min(lengths)) > 1:  # each letter so many times
        counts.append([max(1, length // every) for length in lengths])
    counts.append([1 if length > 2 else length for length in lengths])
    counts.append([2 if length > 2 else length for length in lengths])
    counts.append([1] * len(lengths))
    if len(lengths) > LONGEST:
        counts = counts[-1:]
    most = 5 if len(lengths) <= LONGEST else 0
    doubtful = [n for n, length in enumerate(lengths) if length > 2][:most]
    for kept in product((1, 2), repeat=len(doubtful)):
        chosen = dict(zip(doubtful, kept, strict=True))
        counts.append([chosen.get(n, min(length, 2)) for n, length in enumerate(lengths)])
    for count in counts:
        if count == lengths:
            continue
        text, places = "", []
        for keep, group in zip(count, groups, strict=True):
            text += "".join(part for part, _ in group[:keep])
            places += [place for _, place in group[: keep - 1]]
            places.append((group[keep - 1][1][0], group[-1][1][1]))
        yield Letters(text, tuple(places), found.disguise or "repeated letters")


def hidden(token: Token) -> tuple[str, int, int] | None:
    """A token in which letters are hidden (`b*g`): a pattern of what it may be, how many letters
    are seen, and how many may be hidden; None where none are hidden, or hardly any are seen."""
    letters = token.signs
    while letters and letters[-1].latin == "%":
        letters = letters[:-1]
    marks = [sign.latin in HIDING for sign in letters]
    if not any(marks) or marks[0] or len(letters) > 20:
        return None
    if not any(sign.latin.isalpha() for sign in letters):
        return None
    pattern = ""
    for option, group in groupby(map(_option, letters)):
        count = len(list(group))
        if not option:
            return None
        pattern += option * count if option != _ANY else f"[a-z]{{0,{count}}}"
    return pattern, len(marks) - sum(marks), sum(marks)


def _option(sign: Sign) -> str:
    """What one sign may be, as a pattern; nothing where it can be no letter."""
    if sign.latin in HIDING:
        return _ANY
    if sign.latin in LEET:
        return f"(?:{'|'.join(LEET[sign.latin])})"
    return sign.latin if sign.latin.isascii() and sign.latin.isalpha() else ""
