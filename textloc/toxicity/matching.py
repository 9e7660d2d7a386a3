"""Words of a text that the lexicon knows, as they stand and in every disguise."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from textloc.toxicity import characters, disguises, scripts
from textloc.toxicity.asked import covered
from textloc.toxicity.characters import invisible
from textloc.toxicity.company import excused
from textloc.toxicity.english import ordinary, proper
from textloc.toxicity.findings import Finding, Found
from textloc.toxicity.forms import LAPIDARY, forms, hidden
from textloc.toxicity.lexicon import VULGAR, Lexicon, Verdict
from textloc.toxicity.tokens import APART, Token, flags, together, tokenize


def listed(text: str, lexicon: Lexicon, strictness: str) -> tuple[Finding, ...]:
    """What a lexicon knows of a text, in order, without overlaps; `strictness` as of `find`."""
    seen = characters.signs(text)
    tokens = tokenize(seen, ordinary)
    if not tokens and not lexicon.literal:
        return ()
    words = [_candidates(token) for token in tokens]
    found = [one for token in tokens for one in _judged(text, token, lexicon)]
    for token in (
        *disguises.turned(text, ordinary),
        *disguises.upside_down(tokens),
        *disguises.blotted(text, tokens),
        *filter(None, map(disguises.spread, tokens)),
    ):
        found += _judged(text, token, lexicon)
    runs, hyphened, joined = disguises.apart(text, tokens, ordinary)
    for token in hyphened:
        found += _judged(text, token, lexicon)
    for run in runs:
        whole = together(run)
        found += _judged(text, whole, lexicon)
        for token in disguises.upside_down([whole]):
            found += _judged(text, token, lexicon)
        if len(run) > 1:
            for token in run:
                found += _judged(text, token, lexicon)
            found += _phrases(text, run, [_candidates(token) for token in run], lexicon, APART)
    for token in disguises.backwards(tokens, _known):
        found += _judged(text, token, lexicon, exact=True)
    bare = filter(None, map(disguises.bracketed, (*tokens, *joined)))
    for token in (*joined, *bare):
        for one in _judged(text, token, lexicon, exact=True):
            # Shi Ting is a name; a form of a word in two capitalized pieces is not thought of
            if not (one.finding.text.istitle() and one.verdict.reason.startswith("a form")):
                found.append(one)
    found += _phrases(text, tokens, words, lexicon)
    found += _literal(text, seen, tokens, lexicon)
    if not found:
        return ()
    harmless = covered(len(text), _harmless(seen, tokens, words, lexicon))
    found = [one for one in found if not all(harmless[one.finding.start : one.finding.stop])]
    parted = list(_hyphenated(text, tokens, lexicon))
    found = [one for one in found if not _part_of(one.finding, parted)]
    kept = _apart(found, len(text))
    if strictness != "strict":
        kept = excused(text, tokens, kept)
    if strictness == "slurs":
        kept = [one for one in kept if one.verdict.severity in ("own", "slur")]
    return tuple(one.finding for one in sorted(kept, key=lambda one: one.finding.start))


def _known(word: str) -> bool:
    """Whether lower-case letters are a word, one with a usual ending, or a name."""
    stems = (word.removesuffix(ending) for ending in ("", "s", "es", "d", "ed", "ing", "er", "ers"))
    return proper(word) or any(map(ordinary, stems))


_THRICE = re.compile(r"(.)\1\1")
_AT_ENDS = "!|+(<^#%@*$€£¢¡§"


def _candidates(token: Token) -> frozenset[str]:
    """What a token may be, to look for words that belong together."""
    return frozenset({token.whole, *(form.text for form in forms(token, ordinary))})


def _judged(text: str, token: Token, lexicon: Lexicon, exact: bool = False) -> Iterator[Found]:
    """What is toxic in one token, the likeliest of its readings."""
    if token.unspaced or token.whole in lexicon.fine:
        return
    if not token.whole.isalpha():
        for whole in _written(token.whole):
            if (verdict := lexicon.judge(whole, True)) is not None:
                yield _told(text, token.start, max(token.stop, token.tail), whole, verdict)
                return
    best: Found | None = None
    plain = token.whole.strip(_AT_ENDS)
    settled = plain != token.whole and ordinary(plain)  # a word, and a mark behind it
    for form in forms(token, ordinary):
        doubled = form.disguise == "repeated letters" and not _THRICE.search(token.whole)
        strict = exact or doubled or settled or form.disguise == LAPIDARY
        verdict = lexicon.judge(form.text, strict)
        if verdict is None and scripts.hangul(form.text):
            verdict = next(filter(None, map(lexicon.judge, scripts.stems(form.text))), None)
        if verdict is None:
            continue
        if flags(token) and (verdict.score < VULGAR or verdict.reason != "listed"):
            continue  # a flag beside another, rather
        if best is None or _surer(verdict, len(form.text), best):
            best = _told(text, *form.span, form.text, verdict, form.disguise)
    if best is not None:
        yield best
        return
    masked = hidden(token)
    if masked is not None and (fits := lexicon.hidden(*masked)) is not None:
        yield _told(text, token.start, token.stop, *fits)


_RANKS = {"hostile": 0, "any": 1, "friendly": 2, "nothing": 3}


def _surer(verdict: Verdict, length: int, other: Found) -> bool:
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
) -> Iterator[Found]:
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
    seen: Sequence[characters.Sign],
    tokens: Sequence[Token],
    words: Sequence[frozenset[str]],
    lexicon: Lexicon,
) -> Iterator[tuple[int, int]]:
    """Spans of words that are harmless together."""
    letters = map(_plain, tokens)
    plain = [
        frozenset({token.whole, said, said.replace("v", "u")})  # CVM LAVDE, as on stones
        for token, said in zip(tokens, letters, strict=True)
    ]
    for place, length, _ in _sequences(plain, lexicon.harmless):
        yield tokens[place].start, tokens[place + length - 1].stop
    if lexicon.allowed_literal:
        row = "".join(sign.plain for sign in seen)
        for literal in lexicon.allowed_literal:
            for match in re.finditer(re.escape(literal), row):
                yield seen[match.start()].start, seen[match.end() - 1].stop


def _hyphenated(text: str, tokens: Sequence[Token], lexicon: Lexicon) -> Iterator[tuple[int, int]]:
    """Spans of ordinary words that hyphens part, in order: cock-pit."""
    for chain in disguises.chains(text, tokens):
        whole = "".join(tokens[n].whole for n in chain)
        if ordinary(whole) and lexicon.judge(whole) is None:
            yield tokens[chain[0]].start, tokens[chain[-1]].stop


def _part_of(finding: Finding, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether a finding is a part of one of some spans in order, and not all of it."""
    n = bisect_right(spans, finding.start, key=lambda span: span[0]) - 1
    if n < 0:
        return False
    start, stop = spans[n]
    return finding.stop <= stop and len(finding.text) < stop - start


def _plain(token: Token) -> str:
    """A token's letters without disguise."""
    return "".join(sign.plain for sign in token.signs if sign.plain.isalpha())


def _literal(
    text: str, seen: Sequence[characters.Sign], tokens: Sequence[Token], lexicon: Lexicon
) -> Iterator[Found]:
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
) -> Found:
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
    return Found(finding, verdict)


def _apart(found: Sequence[Found], length: int) -> list[Found]:
    """Findings that do not overlap: words as they stand before words that are joined, these before
    words with hidden letters, then the longest."""

    def order(one: Found) -> tuple[int, int, int]:
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
