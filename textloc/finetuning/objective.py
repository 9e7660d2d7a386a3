"""The loss that a checkpoint's scheduler asks for.

Noise prediction, v-prediction (Salimans and Ho, ICLR 2022) and prediction of the clean picture on
the scheduler's discrete noise levels, and flow matching (Lipman et al., ICLR 2023), where the
denoiser gives the velocity noise - picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from textloc.errors import TrainingError


@dataclass(frozen=True)
class Noised:
    """A batch to learn from: the noisy latents (N, ...), the denoiser's time (N,), and the output
    (N, ...) that would be right."""

    latents: Tensor
    time: Tensor
    wanted: Tensor


class Objective:
    """How pictures are noised and what is to be predicted; by the pipeline's scheduler.

    Raises:
        TrainingError: a scheduler whose prediction is not known.
    """

    def __init__(
        self, scheduler: Any, noise_levels: str | None = None, shift: float | None = None
    ) -> None:
        """shift: of flow matching, towards noise (`conditions.shift`); None takes the scheduler's,
        or none where that leaves it to the call."""
        from diffusers import DDPMScheduler

        config = scheduler.config
        self.flow = hasattr(scheduler, "scale_noise")
        self.levels = noise_levels or ("logit-normal" if self.flow else "uniform")
        self.prediction = "flow" if self.flow else config.get("prediction_type", "epsilon")
        if self.prediction not in ("flow", "epsilon", "v_prediction", "sample"):
            raise TrainingError(
                f"{type(scheduler).__name__} predicts {self.prediction!r}; textloc trains epsilon, "
                "v_prediction, sample and flow matching"
            )
        self.times = int(config.num_train_timesteps)
        of_call = not self.flow or config.get("use_dynamic_shifting")
        self.shift = shift or (1.0 if of_call else float(config.get("shift", 1.0) or 1.0))
        # whatever steps through the levels at inference, they are those of DDPM
        self.ddpm = None if self.flow else DDPMScheduler.from_config(config)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Noise levels (N,) in (0, 1]; 1 is pure noise."""
        even = 1 - torch.rand(count, generator=generator)
        if self.levels == "logit-normal":
            return torch.sigmoid(torch.randn(count, generator=generator)).clamp(1e-4, 1)
        if self.levels == "high":
            high = torch.rand(count, generator=generator) < 0.7
            return torch.where(high, 0.6 + 0.4 * even, even)
        return even

    def noised(self, clean: Tensor, noise: Tensor, levels: Tensor) -> Noised:
        """Mix clean latents with noise of the same shape at levels (N,)."""
        if self.flow:
            sigma = self.shift * levels / (1 + (self.shift - 1) * levels)
            share = sigma.view(-1, *[1] * (clean.ndim - 1)).to(clean)
            times = sigma.to(clean.device) * self.times
            return Noised((1 - share) * clean + share * noise, times, noise - clean)
        assert self.ddpm is not None
        time = ((levels * self.times).ceil().long() - 1).clamp(0, self.times - 1)
        time = time.to(clean.device)
        mixed = self.ddpm.add_noise(clean, noise, time)
        wanted = clean
        if self.prediction == "epsilon":
            wanted = noise
        elif self.prediction == "v_prediction":
            wanted = self.ddpm.get_velocity(clean, noise, time)
        return Noised(mixed, time, wanted)

    def loss(self, output: Tensor, batch: Noised, weight: Tensor) -> Tensor:
        """Mean square error of each sample (N,), in float32, weighted over places: (N, h, w), or
        (N, L) where the latents are packed, (N, L, C).

        An output of twice the channels also predicts a variance (DeepFloyd IF), which LoRA leaves
        to the checkpoint.
        """
        axis = 1 if batch.wanted.ndim == 4 else -1
        channels = batch.wanted.shape[axis]
        if output.shape[axis] == 2 * channels:
            output = output.narrow(axis, 0, channels)
        square = (output.float() - batch.wanted.float()).square().mean(axis)
        weight = weight.float()
        return (square * weight).flatten(1).sum(1) / weight.flatten(1).sum(1)
