"""Prompts and the words they ask to be written."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

from textloc.errors import PromptError

_QUOTED = re.compile(r'"([^"]*)"|“([^”]*)”|«([^»]*)»|(?<!\w)\'([^\'"“”«»]+)\'(?!\w)')


def quoted(prompt: str) -> list[str]:
    """The quoted texts of a prompt, in order; straight, curly and angle quotation marks count."""
    found = _QUOTED.findall(prompt)
    return [next((part for part in match if part), "").strip() for match in found]


def quoted_spans(prompt: str) -> list[tuple[int, int]]:
    """Where the quoted texts stand in the prompt: half-open ranges of characters."""
    spans = []
    for match in _QUOTED.finditer(prompt):
        number = next((n for n, part in enumerate(match.groups(), 1) if part), None)
        if number is not None:
            spans.append(match.span(number))
    return spans


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
    if not text.strip() or '"' in text:
        raise PromptError("the new text is empty or holds a quotation mark; give a plain word")
    quoted_text(prompt)
    if len(quoted(prompt)) > 1:
        raise PromptError(f"the prompt {_short(prompt)} quotes several texts; write both prompts")
    return _QUOTED.sub(lambda match: f'"{text.strip()}"', prompt)


@dataclass(frozen=True)
class Pair:
    """A source prompt, a target prompt, and the text each asks to be written."""

    source: str
    target: str
    source_text: str
    target_text: str


def parse_pair(source: str, target: str) -> Pair:
    """A prompt pair; a target that quotes nothing but is one plain word stands for the source
    prompt with that word.

    Raises:
        PromptError: either prompt has no quoted text, or both ask for the same.
    """
    source, target = source.strip(), target.strip()
    source_text = quoted_text(source)
    if target and not quoted(target) and not re.search(r"\s", target):
        target = replace_text(source, target)
    target_text = quoted_text(target)
    if source_text.casefold() == target_text.casefold():
        raise PromptError(
            f"both prompts ask for the text {_short(source_text)}; give the target another word"
        )
    return Pair(source, target, source_text, target_text)


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
