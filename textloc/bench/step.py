"""What patching costs at full size: one denoising step with random weights, patched and not.

No weights are downloaded. The pictures of such a model would be noise; its time and memory are
real. Two rows are computed, a source and a target, and the source takes the text keys and values
of the target at the published layers, or at all where none are published.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textloc.checkpoints import families, known
from textloc.checkpoints.families import full_size
from textloc.errors import LayerError
from textloc.patching.hooks import patched
from textloc.runs import Patch, Run

_TEXT = {"UNet2DConditionModel": 77, "SD3Transformer2DModel": 77 + 256}
"""Text tokens of one row; the other families read `_LONG`."""

_LONG = 300
_REDUCED = {"SanaTransformer2DModel": 32}
"""Pixels a latent value stands for, where not 8."""


def measure(
    name: str,
    device: str = "cpu",
    dtype: str = "bfloat16",
    size: int = 512,
    repeats: int = 3,
    arguments: dict[str, Any] | None = None,
    progress: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """Time one step of two rows, patched and not, in turn.

    Args:
        name: of `full_size.DENOISERS`. size: side of the picture in pixels. repeats: of both, after
            one of each that is not counted. arguments: constructor arguments of another size.
        progress: called with what is being done.

    Returns:
        `name`, `parameters`, `layers` (patched), `device`, `dtype`, `size`, `plain_s` and
        `patched_s` (medians of one step, seconds), `ratio` (median of the ratios of neighbouring
        repeats), `weights_gib` and `peak_gib` (of the device's memory; of the process on a CPU).

    Raises:
        LayerError: a family whose picture is not a map.
    """
    progress(f"making random weights of {name}")
    denoiser = random_weights(name, getattr(torch, dtype), arguments).to(device)
    call = arguments_at(denoiser, name, size)
    layers = families.text_layers(denoiser)
    entry = known.find(name)
    chosen = entry.localized if entry is not None and entry.localized and not arguments else None
    numbers = tuple(chosen or range(len(layers)))
    source, target = Run("source"), Run("target")
    runs = [source.patched(Patch(numbers, target)), target]

    def timed(patch: bool) -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        with torch.no_grad():
            if patch:
                with patched(denoiser, layers, runs):
                    denoiser(**call)
            else:
                denoiser(**call)
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times: list[tuple[float, float]] = []
    for number in range(repeats + 1):
        plain, patch = timed(False), timed(True)
        progress(f"{number} of {repeats}: {plain:.2f} s plain, {patch:.2f} s patched")
        if number:
            times.append((plain, patch))
    return {
        "name": name,
        "parameters": sum(p.numel() for p in denoiser.parameters()),
        "layers": list(numbers),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "dtype": dtype,
        "size": size,
        "plain_s": float(np.median([plain for plain, _ in times])),
        "patched_s": float(np.median([patch for _, patch in times])),
        "ratio": float(np.median([patch / plain for plain, patch in times])),
        "weights_gib": sum(p.nbytes for p in denoiser.parameters()) / 2**30,
        "peak_gib": _peak(device),
    }


def random_weights(name: str, dtype: torch.dtype, arguments: dict[str, Any] | None) -> Any:
    """The denoiser with random weights, made in `dtype` so that no larger copy is needed."""
    denoiser = full_size.build(name, arguments).to(dtype).to_empty(device="cpu").eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for key, weight in denoiser.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.02)
            else:
                weight.fill_(1.0 if key.endswith("weight") else 0.0)
        for buffer in denoiser.buffers():
            buffer.zero_()
    return denoiser


def arguments_at(denoiser: Any, name: str, size: int) -> dict[str, Any]:
    """Arguments of a forward pass of two rows at full size."""
    small = families.of_denoiser(denoiser).inputs(denoiser)
    picture = "sample" if "sample" in small else "hidden_states"
    if small[picture].ndim != 4:
        raise LayerError(
            f"{name} takes its picture as a sequence, which this measurement does not make; "
            "try sdxl, if or sd3"
        )
    kind = type(denoiser).__name__
    side = size // (1 if name == "if" else _REDUCED.get(kind, 8))
    text = small["encoder_hidden_states"]

    def rows(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: rows(item) for key, item in value.items()}
        return value.repeat(2, *[1] * (value.ndim - 1)) if isinstance(value, Tensor) else value

    call: dict[str, Any] = rows(small)
    channels = small[picture].shape[1]
    call[picture] = torch.randn(2, channels, side, side).to(text)
    call["encoder_hidden_states"] = torch.randn(2, _TEXT.get(kind, _LONG), text.shape[-1]).to(text)
    if "encoder_attention_mask" in call:
        call["encoder_attention_mask"] = torch.ones(2, _LONG).to(call["encoder_attention_mask"])
    return call


def _peak(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def table(row: dict[str, Any]) -> str:
    """The measurement for people."""
    return (
        f"{row['name']} at full size, random weights: {row['parameters']:,} parameters in "
        f"{row['dtype']}, {row['weights_gib']:.1f} GiB; {row['size']} px, two rows, "
        f"{row['device']}\n"
        f"one step plain {row['plain_s']:.3f} s, patched at {len(row['layers'])} layers "
        f"{row['patched_s']:.3f} s: ratio {row['ratio']:.3f}; memory at most "
        f"{row['peak_gib']:.1f} GiB"
    )
