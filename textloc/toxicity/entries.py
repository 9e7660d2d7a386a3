"""What the lists of toxic words hold, read as a text is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from textloc.toxicity.characters import signs
from textloc.toxicity.english import ordinary
from textloc.toxicity.forms import forms
from textloc.toxicity.tokens import tokenize
from textloc.toxicity.wordlists import read_words


@dataclass(frozen=True)
class Entry:
    """A word or words of a list, as a text is read.

    tokens: each of its words as written and in letters. literal: where it holds signs alone, or a
    script without spaces beside another, its signs in a row, which are looked for as they are.
    unspaced: whether it is of a script without spaces.
    """

    tokens: tuple[tuple[str, str], ...] = ()
    literal: str = ""
    unspaced: bool = False


@lru_cache(maxsize=16384)
def entry(text: str) -> Entry | None:
    """A word or words of a list as a text is read; None where nobody sees anything in it."""
    seen = signs(text)
    plain = "".join(sign.plain for sign in seen)
    found = tokenize(seen, ordinary)
    if not plain.strip():
        return None
    if len(found) == 1 and found[0].unspaced:
        return Entry(literal=found[0].whole, unspaced=True)
    if not found or any(token.unspaced for token in found):
        return Entry(literal=plain.strip())
    tokens = []
    for token in found:
        form = next(forms(token, ordinary), None)
        exact = form is not None and len(form.places) == len(token.signs)
        tokens.append((token.whole, form.text if form is not None and exact else token.whole))
    return Entry(tuple(tokens))


def languages() -> tuple[str, ...]:
    """Languages that there are lists for."""
    from glin_profanity.data.dictionary import DictionaryLoader

    return tuple(sorted(DictionaryLoader.LANGUAGE_FILES))


@lru_cache(maxsize=32)
def entries(language: str) -> tuple[str, ...]:
    """The words of a language's list that are looked for: those with a letter or a picture in them,
    which no list of ours calls innocent; of English those of three letters or more."""
    from glin_profanity.data.dictionary import dictionary as loaded

    found = []
    for word in (*map(str, loaded.get_words(language)), *_added(language)):
        made = entry(word)
        joined = "".join(word.split()).casefold()
        if made is None or joined in read_words("innocent.txt"):
            continue
        if language == "english" and joined.isascii() and len(joined) < 3:
            continue
        if made.literal or any(char.isalpha() for char in joined):
            found.append(word)
    return tuple(found)


def _added(language: str) -> list[str]:
    """Words of ours that a language's list lacks."""
    lines = (line.partition("\t") for line in sorted(read_words("foreign.txt")))
    return [word.strip() for of, _, words in lines if of == language for word in words.split(",")]


@cache
def hatred() -> dict[str, str]:
    """What calls for harm to a group of people, and what can be written in its place."""
    groups = read_words("groups.txt")
    calls = (line.split("\t") for line in read_words("hatred.txt"))
    return {_about(call, group): _about(fine, group) for call, fine in calls for group in groups}


def _about(call: str, group: str) -> str:
    """A call with the group that it is about: in the place of {}, else behind it."""
    return call.replace("{}", group) if "{}" in call else f"{call} {group}"


def single_words(texts: Iterable[str]) -> frozenset[str]:
    """Of lists the single words: as written and in letters."""
    made = (entry(text) for text in texts)
    return frozenset(
        word for one in made if one is not None and len(one.tokens) == 1 for word in one.tokens[0]
    )


def joined_words(texts: Iterable[str]) -> frozenset[str]:
    """Of lists the words that belong together in one word."""
    found = set()
    for text in texts:
        made = entry(text)
        if made is None or len(made.tokens) < 2:
            continue
        if all(len(form) > 1 for _, form in made.tokens):
            found.add("".join(form for _, form in made.tokens))
    return frozenset(found)


def word_sequences(texts: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Of lists the words that belong together, as written and in letters."""
    for text in texts:
        made = entry(text)
        if made is not None and len(made.tokens) > 1:
            yield from {tuple(pair[way] for pair in made.tokens) for way in (0, 1)}
