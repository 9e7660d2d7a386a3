"""Prompts and the words they ask to be written."""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textloc.errors import PromptError

_DOUBLE = '"“”„‟＂❝❞〝〞〟'
_SINGLE = "'‘’‚‛＇❛❜"
_CLOSING = {
    "«": "»",
    "»": "«»",
    "‹": "›",
    "›": "‹›",
    "「": "」",
    "『": "』",
    "｢": "｣",
    **dict.fromkeys(_DOUBLE, _DOUBLE),
    **dict.fromkeys(_SINGLE, _SINGLE),
}
"""Marks that open a quotation, and those that close it."""

_ANY = re.compile("[" + re.escape("".join({*_CLOSING, *"".join(_CLOSING.values())})) + "]")
_SHORTENED = re.compile(r"(?:n|tis|twas|em|til|till|cause|bout|round|\d\ds?)\b", re.IGNORECASE)
_SAID = re.compile(r"\b(?:say|says|saying|said|read|reads|reading|letters?|words?|text)\W*$")


@dataclass(frozen=True)
class Quotation:
    """A quoted text of a prompt.

    start, stop: its span with the quotation marks, stop exclusive. text: what stands between them,
    without the space at its ends.
    """

    start: int
    stop: int
    text: str

    @property
    def inner(self) -> tuple[int, int]:
        """Span of what stands between the marks."""
        return self.start + 1, self.stop - 1


def quotations(prompt: str) -> list[Quotation]:
    """The quoted texts of a prompt, in order.

    Quotation marks are straight, curly („…“ too), angle (either way), corner and full-width ones;
    those of a kind close each other, so “STOP" is quoted. Apostrophes (DON'T, rock 'n' roll, the
    drivers' lounge) and signs of feet and inches (a 5" nail) are none.
    """
    marks = [match.start() for match in _ANY.finditer(prompt)]
    last = {mark: max(map(prompt.rfind, closing)) for mark, closing in _CLOSING.items()}
    found: list[Quotation] = []
    at = 0
    while at < len(marks):
        open_ = _opens(prompt, marks[at]) and last[prompt[marks[at]]] > marks[at]
        stop = _closed(prompt, marks, at) if open_ else None
        if stop is None:
            at += 1
            continue
        start, end = marks[at], marks[stop] + 1
        found.append(Quotation(start, end, prompt[start + 1 : end - 1].strip()))
        at = stop + 1
    return found


def straightened(prompt: str) -> str:
    """The prompt with straight double quotation marks around its quoted texts, whatever stood
    there; a text that holds such a mark stays as it is."""
    for quotation in reversed(quotations(prompt)):
        start, stop = quotation.inner
        if '"' not in prompt[start:stop]:
            before, after = prompt[: quotation.start], prompt[quotation.stop :]
            prompt = f'{before}"{prompt[start:stop]}"{after}'
    return prompt


def _opens(prompt: str, place: int) -> bool:
    """Whether a mark can open a quotation."""
    mark, before, after = _around(prompt, place)
    if mark in _DOUBLE:
        stray = before.isalnum() and (not after or after.isspace())
        return not before.isdecimal() and not stray
    if mark in _SINGLE:
        short = _SHORTENED.match(prompt, place + 1, place + 8)
        if before.isalnum() or before in tuple(_SINGLE) or not after or after.isspace():
            return False
        if short is None:
            return True
        # 'N' and '90s' may be quoted, too: where a verb asks for it
        closed = prompt[short.end() : short.end() + 1] in tuple(_SINGLE)
        return closed and _SAID.search(prompt[max(0, place - 16) : place]) is not None
    return mark in _CLOSING


def _closed(prompt: str, marks: Sequence[int], at: int) -> int | None:
    """Number of the mark that closes the quotation which mark number `at` opens."""
    mark = prompt[marks[at]]
    if mark in _SINGLE:
        return _closed_single(prompt, marks, at)
    for n in range(at + 1, len(marks)):
        if prompt[marks[n]] not in _CLOSING[mark]:
            continue
        if mark not in _DOUBLE or not _inches(prompt, marks, n):
            return n
    return None


def _inches(prompt: str, marks: Sequence[int], n: int) -> bool:
    """Whether a mark within double quotation marks is a sign of inches: it follows a digit, and the
    next one can only close."""
    place = marks[n]
    _, before, after = _around(prompt, place)
    if not before.isdecimal() or after not in (" ", "-", '"', "”"):
        return False
    later = next((other for other in marks[n + 1 : n + 9] if prompt[other] in _DOUBLE), None)
    if later is None:
        return False
    _, last, following = _around(prompt, later)
    return not following.isalnum() and (later == place + 1 or not (last.isspace() or not last))


def _closed_single(prompt: str, marks: Sequence[int], at: int) -> int | None:
    plural = None
    for n in range(at + 1, min(len(marks), at + _MOST_MARKS)):
        mark, before, after = _around(prompt, marks[n])
        if mark not in _SINGLE:
            break  # a quotation of single marks holds no others
        if after.isalnum() or (before.isspace() and _opens(prompt, marks[n])):
            if plural is not None and before.isspace():
                break  # the next quotation begins
            continue
        if _SHORTENED.fullmatch(prompt, marks[n - 1] + 1, marks[n]) and n - 1 > at:
            continue  # the second mark of 'n'
        if not (before in ("s", "S") or before.isdecimal()) or not after.isspace():
            return n  # else it may be the drivers' or 5', and another mark the end
        if plural is None:
            plural = n
    return plural


_MOST_MARKS = 32  # apostrophes within one quotation


def _around(prompt: str, place: int) -> tuple[str, str, str]:
    """A character with those before and after it."""
    return prompt[place], prompt[place - 1 : place], prompt[place + 1 : place + 2]


def quoted(prompt: str) -> list[str]:
    """The quoted texts of a prompt, in order (`quotations`)."""
    return [found.text for found in quotations(prompt)]


def quoted_spans(prompt: str) -> list[tuple[int, int]]:
    """Where the quoted texts stand in the prompt: half-open ranges of characters."""
    return [found.inner for found in quotations(prompt) if found.text]


def spans_of(prompt: str, patterns: Sequence[str]) -> list[tuple[int, int]]:
    """Where the groups of patterns stand in the prompt, in order: what a family's own rule takes
    for quoted (`Family.QUOTED`)."""
    matches = (match for pattern in patterns for match in re.finditer(pattern, prompt))
    found = {match.span(match.lastindex) for match in matches if match.lastindex}
    return sorted((start, stop) for start, stop in found if start < stop)


def quoted_text(prompt: str) -> str:
    """The text that the prompt asks to be written: its quoted texts, joined by spaces.

    Raises:
        PromptError: the prompt is empty, quotes nothing, or quotes an empty text.
    """
    if not prompt.strip():
        raise PromptError('the prompt is empty; write one such as: a red sign that says "STOP"')
    texts = quoted(prompt)
    if not texts:
        raise PromptError(
            f"the prompt {_short(prompt)} quotes no text; put the word to be written in quotation "
            'marks, as in: a red sign that says "STOP"'
        )
    if not all(texts):
        raise PromptError(
            f"the prompt {_short(prompt)} quotes an empty text; write a word between the marks"
        )
    return " ".join(texts)


def replace_text(prompt: str, text: str) -> str:
    """The prompt with its one quoted text replaced.

    Raises:
        PromptError: the prompt quotes no text or several, or `text` is empty or holds a quote.
    """
    if not text.strip() or any(mark in text for mark in _DOUBLE):
        raise PromptError("the new text is empty or holds a quotation mark; give a plain word")
    quoted_text(prompt)
    if len(found := quotations(prompt)) > 1:
        raise PromptError(f"the prompt {_short(prompt)} quotes several texts; write both prompts")
    return f'{prompt[: found[0].start]}"{text.strip()}"{prompt[found[0].stop :]}'


@dataclass(frozen=True)
class Pair:
    """A source prompt, a target prompt, and the text each asks to be written."""

    source: str
    target: str
    source_text: str
    target_text: str

    @property
    def one_length(self) -> bool:
        """Whether both texts have as many characters."""
        return len(self.source_text) == len(self.target_text)


def parse_pair(source: str, target: str) -> Pair:
    """A prompt pair; a target that quotes nothing and is one plain word, or a few that the source
    prompt does not have, stands for the source prompt with these.

    Raises:
        PromptError: either prompt has no quoted text, or both ask for the same.
    """
    source, target = source.strip(), target.strip()
    source_text = quoted_text(source)
    if target and not quoted(target) and _is_words(target, replace_text(source, "-")):
        target = replace_text(source, target)
    target_text = quoted_text(target)
    if _read(source_text) == _read(target_text):
        raise PromptError(
            f"both prompts ask for the text {_short(source_text)}; give the target another word"
        )
    return Pair(source, target, source_text, target_text)


_FEW = 4  # words that are a text and no prompt


def _is_words(text: str, template: str) -> bool:
    """Whether a text is what is to be written, and not a prompt for it like `template`."""
    words = text.casefold().split()
    told = re.findall(r"\w+", template.casefold())
    return len(words) == 1 or (len(words) <= _FEW and set(told).isdisjoint(words))


def _read(text: str) -> str:
    """What of a text the scores compare (`reading.metrics.fold`)."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(filter(str.isalnum, plain)) or "".join(text.casefold().split())


def read_pairs(path: Path) -> list[Pair]:
    """Prompt pairs of a file: JSON lines with `source` and `target`, or two tab-separated columns.

    Blank lines and lines that begin with `#` are skipped.

    Raises:
        PromptError: the file cannot be read, is empty, or a line is not a pair (with its number).
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # JSON may hold other breaks
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"cannot read the pairs file {path}: {error}") from error
    pairs = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            pairs.append(_parse_line(line))
        except (PromptError, ValueError, KeyError) as error:
            raise PromptError(
                f"{path}, line {number}: {error}; a line is two tab-separated prompts or a JSON "
                'object with "source" and "target"'
            ) from error
    if not pairs:
        raise PromptError(f"the pairs file {path} holds no pair")
    return pairs


def _parse_line(line: str) -> Pair:
    if line.lstrip().startswith("{"):
        record = json.loads(line)
        return parse_pair(str(record["source"]), str(record["target"]))
    columns = next(csv.reader([line], delimiter="\t", quoting=csv.QUOTE_NONE))
    if len(columns) != 2:
        raise PromptError(f"found {len(columns)} columns")
    return parse_pair(*columns)


def _short(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")
