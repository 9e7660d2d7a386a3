"""Where weights are held, and how many rows of a call fit beside them.

On an accelerator the rows are measured: two calls of one step, with one row and with two, say what
a row takes and what the rest takes, whatever the family and however its weights are held.
Elsewhere, and where measuring fails, a formula says it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textloc.errors import CheckpointError
from textloc.runs import Run, Sampling

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model

OFFLOADS = ("auto", "none", "model", "group", "sequential")
"""Ways to hold weights: by what is free, all on the device, and one component, group of layers or
layer at a time there."""

_SHARE = 0.6
"""Of the free memory that rows by the formula may take."""

_MEASURED_SHARE = 0.9
"""Of the device's memory that measured rows and everything else may take."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: torch's own type, what accelerate knows, and what
    other allocators say."""
    import torch
    from accelerate.utils.memory import should_reduce_batch_size

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    said = re.search("out of memory|can't allocate memory|ALLOC_FAILED", str(error))
    return said is not None or (isinstance(error, Exception) and should_reduce_batch_size(error))


def free_cache(device: str) -> None:
    """Give memory that torch keeps for later back to the device."""
    import gc

    gc.collect()
    if not device.startswith("cpu"):
        from accelerate.utils.memory import clear_device_cache

        clear_device_cache()


def placement(weights: int, largest: int, free: int) -> str:
    """How to hold weights on an accelerator: `whole`, `model` (one component at a time) or
    `sequential` (one module at a time). All in bytes: weights of all components, of the largest
    one, and the memory that is free."""
    room = 0.85 * free - 2**30  # for activations
    if weights <= room:
        return "whole"
    return "model" if largest <= room else "sequential"


def place(pipe: Any, device: str, offload: str | None = None) -> None:
    """Move a pipeline to the device, or have it moved there bit by bit.

    Args:
        offload: of `OFFLOADS`; None is `auto`, by the memory that is free.

    Raises:
        CheckpointError: an unknown way, or one without an accelerator.
    """
    import torch

    if offload not in (None, *OFFLOADS):
        raise CheckpointError(f"there is no offload {offload!r}; use {', '.join(OFFLOADS)}")
    pipe.set_progress_bar_config(disable=True)
    accelerated = not device.startswith("cpu")
    how = None if offload == "auto" else offload
    if not accelerated and how not in (None, "none"):
        raise CheckpointError(f"offload {how} moves weights to an accelerator; give device cuda")
    if how is None and device.startswith("cuda"):
        parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
        sizes = [size_of(part) for part in parts]
        free, _ = torch.cuda.mem_get_info(device)
        how = placement(sum(sizes), max(sizes), free)
    if how == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif how == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    elif how == "group":
        pipe.enable_group_offload(
            onload_device=torch.device(device),
            offload_type="leaf_level",
            use_stream=device.startswith("cuda"),
        )
    else:
        pipe.to(device)


def size_of(module: Any) -> int:
    """Bytes of a module's weights as they are held."""
    return sum(map(_bytes, module.parameters()))


def parameters(module: Any) -> int:
    """Weights of a module, packed ones (4-bit) counted as what they stand for."""
    return sum(
        weights_of(part) if name == "weight" else weight.numel()
        for part in module.modules()
        for name, weight in part.named_parameters(recurse=False)
    )


def weights_of(module: Any) -> int:
    """Elements of a module's `weight`; of a linear layer those of its matrix, however packed."""
    from torch.nn import Linear

    if isinstance(module, Linear):
        return int(module.in_features * module.out_features)
    weight = module.weight() if callable(module.weight) else module.weight  # of torch's quantized
    return int(weight.numel())


def call_size(sampling: Sampling) -> tuple[int | None, int | None, bool]:
    """What the memory of a row depends on: height, width, and whether guidance doubles it."""
    return sampling.height, sampling.width, sampling.guidance > 1


def rows_that_fit(model: Model, sampling: Sampling) -> int:
    """Rows of one call that should fit into the memory that is free; at least 1, and never more
    than a call of this size had after running out of memory."""
    size = call_size(sampling)
    most = model.rows_known.get(size)
    if most is None and model.device.startswith("cuda"):
        most = measured(model, sampling)
        if most is not None:
            model.rows_known[size] = most
    return max(1, by_formula(model.pipe, model.denoiser, sampling) if most is None else most)


def may_fit(model: Model, rows: int, sampling: Sampling) -> bool:
    """Whether so many rows of one call could fit if they took all the memory that is free. Always
    so on an accelerator, where running out of it is an error and not the end of the process."""
    if not model.device.startswith("cpu"):
        return True
    return rows * _SHARE <= by_formula(model.pipe, model.denoiser, sampling)


def by_formula(pipe: Any, denoiser: Any, sampling: Sampling) -> int:
    """Rows that should fit by an estimate: a row keeps about 24 maps of the widest resolution
    alive, twice for guidance; at least 1."""
    import psutil
    import torch

    config = denoiser.config
    latent = any(getattr(pipe, name, None) is not None for name in ("vae", "vqvae"))
    scale = getattr(pipe, "vae_scale_factor", 8) if latent else 1  # DeepFloyd IF: pixels
    side = (sampling.height or 512) * (sampling.width or 512) / scale**2
    channels = getattr(config, "block_out_channels", None)
    wide = channels[0] if channels else 1024
    row = 2 * 24 * side * wide * denoiser.dtype.itemsize
    device = str(getattr(pipe, "_execution_device", denoiser.device))
    if device.startswith("cuda"):
        free = torch.cuda.mem_get_info(device)[0] - to_come(denoiser, device)
    else:
        free = psutil.virtual_memory().available
    return max(1, int(_SHARE * free / row))


def to_come(denoiser: Any, device: str) -> int:
    """Bytes that offloading will bring to the device when the denoiser runs: all of it, or, where
    it comes module by module, its largest module."""
    import torch
    from diffusers.hooks.group_offloading import _is_group_offload_enabled

    kind = torch.device(device).type
    away = [p for p in denoiser.parameters() if p.device.type != kind]
    if not away:
        return 0
    if any(p.device.type == "meta" for p in away) or _is_group_offload_enabled(denoiser):
        own = (m.parameters(recurse=False) for m in denoiser.modules())
        return max(sum(map(_bytes, some)) for some in own)
    return sum(map(_bytes, away))


def _bytes(weight: Any) -> int:
    return int(weight.numel() * weight.element_size())


def measured(model: Model, sampling: Sampling) -> int | None:
    """Rows that fit on a CUDA device, by the peak of one step with one row and with two; at least
    1. None where such calls cannot be made."""
    import torch

    device = model.device
    peaks: list[int] = []
    for rows in (1, 2):
        free_cache(device)
        torch.cuda.reset_peak_memory_stats(device)
        try:
            _one_step(model, rows, sampling)
        except Exception as error:
            if peaks and is_out_of_memory(error):
                model.pipe.maybe_free_model_hooks()
                free_cache(device)
                return 1
            return None  # the real call says why
        peaks.append(torch.cuda.max_memory_allocated(device))
    free_cache(device)
    free, _ = torch.cuda.mem_get_info(device)
    room = _MEASURED_SHARE * (free + torch.cuda.memory_reserved(device))
    one, two = peaks
    return max(1, 1 + int((room - one) / max(two - one, 1)))


def _one_step(model: Model, rows: int, sampling: Sampling) -> None:
    """A call of one step, without a picture."""
    import torch

    runs = [Run("a sign", seed) for seed in range(rows)]
    given = model.family.arguments(model.pipe, runs, replace(sampling, steps=1))
    noise = [torch.Generator("cpu").manual_seed(run.seed) for run in runs]
    kept = type(model.pipe.scheduler).from_config(model.pipe.scheduler.config)
    own, model.pipe.scheduler = model.pipe.scheduler, kept
    try:
        with torch.no_grad():
            model.call(**given, generator=noise, output_type="latent")
    finally:
        model.pipe.scheduler = own
