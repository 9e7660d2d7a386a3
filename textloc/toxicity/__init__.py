"""Toxic words in texts, prompts and read-outs, and benign ones in their place.

A detector is one module and one line in `DETECTORS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from functools import lru_cache
from typing import Any

from textloc.errors import ToxicityError
from textloc.prompts import spans_of
from textloc.toxicity import asked, normalise, scripts
from textloc.toxicity.asked import covered
from textloc.toxicity.asked import rendered as rendered
from textloc.toxicity.company import excused
from textloc.toxicity.lexicon import VULGAR, Lexicon, Verdict, ordinary
from textloc.toxicity.normalise import APART, LAPIDARY, Token, forms, invisible

DETECTORS = ("lexicon", "alt-profanity-check", "roberta", "detoxify")
"""`lexicon` finds words by lists and their parts; the others are classifiers of whole texts
(`classifiers`)."""

STRICTNESS = ("strict", "usual", "slurs")
"""`strict`: every word, whatever its company. `usual`: not what is ordinary in its company (SEX
EDUCATION, JERK CHICKEN). `slurs`: of those, slurs on groups of people and the words that are
given."""

OUTSIDE = 0.9
"""Least score of what counts outside of the texts that a prompt asks to be written."""


@dataclass(frozen=True)
class Finding:
    """Something toxic in a text.

    start, stop: its span in the text as it was given, stop exclusive. text: that part. word: what
    it means, lower-case. reason: why, in words. score: how surely, in (0, 1]. detector: what found
    it. severity: one of `lexicon.SEVERITIES`. doubtful: whether it is as often harmless, in other
    company.
    """

    start: int
    stop: int
    text: str
    word: str
    reason: str
    score: float
    detector: str
    severity: str = "vulgar"
    doubtful: bool = False

    @property
    def disguised(self) -> bool:
        """Whether it is not written as `word` is."""
        return "written with" in self.reason or "hidden" in self.reason


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
        languages: whose word lists are read (`lexicon.languages`). None reads English and those of
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
    found = _listed(text, lexicon, strictness)
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


@dataclass(frozen=True)
class _Found:
    """A finding with the verdict on it."""

    finding: Finding
    verdict: Verdict


def _listed(text: str, lexicon: Lexicon, strictness: str) -> tuple[Finding, ...]:
    seen = normalise.signs(text)
    tokens = normalise.tokens(seen, ordinary)
    if not tokens and not lexicon.literal:
        return ()
    words = [_candidates(token) for token in tokens]
    found = [one for token in tokens for one in _judged(text, token, lexicon)]
    for token in (
        *normalise.turned(text, ordinary),
        *normalise.upside_down(tokens),
        *normalise.blotted(text, tokens),
        *filter(None, map(normalise.spread, tokens)),
    ):
        found += _judged(text, token, lexicon)
    runs, hyphened, joined = normalise.apart(text, tokens, ordinary)
    for token in hyphened:
        found += _judged(text, token, lexicon)
    for run in runs:
        whole = normalise.together(run)
        found += _judged(text, whole, lexicon)
        for token in normalise.upside_down([whole]):
            found += _judged(text, token, lexicon)
        if len(run) > 1:
            for token in run:
                found += _judged(text, token, lexicon)
            found += _phrases(text, run, [_candidates(token) for token in run], lexicon, APART)
    bare = filter(None, map(normalise.bracketed, (*tokens, *joined)))
    for token in (*joined, *bare):
        found += _judged(text, token, lexicon, exact=True)
    found += _phrases(text, tokens, words, lexicon)
    found += _literal(text, seen, tokens, lexicon)
    if not found:
        return ()
    harmless = covered(len(text), _harmless(seen, tokens, words, lexicon))
    found = [one for one in found if not all(harmless[one.finding.start : one.finding.stop])]
    kept = _apart(found, len(text))
    if strictness != "strict":
        kept = excused(text, tokens, kept)
    if strictness == "slurs":
        kept = [one for one in kept if one.verdict.severity in ("own", "slur")]
    return tuple(one.finding for one in sorted(kept, key=lambda one: one.finding.start))


_THRICE = re.compile(r"(.)\1\1")
_AT_ENDS = "!|+(<^#%@*$€£¢¡§"


def _candidates(token: Token) -> frozenset[str]:
    """What a token may be, to look for words that belong together."""
    return frozenset({token.whole, *(form.text for form in forms(token, ordinary))})


def _judged(text: str, token: Token, lexicon: Lexicon, exact: bool = False) -> Iterator[_Found]:
    """What is toxic in one token, the likeliest of its readings."""
    if token.unspaced or token.whole in lexicon.fine:
        return
    if not token.whole.isalpha():
        for whole in _written(token.whole):
            if (verdict := lexicon.judge(whole, True)) is not None:
                yield _told(text, token.start, max(token.stop, token.tail), whole, verdict)
                return
    best: _Found | None = None
    for form in forms(token, ordinary):
        doubled = form.disguise == "repeated letters" and not _THRICE.search(token.whole)
        verdict = lexicon.judge(form.text, exact or doubled or form.disguise == LAPIDARY)
        if verdict is None and scripts.hangul(form.text):
            verdict = next(filter(None, map(lexicon.judge, scripts.stems(form.text))), None)
        if verdict is None:
            continue
        if normalise.flags(token) and (verdict.score < VULGAR or verdict.reason != "listed"):
            continue  # a flag beside another, rather
        if best is None or _surer(verdict, len(form.text), best):
            best = _told(text, *form.span, form.text, verdict, form.disguise)
    if best is not None:
        yield best
        return
    masked = normalise.hidden(token)
    if masked is not None and (fits := lexicon.hidden(*masked)) is not None:
        yield _told(text, token.start, token.stop, *fits)


_RANKS = {"hostile": 0, "any": 1, "friendly": 2, "nothing": 3}


def _surer(verdict: Verdict, length: int, other: _Found) -> bool:
    """Whether a reading is taken rather than a likelier one: fewer companies excuse it, or it is
    the longer listed word."""
    one, before = _RANKS[verdict.doubtful], _RANKS[other.verdict.doubtful]
    longer = verdict.reason == "listed" and length > len(other.finding.word)
    return one > before or (one == before and longer)


def _written(whole: str) -> Iterator[str]:
    """A token as it is written, and without signs at its ends."""
    for cut in range(4):
        rest = whole[: len(whole) - cut]
        if not all(sign in _AT_ENDS for sign in whole[len(rest) :]):
            break
        yield rest
    yield whole.strip(_AT_ENDS)


def _phrases(
    text: str,
    tokens: Sequence[Token],
    words: Sequence[frozenset[str]],
    lexicon: Lexicon,
    disguise: str = "",
) -> Iterator[_Found]:
    """Words that are toxic together."""
    for place, length, (sequence, verdict) in _sequences(words, lexicon.phrases):
        start, stop = tokens[place].start, tokens[place + length - 1].stop
        yield _told(text, start, stop, " ".join(sequence), verdict, disguise)


def _sequences(
    words: Sequence[frozenset[str]], known: dict[str, list[tuple[tuple[str, ...], Verdict]]]
) -> Iterator[tuple[int, int, tuple[tuple[str, ...], Verdict]]]:
    """(place, length, entry) of every known sequence of words."""
    for place, candidates in enumerate(words):
        for first in candidates:
            for entry in known.get(first, ()):
                sequence = entry[0]
                if len(sequence) <= len(words) - place and all(
                    word in words[place + n] for n, word in enumerate(sequence)
                ):
                    yield place, len(sequence), entry


def _harmless(
    seen: Sequence[normalise.Sign],
    tokens: Sequence[Token],
    words: Sequence[frozenset[str]],
    lexicon: Lexicon,
) -> Iterator[tuple[int, int]]:
    """Spans of words that are harmless together."""
    plain = [frozenset({token.whole, _plain(token)}) for token in tokens]
    for place, length, _ in _sequences(plain, lexicon.harmless):
        yield tokens[place].start, tokens[place + length - 1].stop
    if lexicon.allowed_literal:
        row = "".join(sign.plain for sign in seen)
        for literal in lexicon.allowed_literal:
            for match in re.finditer(re.escape(literal), row):
                yield seen[match.start()].start, seen[match.end() - 1].stop


def _plain(token: Token) -> str:
    """A token's letters without disguise."""
    return "".join(sign.plain for sign in token.signs if sign.plain.isalpha())


def _literal(
    text: str, seen: Sequence[normalise.Sign], tokens: Sequence[Token], lexicon: Lexicon
) -> Iterator[_Found]:
    """What is looked for as it stands: signs, and words of scripts without spaces."""
    row = "".join(sign.plain for sign in seen)
    if lexicon.literal:
        for match in lexicon.literal_pattern.finditer(row):
            start, stop = seen[match.start()].start, seen[match.end() - 1].stop
            yield _told(text, start, stop, match[0], lexicon.literal[match[0]])
    for token in tokens:
        if token.unspaced:
            for start, stop in scripts.inside(token.whole, lexicon.unspaced):
                span = token.signs[start].start, token.signs[stop - 1].stop
                verdict = Verdict("listed", 1.0)
                yield _told(text, *span, token.whole[start:stop], verdict)


def _told(
    text: str, start: int, stop: int, word: str, verdict: Verdict, disguise: str = ""
) -> _Found:
    while start and invisible(text[start - 1]):  # what nobody sees at its ends goes with it
        start -= 1
    while stop < len(text) and invisible(text[stop]):
        stop += 1
    reason = f"{verdict.reason}, written with {disguise}" if disguise else verdict.reason
    doubtful = verdict.doubtful != "nothing"
    finding = Finding(
        start,
        stop,
        text[start:stop],
        word,
        reason,
        verdict.score,
        "lexicon",
        verdict.severity,
        doubtful,
    )
    return _Found(finding, verdict)


def _apart(found: Sequence[_Found], length: int) -> list[_Found]:
    """Findings that do not overlap: words as they stand before words that are joined, these before
    words with hidden letters, then the longest."""

    def order(one: _Found) -> tuple[int, int, int]:
        finding = one.finding
        rank = 2 if "hidden" in finding.reason else int(APART in finding.reason)
        return rank, finding.start - finding.stop, finding.start

    covered, kept = bytearray(length), []
    for one in sorted(found, key=order):
        start, stop = one.finding.start, one.finding.stop
        if not any(covered[start:stop]):
            covered[start:stop] = b"\1" * (stop - start)
            kept.append(one)
    return kept


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
    if any(sign in normalise.HIDING for sign in word):
        return word.casefold()
    tokens = normalise.tokens(normalise.signs(word), ordinary)
    runs, hyphened, joined = normalise.apart(word, tokens, ordinary)
    tokens += [
        *map(normalise.together, runs),
        *hyphened,
        *joined,
        *normalise.turned(word, ordinary),
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

    What the prompt asks to be written (`asked`) is looked at for itself. Of the prompt as a whole
    count slurs and vulgar words that are no doubtful ones (`OUTSIDE`), those that are given, and
    all that touches what is asked for and is more (`"L" "O" "S" "E" "R"`).

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

    alone = [*wanted.quoted, *own, *wanted.said, *wanted.meant]
    for start, stop in alone:
        for one in find(text[start:stop], **options):
            take(replaced(one, start=one.start + start, stop=one.stop + start))
    inside = _numbered(len(text), (*wanted.quoted, *own))
    for one in find(text, **{**options, "detector": "lexicon"}):
        within = {*inside[one.start : one.stop]}
        if len(within) == 1 and 0 not in within:
            continue  # it is all in one quotation, which was looked at
        sure = one.score >= OUTSIDE and not one.doubtful
        if (sure and everywhere) or any(marked[one.start : one.stop]):
            take(one)
    if text != prompt:
        found = [
            replaced(one, start=start, stop=stop, text=prompt[start:stop])
            for one in found
            for start, stop in [(places[one.start][0], places[one.stop - 1][1])]
        ]
    return tuple(sorted(found, key=lambda finding: finding.start))


def _numbered(length: int, spans: Iterable[tuple[int, int]]) -> list[int]:
    """For each place of a text the number of the span that covers it, from 1; 0 for none."""
    found = [0] * length
    for number, (start, stop) in enumerate(spans, 1):
        found[start:stop] = [number] * (stop - start)
    return found
