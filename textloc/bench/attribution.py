"""What attribution costs and how exact it is: points, steps, time and memory.

`points`: the completeness error by the number of points, where each is put into the interval with
the largest error and where they are spread evenly (midpoints, Gauss-Legendre), and how far the
shares of layers are from those of the whole search for points.
`full_size`: a denoiser of a published shape with random weights: a pass of two rows, as guidance
computes them, beside one row with its gradient, with checkpoints and without. No weights are
downloaded; time and memory are real, the shares of random weights mean nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from textloc.bench import step as one_step
from textloc.checkpoints import families
from textloc.checkpoints.loading import Model
from textloc.patching.attribution import (
    GAP,
    TOLERANCE,
    Array,
    Points,
    Recorded,
    TextPath,
    checkpoints,
    on_the_way,
    record,
)
from textloc.prompts import Pair
from textloc.runs import Run, Sampling

LIMITS = (2, 4, 8, 16, 32)
"""Numbers of points that are compared."""


def points(
    model: Model,
    pairs: Sequence[Pair],
    steps: Sequence[int],
    limits: Sequence[int] = LIMITS,
    seed: int = 0,
    on_look: Callable[[int], None] = lambda _count: None,
) -> list[dict[str, Any]]:
    """The completeness error by rule and number of points, over pairs and steps.

    Args:
        model: a loaded checkpoint. pairs: at least one. steps: denoising steps to look at. limits:
            points at a step at most. on_look: called with the number of steps done.

    Returns:
        Rows with `rule` (`adaptive`, `midpoints`, `Gauss-Legendre`), `limit`, `points` (mean that
        were used), `error` (mean |1 - sum of shares|), `within` (part of the steps within the
        tolerance), `apart` (mean over steps of the largest difference of a layer's share from that
        of the most points of `adaptive`), `steps`.
    """
    found: dict[tuple[str, int], list[tuple[float, float, Array]]] = {}
    last: list[Array] = []
    done = 0
    for pair in pairs:
        source, target = Run(pair.source, seed), Run(pair.target, seed)
        recorded, _ = record(model, source, target, model.defaults, sorted(steps), lambda: False)
        for one in recorded:
            with on_the_way(model, one) as path:
                for limit, looked in _adaptive(path, sorted(limits)):
                    shares = _by_layer(looked.integral())
                    found.setdefault(("adaptive", limit), []).append(
                        (len(looked.u), float(looked.errors().sum()), shares)
                    )
                last.append(shares)
                for rule, nodes in (("midpoints", _midpoints), ("Gauss-Legendre", _gauss)):
                    for limit in sorted(limits):
                        u, weights = nodes(limit)
                        derivatives = _looked(path, u)
                        summed = _by_layer(np.tensordot(weights, d, 1) for d in derivatives)
                        found.setdefault((rule, limit), []).append(
                            (limit, float(summed.sum()) - 1, summed)
                        )
            done += 1
            on_look(done)
    rows = []
    for (rule, limit), entries in found.items():
        errors = np.abs([error for _, error, _ in entries])
        apart = [np.abs(s - best).max() for (_, _, s), best in zip(entries, last, strict=True)]
        rows.append(
            {
                "rule": rule,
                "limit": limit,
                "points": float(np.mean([count for count, _, _ in entries])),
                "error": float(errors.mean()),
                "within": float(np.mean(errors <= TOLERANCE)),
                "apart": float(np.mean(apart)),
                "steps": len(entries),
            }
        )
    return rows


def _adaptive(path: TextPath, limits: Sequence[int]) -> list[tuple[int, Points]]:
    """For each limit the points as they were when it was met, or when all errors were small."""
    looked, found = Points(), []
    wanted = _gauss(min(3, limits[0]))[0]
    for limit in limits:
        while wanted:
            derivatives, values = path.look(wanted)
            looked.add(wanted, derivatives, values)
            errors = looked.errors()
            enough = abs(errors.sum()) <= TOLERANCE and np.abs(errors).sum() <= GAP
            left = limit - len(looked.u)
            wanted = [] if enough or left < 1 else looked.next(min(4, left))
        copied = Points(list(looked.u), list(looked.values), list(looked.derivatives))
        found.append((limit, copied))
        if not enough:
            later = [later for later in limits if later > limit]
            wanted = looked.next(min(4, later[0] - len(looked.u))) if later else []
    return found


def _midpoints(count: int) -> tuple[list[float], Array]:
    return ((np.arange(count) + 0.5) / count).tolist(), np.full(count, 1 / count)


def _gauss(count: int) -> tuple[list[float], Array]:
    x, weights = np.polynomial.legendre.leggauss(count)
    return ((x + 1) / 2).tolist(), weights / 2


def _looked(path: TextPath, u: Sequence[float]) -> list[Array]:
    """Derivatives of every layer (point, T, heads), four points a pass."""
    parts = [path.look(u[start : start + 4])[0] for start in range(0, len(u), 4)]
    return [np.concatenate(layer) for layer in zip(*parts, strict=True)]


def _by_layer(layers: Any) -> Array:
    return np.array([float(layer.sum()) for layer in layers])


def points_table(name: str, rows: Sequence[dict[str, Any]]) -> str:
    """The errors for people."""
    lines = [
        f"{name}: completeness over {rows[0]['steps']} steps of pairs",
        "",
        f"{'rule':16}{'at most':>9}{'points':>9}{'|error|':>9}{'within':>9}{'apart':>9}",
    ]
    lines += [
        f"{row['rule']:16}{row['limit']:9}{row['points']:9.1f}{row['error']:9.3f}"
        f"{row['within']:9.2f}{row['apart']:9.3f}"
        for row in rows
    ]
    return "\n".join(lines)


# -- full size --------------------------------------------------------------------------------


def full_size(
    name: str,
    device: str = "cpu",
    dtype: str = "bfloat16",
    size: int = 256,
    repeats: int = 1,
    arguments: dict[str, Any] | None = None,
    progress: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """Time and memory of one row with its gradient beside a pass of two rows.

    Args:
        name: of `full_size.DENOISERS`. size: side of the picture in pixels. repeats: of each; the
            fastest counts. arguments: constructor arguments of another size. progress: called with
            what is being done.

    Returns:
        `name`, `parameters`, `text_layers`, `device`, `dtype`, `size`; `pass_s` (two rows, no
        gradient), `look_s` and `checkpointed_s` (one row, forward and backward; None where it does
        not fit), and `pass_gib`, `look_gib`, `checkpointed_gib`: what each needs at most, weights
        included, where the platform tells.

    Raises:
        LayerError: a family whose picture is not a map.
    """
    progress(f"making random weights of {name}")
    denoiser = one_step.random_weights(name, getattr(torch, dtype), arguments).to(device)
    call = one_step.arguments_at(denoiser, name, size)
    layers = families.text_layers(denoiser)
    family = families.of_denoiser(denoiser)
    model = Model(
        name=name,
        revision=None,
        digest="random",
        pipe=SimpleNamespace(**{family.DENOISER: denoiser}),
        family=family,
        layers=layers,
        defaults=Sampling(steps=1, guidance=1.0),
    )
    rows = [_row(call, n) for n in (0, 1)]
    latents = next(iter(call))
    rows[1][latents] = rows[0][latents]
    found: dict[str, Any] = {
        "name": name,
        "parameters": sum(p.numel() for p in denoiser.parameters()),
        "text_layers": len(layers),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "dtype": dtype,
        "size": size,
    }

    def plain() -> None:
        with torch.no_grad():
            denoiser(**call)

    found["pass_s"], found["pass_gib"] = _fastest(plain, device, repeats)
    progress(f"a pass of two rows: {found['pass_s']:.2f} s")
    with on_the_way(model, Recorded(0, rows[0], rows[1])) as path:
        for what, checkpointed in (("checkpointed", True), ("look", False)):

            def look(checkpointed: bool = checkpointed) -> None:
                if checkpointed:
                    with checkpoints(denoiser):
                        path.look([0.5])
                else:
                    path.look([0.5])

            seconds, memory = _fastest(look, device, repeats)
            found[f"{what}_s"], found[f"{what}_gib"] = seconds, memory
            progress(f"one row with its gradient, {what}: {seconds:.2f} s")
    return found


def _row(call: dict[str, Any], row: int) -> dict[str, Any]:
    def pick(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: pick(item) for name, item in value.items()}
        return value[[row]] if isinstance(value, torch.Tensor) and value.ndim else value

    return {name: pick(value) for name, value in call.items()}


def _fastest(work: Callable[[], None], device: str, repeats: int) -> tuple[float, float | None]:
    """Seconds of the fastest of `repeats`, and the most memory that the device, or the process on
    a CPU, held meanwhile, in GiB."""
    _forget_peak(device)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times), _peak(device)


def _forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    clear = Path("/proc/self/clear_refs")  # 5: the kernel begins its count of the peak anew
    if clear.exists():
        clear.write_text("5")


def _peak(device: str) -> float | None:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def full_size_table(row: dict[str, Any]) -> str:
    """The measurement for people."""

    def of(what: str) -> str:
        memory = row[f"{what}_gib"]
        shown = "" if memory is None else f", {memory:.2f} GiB at most"
        return f"{row[f'{what}_s']:.2f} s{shown}"

    return (
        f"{row['name']} at full size, random weights: {row['parameters']:,} parameters, "
        f"{row['text_layers']} text layers, {row['dtype']}, {row['size']} px, {row['device']}\n"
        f"a pass of two rows, no gradient:        {of('pass')}\n"
        f"one row with its gradient, checkpoints: {of('checkpointed')}\n"
        f"one row with its gradient, without:     {of('look')}"
    )
