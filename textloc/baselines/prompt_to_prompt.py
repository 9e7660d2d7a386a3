"""Prompt-to-Prompt: the target prompt with the attention of the source picture.

Hertz et al., "Prompt-to-Prompt Image Editing with Cross Attention Control" (arXiv 2208.01626) and
its released code, for U-Nets and for joint attention.

1. The source run is computed beside the edit. Where an attention of the denoiser calls
   `scaled_dot_product_attention`, the probabilities of both rows are computed once more, and the
   edit's output is made anew from mixed ones. Its own values stay: they carry the new words.
2. In the first steps the attention of the picture to the text is the source's (section 3). Tokens
   that both prompts have go one to one, a replaced word's by their number, tokens that are new keep
   their own attention. Where a softmax covers picture and text, the sum over both stays one.
3. In fewer steps the attention of the picture to itself is the source's too.
4. Local blend: where neither prompt's changed tokens are attended to, the latents are the source's.

Only the conditional guidance pass is changed, as in the released code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from textloc.baselines.alignment import Alignment, aligned
from textloc.checkpoints.families import common
from textloc.checkpoints.latents import between_steps, check_steps
from textloc.errors import LayerError
from textloc.reading.ocr import Reading
from textloc.runs import Run, Sampling

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model

TITLE = "Prompt-to-Prompt"
PAPER = "arXiv 2208.01626"

LARGEST_SELF = 32**2
"""Places of the largest map of self-attention that is taken over, or a quarter of the latents'
places where that is more: larger maps shape the details, which must follow the new words. (The
released code's limit, which is a quarter of what Stable Diffusion has at 512 px.)"""

BLEND_PLACES = 16**2
"""The local blend reads the smallest maps of at least so many places, which is what the paper's
authors take of Stable Diffusion: finer maps are noisy. Else the largest there are."""

BLEND_START = 0.2
"""Share of the steps before the local blend: the maps must form first (the released code)."""

_ELEMENTS = 2**24  # of one chunk of probabilities
_LEAST = 1e-12


@dataclass(frozen=True)
class PromptToPrompt:
    """Take over the attention of the source run (a `runs.Control`).

    source: the run that is followed, of the same seed; its control may be of another class.
    cross_steps, self_steps: shares of the steps, from the first, in which the attention to the text
    and of the picture to itself is the source's, in [0, 1]. blend: threshold of the local blend, in
    (0, 1), of the largest attention in the map; None for no blend.

    The paper takes cross_steps 0.8 for objects. Words need less, for the maps of one word's letters
    are no place for another's: on `tiny-ldm` and `tiny-sdxl` 0.8 misspells most words of another
    length. The defaults are those that keep most of the picture with all words right there.

    Raises:
        LayerError: a share or threshold out of range, or a source that is such an edit itself.
    """

    source: Run
    cross_steps: float = 0.2
    self_steps: float = 0.2
    blend: float | None = 0.3
    LEAN: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (0 <= self.cross_steps <= 1 and 0 <= self.self_steps <= 1):
            raise LayerError("cross_steps and self_steps are shares of the steps, from 0 to 1")
        if self.blend is not None and not 0 < self.blend < 1:
            raise LayerError(
                "the threshold of the local blend lies between 0 and 1; None: no blend"
            )
        if isinstance(self.source.control, PromptToPrompt):
            raise LayerError("Prompt-to-Prompt follows a run that is not such an edit itself")

    @property
    def leader(self) -> Run:
        """The source run."""
        return self.source

    @staticmethod
    @contextmanager
    def around(
        model: Model, batch: Sequence[Run], rows: Sequence[int], sampling: Sampling
    ) -> Iterator[None]:
        """Control the attention of these rows.

        Raises:
            CheckpointError: a pipeline whose order of text tokens is not known here. LayerError: a
            source that is not a row, an attention that does not go through
            `scaled_dot_product_attention`, or another number of text tokens than the prompts have.
        """
        from diffusers.models.attention_processor import Attention

        edits = [_edit(model, batch, row, sampling) for row in rows]
        controller = _Controller(model.pipe, len(batch), edits, largest_self(model, sampling))
        with ExitStack() as undo:
            for name, module in model.denoiser.named_modules():
                if isinstance(module, Attention):
                    enter = module.register_forward_pre_hook(
                        controller.enter(name), with_kwargs=True
                    )
                    undo.callback(enter.remove)
                    undo.callback(module.register_forward_hook(controller.leave).remove)
            undo.enter_context(between_steps(model.pipe, controller.after_step))
            undo.enter_context(controller)
            yield


def check(model: Model, sampling: Sampling) -> None:
    """Check that the steps can be followed and the order of the text tokens is known.

    Raises:
        LayerError: a scheduler that looks at a time twice. CheckpointError: an unknown order.
    """
    check_steps(model.pipe.scheduler, sampling.steps)
    aligned(model, Run("a"), Run("b"), sampling)


def run(
    source: Run,
    target: str,
    reading: Reading | None = None,
    size: tuple[int, int] | None = None,
    **options: Any,
) -> Run:
    """The target prompt from the source's noise with the source's attention; `options` are those of
    `PromptToPrompt`."""
    control = PromptToPrompt(source, **options)
    return Run(target, source.seed, source.negative_prompt, control=control)


def largest_self(model: Model, sampling: Sampling) -> int:
    """Places of the largest map of self-attention that is taken over in this call."""
    usual = common.native_size(model.pipe, model.denoiser)
    sides = [s or n or 0 for s, n in zip((sampling.height, sampling.width), usual, strict=True)]
    scale = common.scale(model.pipe)
    return max(LARGEST_SELF, sides[0] * sides[1] // scale**2 // 4)


def mixed(
    own: Tensor, source: Tensor, text: slice, alignment: Alignment, cross: bool, picture: bool
) -> Tensor:
    """The attention of an edit: probabilities (..., K) that sum to one.

    Args:
        own, source: the probabilities of the edit's row and of the source's, each summing to one.
        text: which of the K keys are text, at the beginning or the end; the others are the picture.
        cross, picture: whether the attention to the text and to the picture is the source's. What
            is not is scaled to what the other leaves.
    """
    count = own.shape[-1]
    image = slice(text.stop, count) if text.start == 0 else slice(0, text.start)
    new = own.clone()
    if picture:
        new[..., image] = source[..., image]
    if cross:
        new[..., text] = source[..., text] @ alignment.shares
    words = new[..., text].sum(-1, keepdim=True)
    if image.start == image.stop:
        new = new / words.clamp_min(_LEAST)
    else:
        rest = new[..., image].sum(-1, keepdim=True).clamp_min(_LEAST)
        new[..., image] *= (1 - words).clamp_min(0) / rest
    if cross:
        kept = own[..., text] * alignment.kept
        new = new * (1 - kept.sum(-1, keepdim=True))
        new[..., text] += kept
    return new


def blend_mask(maps: Tensor, size: tuple[int, int], threshold: float) -> Tensor:
    """Where a picture may change: (h, w) of booleans for latents of that `size`.

    Args:
        maps: (2, n), the attention to the changed tokens of source and target at n places.
        threshold: in (0, 1), of the largest in each map, each spread to its neighbours (3 x 3).
    """
    grid = _grid(maps.shape[-1], size)
    spread = functional.max_pool2d(maps.unflatten(-1, grid)[:, None], 3, 1, 1)  # (2, 1, h', w')
    wide = functional.interpolate(spread, size)[:, 0]
    largest = wide.amax((-2, -1), keepdim=True).clamp_min(_LEAST)
    return (wide / largest > threshold).any(0)


def _grid(places: int, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a map with so many places, of latents of that size, halved or more."""
    height, width = size
    while height * width > places:
        height, width = math.ceil(height / 2), math.ceil(width / 2)
    return height, width


@dataclass
class _Edit:
    """One row that follows another. maps: (2, n) by the number n of places, the attention to the
    changed tokens of source and target, summed over steps and layers."""

    row: int
    leader: int
    control: PromptToPrompt
    alignment: Alignment
    maps: dict[int, Tensor] = field(default_factory=dict)


def _edit(model: Model, batch: Sequence[Run], row: int, sampling: Sampling) -> _Edit:
    run, control = batch[row], batch[row].control
    assert isinstance(control, PromptToPrompt)
    if control.source not in batch:
        raise LayerError("an edit follows a run that is not a row of this batch; add its source")
    leader = list(batch).index(control.source)
    return _Edit(row, leader, control, aligned(model, control.source, run, sampling))


class _Controller(TorchFunctionMode):
    """Changes the attention while it is the innermost mode; of its own thread alone.

    A mode rather than another function in `torch.nn.functional`: that would be one for all threads.
    """

    def __init__(self, pipe: Any, rows: int, edits: Sequence[_Edit], largest: int) -> None:
        super().__init__()
        self._largest = largest
        self._pipe, self._rows, self._edits = pipe, rows, edits
        self._step = 0
        self._places: int | None = None  # of the maps that the blend reads; unknown in step 0
        self._site: tuple[str, int, bool, bool] | None = None  # name, text tokens, added, joint
        self._calls = 0

    def enter(self, name: str) -> Any:
        """The forward pre-hook of the attention `name`."""

        def hook(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            states = kwargs.get("encoder_hidden_states", args[1] if len(args) > 1 else None)
            tokens = 0 if states is None else len(states[0])
            joint = getattr(module, "add_q_proj", None) is not None
            self._site = (name, tokens, module.add_k_proj is not None, joint)
            self._calls = 0

        return hook

    def leave(self, _module: Any, _args: Any, _output: Any) -> None:
        """The forward hook of every attention."""
        assert self._site is not None
        name, self._site = self._site[0], None
        if self._calls != 1:
            raise LayerError(
                f"the attention {name} calls scaled_dot_product_attention {self._calls} times, so "
                "it cannot be controlled; give the denoiser its usual processors back, such as "
                "AttnProcessor2_0, and unload adapters that see pictures"
            )

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Every function of torch passes here."""
        output = func(*args, **(kwargs or {}))
        if self._site is not None and func is functional.scaled_dot_product_attention:
            self._calls += 1
            self._control(output, *args, **(kwargs or {}))
        return output

    def _control(
        self,
        output: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
    ) -> None:
        """Put the edits' rows into `output` (B, heads, Q, d) of one call, B being (pass, row)."""
        text, places = self._keys(query.shape[-2], key.shape[-2])
        first = len(query) - self._rows  # the conditional pass is the last
        steps = len(self._pipe.scheduler.timesteps)
        if attn_mask is not None:
            attn_mask = attn_mask.expand(*query.shape[:-1], key.shape[-2])
        factor = query.shape[-1] ** -0.5 if scale is None else scale

        def probabilities(row: int, part: slice) -> Tensor:
            scores = query[first + row, :, part].float() @ key[first + row].float().mT * factor
            if attn_mask is not None:
                mask = attn_mask[first + row, :, part]
                hidden = mask.dtype == torch.bool
                scores = scores.masked_fill(~mask, -torch.inf) if hidden else scores + mask
            return scores.softmax(-1)  # (heads, part, K)

        chunk = max(1, _ELEMENTS // (query.shape[1] * key.shape[-2]))
        for edit in self._edits:
            control = edit.control
            words = text.start < text.stop
            cross = words and self._step < control.cross_steps * steps
            picture = (text != slice(0, key.shape[-2])) and places <= self._largest
            picture = picture and self._step < control.self_steps * steps
            mapped = words and control.blend is not None and self._places in (None, places)
            if not (cross or picture or mapped):
                continue
            edit.alignment = edit.alignment.to(query.device)
            for start in range(0, places, chunk):
                part = slice(start, min(start + chunk, places))
                own, source = probabilities(edit.row, part), probabilities(edit.leader, part)
                if cross or picture:
                    own = mixed(own, source, text, edit.alignment, cross, picture)
                    states = own @ value[first + edit.row].float()
                    output[first + edit.row, :, part] = states.to(output.dtype)
                if mapped:
                    both = torch.stack([source[..., text], own[..., text]])
                    maps = edit.maps.setdefault(places, both.new_zeros(2, places))
                    # (2, heads, part, T) @ (2, 1, T, 1)
                    seen = both @ edit.alignment.changed[:, None, :, None]
                    maps[:, part] += seen[..., 0].mean(1)

    def _keys(self, queries: int, keys: int) -> tuple[slice, int]:
        """Which of the keys are text, and how many of the queries, the first, are the picture."""
        assert self._site is not None
        name, tokens, added, joint = self._site
        length = len(self._edits[0].alignment.kept)
        if tokens and (tokens != length or not (added or keys == tokens)):
            raise LayerError(
                f"the attention {name} reads {tokens} text tokens, and the prompts have {length} "
                "with padding; call the pipeline with its own tokenizers and text length"
            )
        if joint and tokens:  # queries and keys are [picture, text]
            return slice(keys - tokens, keys), queries - tokens
        return slice(0, tokens), queries  # [text, picture], or only one of them

    def after_step(self, step: int, _before: Tensor, after: Tensor) -> Tensor:
        """The latents (N, C, h, w) with the local blend."""
        self._step = step + 1
        blended = [edit for edit in self._edits if edit.control.blend is not None]
        if step == 0 and blended:
            found = sorted(blended[0].maps)
            self._places = next((n for n in found if n >= BLEND_PLACES), found[-1])
        if step < BLEND_START * len(self._pipe.scheduler.timesteps):
            return after
        moved = after.clone()
        for edit in blended:
            assert edit.control.blend is not None
            assert self._places is not None
            height, width = after.shape[-2:]
            mask = blend_mask(edit.maps[self._places], (height, width), edit.control.blend)
            moved[edit.row] = torch.where(mask, after[edit.row], after[edit.leader])
        return moved
