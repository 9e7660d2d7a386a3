"""Ordinary English words and names, by the dictionary of `english_words` and lists of ours."""

from __future__ import annotations

from functools import lru_cache

from textloc.toxicity.wordlists import read_words

SUFFIXES = (
    *("s", "es", "ed", "d", "er", "ers", "r", "ing", "in", "y", "ies", "ie", "ish", "ist", "ster"),
    *("o", "a", "az", "z", "ness", "less", "able", "hood", "ery", "tastic", "ity"),
    *("ly", "ally", "ically", "ier", "iest", "iness", "ily"),
)
"""Endings of toxic words."""

INFLECTIONS = ("s", "es", "ies", "ed", "ing", "er", "ers", "d")
"""Endings of ordinary ones."""


def ordinary(word: str) -> bool:
    """Whether a word, lower-case, is an ordinary English word or name, or a form of one."""
    return stands(word) or any(
        stands(stem) for stem in stems_of(word, INFLECTIONS) if len(stem) > 3
    )


def stands(word: str) -> bool:
    """Whether it stands as it is in a list of ordinary words."""
    lists = (dictionary(), read_words("innocent.txt"), read_words("benign.txt"))
    return any(word in known for known in lists)


def proper(word: str) -> bool:
    """Whether a word, lower-case, is a name of a person or place, and nothing else."""
    return word in _proper() or word in read_words("people.txt")


def named(word: str) -> bool:
    """Whether a word, lower-case, is in a list of forenames or surnames."""
    lists = ("surnames.txt", "forenames.txt", "people.txt")
    return any(word in read_words(name) for name in lists)


@lru_cache(maxsize=1)
def _proper() -> frozenset[str]:
    from english_words import get_english_words_set

    words = get_english_words_set(["web2"], alpha=True)
    common = {word for word in words if word.islower()}
    return frozenset(word.lower() for word in words if not word.islower()) - common


@lru_cache(maxsize=1)
def dictionary() -> frozenset[str]:
    """Ordinary English words and names, lower-case."""
    from english_words import get_english_words_set

    return frozenset(get_english_words_set(["web2", "gcide"], lower=True, alpha=True))


def stems_of(word: str, suffixes: tuple[str, ...] = SUFFIXES) -> list[str]:
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
