"""The picture code that the tiny checkpoints denoise, and the autoencoder that speaks it.

The code is linear: principal components of 8x8 patches, scaled by one number to unit variance. It
is fitted in seconds, so a denoiser can start training at once; the `AutoencoderKL` that ships is
trained beside it to encode to and decode from this very code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from textloc.scenes import rendering, words

PATCH = 8
CHANNELS = 48


@dataclass(frozen=True)
class Codec:
    """A linear code of pictures.

    mean: (192,) mean patch; basis: (192, C) orthonormal columns; scale: to unit variance of all
    components together; spread: (C,) standard deviation of each component of the code.
    """

    mean: Tensor
    basis: Tensor
    scale: float
    spread: Tensor

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [-1, 1] to code (N, C, H/8, W/8)."""
        n, _, h, w = pictures.shape
        patches = torch.nn.functional.unfold(pictures, PATCH, stride=PATCH)  # (N, 192, L)
        code = torch.einsum("npl,pc->ncl", patches - self.mean[:, None], self.basis)
        return code.reshape(n, -1, h // PATCH, w // PATCH) * self.scale

    def decode(self, code: Tensor) -> Tensor:
        """Code (N, C, h, w) to pictures (N, 3, 8h, 8w); the best linear reconstruction."""
        n, c, h, w = code.shape
        flat = code.reshape(n, c, h * w) / self.scale
        patches = torch.einsum("ncl,pc->npl", flat, self.basis) + self.mean[:, None]
        size = (h * PATCH, w * PATCH)
        return torch.nn.functional.fold(patches, size, PATCH, stride=PATCH)

    def save(self, path: Path) -> None:
        """Write the code as safetensors."""
        from safetensors.torch import save_file

        tensors = {"mean": self.mean, "basis": self.basis, "scale": torch.tensor([self.scale])}
        tensors["spread"] = self.spread
        save_file({k: v.contiguous() for k, v in tensors.items()}, path)

    @classmethod
    def load(cls, path: Path) -> Codec:
        """Read what `save` wrote."""
        from safetensors.torch import load_file

        tensors = load_file(path)
        return cls(tensors["mean"], tensors["basis"], float(tensors["scale"][0]), tensors["spread"])


@dataclass(frozen=True)
class Pixels:
    """The code of denoisers without an autoencoder: the picture itself."""

    spread: Tensor = field(default_factory=lambda: torch.ones(3))
    scale: float = 1.0

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [-1, 1] as they are."""
        return pictures

    def decode(self, code: Tensor) -> Tensor:
        """The same."""
        return code


def to_tensor(image: object) -> Tensor:
    """A PIL picture to (3, H, W) float32 in [-1, 1]."""
    array = np.asarray(image, dtype=np.float32) / 127.5 - 1
    return torch.from_numpy(array).permute(2, 0, 1)


def fit(seed: int = 0, pictures: int = 4000) -> Codec:
    """Fit the code on rendered scenes."""
    rng = np.random.default_rng((seed, 0xC0DEC))
    batch = torch.stack(
        [
            to_tensor(rendering.render(rendering.sample(rng, words.sample(rng))))
            for _ in range(pictures)
        ]
    )
    patches = torch.nn.functional.unfold(batch, PATCH, stride=PATCH)  # (N, 192, L)
    flat = patches.permute(0, 2, 1).reshape(-1, patches.shape[1]).double()
    mean = flat.mean(0)
    _, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean) / len(flat))
    basis = vectors.flip(1)[:, :CHANNELS]
    sign = torch.where(basis.sum(0) < 0, -1.0, 1.0)  # eigenvectors have no sign of their own
    basis = basis * sign
    code = (flat - mean) @ basis
    scale = 1 / float(code.std())
    return Codec(mean.float(), basis.float(), scale, (code.std(0) * scale).float())
