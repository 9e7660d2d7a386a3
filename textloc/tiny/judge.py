"""A small classifier of object and colour, to tell whether a generated scene is the right one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from textloc.errors import CheckpointError
from textloc.paths import CHECKPOINTS
from textloc.scenes import rendering, wording, words
from textloc.tiny.codec import to_tensor

WEIGHTS = CHECKPOINTS / "scene-judge" / "model.safetensors"


class Judge(nn.Module):
    """Pictures (N, 3, 64, 64) in [-1, 1] to object logits (N, 6) and colour logits (N, 8)."""

    def __init__(self) -> None:
        super().__init__()
        channels = (3, 16, 32, 48, 64)
        layers: list[nn.Module] = []
        for i, o in pairwise(channels):
            layers += [nn.Conv2d(i, o, 3, stride=2, padding=1), nn.BatchNorm2d(o), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.objects = nn.Linear(64 * 16, len(rendering.OBJECTS))
        self.colours = nn.Linear(64 * 16, len(rendering.COLOURS))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(pictures)
        return self.objects(features), self.colours(features)


@dataclass(frozen=True)
class Verdict:
    """What the judge sees in one picture."""

    object: str
    colour: str


def _batch(rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (N, 3, 64, 64), objects (N,) and colours (N,), -100 for a shade. Every other scene
    is of any colour, and every fourth a large picture made small."""
    drawn = [rendering.sample(rng, words.sample(rng)) for _ in range(size)]
    for row in range(0, size, 2):
        drawn[row] = replace(drawn[row], colour=wording.colour(rng))
    pictures = [
        rendering.render(s, rendering.LARGE if row % 4 > 1 else rendering.SIZE)
        for row, s in enumerate(drawn)
    ]
    colours = list(rendering.COLOURS)
    return (
        _small(pictures),
        torch.tensor([rendering.OBJECTS.index(s.object) for s in drawn]),
        torch.tensor([colours.index(s.colour) if s.colour in colours else -100 for s in drawn]),
    )


def _small(pictures: Sequence[Image.Image]) -> Tensor:
    """Pictures of any size as (N, 3, 64, 64) in [-1, 1]."""
    size = (rendering.SIZE, rendering.SIZE)
    return torch.stack([to_tensor(picture.convert("RGB").resize(size)) for picture in pictures])


def train(steps: int = 500, seed: int = 0) -> Judge:
    """Train on rendered scenes with a little noise and blur, as generated ones have."""
    torch.manual_seed(seed)
    model = Judge()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        pictures, objects, colours = _batch(np.random.default_rng((seed, 0x7D6E, step)), 64)
        pictures = pictures + 0.1 * torch.rand(len(pictures), 1, 1, 1) * torch.randn_like(pictures)
        found_objects, found_colours = model(pictures)
        loss = nn.functional.cross_entropy(found_objects, objects)
        loss = loss + nn.functional.cross_entropy(found_colours, colours)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def held_out_accuracy(model: Judge, pictures: int = 1000, seed: int = 1) -> float:
    """Share of held-out rendered scenes whose object and, but for shades, colour are right."""
    right = 0
    with torch.no_grad():
        for step in range(pictures // 100):
            batch, objects, colours = _batch(np.random.default_rng((seed, 0xE7A1, step)), 100)
            found_objects, found_colours = model(batch)
            shade = colours < 0
            both = (found_objects.argmax(1) == objects) & (
                (found_colours.argmax(1) == colours) | shade
            )
            right += int(both.sum())
    return right / (pictures // 100 * 100)


def save(model: Judge, path: Path = WEIGHTS) -> None:
    """Write the weights."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), path)


def load(path: Path = WEIGHTS) -> Judge:
    """Read the shipped weights.

    Raises:
        CheckpointError: they are not there.
    """
    from safetensors.torch import load_file

    if not path.is_file():
        raise CheckpointError(f"{path} is missing; make it with `python -m textloc.tiny judge`")
    model = Judge()
    model.load_state_dict(load_file(path))
    return model.eval()


def verdicts(model: Judge, images: Sequence[Image.Image]) -> list[Verdict]:
    """Object and colour of each picture (any size; judged at 64 x 64)."""
    with torch.no_grad():
        objects, colours = model(_small(images))
    names = list(rendering.COLOURS)
    return [
        Verdict(rendering.OBJECTS[o], names[c])
        for o, c in zip(objects.argmax(1).tolist(), colours.argmax(1).tolist(), strict=True)
    ]
