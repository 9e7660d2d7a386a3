"""Toxic words in texts, prompts and read-outs, and benign ones in their place.

A text is read as people do: characters as they are seen (`characters`), words (`tokens`), what each
may be in letters (`forms`), words in disguise (`disguises`); then looked up (`lexicon`,
`matching`) in lists of toxic words (`wordlists`, `entries`) beside ordinary ones (`english`), with
regard to what stands beside (`company`). What a prompt asks to be written is `asked`; what is
written in the place of a word, `rewrite`. A detector is one module and one line in `DETECTORS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from textloc.errors import ToxicityError
from textloc.prompts import spans_of
from textloc.toxicity import asked, disguises, scripts
from textloc.toxicity.asked import covered
from textloc.toxicity.asked import rendered as rendered
from textloc.toxicity.characters import HIDING, signs
from textloc.toxicity.company import friendly
from textloc.toxicity.english import ordinary
from textloc.toxicity.findings import Finding as Finding
from textloc.toxicity.forms import forms
from textloc.toxicity.lexicon import Lexicon
from textloc.toxicity.matching import listed
from textloc.toxicity.tokens import together, tokenize

DETECTORS = ("lexicon", "alt-profanity-check", "roberta", "detoxify")
"""`lexicon` finds words by lists and their parts; the others are classifiers of whole texts
(`classifiers`)."""

STRICTNESS = ("strict", "usual", "slurs")
"""`strict`: every word, whatever its company. `usual`: not what is ordinary in its company (SEX
EDUCATION, JERK CHICKEN). `slurs`: of those, slurs on groups of people and the words that are
given."""

OUTSIDE = 0.9
"""Least score of what counts outside of the texts that a prompt asks to be written."""


def several(words: str | Sequence[str]) -> tuple[str, ...]:
    """Words as a tuple; a text alone is one word and not its letters.

    Raises:
        ToxicityError: one is no text.
    """
    try:
        found = (words,) if isinstance(words, str) else tuple(words or ())
    except TypeError as error:
        raise ToxicityError(f"{words!r} are no words; give texts, such as ('LOSER',)") from error
    if strange := [word for word in found if not isinstance(word, str)]:
        raise ToxicityError(f"{strange[0]!r} is no word; give texts, such as ('LOSER',)")
    return found


def find(
    text: str,
    *,
    detector: str = "lexicon",
    words: Sequence[str] = (),
    allowed: Sequence[str] = (),
    languages: Sequence[str] | None = None,
    strictness: str = "usual",
) -> tuple[Finding, ...]:
    """What is toxic in a text, in order, without overlaps.

    Args:
        text: anything.
        detector: name in `DETECTORS`. A classifier judges the whole text, and what the lexicon
            finds counts as well.
        words, allowed: more toxic words, and words that are not; each may be several words.
        languages: whose word lists are read (`entries.languages`). None reads English and those of
            the scripts that the text is written in (`scripts.languages`).
        strictness: one of `STRICTNESS`.

    Raises:
        ToxicityError: an unknown detector, language or strictness, a detector whose package or
            weights are missing, or a word in which nothing can be seen.
    """
    if detector not in DETECTORS:
        raise ToxicityError(f"there is no detector {detector!r}; there are {', '.join(DETECTORS)}")
    if strictness not in STRICTNESS:
        raise ToxicityError(
            f"there is no strictness {strictness!r}; there are {', '.join(STRICTNESS)}"
        )
    if languages is None:
        languages = ("english", *scripts.languages(text))
    lexicon = _lexicon(several(languages), several(words), several(allowed))
    found = listed(text, lexicon, strictness)
    if detector != "lexicon" and not found and text.strip():
        from textloc.toxicity import classifiers

        score = classifiers.score(text, detector)
        fine = {word.strip().casefold() for word in several(allowed)}
        if score >= classifiers.THRESHOLD and text.strip().casefold() not in fine:
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


def masked(text: str, findings: Sequence[Finding] | None = None, **options: Any) -> str:
    """A text with every toxic word masked but for its first letter.

    Args:
        text: any. findings: what is toxic in it; None looks for it. options: of `find`.
    """
    shown, end = "", 0
    for one in find(text, **options) if findings is None else findings:
        shown += text[end : one.start] + veiled(one.text)
        end = one.stop
    return shown + text[end:]


def veiled(word: str) -> str:
    """A word masked but for its first letter."""
    return word[:1] + "".join(sign if sign.isspace() else "*" for sign in word[1:])


def meant(word: str) -> str:
    """A word as it is meant: its letters a to z, disguises undone, those of the first toxic reading
    where there is one. A word with hidden letters is given as it is."""
    if any(sign in HIDING for sign in word):
        return word.casefold()
    tokens = tokenize(signs(word), ordinary)
    runs, hyphened, joined = disguises.apart(word, tokens, ordinary)
    tokens += [
        *map(together, runs),
        *hyphened,
        *joined,
        *disguises.turned(word, ordinary),
    ]
    readings = [form for token in tokens for form in forms(token, ordinary)]
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


def find_in_prompt(
    prompt: str, *, everywhere: bool = True, quoted: Sequence[str] = (), **options: Any
) -> tuple[Finding, ...]:
    """What is toxic in a prompt.

    What the prompt asks to be written (`asked`) is looked at for itself, and so is what it likely
    asks for, where insults do not count. Of the prompt as a whole count slurs and vulgar words that
    are no doubtful ones (`OUTSIDE`), those that are given, and all that touches what is asked for
    and is more (`"L" "O" "S" "E" "R"`); quotations side by side are read as one text, too (`"FU"
    and "CK"`). Words in capitals among others (`license plate BITCH`) are looked at for themselves
    where nothing friendly stands beside them; insults are not.

    Args:
        prompt: of a text-to-image model. References of HTML (`&quot;`) are read as what they mean.
        everywhere: also outside of the texts that it asks to be written, for models write words
            that nobody quoted.
        quoted: patterns of what is asked to be written beside `rendered`, those of the family of
            the model (`Family.QUOTED`).
        options: of `find`.
    """
    text, places = asked.unescaped(prompt)
    if options.get("languages") is None:
        options["languages"] = ("english", *scripts.languages(text))
    wanted = asked.texts(text)
    own = [span for span in spans_of(text, quoted) if span not in wanted.quoted]
    marked = covered(len(text), (*wanted.quoted, *own, *wanted.said, *wanted.meant))
    taken = bytearray(len(text))
    found: list[Finding] = []

    def take(one: Finding) -> None:
        if not any(taken[one.start : one.stop]):
            taken[one.start : one.stop] = b"\1" * (one.stop - one.start)
            found.append(one)

    lexical = {**options, "detector": "lexicon"}
    for span in (*wanted.quoted, *own, *wanted.said, *wanted.meant):
        for one in _found_in(text, span, options):
            take(one)
    for span in wanted.likely:
        for one in _found_in(text, span, lexical):
            if one.score >= OUTSIDE:
                take(one)
    if everywhere and wanted.shouted and not friendly(_without(text, wanted.shouted)):
        every = find(text, **{**lexical, "strictness": "strict"})
        strict = covered(len(text), ((one.start, one.stop) for one in every))
        for span in wanted.shouted:
            for one in _found_in(text, span, lexical):
                if one.score >= OUTSIDE and any(strict[one.start : one.stop]):
                    take(one)
    for run in _beside(text, sorted({*wanted.quoted, *own})):
        joined = " ".join(text[start:stop] for start, stop in run)
        at = [n for start, stop in run for n in range(start, stop + 1)]
        for one in find(joined, **lexical):
            start, stop = at[one.start], at[one.stop - 1] + 1
            if not any(first <= start and stop <= last for first, last in run):
                take(replace(one, start=start, stop=stop, text=text[start:stop]))
    inside = _numbered(len(text), (*wanted.quoted, *own))
    for one in find(text, **lexical):
        within = {*inside[one.start : one.stop]}
        if len(within) == 1 and 0 not in within:
            continue  # it is all in one quotation, which was looked at
        sure = one.score >= OUTSIDE and not one.doubtful
        if (sure and everywhere) or any(marked[one.start : one.stop]):
            take(one)
    if text != prompt:
        found = [
            replace(one, start=start, stop=stop, text=prompt[start:stop])
            for one in found
            for start, stop in [(places[one.start][0], places[one.stop - 1][1])]
        ]
    return tuple(sorted(found, key=lambda finding: finding.start))


def _found_in(text: str, span: tuple[int, int], options: Mapping[str, Any]) -> Iterator[Finding]:
    """What is toxic in a part of a text, looked at for itself."""
    start, stop = span
    for one in find(text[start:stop], **options):
        yield replace(one, start=one.start + start, stop=one.stop + start)


_BETWEEN = re.compile(r"[\W_]*+(?:(?:and|then|next to|beside|over|above)\b)?[\W_]*+")
_PIECE = re.compile(r"\w{1,3}")
_NEAR = 60
"""Characters at most between two pieces of a word that are quoted each for itself: `"SH" on the
left and "IT" on the right`."""


def _beside(text: str, spans: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Of spans in order, the runs of several with at most a word between that sets them side by
    side, `"SH" and "IT"`, and of pieces of a word that are near each other."""
    runs: list[list[tuple[int, int]]] = []
    for span in spans:
        if runs and (
            _BETWEEN.fullmatch(text, runs[-1][-1][1], span[0])
            or (
                span[0] - runs[-1][-1][1] <= _NEAR
                and all(_PIECE.fullmatch(text, *one) for one in (runs[-1][-1], span))
            )
        ):
            runs[-1].append(span)
        else:
            runs.append([span])
    return [run for run in runs if len(run) > 1]


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """A text with spaces in the place of spans."""
    left = list(text)
    for start, stop in spans:
        left[start:stop] = " " * (stop - start)
    return "".join(left)


def _numbered(length: int, spans: Iterable[tuple[int, int]]) -> list[int]:
    """For each place of a text the number of the span that covers it, from 1; 0 for none."""
    found = [0] * length
    for number, (start, stop) in enumerate(spans, 1):
        found[start:stop] = [number] * (stop - start)
    return found
