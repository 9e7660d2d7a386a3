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
   derivative is looked at. Points are added until that error is within a tolerance.

A share answers "how much of the change goes through here, while everything changes together?". It
does not say that a layer is enough alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from textloc.models import families
from textloc.models.checkpoints import Model
from textloc.errors import AttributionError, Cancelled
from textloc.patching.hooks import Blend, blended, leaves_watched, patched
from textloc.runs import Run, Sampling

TOLERANCE = 0.05
"""How far the shares of a step may sum to something else than 1."""

INSTEAD = "use `--search sweep`, which needs no gradient"


@dataclass(frozen=True)
class StepShares:
    """The shares at one denoising step.

    step: from 0. layers: of each text layer (heads, T), whose sum over all layers is `total`.
    points: values of u in (0, 1) at which the derivative was taken. path: f at these points.
    change: norm of d divided by that of pred(0). complete: whether `total` is 1 within the
    tolerance.
    """

    step: int
    layers: tuple[NDArray[np.float64], ...]
    points: tuple[float, ...]
    path: tuple[float, ...]
    change: float
    complete: bool

    @cached_property
    def total(self) -> float:
        """The sum of all shares; 1 up to the completeness error."""
        return float(sum(layer.sum() for layer in self.layers))


class _Enough(Exception):
    """All steps that are needed are recorded."""


@dataclass(frozen=True)
class Recorded:
    """What the denoiser is given at one step, the conditional row only, a batch of one.

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
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[list[Recorded], int]:
    """What the denoiser is given at these steps of the source's run, and the rows computed.

    Raises:
        AttributionError: both runs have the same text states. Cancelled: `cancelled` said so.
    """
    shared = families.of_denoiser(model.denoiser).SHARED
    found: dict[int, Recorded] = {}

    def see(step: int, arguments: dict[str, Any]) -> None:
        if cancelled():
            raise Cancelled("stopped; what was finished before is kept")
        if step > max(steps):
            raise _Enough
        if step not in steps or step in found:
            return
        row = _conditional(arguments)
        if row is not None:
            source_row, target_row = (_row(arguments, row + n, shared) for n in (0, 1))
            latents = next(iter(arguments))
            target_row[latents] = source_row[latents]
            found[step] = Recorded(step, source_row, target_row)
        if len(found) == len(set(steps)):
            raise _Enough

    runs = [source, target]
    noise = [torch.Generator("cpu").manual_seed(source.seed) for _ in runs]
    with torch.no_grad():
        with patched(
            model.denoiser, model.layers, runs, wanted=[source], before_pass=see
        ) as state:
            try:
                model.pipe(
                    **model.family.arguments(model.pipe, runs, sampling),
                    generator=noise,
                    output_type="latent",
                )
            except _Enough:
                pass
    if not found:
        raise AttributionError(
            f"{model.name} reads {source.prompt!r} and {target.prompt!r} as the same text, so "
            "there is no change to divide; give the target another word"
        )
    return [found[step] for step in sorted(found)], state.rows


def _conditional(arguments: dict[str, Any]) -> int | None:
    """The batch row of the source in the guidance pass whose text differs between the two runs."""
    texts = arguments["encoder_hidden_states"]
    for row in reversed(range(0, len(texts), 2)):
        if not torch.equal(texts[row], texts[row + 1]):
            return row
    return None


def _row(arguments: dict[str, Any], row: int, shared: Sequence[str]) -> dict[str, Any]:
    rows = len(arguments["encoder_hidden_states"])

    def pick(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value[[row]].clone() if value.ndim and len(value) == rows else value
        if isinstance(value, dict):
            return {name: pick(item) for name, item in value.items()}
        return value

    return {n: value if n in shared else pick(value) for n, value in arguments.items()}


def _repeat(arguments: dict[str, Any], times: int, shared: Sequence[str]) -> dict[str, Any]:
    """A batch of one as a batch of `times` rows."""

    def repeat(value: Any) -> Any:
        if isinstance(value, Tensor):
            many = value.ndim and len(value) == 1
            return value.repeat(times, *[1] * (value.ndim - 1)) if many else value
        if isinstance(value, dict):
            return {name: repeat(item) for name, item in value.items()}
        return value

    return {n: value if n in shared else repeat(value) for n, value in arguments.items()}


class Path:
    """The way from the source's text to the target's at one step."""

    def __init__(self, model: Model, blend: Blend, recorded: Recorded) -> None:
        self._model, self._blend, self._recorded = model, blend, recorded
        self._shared = families.of_denoiser(model.denoiser).SHARED
        self.rows = 0  # row-passes so far, backward counted double
        blend.keep, blend.factors = 0, None
        with torch.no_grad():
            self._call(recorded.target)
            self.start = self._call(recorded.source).float()  # pred(0)
            blend.factors = self._factors([1.0])
            self.change = self._call(recorded.source).float() - self.start  # d
        self.rows += 3
        self.length = float(self.change.square().sum())

    def _call(self, arguments: dict[str, Any]) -> Tensor:
        output = self._model.denoiser(**arguments)
        prediction = output[0]
        latents = next(iter(arguments.values()))
        channels = latents.shape[1]
        if prediction.ndim == 4 and prediction.shape[1] == 2 * channels:  # a variance beside it
            prediction = prediction[:, :channels]
        return prediction

    def _factors(self, points: Sequence[float]) -> list[Tensor]:
        device = self._recorded.source["encoder_hidden_states"].device
        along = torch.tensor(points, dtype=torch.float32, device=device)[:, None, None]
        return [
            along.repeat(1, self._blend.tokens, layer.heads) for layer in self._model.layers
        ]

    def look(self, points: Sequence[float]) -> tuple[list[NDArray[np.float64]], list[float]]:
        """df/da of every layer (point, T, head) and f, at these points."""
        factors = [f.requires_grad_() for f in self._factors(points)]
        self._blend.factors = factors
        arguments = _repeat(self._recorded.source, len(points), self._shared)
        with torch.enable_grad():
            moved = self._call(arguments).float() - self.start
            along = (moved * self.change).flatten(1).sum(1)
        scale = self.length / float(self.change.abs().max())
        gradients = torch.autograd.grad(along.sum() * (scale / self.length), factors)
        self.rows += 3 * len(points)
        return (
            [(g.double() / scale).cpu().numpy() for g in gradients],
            (along.detach() / self.length).tolist(),
        )
