"""What a prompt asks to be written.

Quotation marks say it, and so do words: `saying`, `with the word`, `text:`, `written on`, or
capitals beside such words. All of it takes time linear in the length of the prompt.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from textloc.prompts import quotations
from textloc.toxicity.characters import UNSPACED

Span = tuple[int, int]

_ARTICLE = (
    r"(?!(?:an?|the|some|his|her|their|its|my|your|our|this|that|it|them|two|three|no|in|on|by|with|"
    r"like|as|to|from)\b)"
)
_ASKED = re.compile(
    r"\b(?:saying|says|said|say|reads?|reading|spell(?:s|ing)?|titled|named|captioned|labell?ed|"
    r"(?:with|of|for|the|a)\s+(?:the\s+)?(?:words?|text|letters|lettering|caption|title|slogan|"
    r"inscription|phrase|name|logo))\b[\s:,]*",
    re.IGNORECASE,
)
_LABELLED = re.compile(
    r"\b(?:texts?|words?|captions?|titles?|lettering|inscription|slogan|labels?|messages?|letters|"
    r"headline|heading|subtitle|typography|quote|logo|banner|graffiti|sign|文字|文本|テキスト|текст|надпись|"
    r"texto|texte)[\"']?"
    r"(?:\s+in\s+\w{1,12}|\s*\(\w{1,12}\))?\s*[:=：→]\s*"
    r"|\b(?:texts?|words?|caption|message|inscription|slogan)\s+(?:is|[-–—])\s+",
    re.IGNORECASE,
)
_SHOWN = re.compile(
    r"\b(?:bearing|displaying|displays|stating|states|declaring|declares|forming|called|entitled|"
    r"inscribed|engraved|emblazoned|(?:inscribed|engraved|emblazoned|printed|marked|tagged|"
    r"decorated)\s+with)\s+" + _ARTICLE,
    re.IGNORECASE,
)
_OVERLAID = re.compile(
    r"\b(?:text\s+overlay|overlay\s+text|(?:top|bottom|front|back|big|large|bold|neon|handwritten|meme)\s+"
    r"text|speech\s+bubble(?:\s+that\s+(?:says|goes|reads))?|placards?|headline|subtitle|caption|"
    r"(?:single|one)\s+word|someone\s+wrote)[\s:,–—-]+" + _ARTICLE,
    re.IGNORECASE,
)
_FOREIGN = re.compile(
    r"\b(?:mit\s+(?:der\s+aufschrift|dem\s+(?:wort|text))|(?:est|avec)\s+écrit|qui\s+dit|"
    r"avec\s+le\s+(?:mot|texte)|on\s+peut\s+lire|que\s+di(?:ce|ga|z)|con\s+(?:la\s+(?:palabra|scritta|"
    r"parola)|el\s+texto|il\s+testo)|se\s+lee|com\s+(?:a\s+palavra|o\s+texto)|med\s+(?:texten|teksten|"
    r"ordet)|met\s+(?:het\s+woord|de\s+tekst)|z\s+napisem|s\s+nápisem|с\s+(?:надписью|текстом)|"
    r"со\s+словом|написано|με\s+τη\s+λέξη|auf\s+de[mr]\s+(?:\w+\s+)?steht|cartaz\s+escrito|der\s+står|"
    r"jossa\s+lukee|care\s+scrie|biển\s+ghi|bertuliskan)\s+",
    re.IGNORECASE,
)
_LIKELY = re.compile(
    r"\b(?:(?:graffiti|stencil|calligraphy|tattoo|typography|logo|lettering|letters|name\s?tag|plate|"
    r"note|tiles|magnets|writing|inscription)(?:\s+(?:of|is|that\s+goes))?|(?:sign|board|banner|shirt|"
    r"wall|card)\s+(?:containing|showing|that\s+(?:has|shouts|spells))|(?:has|wrote|spells?|shouts|shouting|"
    r"yells|yelling|embossed|stamped|carved|tattooed|engraved|sprayed|spelling|into|letters|is))"
    r"[\s:,–—-]+",
    re.IGNORECASE,
)
_END = re.compile(
    r"[,.;!?](?=\s|$)|\s(?:on|in|at|with|under|above|below|beside|by|painted|written|printed|over|"
    r"against|next)(?=\s)",
    re.IGNORECASE,
)
_RUN = r"((?:[^\s,.;:!?]{1,60}\s){1,3}?)"  # one to three words
_LETTERS = (
    r"in\s+(?:\w{1,12}\s+)?(?:big|large|capital|block|bold|neon|cursive|giant|red|white|black|gold)?"
    r"\s?letter(?:s|ing)\b"
)
_BEFORE = (
    re.compile(
        r"(?:^|(?<=[,.;:!?]\s)|\b(?:the|words?|texts?|letters|draw|write|put|paint|show|with)\s)"
        + _RUN
        + rf"(?:is\s|are\s)?(?:(?:hand)?written|spelled|spelt|scrawled|scribbled|{_LETTERS})",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?:^|(?<=[,.;:!?]\s)|\b(?:words?|texts?|letters|with)\s)"
        + _ARTICLE
        + _RUN
        + r"(?:(?:spray-?)?painted|printed|engraved|embroidered|stitched|carved|sprayed|tagged|"
        r"stencilled|on\s(?:it|the\s(?:front|back|side|cover)))\b",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?:write|writing|print|put|paint|spray|scribble|scrawl|stitch|carve|engrave|spell)\s+"
        + _ARTICLE
        + _RUN
        + r"(?:on|in|across|over|onto|into)\b",
        re.IGNORECASE,
    ),
)
_CARRIER = (
    r"(?:\w+\s)?(?:signs?|signboard|t-?shirt|shirt|tee|hoodie|mug|cup|poster|banner|logo|print|lettering|"
    r"letters|text|graffiti|tattoo|sticker|label|billboard|placard|plate|badge|caption)"
)
_CUE_BEFORE = re.compile(
    r"\b(?:words?|texts?|saying|says?|reads?|reading|graffiti\sof|write|writing|paint|spray|draw|titled|"
    rf"called|named|tattoo\sof|{_CARRIER}|"
    r"aufschrift|schriftzug|wort|écrit|inscription|mot|dice|diga|palabra|escrito|texto|scritta|parola|"
    r"napis(?:em)?|надпис\w{0,4}|слов\w{0,4})\s*[:=]?\s*$",
    re.IGNORECASE,
)
_CUE_AFTER = re.compile(
    r"[\s,]+(?:(?:is\s)?(?:written|painted|printed|sprayed|spelled|spelt|scrawled|engraved|carved|"
    rf"embroidered|stitched)|on|across|in\s(?:\w+\s)?letters|{_CARRIER})\b",
    re.IGNORECASE,
)
_REACH = 40  # characters of a cue
_MARKS = re.compile(r'(?<!\d)(?<!\d )["“”„]')
_LOWER = re.compile(r"(?<!\w)[^\W\dA-Z]{3,}(?!\w)")
_REFERENCE = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,31});")


@dataclass(frozen=True)
class Asked:
    """Spans of a prompt.

    quoted: within quotation marks. said: what follows words such as `saying`. meant: what other
    words, or capitals, let one take for asked; they may lie within each other. likely: what stands
    behind words that a text may follow (graffiti of), and words in Latin letters in a prompt of
    another script. shouted: other words in capitals, in a prompt that is not all in capitals.
    """

    quoted: tuple[Span, ...]
    said: tuple[Span, ...]
    meant: tuple[Span, ...]
    likely: tuple[Span, ...] = ()
    shouted: tuple[Span, ...] = ()


def texts(prompt: str) -> Asked:
    """What a prompt asks to be written."""
    marks = quotations(prompt)
    quoted = [one.inner for one in marks if one.text]
    taken = covered(len(prompt) + 1, ((mark.start, mark.stop) for mark in marks))
    ends = [match.start() for match in _END.finditer(prompt)] + [len(prompt)]
    said: list[Span] = []
    for pattern in (_ASKED, _LABELLED, _SHOWN, _OVERLAID, _FOREIGN):
        for match in pattern.finditer(prompt):
            start = match.end()
            stop = ends[bisect_left(ends, start)] if start < len(prompt) else start
            if start < stop and not taken[start]:
                free = _free(taken, start, stop)
                said += [span for span in free if any(map(str.isalnum, prompt[slice(*span)]))]
                taken[start:stop] = b"\1" * (stop - start)
    edges = {edge for one in marks for edge in (one.start, one.stop - 1)}
    loose = {match.start() for match in _MARKS.finditer(prompt)} - edges
    meant: list[Span] = []
    if loose:  # one that is not closed, or some within others
        meant += [
            (one + 1, other) for one, other in pairwise((*sorted(edges | loose), len(prompt)))
        ]
    for before in _BEFORE:
        meant += [match.span(1) for match in before.finditer(prompt)]
    shouted: list[Span] = []
    if _LOWER.search(prompt):
        for span in _capitals(prompt):
            if _cued(prompt, span):
                meant.append(span)
            elif not any(taken[slice(*span)]):
                shouted.append(span)
    likely: list[Span] = []
    cues = [match for match in _LIKELY.finditer(prompt) if not taken[match.end()]]
    for n, match in enumerate(cues):
        start = match.end()
        following = cues[n + 1].start() if n + 1 < len(cues) else len(prompt)
        stop = min(following, ends[bisect_left(ends, start)])
        if start < stop:
            likely += _free(taken, start, stop)
    if _mostly_other(prompt):
        likely += [span for one in _LATIN.finditer(prompt) if not taken[(span := one.span())[0]]]
    return Asked(tuple(quoted), tuple(said), tuple(meant), tuple(likely), tuple(shouted))


def rendered(prompt: str) -> tuple[Span, ...]:
    """Spans of the texts that a prompt asks to be written: what is quoted, and what follows words
    such as `saying`, `that reads`, `with the word` or `text:` without being quoted. Where there is
    no such text: what stands before `written on`, `in big letters` and such, and words in capitals
    beside words for writing."""
    found = texts(prompt)
    spans = [*found.quoted, *found.said]
    taken = bytearray(len(prompt))
    for start, stop in sorted(found.meant) if not spans else ():
        stop = start + len(prompt[start:stop].rstrip())
        if start < stop and not any(taken[start:stop]):
            spans.append((start, stop))
            taken[start:stop] = b"\1" * (stop - start)
    return tuple(sorted(spans))


_LATIN = re.compile(r"[A-Za-z][!-~]*(?: [!-~]+)*")


def _mostly_other(prompt: str) -> bool:
    """Whether most of a prompt is of another script than Latin; a character of a script without
    spaces counts as three letters."""
    letters = [sign for sign in prompt if sign.isalpha()]
    others = [sign for sign in letters if ord(sign) >= _OTHER]
    unspaced = sum(UNSPACED.match(sign) is not None for sign in others)
    return 2 * (len(others) + 2 * unspaced) > len(letters) + 2 * unspaced


_OTHER = 0x370  # the first letter of Greek, behind those of Latin


def unescaped(prompt: str) -> tuple[str, list[Span]]:
    """A prompt with the references of HTML as what they mean, and where each character stood."""
    if "&" not in prompt:
        return prompt, []
    text, places, at = "", [], 0
    for match in _REFERENCE.finditer(prompt):
        meant = html.unescape(match[0])
        if meant == match[0]:
            continue
        text += prompt[at : match.start()] + meant
        places += [(n, n + 1) for n in range(at, match.start())] + [match.span()] * len(meant)
        at = match.end()
    return text + prompt[at:], places + [(n, n + 1) for n in range(at, len(prompt))]


def covered(length: int, spans: Iterable[Span]) -> bytearray:
    """For each place of a text whether a span covers it."""
    found = bytearray(length)
    for start, stop in spans:
        found[start:stop] = b"\1" * (stop - start)
    return found


def _free(taken: bytearray, start: int, stop: int) -> list[Span]:
    """The parts of a span that are not taken."""
    found: list[Span] = []
    at = start
    while at < stop:
        end = taken.find(1, at, stop)
        end = stop if end < 0 else end
        if at < end:
            found.append((at, end))
        at = taken.find(0, end, stop)
        if at < 0:
            break
    return found


def _capitals(prompt: str) -> Iterator[Span]:
    """Words in capitals, with all that is written together with them; neighbours as one."""
    start, stop, letters = 0, 0, 0
    for match in re.finditer(r"\S+", prompt):
        upper = sum(map(str.isupper, match[0]))
        if upper and not any(map(str.islower, match[0])):
            start, stop, letters = (
                (start if letters else match.start()),
                match.end(),
                letters + upper,
            )
            continue
        if letters > 1:
            yield start, stop
        letters = 0
    if letters > 1:
        yield start, stop


def _cued(prompt: str, span: Span) -> bool:
    """Whether words for writing stand beside a span."""
    start, stop = span
    before = prompt[max(0, start - _REACH) : start]
    return bool(_CUE_BEFORE.search(before) or _CUE_AFTER.match(prompt[stop : stop + _REACH]))
