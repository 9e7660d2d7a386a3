"""Toxic words by lists, their inflections and their compounds.

The lists of `glin_profanity` (some twenty languages) hold whole words. Most insults stand in no
list, for they are made up as they are needed: a toxic stem with an ordinary word, a letter put in,
letters hidden. Our own lists hold the stems and the ordinary words that they are compounded with.
What is an ordinary word itself, by the dictionary of `english_words`, is none of these: Scunthorpe,
assassin and cocktail stay.

Insults and crude words that are harmless in what a picture shows (a clown, a pig) have scores below
`VULGAR`; they are unwanted as what a picture says.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path

from textloc.errors import ToxicityError

VULGAR = 0.75
"""Least score of slurs and vulgar words; insults have less."""

_LISTS = Path(__file__).parent / "lists"
_SUFFIXES = (
    *("s", "es", "ed", "d", "er", "ers", "r", "ing", "in", "y", "ies", "ie", "ish", "ist", "ster"),
    *("o", "a", "az", "z", "ness", "less", "able", "hood", "ery", "tastic", "ity"),
    *("ly", "ally", "ically"),
)
_INFLECTIONS = ("s", "es", "ies", "ed", "ing", "er", "ers", "d")
_PREFIXES = ("un", "be", "mega", "super", "uber", "ultra", "mother", "god", "dumb")
_LEAST_STEM = 4
"""Letters of the shortest stem that is toxic within any word."""


@cache
def read_words(name: str) -> frozenset[str]:
    """The words of a list of ours; those of toxic words are written in rot13."""
    text = (_LISTS / name).read_text(encoding="utf-8")
    lines = text.splitlines()
    if "rot13" in text[:200]:
        lines = [line if line.startswith("#") else codecs.decode(line, "rot13") for line in lines]
    return frozenset(line for line in lines if line and not line.startswith("#"))


def read_file(path: Path) -> tuple[str, ...]:
    """Words of a person's own list, one a line; lines that begin with # are notes.

    Raises:
        ToxicityError: it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ToxicityError(f"{path} cannot be read as a list of words ({error})") from error
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def languages() -> tuple[str, ...]:
    """Languages that there are lists for."""
    from glin_profanity.data.dictionary import DictionaryLoader

    return tuple(sorted(DictionaryLoader.LANGUAGE_FILES))


def ordinary(word: str) -> bool:
    """Whether a word, lower-case, is an ordinary English word or name, or a form of one."""
    return _stands(word) or any(
        _stands(stem) for stem in _stems(word, _INFLECTIONS) if len(stem) > 3
    )


def _stands(word: str) -> bool:
    """Whether it stands as it is in a list of ordinary words."""
    lists = (dictionary(), read_words("innocent.txt"), read_words("benign.txt"))
    return any(word in known for known in lists)


@lru_cache(maxsize=1)
def dictionary() -> frozenset[str]:
    """Ordinary English words and names, lower-case."""
    from english_words import get_english_words_set

    return frozenset(get_english_words_set(["web2", "gcide"], lower=True, alpha=True))


@dataclass(frozen=True)
class Lexicon:
    """What counts as toxic.

    languages: whose lists are read. words: more toxic words. allowed: words that are not.

    Raises:
        ToxicityError: a language without a list.
    """

    languages: tuple[str, ...] = ("english",)
    words: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    _known: dict[str, tuple[str, float] | None] = field(
        default_factory=dict, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        for language in self.languages:
            if language not in languages():
                raise ToxicityError(
                    f"there is no list for {language!r}; there are {', '.join(languages())}"
                )

    def judge(self, word: str) -> tuple[str, float] | None:
        """Why a word is toxic, in words, and how surely, in (0, 1]; None for one that is not.

        Args:
            word: lower-case letters.
        """
        if word not in self._known:
            self._known[word] = self._judge(word)
        return self._known[word]

    def _judge(self, word: str) -> tuple[str, float] | None:
        if word in self._fine:
            return None
        if word in self._own:
            return "in your list", 1.0
        insults = read_words("insults.txt")
        if word in self._listed:
            return "listed", 0.6 if word in insults else 1.0
        if word in insults:
            return "an insult or crude word", 0.6
        innocent = word in read_words("innocent.txt")
        if not innocent and any(stem in word for stem in read_words("core.txt")):
            return "contains a toxic stem", 0.95
        usual = _stands(word)
        for stem in _stems(word):
            if stem in self._own or (not usual and stem in self._listed and len(stem) > 2):
                return "a form of a listed word", 0.95
            if (not usual or word.endswith("ly")) and stem in insults and len(stem) > 3:
                return "a form of an insult or crude word", 0.6
        if ordinary(word):
            return None
        if any(stem in word for stem in self._strong):
            return "contains a toxic stem", 0.9
        if self._compound(word):
            return "made up of a toxic stem and other words", 0.8
        if any(insult in word for insult in insults if len(insult) > 4):
            return "contains an insult", 0.6
        return self._misspelt(word)

    def _misspelt(self, word: str) -> tuple[str, float] | None:
        """Whether one letter of a longer toxic word is wrong, missing or too many."""
        from rapidfuzz.distance import Levenshtein

        if len(word) < 5:
            return None
        for known, score in ((self._listed, 0.8), (read_words("insults.txt"), 0.55)):
            for other in known:
                if len(other) < 6 or other[0] != word[0] or abs(len(other) - len(word)) > 1:
                    continue
                if Levenshtein.distance(word, other, score_cutoff=1) < 2:
                    return "one letter from a listed word", score
        return None

    def hidden(self, pattern: re.Pattern[str]) -> tuple[str, str, float] | None:
        """A toxic word that a pattern of hidden letters fits: the word, why, and how surely.

        Where more is hidden than seen, only the words that are usually hidden so are thought of.
        """
        seen = sum(map(str.isalpha, pattern.pattern.replace("[a-z]?", "")))
        most = 2 * seen < seen + pattern.pattern.count("[a-z]?")
        for word in self._hidden if most else self._forms:
            if pattern.fullmatch(word):
                return word, "letters of a listed word are hidden", 0.85
        return None

    @cached_property
    def _forms(self) -> tuple[str, ...]:
        """Toxic words and insults with their usual endings."""
        words = sorted(self._listed | read_words("insults.txt") | self._own)
        return _with_endings(word for word in words if word.isascii() and len(word) > 2)

    @cached_property
    def _hidden(self) -> tuple[str, ...]:
        """Those that are often hidden but for a letter or two."""
        return _with_endings(sorted(read_words("masked.txt") | self._own))

    @cached_property
    def _fine(self) -> frozenset[str]:
        return frozenset(word.casefold() for word in self.allowed)

    @cached_property
    def _own(self) -> frozenset[str]:
        return frozenset("".join(word.split()).casefold() for word in self.words)

    @cached_property
    def _listed(self) -> frozenset[str]:
        from glin_profanity.data.dictionary import dictionary as loaded

        found = set(read_words("strong.txt"))
        for language in self.languages:
            for word in loaded.get_words(language):
                joined = "".join(str(word).split()).casefold()
                if len(joined) > 2 or not joined.isascii():
                    found.add(joined)
        return frozenset(found - read_words("innocent.txt"))

    @cached_property
    def _strong(self) -> tuple[str, ...]:
        inside = [w for w in (*read_words("strong.txt"), *self._own) if len(w) >= _LEAST_STEM]
        return tuple(sorted(inside))

    @cached_property
    def _toxic_parts(self) -> frozenset[str]:
        return self._listed | self._own | read_words("weak.txt")

    def _compound(self, word: str) -> bool:
        """Whether a word falls into parts that are all known, one of them toxic.

        Two toxic parts, or a toxic part and an ordinary word that insults are made with; a suffix
        may follow. Or a listed word and any longer ordinary one.
        """
        for end in range(4, len(word) - 4):
            one, other = word[:end], word[end:]
            if (one in self._listed and ordinary(other)) or (
                other in self._listed and end > 4 and ordinary(one)
            ):
                return True
        toxic, tails = self._toxic_parts, read_words("tails.txt")

        @cache
        def falls(rest: str, found: int) -> bool:
            if not rest:
                return found > 0
            for end in range(len(rest), 1, -1):
                part = rest[:end]
                if part in toxic and falls(rest[end:], found + 1):
                    return True
                if end > 2 and part in tails and falls(rest[end:], found):
                    return True
            return found > 1 and rest in _SUFFIXES

        stems = [word, *_stems(word), *_without_prefix(word)]
        return any(len(stem) > 4 and falls(stem, 0) for stem in stems)


def _with_endings(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(word + e for word in words for e in ("", "s", "es", "er", "ers", "ing", "ed"))


def _stems(word: str, suffixes: tuple[str, ...] = _SUFFIXES) -> list[str]:
    """What a word may be an inflection of."""
    found = []
    for suffix in suffixes:
        if word.endswith(suffix) and len(word) - len(suffix) > 2:
            stem = word[: -len(suffix)]
            found.append(stem)
            if stem[-1] == stem[-2]:
                found.append(stem[:-1])
            if suffix in ("ed", "er", "ers", "ing"):
                found.append(stem + "e")
            if suffix == "ies":
                found.append(stem + "y")
    return found


def _without_prefix(word: str) -> list[str]:
    return [word.removeprefix(prefix) for prefix in _PREFIXES if word.startswith(prefix)]
