"""Text layers: the places of a denoiser where text keys and values enter."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

from textloc.errors import LayerError

Place = Literal["all", "first", "last", "rows"]
"""Where text stands among tokens: they are all text, it comes first, it comes last, or every row
has places of its own (texts of unequal length, packed without gaps)."""


@dataclass(frozen=True)
class TextLayer:
    """One place where text keys and values enter the denoiser.

    index: number in forward-execution order, from 0. name: dotted name of the attention module.
    key, value: dotted names of the projections (`nn.Linear`) that make the text keys and values;
    they are the same where keys and values are slices of one projection. heads: number of
    attention heads the key projection is split into, which may be fewer than the queries have.
    kv_parameters: weights of both projections, biases left out (as the paper's Table 1 counts
    them); where they are `mixed` the picture is projected by the same weights. static: whether the
    text states that enter do not depend on the image (cross-attention), so that nothing but the
    prompt decides the keys and values.
    place: where text stands among the tokens that the projections see. key_part, value_part:
    half-open range of the projection's features that are keys or values; None for all.
    mask: the argument of the attention module that says which tokens count as keys (rows first,
    tokens last), where there is one. mask_place: where text stands among the mask's tokens.
    rotary: the argument of the attention module that tells where the tokens stand, a tensor or a
    tuple of tensors (row, token, ...), where these differ between rows.
    """

    index: int
    name: str
    key: str
    value: str
    heads: int
    kv_parameters: int
    static: bool
    place: Place = "all"
    key_part: tuple[int, int] | None = None
    value_part: tuple[int, int] | None = None
    mask: str | None = None
    mask_place: Place = "all"
    rotary: str | None = None

    @property
    def mixed(self) -> bool:
        """Whether the projections also see image tokens."""
        return self.place != "all"

    @property
    def parts(self) -> dict[str, tuple[tuple[int, int] | None, ...]]:
        """By projection, the ranges of its features that are keys or values."""
        if self.key == self.value:
            return {self.key: (self.key_part, self.value_part)}
        return {self.key: (self.key_part,), self.value: (self.value_part,)}


@dataclass(frozen=True)
class TextChannel:
    """A way of the text into the denoiser beside the text layers, such as the pooled state.

    name: `pooled` for a vector that enters by the time embedding. module: dotted name of the module
    whose output (rows first) depends on nothing of a row but its text.
    argument: where it is not an output that is moved: the keyword argument of the modules whose
    dotted names `module` matches (`*` is one part, `|` is or), a tensor or tuple of tensors
    (row, token, ...); in text layers only what is not the text's.
    """

    name: str
    module: str
    argument: str | None = None


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


def numbers(layers: Any) -> tuple[int, ...]:
    """Layers that are numbers of any kind, such as NumPy's, as Python's; one of them is enough.

    Raises:
        LayerError: they are none.
    """
    try:
        several = [layers] if isinstance(layers, Integral) else layers
        return tuple(dict.fromkeys(map(operator.index, several)))
    except TypeError as error:
        raise LayerError(f"cannot read the layers {layers!r}; write 8-10 or (8, 9, 10)") from error


def check_layers(indices: Iterable[int], count: int) -> None:
    """Check that every index is a layer of a model with `count` text layers.

    Raises:
        LayerError: one is not.
    """
    for index in indices:
        if not 0 <= index < count:
            raise LayerError(
                f"there is no text layer {index}: this model has {count}, numbered 0 to {count - 1}"
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
