"""Attribution: the share of every text layer, head, step and token in what a prompt changes.

Integrated gradients along the patch (Sundararajan et al. 2017, arXiv 1703.01365):

1. The real pipeline generates the source run; what the denoiser is given at the asked steps is kept
   (the conditional row), and the call ends before the last of them is computed. Nothing here steps
   a scheduler. The target prompt is a row beside it for its text states alone.
2. At each of these steps, on the source's noisy picture: the target's text states go through the
   denoiser once, and every layer's text keys and values are kept. `pred(0)` is the plain
   prediction, `pred(1)` that with all text keys and values in their place, d = pred(1) - pred(0).
   Everything that is not text keys and values stays the source's, the pooled state too.
3. Every (layer, head, token) has a factor a between its own keys and values (0) and the target's
   (1). f(a) = <pred(a) - pred(0), d> / <d, d> is 0 where nothing is patched and 1 where all is.
4. The mean of df/da over a = u, u from 0 to 1, is the share of that (layer, head, token). The
   shares sum to f(1) - f(0) = 1 (completeness), up to the error of the points at which the
   derivative is looked at.
5. Words change abruptly along the way (attention moves from one letter to another within a
   hundredth of it), and what happens there is missed by evenly spread points. Each look at the
   derivative also tells f, so the error between neighbouring points is known: the interval with the
   largest one is halved, until the errors are within `TOLERANCE` in sum and `GAP` in sum of sizes.

A share answers "how much of the change goes through here, while everything changes together?". It
does not say that a layer is enough alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from textloc.checkpoints import families
from textloc.checkpoints.families import common
from textloc.checkpoints.loading import Model
from textloc.checkpoints.memory import is_out_of_memory
from textloc.errors import AttributionError, Cancelled, LayerError, NoWayError, OutOfMemoryError
from textloc.patching.hooks import Blend, blended, leaves_watched, patched
from textloc.patching.tokens import Token, tokens_of
from textloc.runs import Run, Sampling

TOLERANCE = 0.05
"""How far the shares of a step may sum to something else than 1."""
GAP = 0.1
"""How large the errors between neighbouring points may be in sum, each without its sign."""
POINTS = 32
"""Points at a step at most, where none are asked for."""
INSTEAD = "or use `--search sweep`, which needs no gradient"

_NARROW = 2.0**-12
"""Intervals that are not divided further: f jumps within one, as where experts are chosen, and no
derivative tells of it."""
_FIRST = 3
"""Points of a Gauss-Legendre rule with which a step begins."""
_ROWS = 4
"""Points looked at in one pass at most; more give no gain in speed."""
_KEPT = 2.0
"""Memory that a gradient needs, in units of what the modules of a pass give."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StepShares:
    """The shares at one denoising step.

    step: from 0. layers: of each text layer (T, heads). points: values of u in (0, 1) at which the
    derivative was looked at, in order. path: f at these points. gap: sum of the sizes of the errors
    between them, 0 to about 1. change: norm of d divided by that of pred(0). reached: whether
    `error` is within the tolerance and `gap` within its own.
    """

    step: int
    layers: tuple[Array, ...]
    points: tuple[float, ...]
    path: tuple[float, ...]
    gap: float
    change: float
    reached: bool

    @cached_property
    def by_layer(self) -> Array:
        """(L,)."""
        return np.array([layer.sum() for layer in self.layers])

    @property
    def error(self) -> float:
        """What is missing from 1 in the sum of all shares (completeness); negative where they sum
        to more."""
        return 1.0 - float(self.by_layer.sum())


@dataclass(frozen=True)
class Shares:
    """The shares of one prompt pair and seed.

    source, target: what was compared. steps: those looked at, in order. tokens: the text tokens of
    both prompts, T of them. row_passes: denoiser rows computed, backward counted double, those of
    the source's generation included (`recorded_rows`). checkpointed: whether gradients were taken
    with checkpoints.
    """

    source: Run
    target: Run
    steps: tuple[StepShares, ...]
    tokens: tuple[Token, ...]
    row_passes: int
    recorded_rows: int
    checkpointed: bool

    @cached_property
    def by_step(self) -> Array:
        """(steps, L); each row sums to 1 up to its error."""
        return np.stack([step.by_layer for step in self.steps])

    @cached_property
    def by_layer(self) -> Array:
        """(L,), the mean over steps."""
        mean: Array = self.by_step.mean(0)
        return mean

    @cached_property
    def by_head(self) -> tuple[Array, ...]:
        """Of each layer (heads,), the mean over steps."""
        return tuple(layer.sum(0) for layer in self._mean)

    @cached_property
    def by_token(self) -> Array:
        """(L, T), the mean over steps."""
        return np.stack([layer.sum(1) for layer in self._mean])

    @cached_property
    def _mean(self) -> tuple[Array, ...]:
        layers = zip(*(step.layers for step in self.steps), strict=True)
        return tuple(np.mean(np.stack(every), 0) for every in layers)

    @property
    def error(self) -> float:
        """The largest completeness error of the steps, without its sign."""
        return max(abs(step.error) for step in self.steps)

    @property
    def reached(self) -> bool:
        """Whether every step is within the tolerance."""
        return all(step.reached for step in self.steps)


def default_steps(steps: int) -> tuple[int, ...]:
    """The steps looked at where none are asked for: the first, and those after 15 % and 40 %."""
    return tuple(sorted({0, int(0.15 * steps), int(0.4 * steps)}))


def shares(model: Model, source: Run, target: Run, **options: Any) -> Shares:
    """Run `shares_stream` to its end."""
    *_, last = shares_stream(model, source, target, **options)
    return last


def shares_stream(
    model: Model,
    source: Run,
    target: Run,
    *,
    sampling: Sampling | None = None,
    steps: Sequence[int] | None = None,
    points: int = POINTS,
    tolerance: float = TOLERANCE,
    checkpointing: bool | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Shares]:
    """The shares of a pair; each yield has one step more, after one of a few points of the first.

    Args:
        model: a loaded checkpoint.
        source, target: plain runs of one seed.
        sampling: None takes the checkpoint's usual call.
        steps: denoising steps to look at, from 0; None takes `default_steps`.
        points: at a step at most, at least 1.
        tolerance: how far the shares of a step may sum to something else than 1.
        checkpointing: take gradients with checkpoints (less memory, a forward pass more); None
            does so where memory is short.
        cancelled: asked between passes; True stops with `Cancelled`.

    Raises:
        AttributionError: equal text states, predictions that do not differ or are not finite, or a
            denoiser that gives no gradient. LayerError: a step that is not there, or as `patched`.
        PromptError, OutOfMemoryError, Cancelled.
    """
    call = sampling or model.defaults
    asked = sorted(set(default_steps(call.steps) if steps is None else steps))
    if not asked or not 0 <= asked[0] <= asked[-1] < call.steps:
        raise LayerError(f"the steps to look at lie in 0 to {call.steps - 1}; give one or more")
    if points < 1:
        raise LayerError("give at least one point at a step, such as 8")
    for run in (source, target):
        model.check_prompt(run.prompt, call)
    with _freed(model.pipe):
        recorded, rows = record(model, source, target, call, asked, cancelled)
        work = _Work(model, tolerance, checkpointing, cancelled, rows)
        done: list[StepShares] = []

        def so_far(*steps: StepShares) -> Shares:
            tokens = tokens_of(model, source.prompt, target.prompt, call, work.tokens)
            passes, saved = work.row_passes, bool(work.checkpointing)
            return Shares(source, target, steps, tokens, passes, rows, saved)

        for number, one in enumerate(recorded):
            found = Points()
            here = work.step(one, found, points if number else min(_FIRST, points))
            if not number and not here.reached and points > _FIRST:
                yield so_far(here)  # something to look at soon
                here = work.step(one, found, points)
            done.append(here)
            yield so_far(*done)


# -- what the denoiser is given -------------------------------------------------------------


class _Enough(Exception):
    """All steps that are needed are recorded."""


@dataclass(frozen=True)
class Recorded:
    """What the denoiser is given at one step, the conditional row only: a batch of one.

    source, target: arguments by name; the target's differ in the text alone.
    """

    step: int
    source: dict[str, Any]
    target: dict[str, Any]


def record(
    model: Model,
    source: Run,
    target: Run,
    sampling: Sampling,
    steps: Sequence[int],
    cancelled: Callable[[], bool],
) -> tuple[list[Recorded], int]:
    """What the denoiser is given at these steps (in order) of the source's run, and the rows
    computed on the way.

    Raises:
        AttributionError: equal text states. Cancelled: `cancelled` said so.
    """
    family = families.of_denoiser(model.denoiser)
    found: dict[int, Recorded] = {}
    same = AttributionError(
        f"{model.name} reads {source.prompt[:80]!r} and {target.prompt[:80]!r} as the same text, "
        "so nothing changes; give the target another word"
    )

    def see(step: int, arguments: dict[str, Any]) -> None:
        _check_going(cancelled)
        if any(asked < step and asked not in found for asked in steps):
            raise same
        row = _conditional(arguments, family) if step in steps and step not in found else None
        if row is None:
            return
        source_row, target_row = (_row(arguments, row + n, family) for n in (0, 1))
        latents = next(iter(arguments))
        target_row[latents] = source_row[latents]
        found[step] = Recorded(step, source_row, target_row)
        if len(found) == len(steps):
            raise _Enough

    runs = [source, target]
    noise = [torch.Generator("cpu").manual_seed(run.seed) for run in runs]
    rows = 0
    with (
        torch.no_grad(),
        patched(
            model.denoiser,
            model.layers,
            runs,
            wanted=[source],
            before_pass=see,
            scheduler=model.pipe.scheduler,
        ) as state,
    ):
        try:
            call = model.family.arguments(model.pipe, runs, sampling)
            model.call(**call, generator=noise, output_type="pil")
        except _Enough:
            pass
        rows = state.rows
    if len(found) < len(steps):
        raise same
    return [found[step] for step in sorted(found)], rows


def _conditional(arguments: dict[str, Any], family: Any) -> int | None:
    """The batch row of the source in the guidance pass in which the texts of both runs differ."""
    texts = arguments[family.TEXT]
    if family.TEXT in family.SECOND:
        texts = texts.transpose(0, 1)
    for row in reversed(range(0, len(texts), 2)):
        if not torch.equal(texts[row], texts[row + 1]):
            return row
    return None


def _row(arguments: dict[str, Any], row: int, family: Any) -> dict[str, Any]:
    """One row of a batch as a batch of one."""
    rows = len(next(iter(arguments.values())))

    def pick(value: Any) -> Any:
        if isinstance(value, list):
            return [value[row]]
        return value[[row]].clone() if value.ndim and len(value) == rows else value

    return _mapped(arguments, pick, family)


def _repeat(arguments: dict[str, Any], times: int, family: Any) -> dict[str, Any]:
    """A batch of one as a batch of `times` equal rows."""

    def repeat(value: Any) -> Any:
        if isinstance(value, list):
            return value * times
        one = value.ndim and len(value) == 1
        return value.repeat(times, *[1] * (value.ndim - 1)) if one else value

    return _mapped(arguments, repeat, family)


def _mapped(arguments: dict[str, Any], change: Callable[[Any], Any], family: Any) -> dict[str, Any]:
    """`change` applied to every tensor, rows first, and list of rows, but those that all rows
    share."""

    def mapped(value: Any) -> Any:
        if isinstance(value, Tensor):
            return change(value)
        if isinstance(value, dict):
            return {name: mapped(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(map(mapped, value))
        return value

    def changed(name: str, value: Any) -> Any:
        if name in family.SHARED:
            return value
        if name in family.LISTS:
            return change(value)
        if name in family.SECOND:
            return change(value.transpose(0, 1)).transpose(0, 1)
        return mapped(value)

    return {name: changed(name, value) for name, value in arguments.items()}


def _check_going(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise Cancelled("stopped; what was finished before is kept")


# -- the way from one text to the other -----------------------------------------------------


class TextPath:
    """The way from the source's text to the target's at one step.

    start: pred(0). change: d. length: <d, d>. row_passes: rows computed, backward counted double.
    blend: what is put in place.

    Args:
        model: a loaded checkpoint, its weights without gradient. blend: of a `blended` block.
            recorded: of the step.

    Raises:
        AttributionError: predictions that are not finite or do not differ.
    """

    def __init__(self, model: Model, blend: Blend, recorded: Recorded) -> None:
        self._model, self.blend, self._recorded = model, blend, recorded
        self._family = families.of_denoiser(model.denoiser)
        self._given = 0  # bytes that the modules give in one pass of a row
        self.row_passes = 0
        blend.keep, blend.factors = 0, None
        with torch.no_grad():
            self._call(recorded.target)
            self.row_passes += 1
            with leaves_watched(model.denoiser, self._count):
                self.start = _wide(self._call(recorded.source))  # pred(0)
            self.change = self.at([1.0]) - self.start  # d
        self.row_passes += 1
        self.length = float(self.change.square().sum())
        self._check(recorded.step)

    def _count(self, _name: str, _args: Any, output: Tensor) -> None:
        self._given += output.nbytes

    def _check(self, step: int) -> None:
        size = float(self.start.square().sum())
        if not np.isfinite(size + self.length):
            raise AttributionError(
                f"the prediction of {self._model.name} at step {step} is not finite in "
                f"{self._model.dtype}; load it in float32 or bfloat16 (--dtype)"
            )
        least = torch.finfo(self._model.denoiser.dtype).eps ** 2 * size  # what rounding makes
        if self.length <= least:
            raise AttributionError(
                f"at step {step} {self._model.name} predicts the same for both prompts, so there "
                f"is no change to divide; give other words or earlier steps (--steps-at 0), "
                f"{INSTEAD}"
            )

    @property
    def needed(self) -> float:
        """Bytes that the gradient of one row needs, about, without checkpoints."""
        return _KEPT * self._given

    def at(self, points: Sequence[float]) -> Tensor:
        """pred at these points, (point, ...), in float32."""
        self.blend.factors = self.factors(points)
        with torch.no_grad():
            found = _wide(self._call(_repeat(self._recorded.source, len(points), self._family)))
        self.row_passes += len(points)
        return found

    def moved(self, factors: Sequence[Tensor]) -> Tensor:
        """pred with these factors (by layer (1, T, heads)) less pred(0), in float32 at least."""
        self.blend.factors = factors
        with torch.no_grad():
            found = _wide(self._call(self._recorded.source)) - self.start
        self.row_passes += 1
        return found

    def factors(self, points: Sequence[float]) -> list[Tensor]:
        """By layer (point, T, head), all alike at a point."""
        device = common.device(self._model.denoiser)
        along = torch.tensor(points, dtype=torch.float32, device=device)[:, None, None]
        return [along.repeat(1, self.blend.tokens, layer.heads) for layer in self._model.layers]

    def keep_source(self) -> None:
        """Have the source's own text kept in the place of the target's."""
        self.blend.keep, self.blend.factors = 0, None
        with torch.no_grad():
            self._call(self._recorded.source)
        self.row_passes += 1

    def look(self, points: Sequence[float]) -> tuple[list[Array], list[float]]:
        """df/da of every layer, (point, T, head), and f, at these points.

        The gradient goes backward in the model's own number format, scaled so that it begins
        between -1 and 1; where that is too much for it, by less.
        """
        top = float(self.change.abs().max())
        for scale in (1.0, 2.0**-6, 2.0**-12):
            factors = [factor.requires_grad_() for factor in self.factors(points)]
            self.blend.factors = factors
            with torch.enable_grad():
                arguments = _repeat(self._recorded.source, len(points), self._family)
                moved = _wide(self._call(arguments)) - self.start
                along = (moved * self.change).flatten(1).sum(1)  # f * <d, d>
                gradients = torch.autograd.grad(along.sum() * (scale / top), factors)
            self.row_passes += 3 * len(points)
            unit = top / scale / self.length
            found = [np.asarray(g.double().cpu()) * unit for g in gradients]
            if all(np.isfinite(layer).all() for layer in found):
                return found, (along.detach().double() / self.length).tolist()
        raise NoWayError(
            f"the gradient of {self._model.name} is not finite in {self._model.dtype}; load it in "
            f"float32 or bfloat16 (--dtype), {INSTEAD}"
        )

    def _call(self, arguments: dict[str, Any]) -> Tensor:
        """The denoiser's prediction (row, ...), without the variance that some give beside it."""
        prediction: Tensor = self._model.denoiser(**arguments)[0]
        if self._family.LISTS:
            return torch.stack(list(prediction))
        channels = next(iter(arguments.values())).shape[1]
        if prediction.ndim == 4 and prediction.shape[1] == 2 * channels:
            return prediction[:, :channels]
        return prediction


@contextmanager
def on_the_way(model: Model, recorded: Recorded) -> Iterator[TextPath]:
    """A `TextPath` at a recorded step; leaving the block gives the model back as it was."""
    with (
        _without_gradients(model.denoiser),
        blended(model.denoiser, model.layers) as blend,
    ):
        yield TextPath(model, blend, recorded)


def _wide(prediction: Tensor) -> Tensor:
    """In float32 at least."""
    return prediction.to(torch.promote_types(prediction.dtype, torch.float32))


# -- points ---------------------------------------------------------------------------------


@dataclass
class Points:
    """Looks along the way so far, in order of u.

    u: points in (0, 1). values: f there. derivatives: by layer (T, heads), of each point.
    """

    u: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    derivatives: list[list[Array]] = field(default_factory=list)

    def add(
        self, u: Sequence[float], derivatives: Sequence[Array], values: Sequence[float]
    ) -> None:
        """Looks at `u`, as `TextPath.look` gives them."""
        self.u += u
        self.values += values
        self.derivatives += [[layer[n] for layer in derivatives] for n in range(len(u))]
        order = np.argsort(self.u)
        for name in ("u", "values", "derivatives"):
            setattr(self, name, [getattr(self, name)[n] for n in order])

    @property
    def edges(self) -> list[float]:
        """0, the points, and 1."""
        return [0.0, *self.u, 1.0]

    def errors(self) -> Array:
        """What the rule makes of each interval between edges, less what f does there."""
        along = np.array([sum(float(layer.sum()) for layer in d) for d in self.derivatives])
        known = np.diff([0.0, *self.values, 1.0])
        found: Array = _weights(self.u) @ along - known
        return found

    def integral(self) -> tuple[Array, ...]:
        """By layer (T, heads): the mean derivative over (0, 1)."""
        weights = _weights(self.u).sum(0)
        layers = zip(*self.derivatives, strict=True)
        return tuple(np.tensordot(weights, np.stack(layer), 1) for layer in layers)

    def next(self, most: int) -> list[float]:
        """The middles of the intervals with the largest errors, `most` at most."""
        sizes = np.abs(self.errors())
        sizes[np.diff(self.edges) < _NARROW] = 0.0
        least = sizes.max() / 2
        worst = [int(n) for n in np.argsort(-sizes)[:most] if sizes[n] >= least > 0]
        return [(self.edges[n] + self.edges[n + 1]) / 2 for n in worst]


def _weights(u: Sequence[float]) -> Array:
    """Weights (interval, point) of the integral over each interval between 0, the points and 1.

    Between points a cubic through both values with the slopes of the parabolas through three
    neighbouring points; at both ends a straight line.
    """
    x, n = np.asarray(u), len(u)
    slopes = np.zeros((n, n))  # of the derivative at each point
    if n > 1:
        slopes[0, :2] = np.array([-1, 1]) / (x[1] - x[0])
        slopes[-1, -2:] = np.array([-1, 1]) / (x[-1] - x[-2])
    for i in range(1, n - 1):
        before, after = x[i] - x[i - 1], x[i + 1] - x[i]
        slopes[i, i - 1] = -after / (before * (before + after))
        slopes[i, i + 1] = before / (after * (before + after))
        slopes[i, i] = -slopes[i, i - 1] - slopes[i, i + 1]
    one, weights = np.eye(n), np.zeros((n + 1, n))
    for i, h in enumerate(np.diff([0.0, *u, 1.0])):
        if i == 0:
            weights[i] = h * one[0] - h**2 / 2 * slopes[0]
        elif i == n:
            weights[i] = h * one[-1] + h**2 / 2 * slopes[-1]
        else:
            weights[i] = h / 2 * (one[i - 1] + one[i]) + h**2 / 12 * (slopes[i - 1] - slopes[i])
    return weights


# -- a step ---------------------------------------------------------------------------------


@dataclass
class _Work:
    """The steps of one pair."""

    model: Model
    tolerance: float
    checkpointing: bool | None
    cancelled: Callable[[], bool]
    row_passes: int
    tokens: int = 0
    rows: int = _ROWS
    checked: bool = False

    def step(self, recorded: Recorded, found: Points, points: int) -> StepShares:
        """The shares at one step, from what is `found` so far and at most so many points in all."""
        try:
            return self._step(recorded, found, points)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        torch.cuda.empty_cache()  # nothing where there is no such device
        if self.checkpointing and self.rows == 1:
            raise OutOfMemoryError(
                f"one row with its gradient does not fit into the memory of {self.model.device}; "
                f"choose a smaller size or dtype float16, {INSTEAD}"
            )
        self.checkpointing, self.rows = True, 1
        return self.step(recorded, found, points)

    def _step(self, recorded: Recorded, found: Points, points: int) -> StepShares:
        model = self.model
        with ExitStack() as entered:
            path = entered.enter_context(on_the_way(model, recorded))
            self.tokens = path.blend.tokens
            if self.checkpointing is None:
                self.checkpointing = _offloaded(model.denoiser) or (
                    self.rows * path.needed > 0.5 * free_memory(model.device)
                )
            if self.checkpointing:
                self.rows = min(self.rows, 2)  # as many as guidance computes at once
                entered.enter_context(checkpoints(model.denoiser))
            while wanted := self._wanted(found, points):
                for part in range(0, len(wanted), self.rows):
                    _check_going(self.cancelled)
                    here = wanted[part : part + self.rows]
                    found.add(here, *self._look(path, here))
            self.row_passes += path.row_passes
            start = float(path.start.square().sum())
        return StepShares(
            step=recorded.step,
            layers=found.integral(),
            points=tuple(found.u),
            path=tuple(found.values),
            gap=float(np.abs(found.errors()).sum()),
            change=float(np.sqrt(path.length / start)) if start else float("inf"),
            reached=self._reached(found),
        )

    def _wanted(self, found: Points, points: int) -> list[float]:
        """Where to look next; nowhere once the errors are small or there are so many points."""
        if not found.u:
            first = np.polynomial.legendre.leggauss(min(_FIRST, points))[0]
            return [float(u) for u in (first + 1) / 2]
        left = points - len(found.u)
        return found.next(min(_ROWS, left)) if left > 0 and not self._reached(found) else []

    def _reached(self, found: Points) -> bool:
        errors = found.errors()
        return bool(abs(errors.sum()) <= self.tolerance and np.abs(errors).sum() <= GAP)

    def _look(self, path: TextPath, points: Sequence[float]) -> tuple[list[Array], list[float]]:
        """`TextPath.look`; the first time every module is watched for passing the gradient on."""
        stopping: list[str] = []

        def see(name: str, args: Any, output: Tensor) -> None:
            given = any(isinstance(arg, Tensor) and arg.requires_grad for arg in args)
            if given and not output.requires_grad:
                stopping.append(name)

        try:
            if self.checked:
                return path.look(points)
            with leaves_watched(self.model.denoiser, see):
                found = path.look(points)
        except (RuntimeError, NotImplementedError) as error:
            if is_out_of_memory(error):
                raise
            if not stopping and not _says_no_gradient(error):
                raise
            raise self._no_gradient(stopping) from error
        if stopping:
            raise self._no_gradient(stopping)
        self.checked = True
        return found

    def _no_gradient(self, stopping: Sequence[str]) -> NoWayError:
        kinds = (type(self.model.denoiser.get_submodule(name)).__name__ for name in stopping)
        where = f" at {stopping[0]} ({next(kinds)})" if stopping else ""
        return NoWayError(
            f"{self.model.name} gives no gradient{where}, as quantized or inference-only weights "
            f"do not; load it in float32, float16 or bfloat16, {INSTEAD}"
        )


def _says_no_gradient(error: Exception) -> bool:
    said = str(error)
    texts = ("does not require grad", "Inference tensors", "not implemented", "derivative for")
    return isinstance(error, NotImplementedError) or any(text in said for text in texts)


def free_memory(device: str) -> int:
    """Bytes that are free on a device."""
    import psutil

    if device.startswith("cuda"):
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    return int(psutil.virtual_memory().available)


# -- the model as it was --------------------------------------------------------------------


@contextmanager
def _without_gradients(denoiser: Any) -> Iterator[None]:
    """No weight asks for a gradient while the block lasts, so that none is kept for them."""
    asked = [
        name
        for name, weight in denoiser.named_parameters()
        if weight.requires_grad and not weight.is_inference()
    ]
    for name in asked:
        denoiser.get_parameter(name).requires_grad_(False)
    try:
        yield
    finally:
        for name in asked:  # by name: offloading replaces weights
            denoiser.get_parameter(name).requires_grad_(True)


@contextmanager
def checkpoints(denoiser: Any) -> Iterator[None]:
    """Activations are computed again where the gradient needs them, while the block lasts.

    They are computed to the end: offloading moves weights back after each module.
    """
    from torch.utils.checkpoint import set_checkpoint_early_stop

    names = ("gradient_checkpointing", "_gradient_checkpointing_func")
    before = [
        (module, {name: vars(module)[name] for name in names if name in vars(module)})
        for module in denoiser.modules()
    ]
    try:
        denoiser.enable_gradient_checkpointing()
        with set_checkpoint_early_stop(False):
            yield
    finally:
        for module, values in before:
            for name in names:
                vars(module).pop(name, None)
            vars(module).update(values)


def _offloaded(denoiser: Any) -> bool:
    """Whether weights are moved to the device module by module: a gradient would hold them all."""
    hooks = (getattr(module, "_hf_hook", None) for module in denoiser.modules())
    return any(getattr(hook, "offload", False) for hook in hooks)


@contextmanager
def _freed(pipe: Any) -> Iterator[None]:
    """Weights that offloading has moved to the device go back afterwards, as after a call."""
    try:
        yield
    finally:
        pipe.maybe_free_model_hooks()
