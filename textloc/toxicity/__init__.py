"""Toxic words in texts, prompts and read-outs, and benign ones in their place.

A detector is one module and one line in `DETECTORS`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from textloc.errors import ToxicityError
from textloc.toxicity.lexicon import VULGAR, Lexicon, ordinary, read_words
from textloc.toxicity.normalise import APART, Letters, collapsed, hidden, letter
from textloc.toxicity.normalise import words as read_letters

DETECTORS = ("lexicon", "alt-profanity-check", "roberta", "detoxify")
"""`lexicon` finds words by lists and their parts; the others are classifiers of whole texts
(`classifiers`)."""


@dataclass(frozen=True)
class Finding:
    """Something toxic in a text.

    start, stop: its span in the text as it was given, stop exclusive. text: that part. word: what
    it means, lower-case. reason: why, in words. score: how surely, in (0, 1]. detector: what found
    it.
    """

    start: int
    stop: int
    text: str
    word: str
    reason: str
    score: float
    detector: str


def find(
    text: str,
    *,
    detector: str = "lexicon",
    words: Sequence[str] = (),
    allowed: Sequence[str] = (),
    languages: Sequence[str] = ("english",),
) -> tuple[Finding, ...]:
    """What is toxic in a text, in order, without overlaps.

    Args:
        text: anything.
        detector: name in `DETECTORS`. A classifier judges the whole text, and what the lexicon
            finds counts as well.
        words, allowed: more toxic words, and words that are not.
        languages: whose word lists are read (`lexicon.languages`).

    Raises:
        ToxicityError: an unknown detector or language, or one whose package or weights are missing.
    """
    if detector not in DETECTORS:
        raise ToxicityError(f"there is no detector {detector!r}; there are {', '.join(DETECTORS)}")
    lexicon = _lexicon(tuple(languages), tuple(words), tuple(allowed))
    found = _listed(text, lexicon)
    if detector != "lexicon" and not found and text.strip():
        from textloc.toxicity import classifiers

        score = classifiers.score(text, detector)
        if score >= classifiers.THRESHOLD and text.strip().casefold() not in allowed:
            start = len(text) - len(text.lstrip())
            inner = text.strip()
            said = "a classifier takes it for toxic"
            stop = start + len(inner)
            return (Finding(start, stop, inner, inner.casefold(), said, score, detector),)
    return found


def is_toxic(text: str, **options: Any) -> bool:
    """Whether anything in a text is toxic; `options` are those of `find`."""
    return bool(find(text, **options))


@lru_cache(maxsize=64)
def _lexicon(
    languages: tuple[str, ...], words: tuple[str, ...], allowed: tuple[str, ...]
) -> Lexicon:
    return Lexicon(languages, words, allowed)


def _listed(text: str, lexicon: Lexicon) -> tuple[Finding, ...]:
    found: list[Finding] = []
    for reading in read_letters(text, ordinary):
        forms = [reading] if ordinary(reading.text) else collapsed(reading)
        for word in forms:
            judged = lexicon.judge(word.text)
            if judged is not None:
                found.append(_finding(text, word, *judged))
                break
    for pattern, start, stop in hidden(text):
        if (fits := lexicon.hidden(pattern)) is not None:
            word_, why, score = fits
            found.append(Finding(start, stop, text[start:stop], word_, why, score, "lexicon"))
    for match in _phrases().finditer(text):
        part = match[0]
        if part.casefold() not in lexicon.allowed:
            why = "words that insult together"
            found.append(Finding(*match.span(), part, part.casefold(), why, 0.6, "lexicon"))
    # words as they stand before words that are joined, then the longest
    found.sort(key=lambda one: (APART in one.reason, one.start - one.stop, one.start))
    kept: list[Finding] = []
    for one in found:
        if _apart(one, kept):
            kept.append(one)
    return tuple(sorted(kept, key=lambda one: one.start))


def _apart(one: Finding, others: Sequence[Finding]) -> bool:
    """Whether a finding overlaps none of the others."""
    return all(one.stop <= other.start or one.start >= other.stop for other in others)


@lru_cache(maxsize=1)
def _phrases() -> re.Pattern[str]:
    phrases = sorted(read_words("phrases.txt"), key=len, reverse=True)
    parts = [r"\W+".join(map(re.escape, phrase.split())) for phrase in phrases]
    return re.compile(rf"\b(?:{'|'.join(parts)})\b", re.IGNORECASE)


def _finding(text: str, word: Letters, reason: str, score: float) -> Finding:
    start, stop = word.span
    while start and not letter(text[start - 1])[0]:  # what nobody sees at its ends goes with it
        start -= 1
    while stop < len(text) and not letter(text[stop])[0]:
        stop += 1
    told = f"{reason}, written with {word.disguise}" if word.disguise else reason
    return Finding(start, stop, text[start:stop], word.text, told, score, "lexicon")


def masked(text: str, **options: Any) -> str:
    """A text with every toxic word masked but for its first letter; `options` are those of
    `find`."""
    shown, end = "", 0
    for one in find(text, **options):
        covered = "".join("*" if sign.isalnum() else sign for sign in one.text[1:])
        shown += text[end : one.start] + one.text[:1] + covered
        end = one.stop
    return shown + text[end:]


def meant(word: str) -> str:
    """A word as it is meant: its letters a to z, disguises undone, those of the first toxic reading
    where there is one."""
    readings = [form for reading in read_letters(word, ordinary) for form in collapsed(reading)]
    lexicon = _lexicon(("english",), (), ())
    toxic = (form.text for form in readings if lexicon.judge(form.text) is not None)
    return next(toxic, readings[0].text if readings else word.casefold())


def same(read: str, word: str, instead: str = "") -> bool:
    """Whether a read-out still says a word: within it, case and spaces aside, or with at most one
    letter in four wrong. It does not where it is nearer to the text `instead` of the word."""
    from rapidfuzz.distance import Levenshtein

    said, wanted, other = (
        "".join(filter(str.isalnum, text.casefold())) for text in (read, word, instead)
    )
    if not wanted or not said:
        return False
    apart = 0 if wanted in said else Levenshtein.distance(said, wanted)
    near = apart <= len(wanted) // 4
    return near and not (other and Levenshtein.distance(said, other) < max(apart, 1))


# ---------------------------------------------------------------------------- prompts

_QUOTED = re.compile(
    r'"([^"]*)"|“([^”]*)”|„([^“”]*)[“”]|«([^»]*)»|[「『]([^」』]*)[」』]|(?<!\w)[\'‘]([^\'’]+)[\'’](?!\w)'
)
_ASKED = re.compile(
    r"\b(?:saying|says|said|say|reads?|reading|spell(?:s|ing)?|titled|named|captioned|labell?ed|"
    r"(?:with|of|for|the|a)\s+(?:the\s+)?(?:words?|text|letters|lettering|caption|title|slogan|"
    r"inscription|phrase|name|logo))\b[\s:,]*",
    re.IGNORECASE,
)
_END = re.compile(
    r"[,.;!?](?:\s|$)|\s(?:on|in|at|with|under|above|below|beside|by|painted|written|printed|over|"
    r"against|next)\s|$",
    re.IGNORECASE,
)


def rendered(prompt: str) -> tuple[tuple[int, int], ...]:
    """Spans of the texts that a prompt asks to be written: what is quoted, and what follows words
    such as `saying`, `that reads` or `with the word` without being quoted."""
    found: list[tuple[int, int]] = []
    for match in _QUOTED.finditer(prompt):
        start, stop = next(match.span(n) for n in range(1, 7) if match[n] is not None)
        if prompt[start:stop].strip():
            found.append((start, stop))
    for match in _ASKED.finditer(prompt):
        start = match.end()
        end = _END.search(prompt, start)
        stop = end.start() if end is not None else len(prompt)
        if start < stop and all(stop <= one or start >= other for one, other in found):
            found.append((start, stop))
    return tuple(sorted(found))


def find_in_prompt(prompt: str, *, everywhere: bool = True, **options: Any) -> tuple[Finding, ...]:
    """What is toxic in a prompt.

    Args:
        prompt: of a text-to-image model.
        everywhere: slurs and vulgar words also outside of the texts that it asks to be written, for
            models write words that nobody quoted; insults and crude words count in these texts.
        options: of `find`.
    """
    found: list[Finding] = []
    for start, stop in rendered(prompt):
        for one in find(prompt[start:stop], **options):
            found.append(_moved(one, start))
    if everywhere:
        for one in find(prompt, **{**options, "detector": "lexicon"}):
            if one.score >= VULGAR and _apart(one, found):
                found.append(one)
    return tuple(sorted(found, key=lambda finding: finding.start))


def _moved(finding: Finding, by: int) -> Finding:
    from dataclasses import replace

    return replace(finding, start=finding.start + by, stop=finding.stop + by)
