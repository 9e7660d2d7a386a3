"""Which text tokens of two prompts belong together, for every family whose token order is known.

The tokens are those that an attention layer sees: of one tokenizer, padded, and for Stable
Diffusion 3 those of CLIP followed by those of T5.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from textloc.checkpoints.families.deepfloyd_if import DeepFloydIF
from textloc.checkpoints.families.latent_diffusion import LatentDiffusion
from textloc.checkpoints.families.pixart import PixArt
from textloc.checkpoints.families.stable_diffusion import StableDiffusion
from textloc.checkpoints.families.stable_diffusion_3 import StableDiffusion3
from textloc.checkpoints.families.stable_diffusion_xl import StableDiffusionXL
from textloc.errors import CheckpointError, PromptError
from textloc.prompts import replace_text
from textloc.runs import Run, Sampling

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model

_ONE_TEXT = (StableDiffusion, StableDiffusionXL, LatentDiffusion, DeepFloydIF, PixArt)
_LOWER = (DeepFloydIF, PixArt)  # their pipelines lower-case prompts


@dataclass(frozen=True)
class Alignment:
    """How the text tokens of two prompts belong together, T of each.

    shares: (T, T), what share of its attention each of the source's tokens gives to each of the
    target's. kept: (T,), 1 where a token of the target keeps its own attention. changed: (2, T), 1
    where a token of source and target is not the other's too.
    """

    shares: Tensor
    kept: Tensor
    changed: Tensor

    def to(self, device: torch.device) -> Alignment:
        """The same on a device."""
        return Alignment(self.shares.to(device), self.kept.to(device), self.changed.to(device))


def align(source: Sequence[int], target: Sequence[int], length: int, word: bool) -> Alignment:
    """Align the tokens of two prompts, each padded to `length`.

    Equal tokens go one to one. In a stretch that is replaced they also do where it has as many
    tokens in both; else each of the source's gives equal shares to all of the target's, so that the
    sum stays (`get_replacement_mapper` of the released code). Tokens that are only in the target
    keep their own attention (its `AttentionRefine`), those only in the source are dropped. Padding
    goes place by place; what the target has no padding for is shared by all that it has.

    Args:
        source, target: token numbers without padding, at most `length`.
        word: whether all that differs is one stretch.
    """
    shares, kept, changed = torch.zeros(length, length), torch.zeros(length), torch.zeros(2, length)
    for same, (a, b), (c, d) in _stretches(source, target, word):
        if same:
            shares[a:b, c:d] = torch.eye(b - a)
            continue
        changed[0, a:b] = changed[1, c:d] = 1
        if a == b:
            kept[c:d] = 1
        elif c < d:
            shares[a:b, c:d] = torch.eye(b - a) if b - a == d - c else 1 / (d - c)
    padding = max(len(source), len(target))
    shares[padding:, padding:] = torch.eye(length - padding)
    if padding < length:
        shares[len(source) : padding, padding:] = 1 / (length - padding)
    return Alignment(shares, kept, changed)


def _stretches(
    source: Sequence[int], target: Sequence[int], word: bool
) -> Iterator[tuple[bool, tuple[int, int], tuple[int, int]]]:
    """Whether they are equal, and the half-open ranges in source and target."""
    if not word:
        matcher = SequenceMatcher(None, source, target, autojunk=False)
        for tag, a, b, c, d in matcher.get_opcodes():
            yield tag == "equal", (a, b), (c, d)
        return
    head = _common(source, target)
    tail = _common(source[head:][::-1], target[head:][::-1])
    ends = len(source) - tail, len(target) - tail
    yield True, (0, head), (0, head)
    yield False, (head, ends[0]), (head, ends[1])
    yield True, (ends[0], len(source)), (ends[1], len(target))


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of what both begin with."""
    pairs = zip(a, b, strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))


def aligned(model: Model, source: Run, target: Run, sampling: Sampling) -> Alignment:
    """The text tokens of two runs, as the attention layers see them.

    Raises:
        CheckpointError: a pipeline whose order of text tokens is not known here.
    """
    parts = []
    for before, after in zip(
        _texts(model, source, sampling), _texts(model, target, sampling), strict=True
    ):
        word = _one_word(before[2], after[2])
        parts.append(align(_tokens(*before), _tokens(*after), before[1], word))
    return Alignment(
        torch.block_diag(*(part.shares for part in parts)),
        torch.cat([part.kept for part in parts]),
        torch.cat([part.changed for part in parts], -1),
    )


def _texts(model: Model, run: Run, sampling: Sampling) -> list[tuple[Any, int, str]]:
    """The parts of the text tokens in order: tokenizer (None: nothing but padding), number of
    tokens, and text."""
    pipe, family = model.pipe, model.family
    if type(family) is StableDiffusion3:
        usual = inspect.signature(pipe.__call__).parameters["max_sequence_length"].default
        second = pipe.tokenizer_3 if pipe.text_encoder_3 is not None else None
        length = sampling.text_length or usual
        text = run.prompt if run.prompt_3 is None else run.prompt_3
        return [(pipe.tokenizer, pipe.tokenizer_max_length, run.prompt), (second, length, text)]
    if type(family) in _ONE_TEXT:
        tokenizer, length = family.readers(pipe, sampling)[0]
        return [(tokenizer, length, run.prompt.lower() if type(family) in _LOWER else run.prompt)]
    raise CheckpointError(
        f"Prompt-to-Prompt does not know the order of text tokens of {type(pipe).__name__}; it "
        "works for Stable Diffusion, SDXL, LDM, DeepFloyd IF, PixArt and Stable Diffusion 3. "
        "Compare with another method here"
    )


def _tokens(tokenizer: Any, length: int, text: str) -> list[int]:
    if tokenizer is None:
        return []
    return list(tokenizer(text, truncation=True, max_length=length).input_ids)


def _one_word(source: str, target: str) -> bool:
    """Whether the prompts differ in their one quoted text alone."""
    try:
        return replace_text(source, "x") == replace_text(target, "x")
    except PromptError:
        return False
