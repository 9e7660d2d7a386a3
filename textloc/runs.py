"""Runs and patches: what to generate, as frozen data."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any, ClassVar, Protocol

from textloc.errors import LayerError, PromptError


@dataclass(frozen=True)
class Patch:
    """At these layers and channels, in these steps, take the text of another run.

    layers: text-layer indices, whose keys and values are taken. channels: names of text channels,
    such as `pooled`, whose states are taken. donor: the run they are taken from. heads: head
    indices of those layers, or None for all. start, stop: denoising-step indices from 0, stop
    exclusive, None for the end. (The paper's t_s counts *remaining* steps: start = steps - t_s.)
    tokens: half-open range of text tokens, or None for all. Heads and tokens limit the layers, not
    the channels.

    Raises:
        LayerError: no layer and no channel, a negative index, or an empty step or token range.
    """

    layers: tuple[int, ...]
    donor: Run
    heads: tuple[int, ...] | None = None
    start: int = 0
    stop: int | None = None
    tokens: tuple[int, int] | None = None
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers and not self.channels:
            raise LayerError("a patch names at least one layer, numbered from 0, or a channel")
        if min(self.layers, default=0) < 0:
            raise LayerError("layers are numbered from 0")
        if self.heads is not None and (not self.heads or min(self.heads) < 0):
            raise LayerError("a patch names at least one head, numbered from 0, or None for all")
        if self.start < 0 or (self.stop is not None and self.stop <= self.start):
            raise LayerError(
                f"the steps {self.start} to {self.stop} are empty; steps are numbered from 0 and "
                "stop is exclusive"
            )
        if self.tokens is not None and not 0 <= self.tokens[0] < self.tokens[1]:
            raise LayerError(f"the token range {self.tokens} is empty or negative")
        if self.donor.patches:
            raise LayerError("a patch takes from a run without patches; chain the runs instead")

    def active(self, step: int) -> bool:
        """Whether the patch applies at denoising step `step` (from 0)."""
        return step >= self.start and (self.stop is None or step < self.stop)


class Control(Protocol):
    """What else decides a run's picture: a picture that is followed, or an editing method.

    Controls are frozen data: equal ones give equal pictures.
    """

    LEAN: ClassVar[bool]
    """Whether the rows may be computed narrowed, equal ones once and unwanted ones not at all."""

    @property
    def leader(self) -> Run | None:
        """A run whose row must be computed beside this one's."""

    @staticmethod
    def around(
        model: Any, batch: Sequence[Run], rows: Sequence[int], sampling: Sampling
    ) -> AbstractContextManager[Any]:
        """Entered around the call of `model` (a `loading.Model`) with `batch`, once for all
        `rows` whose runs have a control of this class."""


@dataclass(frozen=True)
class Run:
    """One picture to generate.

    prompt: the text. seed: of the noise; equal seeds give equal noise at equal size.
    negative_prompt: None leaves it unset, as the pipeline does. prompt_2, prompt_3: for pipelines
    with a second and third text encoder; None repeats `prompt`. patches: applied in order.
    control: what else decides the picture. enlarged_by: the prompt that a second stage reads; None
    repeats `prompt`.
    """

    prompt: str
    seed: int = 0
    negative_prompt: str | None = None
    prompt_2: str | None = None
    prompt_3: str | None = None
    patches: tuple[Patch, ...] = ()
    control: Control | None = None
    enlarged_by: str | None = None

    @property
    def plain(self) -> Run:
        """The same run without patches."""
        return replace(self, patches=()) if self.patches else self

    def patched(self, *patches: Patch) -> Run:
        """The same run with these patches added."""
        return replace(self, patches=(*self.patches, *patches))


@dataclass(frozen=True)
class Reference:
    """A picture that the pipeline is given beside every prompt.

    digest: of its pixels, and of what else is given. picture: RGB, of the size that the call makes.
    mask: of the same size, white (`L`, 255) where the picture is redrawn, or None. strength: how
    much of it is redrawn, in (0, 1]; None is the call's usual one.
    """

    digest: str
    picture: Any = field(compare=False, repr=False)
    mask: Any = field(default=None, compare=False, repr=False)
    strength: float | None = None


@dataclass(frozen=True)
class Sampling:
    """What all rows of a call share.

    steps: denoising steps. guidance: classifier-free guidance scale (1 or less: none).
    height, width: pixels; None leaves the pipeline's own. text_length: longest text in tokens,
    where the call takes one (`max_sequence_length`); None leaves the pipeline's own. reference: a
    picture that the call is given, or None.
    """

    steps: int
    guidance: float
    height: int | None = None
    width: int | None = None
    text_length: int | None = None
    reference: Reference | None = None


def read_size(size: Any) -> tuple[int, int]:
    """Height and width: a number or a text for both (512, `512`), two numbers, or `512x768`.

    Raises:
        PromptError: it is none.
    """
    with suppress(TypeError, ValueError):
        if isinstance(size, str):
            read = re.fullmatch(r"\s*(\d{1,5})\s*(?:[xX×]\s*(\d{1,5})\s*)?", size)
            both = [] if read is None else [int(side) for side in read.groups() if side]
        else:
            both = [*map(operator.index, [size] if isinstance(size, Integral) else size)]
        height, width = both * 2 if len(both) == 1 else both
        if 0 < height < 100_000 and 0 < width < 100_000:
            return height, width
    raise PromptError(f"cannot read the size {size!r}; write 512, or height x width: 512x768")


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read seeds such as `0,1,2`.

    Raises:
        PromptError: not a list of different whole numbers of 0 or more.
    """
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise PromptError(f"cannot read the seeds {text!r}; write numbers, such as 0,1") from error
    if len(set(seeds)) != len(seeds) or min(seeds) < 0 or max(seeds) >= 2**63:
        raise PromptError(f"the seeds {text!r} must differ and be from 0 to 2^63 - 1")
    return seeds


def parse_start(text: str) -> int | None:
    """Read a start step: a number, or `auto`, which gives None.

    Raises:
        PromptError: neither.
    """
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError as error:
        raise PromptError(f"cannot read the start step {text!r}; give a number or auto") from error
