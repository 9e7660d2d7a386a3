"""Training of the `AutoencoderKL` that speaks the linear code of `codec.Codec`.

The code is that of a scene drawn with 64 pixels; the decoder draws the same scene with 256, and the
encoder finds the code in the large picture. Both learn by plain regression, so they can be trained
while denoisers are already learning on the code.

The decoder sees codes with a little noise, as a denoiser's are never exact, and in every other
picture what a trained denoiser predicts (`Predicted`), so that it learns to draw cleanly what comes
out a little wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from textloc.tiny import regression
from textloc.tiny.codec import Codec
from textloc.tiny.recipes.components import autoencoder
from textloc.tiny.teacher import Teacher

CODE_NOISE = 0.1
"""Largest standard deviation of the noise on the code that the decoder sees (the code has 1)."""

HIGHEST = 0.8
"""Noise level up to which denoisers are asked what they predict."""

ENCODE_EVERY = 3
"""Steps between two of the encoder, which learns sooner."""


class Predicted:
    """What trained checkpoints predict from a noisy code; they take turns."""

    def __init__(self, folders: Sequence[Path], device: torch.device) -> None:
        self.teachers = [Teacher(folder, device) for folder in folders]

    def __call__(self, code: Tensor, prompts: list[str], step: int) -> Tensor:
        """The clean code (N, C, h, w) as one of them predicts it at noise levels up to `HIGHEST`;
        step: decides which one, the levels and the noise."""
        teacher = self.teachers[step % len(self.teachers)]
        generator = torch.Generator().manual_seed(step)
        t = HIGHEST * torch.rand(len(code), generator=generator).to(code.device)
        noise = torch.randn(code.shape, generator=generator).to(code.device)
        return teacher.predict(code, noise, t, teacher.tokenize(prompts).to(code.device))


class Trainer(regression.Trainer):
    """A run whose finished model is `vae/`, with its code.

    It begins with the weights of the autoencoder in the folder `start`, as far as they fit, where
    one is given; one of 64x64 pictures gives its four blocks.

    Args:
        predicted: gives the code of every other picture of a batch; None uses rendered ones.
    """

    NAME = "vae"

    def __init__(
        self,
        out: Path,
        codec: Codec,
        seed: int = 0,
        device: str = "cpu",
        start: Path | None = None,
        predicted: Predicted | None = None,
    ) -> None:
        self.codec, self.predicted = codec, predicted
        model = autoencoder(seed)
        with torch.no_grad():  # a nearly deterministic posterior: log-variance -12
            model.quant_conv.weight[codec.basis.shape[1] :] = 0
            model.quant_conv.bias[codec.basis.shape[1] :] = -12
        if start is not None:
            take(model, start)
        super().__init__(out, model, seed, device)

    def learn(self, batch: regression.Batch) -> tuple[Tensor, dict[str, float]]:
        """Decode, and every third time encode."""
        code = self.codec.encode(batch["small"].to(self.device))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        strength = CODE_NOISE * torch.rand(len(code), 1, 1, 1, generator=generator)
        given = code + (strength * torch.randn(code.shape, generator=generator)).to(self.device)
        if self.predicted is not None:
            given[::2] = self.predicted(code[::2], batch["prompts"][::2], self.step)
        loss, error = self.drawn(self.model.decode(given).sample, batch)
        errors = {"decode_l1": error}
        if self.step % ENCODE_EVERY == 0:
            large = batch["large"].to(self.device)
            find = (self.model.encode(large).latent_dist.mean - code).abs().mean()
            loss = loss + 0.2 * find
            errors["encode_l1"] = float(find.detach())
        return loss, errors

    def save(self) -> None:
        """Write the state, the model and its code."""
        super().save()
        self.codec.save(self.out / "vae" / "codec.safetensors")


def take(model: Any, start: Path) -> None:
    """Load the weights that fit from an autoencoder. Blocks are counted from the code outward: the
    decoder's from the first, the encoder's from the last."""
    old = type(model).from_pretrained(start, torch_dtype=torch.float32)
    more = len(model.encoder.down_blocks) - len(old.encoder.down_blocks)
    own, fits = model.state_dict(), {}
    for name, value in old.state_dict().items():
        moved = re.sub(
            r"(encoder\.down_blocks\.)(\d+)", lambda m: f"{m[1]}{int(m[2]) + more}", name
        )
        if moved in own and own[moved].shape == value.shape:
            fits[moved] = value
    model.load_state_dict(fits, strict=False)
