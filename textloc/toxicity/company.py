"""Words that are crude alone and ordinary in company: SEX EDUCATION, JERK CHICKEN, Dick Tracy.

What a word is beside is looked at where the word is a doubtful one (`lexicon.Verdict`): whether a
sure toxic word, or a word that insults are made with (you, stupid, suck), stands in the same text;
if not, whether a friendly one does (seed, soup, street, a name beside a name), or for what is only
crude in some senses any other word.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from textloc.toxicity.characters import signs
from textloc.toxicity.disguises import chains
from textloc.toxicity.english import ordinary, proper
from textloc.toxicity.findings import Finding, Found
from textloc.toxicity.tokens import Token, tokenize
from textloc.toxicity.wordlists import read_words


def excused(text: str, tokens: Sequence[Token], found: Sequence[Found]) -> list[Found]:
    """Findings without those that their company makes ordinary.

    Args:
        text: any. tokens: its words. found: what was found in it, without overlaps.
    """
    sure = any(one.verdict.doubtful == "nothing" for one in found)
    if sure or not found:
        return list(found)
    mine = [_places(tokens, one.finding) for one in found]
    places = {n for each in mine for n in each}
    tied = _tied(text, tokens, places)
    company = [
        _letters(token)
        for n, token in enumerate(tokens)
        if n not in places and tied.get(n, 0) < _CHAIN
    ]
    hostile = not read_words("hostile.txt").isdisjoint(company)
    befriended = any(map(_friendly, company))
    content = any(
        _content(_letters(token))
        for n, token in enumerate(tokens)
        if n not in places and n not in tied
    )
    crowd = len(found) > 1 and not befriended  # crude words keep each other company
    kept = []
    for one, at in zip(found, mine, strict=True):
        fine = {
            "hostile": not hostile and not crowd,
            "any": befriended or (content and not hostile),
            "friendly": (befriended or (content and _owns(tokens, at))) and not hostile,
            "nothing": False,
        }[one.verdict.doubtful] and not _addressed(text, tokens, at)
        if not fine and (hostile or not any(_names(tokens, n, places) for n in at)):
            kept.append(one)
    return kept


def friendly(text: str) -> bool:
    """Whether a word that makes crude ones beside it ordinary stands in a text."""
    return any(_friendly(_letters(token)) for token in tokenize(signs(text), ordinary))


_CHAIN = 4  # words tied by hyphens that are one, made up for the occasion


def _tied(text: str, tokens: Sequence[Token], places: set[int]) -> dict[int, int]:
    """Of the words that hyphens tie to toxic ones, how many are tied together."""
    found: dict[int, int] = {}
    for chain in chains(text, tokens):
        if not places.isdisjoint(chain):
            found.update(dict.fromkeys(chain, len(chain)))
    return found


def _places(tokens: Sequence[Token], finding: Finding) -> range:
    """Numbers of the tokens in which something was found."""
    first = bisect_right(tokens, finding.start, key=lambda token: token.stop)
    last = bisect_left(tokens, finding.stop, key=lambda token: token.start)
    return range(first, last)


def _owns(tokens: Sequence[Token], at: range) -> bool:
    """Whether something is said to belong to what was found: Dick's Last Resort."""
    return bool(at) and tokens[at[-1]].whole.endswith("'s") and at[-1] + 1 < len(tokens)


def _addressed(text: str, tokens: Sequence[Token], at: range) -> bool:
    """Whether somebody is called what was found: ends a part of the sentence behind "you"."""
    if not at or at[0] == 0 or _letters(tokens[at[0] - 1]) not in ("you", "ya"):
        return False
    if text[tokens[at[0] - 1].stop : tokens[at[0]].start].strip():
        return False
    last = tokens[at[-1]].stop
    return at[-1] + 1 == len(tokens) or any(
        sign in text[last : tokens[at[-1] + 1].start] for sign in ",.;:!?)\n"
    )


def _letters(token: Token) -> str:
    return "".join(sign.latin for sign in token.signs if sign.latin.isalpha())


def _friendly(word: str) -> bool:
    friendly = read_words("friendly.txt")
    return word in friendly or (word.endswith("s") and word[:-1] in friendly)


def _content(word: str) -> bool:
    """Whether it is a word that says something of its own."""
    return word == "no" or (len(word) > 2 and word not in read_words("function.txt"))


def _names(tokens: Sequence[Token], place: int, toxic: set[int]) -> bool:
    """Whether a word that people are named, too, stands beside a name."""
    word = _letters(tokens[place])
    if word not in read_words("surnames.txt"):
        return False
    if word in read_words("forenames.txt") and place + 1 < len(tokens) and place + 1 not in toxic:
        after = _letters(tokens[place + 1])
        if _content(after) and after not in read_words("hostile.txt"):
            return True
    beside = {place - 1, place + 1} - toxic
    return any(0 <= other < len(tokens) and proper(_letters(tokens[other])) for other in beside)
