"""How figures are written: numbers, intervals, tables, paragraphs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

MODELS = ("tiny-sdxl", "tiny-ldm", "tiny-sd3", "tiny-if")
"""The checkpoints that ship, in the order of tables."""

WIDTH = 110
_UNBROKEN = "\ue000"

Figures = dict[str, tuple[tuple[str, ...], Callable[..., str]]]
"""Name → names of the entries that a figure tells of, and what writes it of what each says."""

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def paragraph(*sentences: str) -> str:
    """Sentences as one paragraph, broken as the README is; code is not broken."""
    text = " ".join(one for one in sentences if one)
    whole = re.sub(r"`[^`]+`", lambda code: code[0].replace(" ", _UNBROKEN), text)
    lines = textwrap.fill(whole, WIDTH, break_long_words=False, break_on_hyphens=False)
    return lines.replace(_UNBROKEN, " ")


def blocks(*parts: str) -> str:
    """Tables and paragraphs, one below the other."""
    return "\n\n".join(part for part in parts if part)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    made = ["| " + " | ".join(line) + " |" for line in lines]
    made[1] = "|" + "---|" * len(head)
    return "\n".join(line.replace("|  |", "| |") for line in made)


def bold(text: str, so: bool = True) -> str:
    return f"**{text}**" if so else text


def number(value: float | None, digits: int = 2) -> str:
    """`0.74`; `–` for what is not known. What rounds to nothing has no sign."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def interval(values: Sequence[float | None], digits: int = 2) -> str:
    """`0.74 [0.61, 0.85]` of `[mean, low, high]`."""
    mean, low, high = values
    if low is None or high is None:
        return number(mean, digits)
    return f"{number(mean, digits)} [{number(low, digits)}, {number(high, digits)}]"


def effect(scores: dict[str, Any]) -> str:
    """The effect of a set of layers with its interval."""
    return interval([scores["effect"], scores.get("effect_low"), scores.get("effect_high")])


def percent(share: float) -> str:
    """`1.6 %` of a share: two digits that count."""
    return f"{100 * share:.{'0f' if share >= 0.1 else '2g'}} %"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if items[1:] else items)


def counted(count: int, noun: str) -> str:
    """`three layers`, `one layer`, `12 layers`."""
    said = NUMBERS[count] if count < len(NUMBERS) else str(count)
    return f"{said} {noun}{'' if count == 1 else 's'}"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def layers(numbers: Sequence[int]) -> str:
    """`layer 10`, `layers 8 and 9`, `layers 8 to 10`, `layers 0 to 4 and 6`."""
    parts = spans(numbers)
    return f"{'layer' if len(numbers) == 1 else 'layers'} {listed(parts)}"


def spans(numbers: Sequence[int]) -> list[str]:
    """`["0 to 4", "6"]`; two neighbours stand alone."""
    runs: list[list[int]] = []
    for one in sorted(numbers):
        if runs and one == runs[-1][-1] + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    return [
        part
        for run in runs
        for part in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else list(map(str, run)))
    ]


def cell(layers: Sequence[int]) -> str:
    """`0 to 4, 6`, for a cell of a table."""
    return ", ".join(spans(layers))
