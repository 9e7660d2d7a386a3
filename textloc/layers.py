"""Text layers: the places of a denoiser where text keys and values enter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textloc.errors import LayerError


@dataclass(frozen=True)
class TextLayer:
    """One place where text keys and values enter the denoiser.

    index: number in forward-execution order, from 0. name: dotted name of the attention module.
    key, value: dotted names of the projections (`nn.Linear`) that make the text keys and values.
    heads: number of attention heads the key projection is split into. kv_parameters: weights of
    both projections, biases left out (as the paper's Table 1 counts them); where they are `mixed`
    the picture is projected by the same weights. static: whether the
    text states that enter do not depend on the image (cross-attention), so that nothing but the
    prompt decides the keys and values. mixed: whether the projections also see image tokens; the
    text tokens then come first. mask: the argument of the attention module that says which text
    tokens count (rows first, tokens last), where there is one.
    """

    index: int
    name: str
    key: str
    value: str
    heads: int
    kv_parameters: int
    static: bool
    mixed: bool = False
    mask: str | None = None


@dataclass(frozen=True)
class TextChannel:
    """A way of the text into the denoiser beside the text layers, such as the pooled state.

    name: `pooled` for a vector that enters by the time embedding. module: dotted name of the
    module whose output (rows first) depends on nothing of a row but its text.
    """

    name: str
    module: str


def parse_layers(text: str, count: int) -> tuple[int, ...]:
    """Read a layer choice such as `55-57` or `0,3,7-9` for a model with `count` text layers.

    Raises:
        LayerError: not a list of numbers and ranges, or a layer the model does not have.
    """
    chosen: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise LayerError(
                f"cannot read the layers {text!r}; write numbers and ranges, such as 0,3,7-9"
            )
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if last < first:
            raise LayerError(f"the range {part.strip()!r} runs backwards; write {last}-{first}")
        check_layers((last,), count)
        chosen.update(range(first, last + 1))
    return tuple(sorted(chosen))


def check_layers(indices: Iterable[int], count: int) -> None:
    """Check that every index is a layer of a model with `count` text layers.

    Raises:
        LayerError: one is not.
    """
    for index in indices:
        if not 0 <= index < count:
            raise LayerError(
                f"there is no text layer {index}: this model has {count}, numbered 0 to "
                f"{count - 1}; `textloc models` lists them"
            )


def format_layers(indices: Sequence[int]) -> str:
    """Short form of a layer set, such as `0, 3, 7-9`."""
    runs: list[list[int]] = []
    for index in sorted(set(indices)):
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)


def display_layers(indices: Sequence[int]) -> str:
    """`format_layers` for the eye, such as `0, 3, 7–9`."""
    return format_layers(indices).replace("-", "–")
