"""A picture of one's own as a run: the batch follows the picture's way from noise.

A run that follows a picture begins from its seed's noise. After every step the row of the source
prompt is put where the picture, mixed with that same noise, is at that noise level; the difference
between where it had come and where it is put, its correction, is added to every other row of the
picture. So the source row ends as the picture itself whatever its prompt, and the other rows differ
from it by what their patches do. Where a row has come to differ, the correction fades: there it
would draw the strokes of the source's letters into the edit's (measured in `LOG.md`).

That the difference is carried over from the source's branch is Direct Inversion (Ju et al., ICLR
2024); that the way is not found by inverting the model but given by adding noise is edit-friendly
DDPM inversion (Huberman-Spiegelglas et al., CVPR 2024) and, for flow matching, FlowEdit (Kulikov et
al., ICCV 2025). Only the scheduler's own noising is used, so it is one mechanism for all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from PIL import Image
from torch import Tensor

from textloc.checkpoints.latents import between_steps, noised
from textloc.runs import Run, Sampling

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model

FADE = 1.0
"""No correction is added where a row differs from the source's, root mean square over channels, by
so many standard deviations of the picture's latents; half of it at half of that."""


@dataclass(frozen=True)
class FromPicture:
    """Follow a picture (a `runs.Control`).

    source: the run, without control or patches, whose prompt describes the picture. digest: of the
    pixels. picture: RGB, of the size that the call makes. corrections: filled by each call, by
    step: the length of the correction over that of the step, 0 for a picture that the model would
    have made from this noise.
    """

    source: Run
    digest: str
    picture: Image.Image = field(compare=False, repr=False)
    corrections: list[float] = field(default_factory=list, compare=False, repr=False)
    LEAN: ClassVar[bool] = True

    @property
    def leader(self) -> Run:
        """The source run, which becomes the picture."""
        return replace(self.source, control=self)

    @staticmethod
    @contextmanager
    def around(
        model: Model, batch: Sequence[Run], rows: Sequence[int], sampling: Sampling
    ) -> Iterator[None]:
        """Lead these rows of the batch along their pictures."""
        followed: dict[FromPicture, list[int]] = {}
        for row in rows:
            control = batch[row].control
            assert isinstance(control, FromPicture)
            followed.setdefault(control, []).append(row)
        leaders = {control: list(batch).index(control.leader) for control in followed}
        pictures = [control.picture for control in followed]
        clean = model.family.encode(model.pipe, pictures, sampling)
        for control in followed:
            control.corrections.clear()
        noise: dict[FromPicture, Tensor] = {}

        def follow(step: int, before: Tensor, after: Tensor) -> Tensor:
            scheduler = model.pipe.scheduler
            moved = after.clone()
            for number, (control, group) in enumerate(followed.items()):
                leader = slice(leaders[control], leaders[control] + 1)
                if step == 0:  # what the call began with, at the size that the scheduler wants
                    scale = getattr(scheduler, "init_noise_sigma", 1.0)
                    noise[control] = before[leader] / scale
                target = clean[number : number + 1].to(after)
                target = noised(scheduler, target, noise[control], step + 1).to(after.dtype)
                correction = target - after[leader]
                share = _share(after[group] - after[leader], clean[number])
                moved[group] = after[group] + share * correction
                moved[leader] = target
                way = float((target - before[leader]).norm())
                control.corrections.append(float(correction.norm()) / way if way else 0.0)
            return moved

        with between_steps(model.pipe, follow):
            yield


def followed(batch: Sequence[Run]) -> list[FromPicture]:
    """The pictures that rows of a call follow, each once; the call notes its corrections there."""
    controls = [run.control for run in batch if isinstance(run.control, FromPicture)]
    return list(dict.fromkeys(controls))


def _share(differences: Tensor, clean: Tensor) -> Tensor:
    """Shares in [0, 1] of the correction for rows that differ so from the source's, (N, C, h, w) or
    packed (N, L, C); `clean` (C, h, w) or (L, C) are the picture's latents."""
    channels = 1 if differences.ndim == 4 else -1
    size = differences.square().mean(channels, keepdim=True).sqrt()
    return (1 - size / (FADE * clean.std())).clamp(0, 1)


def follow(picture: Image.Image, source: Run, sampling: Sampling) -> Run:
    """The source run that becomes the picture.

    Args:
        picture: RGB, of the call's size (`fit`). source: its prompt describes the picture; its seed
            is that of the noise.
    """
    pixels = hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()
    return FromPicture(source.plain, f"sha256:{pixels}", picture).leader


def poor(corrections: Sequence[float]) -> bool:
    """Whether the model would hardly have made this picture from this prompt: the median correction
    is as long as the step itself."""
    if not corrections:
        return False
    return float(torch.tensor(corrections).median()) > 1.0
