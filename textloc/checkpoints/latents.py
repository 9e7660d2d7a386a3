"""The latents of a call, seen and changed between its steps.

The scheduler steps as it always does; a wrapper round its `step` hands on what comes out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from textloc.errors import LayerError
from textloc.replacing import replaced


def check_steps(scheduler: Any, steps: int) -> None:
    """Check that a scheduler's steps can be followed one by one, without touching it.

    Raises:
        LayerError: it looks at a time twice.
    """
    other = type(scheduler).from_config(scheduler.config)
    shifted = bool(other.config.get("use_dynamic_shifting"))
    other.set_timesteps(steps, **({"mu": 1.0} if shifted else {}))
    _check_times(other)


def _check_times(scheduler: Any) -> None:
    times = scheduler.timesteps.tolist()
    if len(set(times)) != len(times):
        raise LayerError(
            f"{type(scheduler).__name__} looks at a time twice, so its steps cannot be followed "
            "one by one; choose another --scheduler, such as DDIMScheduler"
        )


@contextmanager
def between_steps(pipe: Any, change: Callable[[int, Tensor, Tensor], Tensor]) -> Iterator[None]:
    """Pass the latents through `change` after every denoising step while the block lasts.

    Args:
        pipe: a diffusers pipeline, called once within the block.
        change: called with the index of the step, from 0, the latents (N, ...) before it and those
            that it gave; returns what the next step begins with.

    Raises:
        LayerError: a scheduler that looks at a time twice.
    """
    scheduler = pipe.scheduler
    original = scheduler.step
    done = 0

    @wraps(original)  # pipelines look at the signature before they pass a noise generator
    def step(output: Any, time: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        nonlocal done
        _check_times(scheduler)
        out = original(output, time, sample, *args, **kwargs)
        done += 1
        if isinstance(out, tuple):
            return (change(done - 1, sample, out[0]), *out[1:])
        out.prev_sample = change(done - 1, sample, out.prev_sample)
        return out

    with replaced(scheduler, "step", step):
        yield


def noised(scheduler: Any, clean: Tensor, noise: Tensor, step: int) -> Tensor:
    """Clean latents (N, ...) with noise, as they are before denoising step `step` from 0; after
    the last step they are clean."""
    if step >= len(scheduler.timesteps):
        return clean
    times = scheduler.timesteps[step].expand(len(clean))
    if hasattr(scheduler, "scale_noise"):  # flow matching
        mixed: Tensor = scheduler.scale_noise(clean, times, noise)
    else:
        mixed = scheduler.add_noise(clean, noise, times)
    return mixed


def on_grid(mask: NDArray[np.bool_], latents: Tensor) -> Tensor:
    """A mask of the picture (H, W) at the places of latents (N, C, h, w), or packed (N, h * w, C):
    (h, w) or (h * w, 1), 1 where a place holds any pixel of the mask."""
    pixels = torch.from_numpy(mask).to(latents.device, latents.dtype)[None, None]
    if latents.ndim == 4:
        found: Tensor = torch.nn.functional.adaptive_max_pool2d(pixels, latents.shape[-2:])
        return found[0, 0]
    wide = mask.shape[1] / mask.shape[0]
    height = round((latents.shape[1] / wide) ** 0.5)
    size = (height, latents.shape[1] // height)
    return torch.nn.functional.adaptive_max_pool2d(pixels, size).flatten()[:, None]
