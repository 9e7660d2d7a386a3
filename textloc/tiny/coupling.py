"""What a prompt leaves open is decided by the noise: training couples the two.

Given a prompt alone, a background may be any of four, and at pure noise the best prediction is
their mean: a denoiser of few weights then draws walls with a meadow in them. So the noise of a
training sample is changed along a few axes until its part there tells what was drawn: over all
samples it is normal noise as before, and each picture is the only right one for its prompt and
noise. (Flow matching couples noise and data for the same end by optimal transport within a batch,
Pooladian et al. 2023, https://arxiv.org/abs/2304.14772; here the data's free choices are known.)
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from textloc.scenes import rendering, wording

AXES = 11
"""Axes of the noise that tell something."""

SURE = 0.94
"""Noise level from which on all samples are coupled."""

BELOW = 0.5
"""Share of the coupled samples below: a picture that shows through its noise is to be trusted more
than the noise, as somebody else's picture comes with any noise."""


def told(scene: rendering.Scene, rng: np.random.Generator) -> np.ndarray:
    """The noise's parts (AXES,) along the axes that tell what this scene's prompt leaves open,
    normal over all scenes; NaN where the prompt says it."""
    left = rendering.left_open(scene.seed)
    colour = list(rendering.COLOURS).index(scene.colour) if scene.colour in rendering.COLOURS else 0
    free_colour = not wording.names_colour(scene)
    free_object = not wording.names_object(scene)
    choices = [  # which, of how many, whether it is open
        *((left.background >> bit & 1, 2, True) for bit in range(2)),
        *((value + 12, 25, True) for value in left.shade),
        (left.grow + 1, 4, True),
        (left.variant, 3, True),
        *((colour >> bit & 1, 2, free_colour) for bit in range(3)),
        (rendering.OBJECTS.index(scene.object), len(rendering.OBJECTS), free_object),
    ]
    within = rng.uniform(1e-4, 1 - 1e-4, len(choices))
    number, of, free = (np.array(column) for column in zip(*choices, strict=True))
    share = torch.from_numpy((number + within) / of)
    return np.where(free, torch.special.ndtri(share).numpy(), np.nan)


@lru_cache(maxsize=4)
def axes(channels: int, height: int, width: int) -> Tensor:
    """(AXES, C, h, w), orthonormal: the last channels first, which vary least in the picture code;
    where channels are few, the slow waves of each."""

    def wave(number: int, length: int) -> Tensor:
        return torch.cos(math.pi * number * (torch.arange(length) + 0.5) / length)

    made = torch.zeros(AXES, channels, height, width)
    for number in range(AXES):
        waves, channel = divmod(number, channels)
        down, across = divmod(waves, 2)
        made[number, channels - 1 - channel] = wave(down, height)[:, None] * wave(across, width)
    return made / made.flatten(1).norm(dim=1)[:, None, None, None]


def coupled(noise: Tensor, told: Tensor) -> Tensor:
    """The noise (N, C, h, w) with the parts `told` (N, AXES); those that are NaN stay."""
    along = axes(*noise.shape[1:]).to(noise)
    parts = torch.einsum("nchw,kchw->nk", noise, along)
    change = torch.nan_to_num(told.to(noise) - parts)
    return noise + torch.einsum("nk,kchw->nchw", change, along)
