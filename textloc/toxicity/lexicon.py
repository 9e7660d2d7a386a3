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

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache
from typing import Literal

from textloc.errors import ToxicityError
from textloc.toxicity.english import SUFFIXES, named, ordinary, stands, stems_of
from textloc.toxicity.entries import (
    entries,
    entry,
    hatred,
    joined_words,
    languages,
    single_words,
    word_sequences,
)
from textloc.toxicity.tokens import LONGEST
from textloc.toxicity.wordlists import read_words

VULGAR = 0.75
"""Least score of slurs and vulgar words; insults have less."""

SEVERITIES = ("own", "slur", "vulgar", "insult")
"""What a word is: in a list that was given, a slur on a group of people, vulgar, or an insult or
crude word. The lists of other languages than English do not tell; their words count as vulgar."""

Doubt = Literal["nothing", "friendly", "any", "hostile"]
"""When a word is ordinary: never, in friendly company (seed, street), in any company that is not
hostile, or always but in hostile company (stupid, big)."""

_OWN, _LISTED, _FORM = "in your list", "listed", "a form of a listed word"
_TOGETHER = "words that insult together"
_EXACT = (_OWN, _LISTED, _FORM, "an insult or crude word", "a form of an insult or crude word")

_PREFIXES = ("un", "be", "mega", "super", "uber", "ultra", "mother", "god", "dumb")
_LEAST_STEM = 4
"""Letters of the shortest stem that is toxic within any word."""


@cache
def _more() -> frozenset[str]:
    """Toxic words that the lists of `glin_profanity` lack."""
    return read_words("more.txt") | read_words("swearing.txt")


@dataclass(frozen=True)
class Verdict:
    """Why a word counts as toxic.

    reason: in words. score: how surely, in (0, 1]. severity: one of `SEVERITIES`. doubtful: when it
    is ordinary (`company.excused`).
    """

    reason: str
    score: float
    severity: str = "vulgar"
    doubtful: Doubt = "nothing"


_FINE = Verdict("", 0.0)


@dataclass(frozen=True)
class Lexicon:
    """What counts as toxic.

    languages: whose lists are read. words: more toxic words. allowed: words that are not. Each may
    be several words, and is read as a text is.

    Raises:
        ToxicityError: a language without a list, or a word in which nothing can be seen.
    """

    languages: tuple[str, ...] = ("english",)
    words: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    _known: dict[str, Verdict | None] = field(default_factory=dict, compare=False, repr=False)
    _fits: dict[str, str | None] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for language in self.languages:
            if language not in languages():
                raise ToxicityError(
                    f"there is no list for {language!r}; there are {', '.join(languages())}"
                )
        for word in (*self.words, *self.allowed):
            if entry(word) is None:
                raise ToxicityError(
                    f"nothing can be seen in the word {word!r}; leave it out of the list"
                )

    def judge(self, word: str, exact: bool = False) -> Verdict | None:
        """Why a word is toxic; None for one that is not.

        Args:
            word: lower-case letters. exact: whether only a listed word or a form of one counts.
        """
        if word not in self._known:
            if len(self._known) > 100_000:
                self._known.clear()
            self._known[word] = self._judge(word)
        verdict = self._known[word]
        if verdict is not None and exact and verdict.reason not in _EXACT:
            return None
        return verdict

    def _judge(self, word: str) -> Verdict | None:
        if word in self.fine:
            return None
        if word in self._own:
            return Verdict(_OWN, 1.0, "own")
        if word in self._foreign:
            return Verdict(_LISTED, 1.0)
        if len(word) > LONGEST:
            return self._long(word)
        insults = read_words("insults.txt")
        if word in self._listed:
            return self._told(word, word, _LISTED, 0.6 if word in insults else 1.0)
        if word in insults:
            return self._told(word, word, "an insult or crude word", 0.6)
        if word in read_words("names.txt"):
            return None
        innocent = word in read_words("innocent.txt")
        inner = _without_parts(word)
        if not innocent and self._contains(inner, read_words("core.txt")):
            return self._told(word, "", "contains a toxic stem", 0.95)
        usual = stands(word)
        for stem in stems_of(word):
            if stem in self._own:
                return Verdict(_FORM, 0.95, "own")
            if not usual and stem in self._listed and len(stem) > 2:
                score = 0.6 if stem in insults else 0.95
                return self._told(word, stem, _FORM, score)
            if (not usual or word.endswith("ly")) and stem in insults and len(stem) > 3:
                return self._told(word, stem, "a form of an insult or crude word", 0.6)
        if word in _more() and not usual:
            return self._told(word, word, _LISTED, 0.8)
        if ordinary(word) or self._two_words(word):
            return None
        if self._contains(inner, self._strong):
            return self._told(word, "", "contains a toxic stem", 0.9)
        if self._compound(word):
            return self._told(word, "", "made up of a toxic stem and other words", 0.8)
        if any(len(insult) > 4 for insult in within(inner, insults)):
            return self._told(word, "", "contains an insult", 0.6)
        return self._misspelt(word)

    def _told(self, word: str, stem: str, reason: str, score: float) -> Verdict:
        """A verdict with its severity and doubt.

        stem: the listed word that it is, or is a form of, if any.
        """
        slurs = read_words("slurs.txt")
        if {word, stem} & slurs or any(len(slur) > 4 and slur in word for slur in slurs):
            severity = "slur"
        else:
            severity = "vulgar" if score >= VULGAR else "insult"
        doubt: Doubt = "nothing"
        if word in read_words("seldom.txt"):
            doubt = "hostile"
        elif {word, stem} & read_words("clinical.txt"):
            doubt = "any"
        elif {word, stem} & (read_words("doubtful.txt") | read_words("personal.txt")):
            doubt = "friendly"
        elif severity == "insult":
            doubt = "any"
        elif named(word):
            doubt = "friendly"
        return Verdict(reason, score, severity, doubt)

    def _contains(self, word: str, stems: frozenset[str]) -> bool:
        """Whether a toxic stem stands in a word: one that is a syllable of names only where the
        rest is known."""
        syllables = read_words("syllables.txt")
        return any(
            stem not in syllables or self._rest_known(word, stem) for stem in within(word, stems)
        )

    def _rest_known(self, word: str, stem: str) -> bool:
        """Whether what a stem leaves of a word is made of words, or an ending."""
        before, _, after = word.partition(stem)
        parts = self._toxic_parts | read_words("tails.txt") | read_words("insults.txt")
        return all(
            not part or part in parts or (len(part) > 2 and ordinary(part)) for part in (before,)
        ) and (
            not after
            or after in parts
            or after in SUFFIXES
            or (len(after) > 2 and ordinary(after))
            or (before == "" and any(after.startswith(tail) for tail in parts if len(tail) > 2))
        )

    def _long(self, word: str) -> Verdict | None:
        """Of what is too long to be a word: whether a toxic stem of some length stands in it."""
        stems = (*read_words("core.txt"), *self._strong)
        if any(stem in word for stem in stems if len(stem) > 3):
            return self._told(word[:LONGEST], "", "contains a toxic stem", 0.9)
        return None

    def _two_words(self, word: str) -> bool:
        """Whether a word is two ordinary ones in a row, of which neither is toxic (smartwatch)."""
        for end in range(4, len(word) - 3):
            parts = word[:end], word[end:]
            if all(map(stands, parts)) and not any(map(self._part, parts)):
                return True
        return False

    def _part(self, word: str) -> bool:
        """Whether a word, or what it is a form of, is toxic in company."""
        parts = self._toxic_parts | read_words("insults.txt")
        return any(stem in parts for stem in (word, *stems_of(word)))

    def _misspelt(self, word: str) -> Verdict | None:
        """Whether one letter of a longer toxic word is wrong, missing or too many."""
        from rapidfuzz.distance import Levenshtein

        if len(word) < 5 or not word.isascii():
            return None
        for known, score in ((self._by_length, 0.8), (self._insults_by_length, 0.55)):
            for length in (len(word) - 1, len(word), len(word) + 1):
                for other in known.get((word[0], length), ()):
                    if Levenshtein.distance(word, other, score_cutoff=1) < 2:
                        return self._told(word, other, "one letter from a listed word", score)
        return None

    @cached_property
    def _by_length(self) -> dict[tuple[str, int], list[str]]:
        return _indexed(self._listed)

    @cached_property
    def _insults_by_length(self) -> dict[tuple[str, int], list[str]]:
        return _indexed(read_words("insults.txt"))

    def hidden(self, pattern: str, seen: int, hidden: int) -> tuple[str, Verdict] | None:
        """A toxic word that a pattern of hidden letters fits, and why.

        Args:
            pattern: of letters a to z, the first of which is seen. seen, hidden: how many letters.
                Where more is hidden than seen, only the words that are usually hidden so are
                thought of.
        """
        if pattern not in self._fits:
            if len(self._fits) > 10_000:
                self._fits.clear()
            words = self._hidden if hidden > seen else self._forms
            fits = re.compile(pattern).fullmatch
            self._fits[pattern] = next(filter(fits, words.get(pattern[0], ())), None)
        word = self._fits[pattern]
        if word is None:
            return None
        verdict = self.judge(word)
        severity = verdict.severity if verdict is not None else "vulgar"
        return word, Verdict("letters of a listed word are hidden", 0.85, severity)

    @cached_property
    def _forms(self) -> dict[str, list[str]]:
        """Toxic words and insults with their usual endings, by their first letter."""
        words = sorted(self._listed | read_words("insults.txt") | self._own)
        return _initials(word for word in words if word.isascii() and len(word) > 2)

    @cached_property
    def _hidden(self) -> dict[str, list[str]]:
        """Those that are often hidden but for a letter or two."""
        return _initials(sorted(read_words("masked.txt") | self._own))

    # -- the lists, as texts are read ------------------------------------------------------

    @cached_property
    def fine(self) -> frozenset[str]:
        return single_words(self.allowed)

    @cached_property
    def _own(self) -> frozenset[str]:
        return single_words(self.words) | joined_words(self.words)

    @cached_property
    def _foreign(self) -> frozenset[str]:
        """Words of the lists of other languages; their forms are not known."""
        others = [word for name in self.languages if name != "english" for word in entries(name)]
        return single_words(others) | joined_words(others)

    @cached_property
    def _listed(self) -> frozenset[str]:
        found = set(read_words("strong.txt"))
        if "english" in self.languages:
            listed = entries("english")
            found |= single_words(listed) | joined_words(listed)
        return frozenset(found - read_words("innocent.txt"))

    @cached_property
    def phrases(self) -> dict[str, list[tuple[tuple[str, ...], Verdict]]]:
        """Toxic words that belong together, by the first of them."""
        found: dict[str, list[tuple[tuple[str, ...], Verdict]]] = {}
        foreign = [word for name in self.languages if name != "english" for word in entries(name)]
        groups: list[tuple[Iterable[str], Verdict]] = [
            (self.words, Verdict(_OWN, 1.0, "own")),
            (foreign, Verdict(_LISTED, 1.0)),
        ]
        if "english" in self.languages:
            groups += [
                (hatred(), Verdict(_TOGETHER, 0.8, "slur")),
                (read_words("phrases.txt"), Verdict(_TOGETHER, 0.6, "insult", "friendly")),
                (entries("english"), Verdict(_LISTED, 1.0)),
                (
                    (word for word in _more() if " " in word),
                    Verdict(_LISTED, 0.8),
                ),
            ]
        for texts, verdict in groups:
            for sequence in word_sequences(texts):
                if verdict.severity == "vulgar" and set(sequence) & read_words("slurs.txt"):
                    verdict_ = replace(verdict, severity="slur")
                else:
                    verdict_ = verdict
                found.setdefault(sequence[0], []).append((sequence, verdict_))
        return found

    @cached_property
    def harmless(self) -> dict[str, list[tuple[tuple[str, ...], Verdict]]]:
        """Words that belong together and are harmless so, by the first of them, as `phrases`."""
        found: dict[str, list[tuple[tuple[str, ...], Verdict]]] = {}
        for sequence in word_sequences(self.allowed):
            found.setdefault(sequence[0], []).append((sequence, _FINE))
        if "english" in self.languages:
            for first, known in _expressions().items():
                found[first] = [*found.get(first, ()), *known]
        return found

    @cached_property
    def literal(self) -> dict[str, Verdict]:
        """What is looked for as it stands: signs, and words beside a script without spaces."""
        found = {
            made.literal: Verdict(_LISTED, 1.0)
            for name in self.languages
            for word in entries(name)
            if (made := entry(word)) is not None and made.literal and not made.unspaced
        }
        for word in self.words:
            if (made := entry(word)) is not None and made.literal:
                found[made.literal] = Verdict(_OWN, 1.0, "own")
        return found

    @cached_property
    def literal_pattern(self) -> re.Pattern[str]:
        """Any of them, the longest first."""
        return re.compile("|".join(map(re.escape, sorted(self.literal, key=len, reverse=True))))

    @cached_property
    def allowed_literal(self) -> tuple[str, ...]:
        """Of the allowed words those that are looked for as they stand."""
        made = (entry(word) for word in self.allowed)
        return tuple(one.literal for one in made if one is not None and one.literal)

    @cached_property
    def unspaced(self) -> frozenset[str]:
        """Words of scripts without spaces."""
        made = (entry(word) for name in self.languages for word in entries(name))
        return frozenset(one.literal for one in made if one is not None and one.unspaced)

    @cached_property
    def _strong(self) -> frozenset[str]:
        own = (word for word in self._own if word.isalpha())
        inside = [w for w in (*read_words("strong.txt"), *own) if len(w) >= _LEAST_STEM]
        return frozenset(inside)

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
            return found > 1 and rest in SUFFIXES

        stems = [word, *stems_of(word), *_without_prefix(word)]
        return any(len(stem) > 4 and falls(stem, 0) for stem in stems)


@lru_cache(maxsize=1)
def _expressions() -> dict[str, list[tuple[tuple[str, ...], Verdict]]]:
    found: dict[str, list[tuple[tuple[str, ...], Verdict]]] = {}
    for sequence in word_sequences(read_words("expressions.txt")):
        found.setdefault(sequence[0], []).append((sequence, _FINE))
    return found


@lru_cache(maxsize=16)
def _lengths(words: frozenset[str]) -> tuple[int, ...]:
    """How long words are."""
    return tuple(sorted({len(word) for word in words} - {0}))


def within(word: str, words: frozenset[str]) -> Iterator[str]:
    """Those of the words that stand in a word."""
    for start in range(len(word)):
        for length in _lengths(words):
            if start + length > len(word):
                break
            if (part := word[start : start + length]) in words:
                yield part


def _indexed(words: Iterable[str]) -> dict[tuple[str, int], list[str]]:
    """Words of six letters or more by first letter and length."""
    found: dict[tuple[str, int], list[str]] = {}
    for word in sorted(words):
        if len(word) > 5:
            found.setdefault((word[0], len(word)), []).append(word)
    return found


def _initials(words: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in _with_endings(words):
        found.setdefault(word[0], []).append(word)
    return found


def _with_endings(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(word + e for word in words for e in ("", "s", "es", "er", "ers", "ing", "ed"))


def _without_parts(word: str) -> str:
    """A word with the parts of names in it (parts.txt) cut out."""
    for part in read_words("parts.txt"):
        word = word.replace(part, "-")
    return word


def _without_prefix(word: str) -> list[str]:
    return [word.removeprefix(prefix) for prefix in _PREFIXES if word.startswith(prefix)]
