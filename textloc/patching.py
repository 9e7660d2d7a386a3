"""Patching: rows of one batch take text keys and values from each other.

This is the only module that installs hooks. `patched()` is a `with` block around any number of
pipeline calls' denoiser passes; leaving it gives the model back bit for bit.

1. The denoiser's batch is read as (pass, row): N rows for N runs, repeated for each guidance pass.
2. A hook on the key and value projections of each text layer replaces the projected text tokens of
   a patched row by those of its donor's row (activation patching, paper section 3). It acts before
   head normalisation and rotary embedding and re-implements no attention.
3. Rows that are still equal (same prompt, same seed, no different patch so far) are computed once
   and repeated: a wrapper round the denoiser's forward narrows the batch on the way in and widens
   it on the way out, so the scheduler always sees every row.
4. After every pass each text layer must have run exactly once; otherwise an error is raised, for a
   silent layer would give a wrong picture without a sign.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from textloc.errors import LayerError
from textloc.layers import TextLayer, check_layers
from textloc.runs import Patch, Run


@dataclass
class Patching:
    """What a `patched()` block did.

    step: denoising step in progress, from 0 (-1 before the first). passes: denoiser calls.
    rows: batch rows computed, guidance passes counted; rows_unshared: those it would have been
    without computing equal rows once.
    """

    step: int = -1
    passes: int = 0
    rows: int = 0
    rows_unshared: int = 0
    _timestep: float | None = None
    _plan: _Plan | None = None
    _fired: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Move:
    """In the narrowed batch, `row` takes heads and tokens from `donor`."""

    row: int
    donor: int
    patch: Patch


@dataclass(frozen=True)
class _Plan:
    """One step: the rows to compute, for each row where its result stands, and moves by layer."""

    keep: tuple[int, ...]
    result: tuple[int, ...]
    moves: dict[int, tuple[_Move, ...]]


def _plan(runs: Sequence[Run], step: int, share: bool) -> _Plan:
    """Which rows differ at `step`, and what they take from whom.

    A row's latents depend on its plain run and on the patches met so far.
    """
    keys: list[Any] = [
        (run.plain, tuple(p for p in run.patches if p.start <= step)) for run in runs
    ]
    if not share:
        keys = list(range(len(runs)))
    first: dict[Any, int] = {}
    for row, key in enumerate(keys):
        first.setdefault(key, row)
    keep = tuple(first.values())
    place = {row: i for i, row in enumerate(keep)}
    result = tuple(place[first[key]] for key in keys)
    moves: dict[int, list[_Move]] = {}
    for row in keep:
        for patch in runs[row].patches:
            if patch.active(step):
                donor = result[runs.index(patch.donor)]
                for layer in patch.layers:
                    moves.setdefault(layer, []).append(_Move(place[row], donor, patch))
    return _Plan(keep, result, {k: tuple(v) for k, v in moves.items()})


@contextmanager
def patched(
    denoiser: Any, layers: Sequence[TextLayer], runs: Sequence[Run], share: bool = True
) -> Iterator[Patching]:
    """Apply the patches of `runs` while the block lasts.

    The denoiser must be called with a batch of `len(runs)` rows in that order, once or repeated
    for guidance passes. Every donor must be one of the runs.

    Args:
        denoiser: U-Net or transformer, not compiled.
        layers: all its text layers (`architectures.text_layers`).
        runs: one a row.
        share: compute rows that are still equal once.

    Yields:
        What the block is doing; read it afterwards for the row counts.

    Raises:
        LayerError: an unknown layer or head, a donor that is not a row, a compiled denoiser, a
            denoiser that is patched already, a batch of another size, or a layer that stays silent.
    """
    _check(denoiser, layers, runs)
    state = Patching()
    original = denoiser.forward
    had = "forward" in vars(denoiser)
    handles = []

    def fire(layer: TextLayer, name: str) -> Callable[[Any, Any, Tensor], Tensor]:
        def hook(_module: Any, _args: Any, projected: Tensor) -> Tensor:
            state._fired[name] = state._fired.get(name, 0) + 1
            plan = state._plan
            if plan is None or layer.index not in plan.moves:
                return projected
            return _move(projected, layer, plan)

        return hook

    forward = _wrap(original, layers, runs, state, share)
    try:
        for layer in layers:
            for name in (layer.key, layer.value):
                module = denoiser.get_submodule(name)
                handles.append(module.register_forward_hook(fire(layer, name)))
        denoiser.forward = forward
        yield state
    finally:
        for handle in handles:
            handle.remove()
        if had:
            denoiser.forward = original
        elif "forward" in vars(denoiser):
            del denoiser.forward


def _check(denoiser: Any, layers: Sequence[TextLayer], runs: Sequence[Run]) -> None:
    if hasattr(denoiser, "_orig_mod") or getattr(denoiser, "_compiled_call_impl", None) is not None:
        raise LayerError(
            "the denoiser is compiled, which may pass hooks by; patch it before torch.compile"
        )
    if hasattr(denoiser.forward, "textloc"):
        raise LayerError("the denoiser is patched already; leave the other patched() block first")
    for run in runs:
        for patch in run.patches:
            check_layers(patch.layers, len(layers))
            if patch.donor not in runs:
                raise LayerError("a patch takes from a run that is not a row of this batch")
            for index in patch.layers if patch.heads else ():
                heads = layers[index].heads
                if max(patch.heads or ()) >= heads:
                    raise LayerError(
                        f"layer {index} has {heads} heads, numbered 0 to {heads - 1}; "
                        f"the patch names {max(patch.heads or ())}"
                    )


def _move(projected: Tensor, layer: TextLayer, plan: _Plan) -> Tensor:
    """Projected keys or values (pass * row, T, D) with the donors' put in place."""
    rows = projected.unflatten(0, (-1, len(plan.keep)))  # (pass, row, T, D)
    moved = rows.clone()
    for move in plan.moves[layer.index]:
        start, stop = move.patch.tokens or (0, rows.shape[2])
        if move.patch.heads is None:
            moved[:, move.row, start:stop] = rows[:, move.donor, start:stop]
        else:
            heads = list(move.patch.heads)
            split = moved.unflatten(-1, (layer.heads, -1))  # a view: (pass, row, T, head, d)
            donor = rows.unflatten(-1, (layer.heads, -1))
            split[:, move.row, start:stop, heads] = donor[:, move.donor, start:stop, heads]
    out: Tensor = moved.flatten(0, 1)
    return out


def _wrap(
    original: Callable[..., Any],
    layers: Sequence[TextLayer],
    runs: Sequence[Run],
    state: Patching,
    share: bool,
) -> Callable[..., Any]:
    """The denoiser's forward with step counting, shared rows and the check that layers ran."""
    signature = inspect.signature(original)
    names = [name for layer in layers for name in (layer.key, layer.value)]

    def forward(*args: Any, **kwargs: Any) -> Any:
        call = signature.bind(*args, **kwargs)
        timestep = float(torch.as_tensor(call.arguments["timestep"]).flatten()[0])
        if timestep != state._timestep:  # guidance passes of one step share the time step
            state._timestep = timestep
            state.step += 1
            state._plan = _plan(runs, state.step, share)
        assert state._plan is not None
        plan = state._plan
        sample = next(value for value in call.arguments.values() if isinstance(value, Tensor))
        batch = len(sample)
        if batch % len(runs):
            raise LayerError(
                f"the denoiser was called with {batch} rows, which is no multiple of the "
                f"{len(runs)} runs; call the pipeline with exactly these runs"
            )
        state._fired.clear()
        state.passes += 1
        state.rows_unshared += batch
        state.rows += batch // len(runs) * len(plan.keep)
        if len(plan.keep) == len(runs):
            out = original(*args, **kwargs)
        else:
            narrow = _selector(plan.keep, len(runs), batch)
            arguments = {k: _map(v, narrow) for k, v in call.arguments.items()}
            bound = inspect.BoundArguments(signature, arguments)
            rows = batch // len(runs) * len(plan.keep)
            widen = _selector(plan.result, len(plan.keep), rows)
            out = _map(original(*bound.args, **bound.kwargs), widen)
        wrong = [name for name in names if state._fired.get(name) != 1]
        if wrong:
            raise LayerError(
                f"the text projection {wrong[0]} (and {len(wrong) - 1} more) did not run exactly "
                "once in this pass; is the attention fused, replaced or compiled? Undo that first"
            )
        return out

    forward.textloc = True  # type: ignore[attr-defined]
    return forward


def _selector(rows: Sequence[int], count: int, batch: int) -> Callable[[Tensor], Tensor]:
    """Picks `rows` of each pass from tensors of `batch` = pass * count rows; others pass."""

    def select(value: Tensor) -> Tensor:
        if value.ndim == 0 or len(value) != batch:
            return value
        chosen: Tensor = value.unflatten(0, (-1, count))[:, list(rows)].flatten(0, 1)
        return chosen

    return select


def _map(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`change` applied to every tensor in nested arguments or outputs."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        mapped = {k: _map(v, change) for k, v in value.items()}
        return mapped if type(value) is dict else type(value)(**mapped)
    if isinstance(value, (list, tuple)):
        return type(value)(_map(v, change) for v in value)
    return value
