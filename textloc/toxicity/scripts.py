"""Scripts: the languages that a text is likely written in, and words in scripts without spaces.

Where a script has no spaces a listed word only counts where words begin and end. Chinese is cut
into words by `jieba`, Thai by `pythainlp`, Japanese by `janome`; where one of them is missing, a
listed word counts wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

_SCRIPTS = {
    "russian": re.compile("[\u0400-\u04ff]"),
    "japanese": re.compile("[\u3041-\u30fa\u30fd-\u30ff]"),
    "chinese": re.compile("[\u3400-\u9fff]"),
    "korean": re.compile("[\uac00-\ud7a3\u1100-\u11ff]"),
    "thai": re.compile("[\u0e01-\u0e5b]"),
    "arabic": re.compile("[\u0621-\u064a]"),
    "persian": re.compile("[\u067e\u0686\u0698\u06a9\u06af\u06cc]"),
    "hindi": re.compile("[\u0904-\u0939]"),
}
_ANY = re.compile("[\u0400-\u04ff\u0621-\u06cc\u0904-\u0939\u0e01-\u0e5b\u1100-\ud7a3]")
_PARTICLES = re.compile(
    "(?:은|는|이|가|을|를|의|에|에게|도|만|와|과|들|들아|들이|아|야|이야|놈|년|로|으로|한테|까지|네|다)$"
)


def languages(text: str) -> tuple[str, ...]:
    """Languages whose scripts a text is written in, by name, besides English."""
    if text.isascii() or _ANY.search(text) is None:
        return ()
    found = [name for name, script in _SCRIPTS.items() if script.search(text)]
    if "japanese" in found and "chinese" in found:
        found.remove("chinese")  # kanji between kana
    return tuple(found)


def hangul(word: str) -> bool:
    """Whether a word is written in Korean."""
    return "\uac00" <= word[:1] <= "\ud7a3"


def stems(word: str) -> Iterator[str]:
    """What a Korean word may be with a particle."""
    for length in (1, 2):
        if len(word) > length and _PARTICLES.fullmatch(word[-length:]):
            yield word[:-length]


def inside(run: str, listed: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Spans of listed words in a run of a script without spaces, where words begin and end.

    Args:
        run: letters of such a script. listed: words.
    """
    lengths = sorted({len(word) for word in listed}, reverse=True)
    spans = [
        (start, start + length)
        for start in range(len(run))
        for length in lengths
        if start + length <= len(run) and run[start : start + length] in listed
    ]
    if not spans:
        return
    for at in range(0, len(run), _PIECE):  # a cutter's time grows with the square
        yield from _whole(run, spans, at)


_PIECE = 500


def _whole(run: str, spans: list[tuple[int, int]], at: int) -> Iterator[tuple[int, int]]:
    piece = run[at : at + _PIECE]
    mine = [span for span in spans if at <= span[0] < at + _PIECE]
    if not mine:
        return
    edges = {at + edge for edge in _edges(piece)}
    for start, stop in mine:
        if start in edges and (stop in edges or stop > at + len(piece)):
            yield start, stop


@lru_cache(maxsize=512)
def _edges(text: str) -> frozenset[int]:
    """Where words of a text begin and end."""
    cut = _cutter("thai" if re.search("[\u0e00-\u0e7f]", text) else _east(text))
    if cut is None:
        return frozenset(range(len(text) + 1))
    edges, at = {0}, 0
    for word in cut(text):
        at += len(word)
        edges.add(at)
    return frozenset(edges)


def _east(text: str) -> str:
    return "japanese" if _SCRIPTS["japanese"].search(text) else "chinese"


@lru_cache(maxsize=4)
def _cutter(language: str) -> Callable[[str], list[str]] | None:
    """What cuts a language into words."""
    try:
        return _CUTTERS[language]()
    except ImportError:
        return None


def _thai() -> Callable[[str], list[str]]:
    from pythainlp.tokenize import word_tokenize

    return lambda text: [str(word) for word in word_tokenize(text, keep_whitespace=True)]


def _chinese() -> Callable[[str], list[str]]:
    import logging

    import jieba

    jieba.setLogLevel(logging.WARNING)
    return lambda text: [str(word) for word in jieba.cut(text, HMM=False)]


def _japanese() -> Callable[[str], list[str]]:
    from janome.tokenizer import Tokenizer

    cutter = Tokenizer(wakati=True)
    return lambda text: [str(word) for word in cutter.tokenize(text)]


_CUTTERS: dict[str, Callable[[], Callable[[str], list[str]]]] = {
    "thai": _thai,
    "chinese": _chinese,
    "japanese": _japanese,
}
