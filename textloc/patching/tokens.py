"""The text tokens of a prompt pair: what each stands for, and which are of the word."""

from __future__ import annotations

from dataclasses import dataclass

from textloc.checkpoints.families.common import Text
from textloc.checkpoints.loading import Model
from textloc.prompts import quoted_spans
from textloc.runs import Sampling


@dataclass(frozen=True)
class Token:
    """One text token of a pair.

    index: place among the text tokens of a layer, from 0. tokenizer: name of the pipeline's
    component that made it. source, target: its text in either prompt; empty where there is padding
    or an end. letter: place in the quoted text, from 0 (a subword counts as one), or None for what
    is around it. Where the source's text is longer than the target's, the places after the target's
    end count too.
    """

    index: int
    tokenizer: str
    source: str
    target: str
    letter: int | None


def tokens_of(
    model: Model, source: str, target: str, sampling: Sampling, count: int
) -> tuple[Token, ...]:
    """The `count` text tokens of two prompts, as the denoiser's layers have them."""
    parts = model.family.texts(model.pipe, sampling)
    found = []
    for number, part in enumerate(parts):
        stop = parts[number + 1].first if number + 1 < len(parts) else count
        length = stop - part.first
        pieces = [_pieces(part, prompt, length) for prompt in (source, target)]
        letters = _letters(part, source, target)
        for place in range(length):
            texts = [of[place] if place < len(of) else "" for of in pieces]
            index = part.first + place
            found.append(Token(index, part.name, texts[0], texts[1], letters.get(place)))
    return tuple(found)


def _pieces(part: Text, prompt: str, length: int) -> list[str]:
    ids = _ids(part, prompt)[part.dropped :][:length]
    special = set(part.tokenizer.all_special_ids)
    return ["" if i in special else part.tokenizer.decode([i]).strip() or "␣" for i in ids]


def _letters(part: Text, source: str, target: str) -> dict[int, int]:
    """Place → place in the quoted text."""
    spans = [
        [_span(part, prompt, span) for span in quoted_spans(prompt)] for prompt in (source, target)
    ]
    places = sorted({place for span in spans[1] for place in range(*span)})
    if places and spans[0]:
        end = max(stop for _, stop in spans[0])
        places += range(places[-1] + 1, end)
    return {place: letter for letter, place in enumerate(places)}


def _span(part: Text, prompt: str, span: tuple[int, int]) -> tuple[int, int]:
    """Half-open range of the tokens of a part of the prompt.

    A prompt that is cut off has the tokens of the whole up to there.
    """
    whole = _ids(part, prompt)
    start, stop = (_shared(part, prompt[:end], whole) - part.dropped for end in span)
    return max(start, 0), max(stop, start, 0)


def _shared(part: Text, beginning: str, whole: list[int]) -> int:
    """How many tokens a beginning of a prompt has in common with the whole."""
    same = [a == b for a, b in zip(_ids(part, beginning), whole, strict=False)]
    return same.index(False) if False in same else len(same)


def spans(part: Text, prompt: str) -> dict[int, tuple[int, int]]:
    """Place among a layer's text tokens → the span of the prompt that it stands for, half-open, of
    tokens that stand for any of it. Of several that one sign is made of only the first counts."""
    whole = _ids(part, prompt)
    reached = [_shared(part, prompt[:end], whole) for end in range(len(prompt) + 1)]
    found = {}
    for place in range(part.dropped, len(whole)):
        ends = [
            next((end for end, count in enumerate(reached) if count >= least), len(prompt))
            for least in (place, place + 1)
        ]
        if ends[0] < ends[1]:
            found[part.first + place - part.dropped] = (ends[0], ends[1])
    return found


def length(part: Text, prompt: str) -> int:
    """Tokens of a prompt, those that begin and end it counted; at least 1."""
    return max(len(_ids(part, prompt)) - part.dropped, 1)


def _ids(part: Text, prompt: str) -> list[int]:
    text = part.before + (prompt.lower() if part.lowered else prompt) + part.after
    return list(part.tokenizer(text).input_ids)
