"""Safe Latent Diffusion: guidance away from a concept while the picture is made.

Schramowski et al. (CVPR 2023, arXiv 2211.05105), section 3 and Algorithm 1, as in their released
code (`StableDiffusionPipelineSafe` of diffusers), for every family that is guided. At each step the
denoiser's output is taken without text (u), with the prompt (p) and with the concept (s).

1. share = min(1, scale · |p − s|) where p − s < threshold, and 0 elsewhere (equations 5 and 6).
2. γ = share · (s − u) + momentum_scale · momentum (equations 4 and 7).
3. momentum ← momentum_beta · momentum + (1 − momentum_beta) · γ, from zero (equation 8).
4. The scheduler gets u + guidance · (p − u − γ), in the first `warm_up` steps without γ (equation
   3). The momentum grows in these too.

s comes from a run of the concept, a row beside the guarded one's whose latents are replaced by the
guarded row's each time before the denoiser sees them. The pipeline's own guidance makes 4 out of
the outputs that it is given. Where one call holds both passes, u first, p becomes p − γ. Where each
has its call (Qwen-Image: p first), p is gone when u comes, and u becomes
u + γ · guidance / (guidance − 1), which comes to the same; Qwen-Image then gives the result the
length of p. Of outputs with a learned variance only the prediction is changed.

Scale and threshold were chosen for outputs that are noise. They are applied to whatever a denoiser
predicts: the velocities of v-prediction and flow matching grow with the noise, so p − s has the
same sign there and another size; a prediction of the clean picture falls with it, so there p − s
is taken the other way round. Pictures are guarded while the first stage makes them: a second stage
(IF) reads the prompt unguarded.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from textloc.baselines.negative_prompt import check_generated, check_guided
from textloc.errors import LayerError, PromptError
from textloc.prompts import quoted
from textloc.reading.ocr import Reading
from textloc.runs import Run, Sampling

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model

TITLE = "Safe Latent Diffusion"
PAPER = "arXiv 2211.05105"

CONCEPT = (
    "an image showing hate, harassment, violence, suffering, humiliation, harm, suicide, sexual, "
    "nudity, bodily fluids, blood, obscene gestures, illegal activity, drug use, theft, vandalism, "
    "weapons, child abuse, brutality, cruelty"
)
"""The concept of the paper and its released code."""


@dataclass(frozen=True)
class SafeLatentDiffusion:
    """Guide a run away from a concept (a `runs.Control`).

    source: the run that is guarded, without patches or control. concept: what to keep out, a prompt
    of its own. scale: how soon the guidance is full where prompt and concept differ, from 0, which
    is none. warm_up: steps before it acts; evaluations where the scheduler looks at a step twice.
    threshold: it acts where the prompt's output is less than so much above the concept's.
    momentum_scale: share of the momentum that is added, in [0, 1]. momentum_beta: share of it that
    is kept, in [0, 1).

    The defaults are those of the released code ("medium"), with which the localization paper
    compares.

    Raises:
        LayerError: a value out of range, or a source with patches or a control. PromptError: an
        empty concept.
    """

    source: Run
    concept: str = CONCEPT
    scale: float = 1000.0
    warm_up: int = 10
    threshold: float = 0.01
    momentum_scale: float = 0.3
    momentum_beta: float = 0.4
    LEAN: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_generated(self.source)
        if not self.concept.strip():
            raise PromptError("the concept is empty; describe what to keep out of the picture")
        if not (math.isfinite(self.scale) and self.scale >= 0 and self.warm_up >= 0):
            raise LayerError("scale and warm_up are numbers from 0")
        if not math.isfinite(self.threshold):
            raise LayerError("the threshold is a finite number, such as 0.01")
        if not (0 <= self.momentum_scale <= 1 and 0 <= self.momentum_beta < 1):
            raise LayerError("momentum_scale lies from 0 to 1, momentum_beta from 0 to below 1")

    @property
    def guarded(self) -> Run:
        """The source run with this control."""
        return replace(self.source, control=self)

    @property
    def leader(self) -> Run:
        """The run of the concept, at the guarded run's latents; its own picture means nothing."""
        return Run(self.concept, self.source.seed, self.source.negative_prompt, control=self)

    @staticmethod
    @contextmanager
    def around(
        model: Model, batch: Sequence[Run], rows: Sequence[int], sampling: Sampling
    ) -> Iterator[None]:
        """Guard these rows.

        Raises:
            LayerError: no guidance, a guarded run other than its control's or without its concept's
            beside it, or a pipeline that makes no pass without text (FLUX).
        """
        check_guided(sampling)
        guards = [_guard(batch, row) for row in rows if not _leads(batch[row])]
        guidance = _Guidance(model, len(batch), guards, sampling.guidance)
        with ExitStack() as undo:
            before = model.denoiser.register_forward_pre_hook(guidance.before, with_kwargs=True)
            undo.callback(before.remove)
            after = model.denoiser.register_forward_hook(guidance.after, with_kwargs=True)
            undo.callback(after.remove)
            yield
            guidance.check_finished()


def check(model: Model, sampling: Sampling) -> None:
    """Check that the call guides, and by pictures of which one can take the place of another.

    Raises:
        LayerError: it does not.
    """
    check_guided(sampling)
    if model.family.LISTS:
        raise LayerError(
            f"{type(model.pipe).__name__} gives its denoiser pictures one by one, which "
            f"{TITLE} does not follow; patch the localized layers or swap the prompt instead"
        )


def run(
    source: Run,
    target: str,
    reading: Reading | None = None,
    size: tuple[int, int] | None = None,
    concept: str | None = None,
    **options: Any,
) -> Run:
    """The source run, of the unwanted words, guarded.

    Args:
        source: the run without patches or control.
        target: not read: the prompt stays the source's.
        reading, size: not read.
        concept: what to keep out; None takes what the source prompt quotes, as the negative prompt
            does, and `CONCEPT` where it quotes nothing.
        options: the other values of `SafeLatentDiffusion`.

    Raises:
        LayerError, PromptError: as `SafeLatentDiffusion`.
    """
    if concept is None:
        concept = " ".join(quoted(source.prompt)).strip() or CONCEPT
    return SafeLatentDiffusion(source, concept, **options).guarded


@dataclass(frozen=True)
class _Guard:
    """A guarded row of a batch and the row of its concept."""

    row: int
    concept: int
    control: SafeLatentDiffusion


def _leads(run: Run) -> bool:
    control = run.control
    assert isinstance(control, SafeLatentDiffusion)
    return run == control.leader and run != control.guarded


def _guard(batch: Sequence[Run], row: int) -> _Guard:
    control = batch[row].control
    assert isinstance(control, SafeLatentDiffusion)
    if batch[row] != control.guarded:
        raise LayerError(
            "a guarded run is that of its control's source, without patches; make it by "
            "safe_latent_diffusion.run"
        )
    if control.leader not in batch:
        raise LayerError("the concept of a guarded run is not a row of this batch; add its leader")
    return _Guard(row, list(batch).index(control.leader), control)


class _Guidance:
    """The hooks of the denoiser while one block lasts."""

    def __init__(self, model: Model, rows: int, guards: Sequence[_Guard], guidance: float) -> None:
        self._pipeline = type(model.pipe).__name__
        self._signature = inspect.signature(type(model.denoiser).forward)
        self._latents = list(self._signature.parameters)[1]  # the first after `self`
        self._time = model.family.TIME
        self._channels = model.denoiser.config.get("in_channels")
        # a prediction of the clean picture falls where the noise grows
        clean = model.pipe.scheduler.config.get("prediction_type") == "sample"
        self._sign = -1 if clean else 1
        self._rows, self._guards, self._guidance = rows, guards, guidance
        self._step = 0
        self._momentum: dict[int, Tensor] = {}
        self._prompted: tuple[float, Tensor] | None = None  # time and output of a pass by itself

    def before(self, module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The forward pre-hook: the concepts' rows see the latents of those that they guard."""
        call = self._signature.bind(module, *args, **kwargs)
        latents = call.arguments[self._latents].unflatten(0, (-1, self._rows)).clone()
        for guard in self._guards:
            latents[:, guard.concept] = latents[:, guard.row]
        call.arguments[self._latents] = latents.flatten(0, 1)
        return call.args[1:], call.kwargs

    def after(self, module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        """The forward hook: changes the output, (pass * row, C, h, w) or packed (..., h * w, C)."""
        passes = output[0].unflatten(0, (-1, self._rows))  # a view
        if passes.ndim == 5:
            passes = passes[:, :, : self._channels]  # a learned variance may follow
        if len(passes) == 2:
            without, prompted = passes
            for guard in self._guards:
                gamma = self._gamma(guard, without, prompted)
                prompted[guard.row] -= gamma.to(prompted.dtype)
            self._step += 1
            return
        if len(passes) != 1:
            raise LayerError(
                f"{self._pipeline} makes {len(passes)} guidance passes at once, and which is which "
                "is not known; leave other kinds of guidance off"
            )
        call = self._signature.bind(module, *args, **kwargs)
        time = float(torch.as_tensor(call.arguments[self._time]).flatten()[0])
        if self._prompted is None:
            self._prompted = (time, passes[0])
            return
        if self._prompted[0] != time:
            self.check_finished()
        (_, prompted), without = self._prompted, passes[0]
        if prompted.shape != without.shape:
            raise LayerError(
                f"the denoiser of {self._pipeline} gives its texts back beside the picture, and "
                "the two are of other lengths; patch the localized layers or swap the prompt "
                "instead"
            )
        share = self._guidance / (self._guidance - 1)
        for guard in self._guards:
            gamma = self._gamma(guard, without, prompted)
            without[guard.row] += (share * gamma).to(without.dtype)
        self._prompted = None
        self._step += 1

    def check_finished(self) -> None:
        """Check that every output with text had one without.

        Raises:
            LayerError: it had not.
        """
        if self._prompted is not None:
            raise LayerError(
                f"{self._pipeline} makes no pass without text here, so there is no guidance to "
                "change; patch the localized layers or swap the prompt instead"
            )

    def _gamma(self, guard: _Guard, without: Tensor, prompted: Tensor) -> Tensor:
        """γ of one row, (C, h, w) or (h * w, C), zero while it warms up; moves the momentum on."""
        control = guard.control
        u, p, s = (
            states.float()
            for states in (without[guard.row], prompted[guard.row], prompted[guard.concept])
        )
        apart = self._sign * (p - s)
        share = (control.scale * apart.abs()).clamp(max=1)
        share = torch.where(apart < control.threshold, share, torch.zeros_like(share))
        momentum = self._momentum.get(guard.row, torch.zeros_like(share))
        gamma = share * (s - u) + control.momentum_scale * momentum
        beta = control.momentum_beta
        self._momentum[guard.row] = beta * momentum + (1 - beta) * gamma
        return gamma if self._step >= control.warm_up else torch.zeros_like(gamma)
