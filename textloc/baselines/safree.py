"""SAFREE: the part of a prompt's text states that lies in the space of toxic words taken out.

Yoon et al. (ICLR 2025, arXiv 2410.12761), section 3. Nothing is trained.
The numbers of equations are those of a public summary of the paper.

1. Toxic words span a space C, a column each; P_C = C (CᵀC)⁻¹ Cᵀ projects on it. The prompt without
   its i-th token lies d_i = ‖(I − P_C) p̄_∖i‖ from it (equations 2 and 3).
2. A token counts as toxic, m_i = 1, where leaving it out leads away from C:
   d_i > (1 + α) · mean of the other tokens' distances (equation 4).
3. It is replaced by P_I (I − P_C) p_i, where the p̄_∖i span I; other tokens stay (equation 5).
4. The states so filtered are read in the first round(γ · sigmoid(1 − cos(p, p_proj))) steps, the
   prompt's own after these (equation 6).
5. Where the denoiser is a U-Net, the low frequencies of its skip features that are stronger with
   the filtered states than with the prompt's own are multiplied by s < 1 (equations 7 and 8). Both
   are computed from the same latents: a row beside the filtered one reads the prompt as it is, its
   latents replaced each time before the denoiser sees them.

What the formulas leave open: p̄ is here the mean of the text's states over its tokens, since not
every encoder has a pooled state of the same width; tokens are left out in the text, before it is
encoded; the text of each tokenizer (CLIP's and T5's in SD3) has spaces of its own; low are the
frequencies of at most one period, and s that of FreeU (arXiv 2309.11497), one for each of the first
two blocks of the decoder. The pooled text state is left as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from textloc.baselines.negative_prompt import check_generated
from textloc.baselines.text_states import encoded, seen
from textloc.errors import LayerError, PromptError
from textloc.patching.tokens import length, spans
from textloc.prompts import quoted_text
from textloc.reading.ocr import Reading
from textloc.runs import Run, Sampling

if TYPE_CHECKING:
    from textloc.checkpoints.families.common import Text
    from textloc.checkpoints.loading import Model

_RANK = 1e-4  # of the largest singular value: less is no direction of its own
_SAME = 1e-3  # of the states' largest: what a batch of another size changes is less


@dataclass(frozen=True)
class Safree:
    """The method (a `Baseline`).

    concept: the toxic words that span C; None takes what each source prompt quotes. alpha: how much
    farther than the others a toxic token's removal leads, from 0. gamma: most steps that are
    filtered, and twice the fewest. steps: filter so many steps instead. scales: s of the first
    blocks of a U-Net's decoder, from 0 to below 1; empty leaves the features alone.

    Raises:
        LayerError: a value out of range. PromptError: an empty concept.
    """

    concept: tuple[str, ...] | None = None
    alpha: float = 0.01
    gamma: float = 10.0
    steps: int | None = None
    scales: tuple[float, ...] = (0.9, 0.2)
    TITLE: str = field(default="SAFREE", compare=False)
    PAPER: ClassVar[str] = "arXiv 2410.12761"

    def __post_init__(self) -> None:
        if self.concept is not None and not all(word.strip() for word in self.concept or ("",)):
            raise PromptError("the concept is empty; name the words to keep out of the picture")
        if not (self.alpha >= 0 and self.gamma >= 0 and (self.steps is None or self.steps >= 0)):
            raise LayerError("alpha, gamma and steps are numbers from 0")
        if not all(0 <= scale < 1 for scale in self.scales):
            raise LayerError("the scales of the features lie from 0 to below 1")

    @property
    def always(self) -> bool:
        """Whether it needs no detector to say what to keep out."""
        return self.concept is not None

    def check(self, model: Model, sampling: Sampling) -> None:
        """Check that the texts stand side by side, and that there are features to change where
        that is asked for.

        Raises:
            LayerError: it is not so.
        """
        family = model.family
        if family.LISTS or family.RAGGED:
            raise LayerError(
                f"{type(model.pipe).__name__} does not give its denoiser its texts side by side, "
                f"which {self.TITLE} changes; patch the localized layers or swap the prompt instead"
            )
        if len(getattr(model.denoiser, "up_blocks", ())) < len(self.scales):
            raise LayerError(
                f"{type(model.denoiser).__name__} has no {len(self.scales)} decoder blocks whose "
                "features could be changed; give no scales (scales=())"
            )

    def run(
        self,
        source: Run,
        target: str,
        reading: Reading | None = None,
        size: tuple[int, int] | None = None,
    ) -> Run:
        """The source run, of the unwanted words, filtered; nothing else is read.

        Raises:
            LayerError: a source with patches or a control. PromptError: nothing is quoted where
            that is the concept.
        """
        check_generated(source)
        words = self.concept if self.concept is not None else (quoted_text(source.prompt),)
        return Filtered(source, replace(self, concept=words)).filtered


@dataclass(frozen=True)
class Filtered:
    """Filter a run's text states (a `runs.Control`). source: the run that is filtered. method: with
    its concept."""

    source: Run
    method: Safree
    LEAN: ClassVar[bool] = False  # its hooks count on every row

    @property
    def filtered(self) -> Run:
        """The source run with this control."""
        return replace(self.source, control=self)

    @property
    def leader(self) -> Run | None:
        """The row that reads the prompt as it is at the filtered row's latents."""
        return replace(self.source, control=Beside(self)) if self.method.scales else None

    @staticmethod
    @contextmanager
    def around(
        model: Model, batch: Sequence[Run], rows: Sequence[int], sampling: Sampling
    ) -> Iterator[None]:
        """Filter these rows.

        Raises:
            LayerError: as `Safree.check`, a row other than its control's, or text states that the
            denoiser is not given.
        """
        filters = []
        for row in rows:
            control = batch[row].control
            assert isinstance(control, Filtered)
            control.method.check(model, sampling)
            if batch[row] != control.filtered:
                raise LayerError(
                    "a filtered run is that of its control's source, without patches; make it by "
                    "Safree.run"
                )
            leader = control.leader
            if leader is not None and leader not in batch:
                raise LayerError(
                    "the row beside a filtered one is not in this batch; add its leader"
                )
            beside = None if leader is None else list(batch).index(leader)
            states, safe, steps = filtered(model, control.source.prompt, control.method, sampling)
            filters.append(_Filter(row, beside, states, safe, steps, control.method.scales))
        filtering = _Filtering(model, len(batch), filters)
        with ExitStack() as undo:
            undo.enter_context(seen(model, filtering.before))
            blocks = getattr(model.denoiser, "up_blocks", ())
            for number, block in zip(range(filtering.blocks), blocks, strict=False):
                hook = filtering.features(number)
                undo.callback(block.register_forward_pre_hook(hook, with_kwargs=True).remove)
            yield
            filtering.check_read()


@dataclass(frozen=True)
class Beside:
    """A row whose latents are those of a filtered one; its own picture means nothing."""

    of: Filtered
    LEAN: ClassVar[bool] = False

    @property
    def leader(self) -> Run | None:
        """None: the filtered row brings it along."""
        return None

    @staticmethod
    @contextmanager
    def around(
        model: Model, batch: Sequence[Run], rows: Sequence[int], sampling: Sampling
    ) -> Iterator[None]:
        """Nothing: `Filtered.around` sees to it."""
        yield


# ---------------------------------------------------------------------------- the text states


def filtered(
    model: Model, prompt: str, method: Safree, sampling: Sampling
) -> tuple[Tensor, Tensor, int]:
    """A prompt's text states (T, D), the same without their toxic part, and how many steps these
    are read (equation 6)."""
    assert method.concept is not None
    parts = model.family.texts(model.pipe, sampling)
    found = [spans(part, prompt) for part in parts]
    without = {
        span: prompt[: span[0]] + prompt[span[1] :] for each in found for span in each.values()
    }
    texts = list(dict.fromkeys((prompt, *method.concept, *without.values())))
    states = dict(zip(texts, encoded(model, texts, sampling), strict=True))
    own = states[prompt].float()
    safe = own.clone()
    before, after = [], []
    for number, part in enumerate(parts):
        stop = parts[number + 1].first if number + 1 < len(parts) else len(own)
        places = {place: span for place, span in found[number].items() if place < stop}
        if not places:
            continue

        def mean(text: str, part: Text = part, stop: int = stop) -> Tensor:
            end = min(part.first + length(part, text), stop)
            pooled: Tensor = states[text][part.first : end].float().mean(0)
            return pooled

        toxic = basis([mean(word) for word in method.concept])
        pooled = [mean(without[span]) for span in places.values()]
        tokens = own[list(places)]
        chosen = trigger(torch.stack(pooled), toxic, method.alpha)
        projected = inside(outside(tokens, toxic), basis(pooled))
        safe[list(places)] = torch.where(chosen[:, None], projected, tokens)
        before.append(tokens.flatten())
        after.append(projected.flatten())
    if not before:
        return own, safe, 0
    cosine = torch.nn.functional.cosine_similarity(torch.cat(before), torch.cat(after), dim=0)
    steps = round(method.gamma / (1 + math.exp(float(cosine) - 1)))
    return own, safe, steps if method.steps is None else method.steps


def basis(columns: Sequence[Tensor]) -> Tensor:
    """An orthonormal basis (D, K) of the space that columns (D,) span: where they are independent
    its projection is C (CᵀC)⁻¹ Cᵀ (equation 2)."""
    left, values, _ = torch.linalg.svd(torch.stack(list(columns), 1), full_matrices=False)
    found: Tensor = left[:, values > _RANK * values.max()]
    return found


def inside(states: Tensor, space: Tensor) -> Tensor:
    """The part of states (N, D) in a space (D, K)."""
    return states @ space @ space.T


def outside(states: Tensor, space: Tensor) -> Tensor:
    """The part of states (N, D) orthogonal to a space (D, K) (equation 3)."""
    return states - inside(states, space)


def trigger(pooled: Tensor, toxic: Tensor, alpha: float) -> Tensor:
    """Which tokens are toxic (N,): `pooled` (N, D) of the text without each, against the mean
    distance of the others (equation 4)."""
    distance = outside(pooled, toxic).norm(dim=-1)
    if len(distance) < 2:
        return torch.ones(len(distance), dtype=torch.bool, device=distance.device)
    others = (distance.sum() - distance) / (len(distance) - 1)
    farther: Tensor = distance > (1 + alpha) * others
    return farther


# ---------------------------------------------------------------------------- the call


@dataclass(frozen=True)
class _Filter:
    """A filtered row, the row beside it, its states as they are and filtered (T, D), how many steps
    these are read, and the scales of its features."""

    row: int
    beside: int | None
    states: Tensor
    safe: Tensor
    steps: int
    scales: tuple[float, ...]


@dataclass
class _Filtering:
    """The hooks while one block lasts."""

    model: Model
    rows: int
    filters: Sequence[_Filter]
    step: int = -1
    time: float | None = None
    prompted: list[int] = field(default_factory=list)  # passes in progress that read the prompt
    read: set[int] = field(default_factory=set)  # rows whose prompt was read

    @property
    def blocks(self) -> int:
        """Decoder blocks whose features are changed."""
        return max((len(one.scales) for one in self.filters), default=0)

    def before(self, _denoiser: Any, arguments: dict[str, Any]) -> None:
        """Before a pass: filtered states for the prompt's, and equal latents side by side."""
        family = self.model.family
        time = float(torch.as_tensor(arguments[family.TIME]).flatten()[0])
        if time != self.time:
            self.time, self.step = time, self.step + 1
        latents = list(arguments)[1]  # the first after the module
        texts = arguments[family.TEXT].unflatten(0, (-1, self.rows)).clone()
        images = arguments[latents].unflatten(0, (-1, self.rows)).clone()
        self.prompted = []
        for one in self.filters:
            if one.beside is not None:
                images[:, one.beside] = images[:, one.row]
            for number, states in enumerate(texts):
                if not _same(states[one.row], one.states):
                    continue
                self.prompted.append(number)
                self.read.add(one.row)
                if self.step < one.steps:
                    states[one.row] = one.safe.to(states.dtype)
        arguments[family.TEXT] = texts.flatten(0, 1)
        arguments[latents] = images.flatten(0, 1)

    def check_read(self) -> None:
        """Check that every filtered row's own states were found in a pass.

        Raises:
            LayerError: they were not.
        """
        if self.read != {one.row for one in self.filters}:
            raise LayerError(
                f"the denoiser of {type(self.model.pipe).__name__} is not given the text states of "
                "the prompt as they are encoded; patch the localized layers instead"
            )

    def features(self, number: int) -> Any:
        """The forward pre-hook of decoder block `number`: its skip features (equations 7 and 8)."""

        def hook(_module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            skips = kwargs["res_hidden_states_tuple"]
            changed = tuple(self._attended(skip, number) for skip in skips)
            return args, {**kwargs, "res_hidden_states_tuple": changed}

        return hook

    def _attended(self, skip: Tensor, number: int) -> Tensor:
        passes = skip.unflatten(0, (-1, self.rows)).clone()
        for one in self.filters:
            if one.beside is None or number >= len(one.scales) or self.step >= one.steps:
                continue
            for at in set(self.prompted):
                pair = passes[at, one.row], passes[at, one.beside]
                passes[at, one.row] = attended(*pair, one.scales[number])
        whole: Tensor = passes.flatten(0, 1)
        return whole


def attended(safe: Tensor, own: Tensor, scale: float) -> Tensor:
    """Features (C, h, w) of the filtered states whose low frequencies are multiplied by `scale`
    where they are stronger than with the prompt's `own` states (equations 7 and 8)."""
    found, beside = (torch.fft.fft2(states.float()) for states in (safe, own))
    low = _low(found.shape[-2:], found.device)
    weaker = torch.where(low & (found.abs() > beside.abs()), scale, 1.0)
    changed: Tensor = torch.fft.ifft2(found * weaker).real
    return changed.to(safe.dtype)


def _low(size: Sequence[int], device: Any) -> Tensor:
    """Which frequencies of a transform (h, w) have at most one period."""
    down, across = (torch.fft.fftfreq(side, 1 / side, device=device).abs() <= 1 for side in size)
    found: Tensor = down[:, None] & across
    return found


def _same(states: Tensor, known: Tensor) -> bool:
    if states.shape != known.shape:
        return False
    apart = (states.float() - known.to(states.device)).abs().max()
    return bool(apart <= _SAME * known.abs().max())
