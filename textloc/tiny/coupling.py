"""What a prompt leaves open is decided by the noise: training couples the two.

Given a prompt alone, a background may be any of four, and at pure noise the best prediction is
their mean: a denoiser of few weights then draws walls with a meadow in them. So the noise of a
training sample is changed along a few axes until its part there tells what was drawn: over all
samples it is normal noise as before, and each picture is the only right one for its prompt and
noise. (Flow matching couples noise and data for the same end by optimal transport within a batch,
Pooladian et al. 2023, https://arxiv.org/abs/2304.14772; here the data's free choices are known.)

The axes are what the choices change in the picture code, so that a denoiser that finds a background
in a half-noised picture finds it in the noise: along other axes, 400 steps taught nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from textloc.scenes import drawing, rendering, wording
from textloc.tiny.codec import Codec, Pixels, to_tensor

SURE = 0.94
"""Noise level from which on all samples are coupled."""

BELOW = 0.5
"""Share of the coupled samples below: a picture that shows through its noise is to be trusted more
than the noise, as somebody else's picture comes with any noise."""

CORNERS = ("black", "red", "green", "yellow", "blue", "purple", "orange", "white")
"""The common colours as corners of the cube of red (lowest bit), green and blue."""

_OBJECT = (4, 20, 60, 44)
"""Where objects are in a picture of 64 pixels: left, top, right, bottom."""


def _parts() -> tuple[Tensor, Tensor]:
    """Where the object is and where the background is, (1, 64, 64) of 0 and 1 each."""
    inside = torch.zeros(1, rendering.SIZE, rendering.SIZE)
    left, top, right, bottom = _OBJECT
    inside[:, top:bottom, left:right] = 1
    return inside, 1 - inside


def axes(code: Codec | Pixels) -> Tensor:
    """(K, C, h, w), orthonormal: the two bits of the background, its tone, red, green and blue of
    the object."""
    inside, outside = _parts()
    drawn = [
        to_tensor(drawing.Pen.on(name, 1, rendering.SIZE, 1, fine=False).image)
        for name in rendering.BACKGROUNDS
    ]
    bits = [
        sum((picture if number >> bit & 1 else -picture) for number, picture in enumerate(drawn))
        for bit in range(2)
    ]
    changes = [bit * outside for bit in bits] + [outside.expand(3, -1, -1)]
    changes += [inside * torch.eye(3)[channel][:, None, None] for channel in range(3)]
    still = code.encode(torch.zeros(1, 3, rendering.SIZE, rendering.SIZE))
    rows = (code.encode(torch.stack(changes)) - still).flatten(1).double()
    made: list[Tensor] = []
    for row in rows:  # Gram-Schmidt
        for one in made:
            row = row - (row @ one) * one
        made.append(row / row.norm())
    stacked: Tensor = torch.stack(made).float().unflatten(1, still.shape[1:])
    return stacked


def told(scenes: Sequence[rendering.Scene], rng: np.random.Generator) -> Tensor:
    """What the noise says of each scene along the axes, (N, K): standard normal over all
    scenes."""
    rows = []
    for scene in scenes:
        left = rendering.left_open(scene.seed)
        choices = [(left.background >> bit & 1, 2) for bit in range(2)] + [(left.variant, 3)]
        if wording.names_colour(scene):
            choices += [(value + 12, 25) for value in left.shade]
        else:
            corner = CORNERS.index(scene.colour)
            choices += [(corner >> bit & 1, 2) for bit in range(3)]
        number, of = np.array(choices).T
        rows.append((number + rng.uniform(1e-4, 1 - 1e-4, len(choices))) / of)
    parts: Tensor = torch.special.ndtri(torch.from_numpy(np.stack(rows))).float()
    return parts


def coupled(noise: Tensor, told: Tensor, axes: Tensor) -> Tensor:
    """The noise (N, C, h, w) with the parts `told` (N, K) along the axes; those that are NaN
    stay."""
    axes = axes.to(noise)
    change = torch.nan_to_num(told.to(noise) - torch.einsum("nchw,kchw->nk", noise, axes))
    return noise + torch.einsum("nk,kchw->nchw", change, axes)
