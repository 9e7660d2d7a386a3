"""Characters as they are seen.

Case, diacritics and compatibility forms are folded, invisible and bidirectional characters dropped,
letters of other scripts that look like Latin ones (Unicode TR39, by `confusable_homoglyphs`, and
`glin_profanity`'s map) noted beside. Takes time linear in the length of a text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

LEET: dict[str, Sequence[str]] = {
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
    "ß": ("ss", "b", "ß"),
}
"""Signs that stand for letters, and which."""

HIDING = "*#%"
"""Signs that may hide letters of a word; runs of two dashes or dots do, too."""

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
} | dict(zip("μц₣ʉȼ₭", "uufuck", strict=True))
UPSIDE_DOWN = dict(zip("ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹsʇnʌʍxʎz", _LATIN, strict=True)) | {
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
"""Characters that look like a letter a to z that stands on its head, and which."""

_BLOTS = "•■□●○█▇▓▒✱✲∗⁎×"
_STROKES = re.compile(  # SHlT, asshoIe: an l among capitals, a capital I after small letters
    r"(?<=[A-Z])l(?=[A-Z])|(?<=[A-Z]{2})l(?![a-z])|(?<![A-Za-z])l(?=[A-Z]{2})|(?<=[a-z])I(?![A-Z])"
)
_RUNS = re.compile(r"(?<=\w)([-.…_—–])\1+(?=\w)")
_CLUSTER = re.compile(
    "[\u1100-\u115f][\u1160-\u11a7][\u11a8-\u11ff]?|.[\u3099\u309a\uff9e\uff9f]?", re.S
)
_IGNORED = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\uffa0\ufe00-\ufe0f\ufffc"
    "\U000e0000-\U000e0fff]"
)
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of the scripts that set no spaces between words."""

_NAMED = re.compile(
    r"(?:NEGATIVE )?(?:SQUARED |CIRCLED )?(?:LATIN [A-Z ]*|REGIONAL INDICATOR SYMBOL )LETTER "
    r"(?:SMALL CAPITAL )?([A-Z])(?: WITH .*)?"
)


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
    if UNSPACED.match(character) or "\uac00" <= character <= "\ud7a3":
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
    for stroke in _STROKES.finditer(shown := "".join(text[sign.start] for sign in found)):
        place = stroke.start()
        found[place] = replace(found[place], latin="i" if shown[place] == "l" else "l")
    return found
