"""Disguises of whole words: letters or pieces set apart, signs between letters, a turned direction,
letters upside down, pictures for letters. Those of single letters are `characters` and `forms`.

All of it takes time linear in the length of a text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, pairwise

from textloc.toxicity.characters import UPSIDE_DOWN, Sign, invisible, signs
from textloc.toxicity.tokens import APART, LONGEST, WEAK, Token, flag, together, tokenize
from textloc.toxicity.wordlists import read_words

_HYPHENS = ("-", "‐", "‑", "–")
_PARTING = ";,:"  # a.sh; it runs
_FAR = 16  # characters between two letters of a word, at most
_TURNED = re.compile("\u202e([^\u202c\n]+)")


def turned(text: str, whole: Callable[[str], bool]) -> Iterator[Token]:
    """Words that are shown from right to left."""
    for match in _TURNED.finditer(text):
        moved = [
            replace(sign, start=sign.start + match.start(1), stop=sign.stop + match.start(1))
            for sign in signs(match[1])
        ]
        for token in tokenize(moved[::-1], whole):
            yield replace(token, disguise="a turned direction")


def hyphened(text: str, one: Token, other: Token) -> bool:
    """Whether a hyphen joins two tokens of a text, the one before the other."""
    gap = text[one.stop : min(other.start, one.stop + 8)]
    return "".join(sign for sign in gap if not invisible(sign)) in _HYPHENS


def chains(text: str, found: Sequence[Token]) -> Iterator[range]:
    """The numbers of the tokens that hyphens join, for each run of several."""
    first = 0
    for n in range(1, len(found) + 1):
        if n < len(found) and hyphened(text, found[n - 1], found[n]):
            continue
        if n - first > 1:
            yield range(first, n)
        first = n


def apart(
    text: str, found: Sequence[Token], whole: Callable[[str], bool]
) -> tuple[list[list[Token]], list[Token], list[Token]]:
    """Tokens that may make a word together.

    Args:
        text: any. found: its tokens. whole: whether lower-case letters are a word of their own.

    Returns:
        Runs of single letters as words, by the gaps between them; and neighbouring pieces as one
        token each, where not every piece is a word: those with a hyphen, and others.
    """
    hyphen: list[Token] = []
    runs = [_words(run) for run in _runs(found) if len(run) > 1]
    joined: list[Token] = []
    known = [_is_word(token, whole) for token in found]
    for first in range(len(found)):
        length = len(found[first].signs)
        for last in range(first + 1, min(first + 4, len(found))):
            length += len(found[last].signs)
            piece = found[first : last + 1]
            tied = all(hyphened(text, *pair) for pair in pairwise(piece))
            if length > (LONGEST if tied else 14) or piece[-1].start - piece[-2].stop > 2:
                break
            if any(sign in _PARTING for sign in text[piece[-2].stop : piece[-1].start]):
                break
            if any(token.unspaced or flag(token.signs) for token in piece):
                break
            single = all(len(token.signs) == 1 for token in piece)
            if not single and not all(known[first : last + 1]):
                (hyphen if tied else joined).append(together(piece))
    return runs, hyphen, joined


def _is_word(token: Token, whole: Callable[[str], bool]) -> bool:
    if len(token.whole) < 2:
        return token.whole in ("a", "i")
    if not any(sign.latin.isalpha() for sign in token.signs):
        return True
    if len(token.whole) < 4 and token.whole not in read_words("short.txt"):
        return False
    return whole(token.whole)


def _runs(found: Sequence[Token]) -> Iterator[list[Token]]:
    """Tokens of one sign in runs that are near each other; each other token alone."""
    run: list[Token] = []
    for token in found:
        token = _bare(token)
        if len(token.signs) == 1 and token.signs[0].latin in WEAK and run:
            continue  # it stands between
        single = len(token.signs) == 1 and not token.unspaced
        if run and not (single and len(run[-1].signs) == 1 and token.start - run[-1].stop <= _FAR):
            yield run
            run = []
        run.append(token)
    if run:
        yield run


def _bare(token: Token) -> Token:
    """A token of one letter without the brackets at it."""
    letters = [sign for sign in token.signs if sign.latin not in WEAK]
    if len(letters) != 1 or not letters[0].latin.isalpha():
        return token
    return replace(token, signs=tuple(letters), whole=letters[0].plain)


def _words(run: list[Token]) -> list[Token]:
    """Single letters as words: `d u m b   b o x` is two."""
    gaps = [other.start - one.stop for one, other in pairwise(run)]
    least = min(gaps)
    words, word = [], [run[0]]
    for gap, token in zip(gaps, run[1:], strict=True):
        if gap > least + 1:
            words.append(together(word))
            word = []
        word.append(token)
    return [*words, together(word)]


def spread(token: Token) -> Token | None:
    """The letters of a token with signs between every two (`L|O||S|E|R`), or one and the same digit
    (`L1O1S1E1R`), as a word."""
    letters = tuple(sign for sign in token.signs if sign.latin.isalpha())
    groups = [key for key, _ in groupby(token.signs, lambda sign: sign.latin.isalpha())]
    between = {sign.latin for sign in token.signs if not sign.latin.isalpha()}
    if len(letters) < 3 or sum(groups) != len(letters) or len(token.signs) > 3 * LONGEST:
        return None
    if any(one.isalnum() for one in between) and len(between) > 1:
        return None
    return Token(letters, "".join(sign.plain for sign in letters), APART)


def bracketed(token: Token) -> Token | None:
    """A token without signs that stand within its letters (`f(u`, `lo|ser`)."""
    signs_ = token.signs
    kept = [
        sign
        for place, sign in enumerate(signs_)
        if sign.latin not in WEAK or place in (0, len(signs_) - 1)
    ]
    if len(kept) == len(signs_) or not all(sign.latin.isalpha() for sign in kept):
        return None
    return replace(token, signs=tuple(kept), whole="".join(sign.plain for sign in kept))


def blotted(text: str, found: Sequence[Token]) -> Iterator[Token]:
    """Neighbouring tokens with one to three pictures between them, in the place of letters."""
    for one, other in pairwise(found):
        if not 0 < other.start - one.stop <= 12:
            continue
        gap = [place for place in range(one.stop, other.start) if not invisible(text[place])]
        kinds = [unicodedata.category(text[place]) for place in gap]
        if 0 < len(gap) <= 3 and {*kinds} <= {"So", "Sm", "Sk"}:
            blots = tuple(Sign("*", "*", place, place + 1) for place in gap)
            whole = f"{one.whole}{'*' * len(gap)}{other.whole}"
            yield Token((*one.signs, *blots, *other.signs), whole, "a picture for a letter")


def backwards(found: Sequence[Token], whole: Callable[[str], bool]) -> Iterator[Token]:
    """Tokens from four letters on that are no words, read from their end: `kcuf`."""
    for token in found:
        if len(token.signs) > 3 and not token.unspaced and not whole(token.whole):
            yield replace(
                token,
                signs=token.signs[::-1],
                whole=token.whole[::-1],
                disguise="letters backwards",
            )


def upside_down(found: Sequence[Token]) -> Iterator[Token]:
    """Tokens with letters that stand on their heads, as they are read the other way round."""
    for token in found:
        if all(sign.plain.isascii() or sign.plain not in UPSIDE_DOWN for sign in token.signs):
            continue
        turned_ = tuple(
            replace(sign, latin=UPSIDE_DOWN.get(sign.plain, sign.latin))
            for sign in token.signs[::-1]
        )
        yield replace(token, signs=turned_, disguise="letters upside down")
