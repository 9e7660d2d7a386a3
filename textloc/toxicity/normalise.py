"""Text as it is meant: disguises of letters undone, each letter with its place in the original.

1. `signs`: characters as they are seen. Case, diacritics and compatibility forms are folded,
   invisible and bidirectional characters dropped, letters of other scripts that look like Latin
   ones (Unicode TR39, by `confusable_homoglyphs`, and `glin_profanity`'s map) noted beside.
2. `tokens`: words, with the digits and signs at them; runs of a script without spaces.
3. `forms`: what a token may be in letters: as written, without the signs at its ends, signs and
   digits in the place of letters (leetspeak), repeated letters taken as one or two.
4. `apart`: tokens that only make a word together.

All of it takes time linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, groupby, islice, pairwise, product

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
    "£": "le",
    "(": "c",
    "<": "c",
    "^": "a",
    "¢": "c",
    "¡": "i",
    "§": "s",
}
"""Signs that stand for letters, and which."""

APART = "letters set apart"
"""The disguise of letters, or pieces, that only make a word together."""

LAPIDARY = "v for u"
"""The disguise of letters as they stand on stones."""

HIDING = "*#%"
"""Signs that may hide letters of a word; runs of two dashes or dots do, too."""

LONGEST = 40
"""Letters of the longest word that is looked at as a whole."""

_WEAK = "(<+|^"  # signs that stand between words as often as for letters
_APOSTROPHES = "'’‘`´ʼ＇"
_HYPHENS = ("-", "‐", "‑", "–")
_LATIN = "abcdefghijklmnopqrstuvwxyz"
_ALPHABETS = (  # a to z in letters that look like them and that TR39 lists for none
    "ᗩᗷᑕᗪEᖴGᕼIᒍKᒪᗰᑎOᑭᑫᖇᔕTᑌᐯᗯ᙭Yᘔ",
    "ᎪᏴᏟᎠᎬᎰᏀᎻᏆᎫᏦᏞᎷNᎾᏢQᏒᏚᎢUᏙᎳXᎩᏃ",
    "ⲀⲂⲤDⲈFGⲎⲒJⲔⳐⲘⲚⲞⲢQRⲊⲦUⲲWⲬⲨⲌ",
)
_ALIKE = {
    other: latin
    for alphabet in _ALPHABETS
    for other, latin in zip(alphabet.lower(), _LATIN, strict=True)
    if not other.isascii()
}
_UPSIDE_DOWN = dict(zip("ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹsʇnʌʍxʎz", _LATIN, strict=True)) | {
    "∀": "a",
    "ⅎ": "f",
    "⅂": "l",
    "˥": "l",
    "ꓶ": "l",
    "ꓤ": "r",
    "ꓕ": "t",
    "┴": "t",
    "∩": "u",
    "Ʌ": "v",
    "⅄": "y",
    "ꓱ": "e",
    "ı": "i",
    "փ": "g",
    "ᴚ": "r",
    "ᗡ": "d",
    "ԁ": "p",
    "ꓘ": "k",
    "ן": "l",
    "ɓ": "g",
    "ɔ": "c",
}
_ANY = "[a-z]?"  # a letter that is hidden, or none
_FAR = 16  # characters between two letters of a word, at most
_BLOTS = "•■□●○█▇▓▒✱✲∗⁎×"
_RUNS = re.compile(r"(?<=\w)([-.…_—–])\1+(?=\w)")
_CLUSTER = re.compile(
    "[\u1100-\u115f][\u1160-\u11a7][\u11a8-\u11ff]?|.[\u3099\u309a\uff9e\uff9f]?", re.S
)
_IGNORED = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\uffa0\ufe00-\ufe0f\ufffc"
    "\U000e0000-\U000e0fff]"
)
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_NAMED = re.compile(
    r"(?:NEGATIVE )?(?:SQUARED |CIRCLED )?(?:LATIN [A-Z ]*|REGIONAL INDICATOR SYMBOL )LETTER "
    r"(?:SMALL CAPITAL )?([A-Z])(?: WITH .*)?"
)
_TURNED = re.compile("\u202e([^\u202c\n]+)")
_MOST = 64  # readings of one word; of one with many signs for letters
_FEW = 8
_MOST_FORMS = 120  # of one token
_ENDS = ("s", "t", "m", "d", "ll", "re", "ve", "em", "all")  # of contractions
_BEGINNINGS = ("o", "d", "l", "j", "c", "qu", "y", "n")


@dataclass(frozen=True, slots=True)
class Sign:
    """A character as it is seen.

    plain: it, folded. latin: the letters a to z that it looks like, else as `plain`. start, stop:
    its place in the original.
    """

    plain: str
    latin: str
    start: int
    stop: int


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


# ---------------------------------------------------------------------------- characters


def invisible(character: str) -> bool:
    """Whether nobody sees a character: formats, controls but white space, combining marks."""
    if character.isascii():
        return not (character.isprintable() or character.isspace())
    if unicodedata.category(character) in ("Cf", "Me", "Cc"):
        return not character.isspace()
    return _IGNORED.match(character) is not None or _combining(character)


def _combining(character: str) -> bool:
    """Whether it is a diacritic for any letter; vowel signs of a script are letters of it."""
    if unicodedata.category(character) != "Mn":
        return False
    name = unicodedata.name(character, "")
    return name.startswith(("COMBINING", "ARABIC ", "HEBREW POINT", "HEBREW ACCENT"))


@lru_cache(maxsize=65536)
def letter(cluster: str) -> tuple[tuple[str, str], ...]:
    """What a character, with the marks that make one letter with it, is seen as: for each part the
    folded form and the Latin letters that it looks like; nothing for an invisible one."""
    if len(cluster) == 1 and cluster.isascii():
        return () if invisible(cluster) else ((cluster.lower(), cluster.lower()),)
    if len(cluster) == 1 and invisible(cluster):
        return ()
    if cluster in ("™", "℠"):  # whose letters belong to no word
        return ((cluster, cluster),)
    found = []
    for part in unicodedata.normalize("NFKC", cluster).lower():
        base = unicodedata.normalize("NFD", part)
        if base[1:2] not in ("", "\u3099", "\u309a") and all(map(_combining, base[1:])):
            part = base[0]
        if invisible(part):
            continue
        if part in _BLOTS:
            found.append(("*", "*"))
        elif part.isascii():
            found.append((part, part))
        else:
            found.append((part, _look_alike(part)))
    return tuple(found)


def _look_alike(character: str) -> str:
    """The ASCII letters that one character looks like, else itself."""
    if _UNSPACED.match(character) or "\uac00" <= character <= "\ud7a3":
        return character
    if unicodedata.category(character)[0] not in "LNS":
        return character
    if character in _ALIKE:
        return _ALIKE[character]
    from confusable_homoglyphs import confusables
    from glin_profanity import normalize_unicode

    latin = str(normalize_unicode(character)).lower()
    if latin and latin.isascii():
        return latin
    if named := _NAMED.fullmatch(unicodedata.name(character, "")):
        return named[1].lower()
    for form in (character, character.upper()):
        if len(form) > 1:
            continue
        for found in confusables.is_confusable(form, greedy=True, preferred_aliases=[]) or ():
            for other in found["homoglyphs"]:
                if other["c"].isascii() and other["c"].isalpha():
                    return str(other["c"]).lower()
    return character


def signs(text: str) -> list[Sign]:
    """All of a text that can be seen."""
    found: list[Sign] = []
    for match in _CLUSTER.finditer(text):
        start, stop = match.span()
        found += (Sign(plain, latin, start, stop) for plain, latin in letter(match[0]))
    plain = "".join(sign.plain for sign in found)
    for run in _RUNS.finditer(plain):  # s--t
        for place in range(*run.span()):
            found[place] = replace(found[place], plain="*", latin="*")
    return found


# ---------------------------------------------------------------------------- tokens


def _kind(sign: Sign) -> str:
    """`u` for letters of a script without spaces, `w` for what a word is made of, `'` for an
    apostrophe, else nothing."""
    if _UNSPACED.match(sign.plain):
        return "u"
    if sign.latin.isalnum() or sign.latin in LEET or sign.latin in HIDING:
        return "w"
    if sign.plain in _UPSIDE_DOWN:
        return "w"
    if sign.plain in _APOSTROPHES:
        return "'"
    return "w" if unicodedata.category(sign.plain) in ("Mn", "Mc") else ""


def tokens(seen: Sequence[Sign], whole: Callable[[str], bool]) -> list[Token]:
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


def turned(text: str, whole: Callable[[str], bool]) -> Iterator[Token]:
    """Words that are shown from right to left."""
    for match in _TURNED.finditer(text):
        moved = [
            replace(sign, start=sign.start + match.start(1), stop=sign.stop + match.start(1))
            for sign in signs(match[1])
        ]
        for token in tokens(moved[::-1], whole):
            yield replace(token, disguise="a turned direction")


def hyphened(text: str, one: Token, other: Token) -> bool:
    """Whether a hyphen joins two tokens of a text, the one before the other."""
    gap = text[one.stop : min(other.start, one.stop + 8)]
    return "".join(sign for sign in gap if not invisible(sign)) in _HYPHENS


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
            if any(token.unspaced or _flag(token.signs) for token in piece):
                break
            single = all(len(token.signs) == 1 for token in piece)
            if not single and not all(known[first : last + 1]):
                (hyphen if tied else joined).append(together(piece))
    return runs, hyphen, joined


def _is_word(token: Token, whole: Callable[[str], bool]) -> bool:
    if len(token.whole) < 2:
        return token.whole in ("a", "i")
    return not any(sign.latin.isalpha() for sign in token.signs) or whole(token.whole)


def _runs(found: Sequence[Token]) -> Iterator[list[Token]]:
    """Tokens of one sign in runs that are near each other; each other token alone."""
    run: list[Token] = []
    for token in found:
        token = _bare(token)
        if len(token.signs) == 1 and token.signs[0].latin in _WEAK and run:
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
    letters = [sign for sign in token.signs if sign.latin not in _WEAK]
    if len(letters) != 1 or not letters[0].latin.isalpha():
        return token
    return replace(token, signs=tuple(letters), whole=letters[0].plain)


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
        if sign.latin not in _WEAK or place in (0, len(signs_) - 1)
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


def upside_down(found: Sequence[Token]) -> Iterator[Token]:
    """Tokens with letters that stand on their heads, as they are read the other way round."""
    for token in found:
        if all(sign.plain.isascii() or sign.plain not in _UPSIDE_DOWN for sign in token.signs):
            continue
        turned_ = tuple(
            replace(sign, latin=_UPSIDE_DOWN.get(sign.plain, sign.latin))
            for sign in token.signs[::-1]
        )
        yield replace(token, signs=turned_, disguise="letters upside down")


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


def together(pieces: Iterable[Token]) -> Token:
    """Tokens as one word."""
    pieces = list(pieces)
    letters = tuple(chain.from_iterable(piece.signs for piece in pieces))
    return Token(letters, "".join(piece.whole for piece in pieces), APART)


# ---------------------------------------------------------------------------- readings


def _flag(letters: Sequence[Sign]) -> bool:
    """Whether the signs are regional indicators, of which flags are made."""
    return all("\U0001f1e6" <= sign.plain <= "\U0001f1ff" for sign in letters)


def flags(token: Token) -> bool:
    """Whether a token may be flags of countries."""
    return len(token.signs) % 2 == 0 and _flag(token.signs)


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
    weak = {sign.latin for sign in letters[pieces[0][1] : pieces[-1][0]]} & set(_WEAK)
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
        return f"[{LEET[sign.latin]}]"
    return sign.latin if sign.latin.isascii() and sign.latin.isalpha() else ""
