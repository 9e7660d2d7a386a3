"""The words the tiny checkpoints are trained on, and those kept from them.

Training words are random letter strings and invented, pronounceable ones. Every word of an English
dictionary and of the project's own evaluation lists is left out, so any real word is one that the
checkpoint never saw.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from textloc.errors import PromptError
from textloc.paths import WORDS

LENGTHS = {2: 0.08, 3: 0.2, 4: 0.26, 5: 0.26, 6: 0.2}
"""Word lengths in training and their shares."""

_LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_VOWELS = tuple("AEIOU")
_CONSONANTS = tuple(c for c in _LETTERS if c not in _VOWELS)


def read_list(path: Path) -> list[str]:
    """Words of a text file, one a line, upper-cased; blank lines and `#` comments are skipped.

    Raises:
        PromptError: the file cannot be read or holds no word.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"cannot read the word list {path}: {error}") from error
    words = [line.strip().upper() for line in lines if line.strip() and line.strip()[0] != "#"]
    if not words:
        raise PromptError(f"the word list {path} holds no word; write one word a line")
    return words


@cache
def dictionary() -> frozenset[str]:
    """The words of an English dictionary, upper-cased.

    Raises:
        PromptError: the package `english-words` is not installed.
    """
    try:
        from english_words import get_english_words_set
    except ImportError as error:
        raise PromptError(
            "training filters real words out and needs a dictionary: pip install english-words"
        ) from error
    return frozenset(w.upper() for w in get_english_words_set(["web2", "gcide"], alpha=True))


@cache
def held_out() -> frozenset[str]:
    """Words that training must not draw: the dictionary and the project's lists.

    Raises:
        PromptError: the package `english-words` is not installed.
    """
    listed = [word for path in sorted(WORDS.glob("*.txt")) for word in read_list(path)]
    # of two letters the dictionary holds half of all strings: only the project's lists count there
    return frozenset(w for w in dictionary().union(listed) if len(w) > 2)


def sample(rng: np.random.Generator, longest: int = 6) -> str:
    """A training word of at most `longest` letters: half random letters, half consonant-vowel;
    never a held-out one."""
    banned = held_out()
    lengths = [length for length in LENGTHS if length <= longest]
    shares = np.array([LENGTHS[length] for length in lengths])
    while True:
        length = int(rng.choice(lengths, p=shares / shares.sum()))
        if rng.random() < 0.5:
            word = "".join(_LETTERS[i] for i in rng.integers(26, size=length))
        else:
            first = int(rng.integers(2))
            word = "".join(
                _VOWELS[rng.integers(5)] if (i + first) % 2 else _CONSONANTS[rng.integers(21)]
                for i in range(length)
            )
        if word not in banned:
            return word
