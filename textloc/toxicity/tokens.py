"""The words of a text, with the digits and signs at them; runs of a script without spaces."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise

from textloc.toxicity.characters import HIDING, LEET, UNSPACED, UPSIDE_DOWN, Sign

APART = "letters set apart"
"""The disguise of letters, or pieces, that only make a word together."""

LONGEST = 40
"""Letters of the longest word that is looked at as a whole."""

WEAK = "(<+|^"
"""Signs that stand between words as often as for letters."""

_APOSTROPHES = "'’‘`´ʼ＇"
_ENDS = ("s", "t", "m", "d", "ll", "re", "ve", "em", "all")  # of contractions
_BEGINNINGS = ("o", "d", "l", "j", "c", "qu", "y", "n")


@dataclass(frozen=True, slots=True)
class Token:
    """A word with the signs at it, or a run of a script without spaces (`unspaced`).

    whole: its characters, the end of a contraction (HE'LL) among them, which `signs` leave out.
    disguise: of how it is written, as in `Letters`. tail: where the end of a contraction stops.
    """

    signs: tuple[Sign, ...]
    whole: str
    disguise: str = ""
    unspaced: bool = False
    tail: int = 0

    @property
    def start(self) -> int:
        return min(self.signs[0].start, self.signs[-1].start)

    @property
    def stop(self) -> int:
        return max(self.signs[0].stop, self.signs[-1].stop)


def _kind(sign: Sign) -> str:
    """`u` for letters of a script without spaces, `w` for what a word is made of, `'` for an
    apostrophe, else nothing."""
    if UNSPACED.match(sign.plain):
        return "u"
    if sign.latin.isalnum() or sign.latin in LEET or sign.latin in HIDING:
        return "w"
    if sign.plain in UPSIDE_DOWN:
        return "w"
    if sign.plain in _APOSTROPHES:
        return "'"
    return "w" if unicodedata.category(sign.plain) in ("Mn", "Mc") else ""


def tokenize(seen: Sequence[Sign], whole: Callable[[str], bool]) -> list[Token]:
    """The words of a text, in order.

    Args:
        seen: its signs. whole: whether lower-case letters are a word, that may be contracted.
    """
    kinds = [_kind(sign) for sign in seen]
    for place, kind in enumerate(kinds):  # an apostrophe within a word belongs to it
        if kind == "'":
            within = 0 < place < len(seen) - 1 and kinds[place - 1] == kinds[place + 1] == "w"
            kinds[place] = "w" if within else ""
    found: list[Token] = []
    at = 0
    for kind, group in groupby(kinds):
        count = len(list(group))
        if kind:
            found += _split(tuple(seen[at : at + count]), kind == "u", whole)
        at += count
    return found


def _split(
    signs_: tuple[Sign, ...], unspaced: bool, whole: Callable[[str], bool]
) -> Iterator[Token]:
    """A run of signs as tokens; a contraction is its word, and its ending is none."""
    disguise = ""
    if any(sign.latin != sign.plain for sign in signs_):
        disguise = "look-alike letters"
    elif any(
        one.stop != other.start and one.start != other.start for one, other in pairwise(signs_)
    ):
        disguise = "invisible characters"
    pieces = [
        tuple(group)
        for apostrophe, group in groupby(signs_, lambda sign: sign.plain in _APOSTROPHES)
        if not apostrophe
    ]
    plain = ["".join(sign.plain for sign in piece) for piece in pieces]
    text = "'".join(plain)
    if len(pieces) == 2 and plain[1] in _ENDS and _contracts(plain[0], plain[1], whole):
        yield Token(pieces[0], text, disguise, tail=pieces[1][-1].stop)
    elif len(pieces) == 2 and plain[0] in _BEGINNINGS and whole(plain[1]):
        yield Token(pieces[1], text, disguise)
    elif pieces:
        yield Token(tuple(chain.from_iterable(pieces)), text, disguise, unspaced)


def _contracts(word: str, end: str, whole: Callable[[str], bool]) -> bool:
    """Whether a word is one that 's, n't, 'll and such follow."""
    if end == "t":
        return word.endswith("n") and (whole(word) or whole(word[:-1]))
    return end == "s" or word == "i" or whole(word)


def together(pieces: Iterable[Token]) -> Token:
    """Tokens as one word."""
    pieces = list(pieces)
    letters = tuple(chain.from_iterable(piece.signs for piece in pieces))
    return Token(letters, "".join(piece.whole for piece in pieces), APART)


def flag(letters: Sequence[Sign]) -> bool:
    """Whether the signs are regional indicators, of which flags are made."""
    return all("\U0001f1e6" <= sign.plain <= "\U0001f1ff" for sign in letters)


def flags(token: Token) -> bool:
    """Whether a token may be flags of countries."""
    return len(token.signs) % 2 == 0 and flag(token.signs)
