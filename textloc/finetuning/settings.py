"""What a fine-tune is asked to do."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from textloc.errors import TrainingError
from textloc.results.identity import canonical

TARGETS = ("q", "k", "v", "out")
"""Projections of an attention that LoRA can change: queries, keys, values, output."""

NOISE_LEVELS = ("uniform", "logit-normal", "high")
"""How noise levels are drawn. `high`: 70 % of them from the upper 40 %, where it is decided which
letter stands where, the rest uniform."""

PRECISIONS = ("no", "fp16", "bf16")
OPTIMIZERS = ("adamw", "adamw8bit")


@dataclass(frozen=True)
class Settings:
    """What the weights depend on; equal settings, data and steps give equal weights on one machine.

    layers: text layers that are trained, from 0; None trains every attention of the denoiser, that
    of the picture to itself too. targets: of `TARGETS`. rank: of the LoRA; its alpha is the same,
    so its scale is 1. steps: of the optimiser. batch: samples a step, over all processes. lr: peak
    rate, after `warmup` steps of linear warm-up; `decay` lets it fall to 0 along a cosine.
    weight_decay: of AdamW. drop: share of samples trained without their caption, for guidance.
    ema: decay of the averaged weights, which are those that are written. noise_levels: of
    `NOISE_LEVELS`, None the scheduler's usual (uniform, or logit-normal for flow matching).
    resolution: side of the pictures in pixels; None takes the checkpoint's. seed: of weights,
    order, noise. text_weight: weight in the loss of where the text is, the rest weighs 1; 1 is the
    paper's plain loss. held_out: samples kept from training, for validation.

    Raises:
        TrainingError: a value outside of its range.
    """

    layers: tuple[int, ...] | None
    targets: tuple[str, ...] = TARGETS
    rank: int = 16
    steps: int = 1000
    batch: int = 16
    lr: float = 1e-4
    warmup: int = 50
    decay: bool = False
    weight_decay: float = 0.01
    drop: float = 0.1
    ema: float = 0.99
    noise_levels: str | None = None
    resolution: int | None = None
    mixed_precision: str = "no"
    optimizer: str = "adamw"
    seed: int = 0
    text_weight: float = 1.0
    held_out: int = 16

    def __post_init__(self) -> None:
        if self.layers is not None and not self.layers:
            raise TrainingError("name at least one layer to train, such as 8-10")
        known = {
            "targets": (self.targets, TARGETS),
            "noise levels": ((self.noise_levels or "uniform",), NOISE_LEVELS),
            "mixed precision": ((self.mixed_precision,), PRECISIONS),
            "optimizer": ((self.optimizer,), OPTIMIZERS),
        }
        for name, (given, allowed) in known.items():
            strange = [value for value in given if value not in allowed]
            if strange or not given:
                asked = ", ".join(strange) or "nothing"
                raise TrainingError(f"{name}: {asked} is not known; use {', '.join(allowed)}")
        for name, least in (("rank", 1), ("steps", 1), ("batch", 1), ("warmup", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise TrainingError(f"{name} is {getattr(self, name)}; it is at least {least}")
        if self.held_out < 0:
            raise TrainingError(f"held_out is {self.held_out}; it is at least 0")
        if not self.lr > 0:
            raise TrainingError(f"the learning rate is {self.lr}; it is greater than 0, say 1e-4")
        if not 1 <= self.text_weight <= 100:
            raise TrainingError(f"text_weight is {self.text_weight}; it lies in 1 to 100")
        for name in ("drop", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; it lies in [0, 1)")
        if self.resolution is not None and not 8 <= self.resolution <= 4096:
            raise TrainingError(f"the resolution {self.resolution} is no side of 8 to 4096 pixels")

    def rate(self, step: int) -> float:
        """Learning rate of step `step`, from 1."""
        import math

        warm = min(1.0, step / self.warmup) if self.warmup else 1.0
        if not self.decay:
            return self.lr * warm
        rest = max(1, self.steps - self.warmup)
        done = min(1.0, max(0, step - self.warmup) / rest)
        return self.lr * warm * 0.5 * (1 + math.cos(math.pi * done))

    def described(self) -> dict[str, Any]:
        """As JSON holds it."""
        found = asdict(self)
        return found | {
            "layers": None if self.layers is None else list(self.layers),
            "targets": list(self.targets),
        }

    def digest(self, *others: str) -> str:
        """Hash of all but the number of steps, which a resumed run may raise."""
        said = {k: v for k, v in self.described().items() if k != "steps"}
        text = canonical(said) + "\n" + "\n".join(others)
        return hashlib.sha256(text.encode()).hexdigest()
