"""Training of networks that draw one right picture, by plain regression: the autoencoder of the
picture code, and the second stage of DeepFloyd IF."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from textloc.scenes import rendering, wording, words
from textloc.tiny.codec import PATCH, to_tensor
from textloc.tiny.denormals import flushed

BATCH = 8
EDGES = 2.0
"""Weight of the error of the differences between neighbouring pixels beside that of the pixels."""

WORD = 4.0
"""Weight of the patches that the word touches beside that of the others: what is looked at first is
whether the letters are sharp."""

Batch = dict[str, Any]


class Pictures(torch.utils.data.IterableDataset[Batch]):
    """Batches of rendered scenes, of which number `step` depends on (seed, step) alone: small
    (N, 3, 64, 64) and large (N, 3, 256, 256) in [-1, 1], which patches the word touches (N, 8, 8),
    and their prompts."""

    def __init__(self, seed: int, first: int) -> None:
        self.seed, self.first = seed, first

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        step = self.first
        while True:
            rng = np.random.default_rng((self.seed, 0xAE, step))
            drawn = [rendering.sample(rng, words.sample(rng)) for _ in range(BATCH)]
            for row in range(1, BATCH, 2):  # the other rows are those that a denoiser predicts
                drawn[row] = replace(drawn[row], colour=wording.colour(rng))
            large = [to_tensor(rendering.render(s, rendering.LARGE)) for s in drawn]
            word = [rendering.text_region(s, PATCH) for s in drawn]
            yield {
                "small": torch.stack([to_tensor(rendering.render(s)) for s in drawn]),
                "large": torch.stack(large),
                "word": torch.from_numpy(np.stack(word)),
                "prompts": [scene.prompt for scene in drawn],
            }
            step += 1


class Trainer(ABC):
    """One run in a folder: `NAME.pt` (to resume), `NAME.jsonl`, `NAME/` (the finished model)."""

    NAME: ClassVar[str]

    def __init__(self, out: Path, model: torch.nn.Module, seed: int, device: str) -> None:
        self.out, self.seed, self.device = out, seed, torch.device(device)
        out.mkdir(parents=True, exist_ok=True)
        # a core does a third as many again in this order of memory
        self.model: Any = model.to(self.device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=2e-3, betas=(0.9, 0.98), fused=True
        )
        self.step = 0
        if (out / f"{self.NAME}.pt").exists():
            state = torch.load(out / f"{self.NAME}.pt", map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]

    @abstractmethod
    def learn(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The loss of one step, and errors by name for the log."""

    @flushed()
    def train(
        self,
        steps: int | None,
        minutes: float | None,
        lr: float,
        decay: int = 0,
        report: int = 50,
    ) -> None:
        """Train until step `steps` or for `minutes`; the rate falls over the last `decay` steps."""
        from tqdm.auto import tqdm

        loader = iter(
            torch.utils.data.DataLoader(
                Pictures(self.seed, self.step), batch_size=None, num_workers=1
            )
        )
        began = saved = time.monotonic()
        bar = tqdm(total=steps, initial=self.step, unit="step", mininterval=5)
        seen: dict[str, list[float]] = {}
        while steps is None or self.step < steps:
            now = time.monotonic()
            if minutes is not None and now - began > minutes * 60:
                break
            rate = lr * min(1.0, (self.step + 1) / 100)
            if steps is not None and decay:
                rate *= min(1.0, (steps - self.step) / decay)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            for name, value in self._step(next(loader)).items():
                seen.setdefault(name, []).append(value)
            self.step += 1
            bar.update()
            if self.step % report == 0:
                means = {name: sum(values) / len(values) for name, values in seen.items()}
                bar.set_postfix({name: f"{value:.4f}" for name, value in means.items()})
                line = {"step": self.step, **means, "seconds": now - began}
                with (self.out / f"{self.NAME}.jsonl").open("a", encoding="utf-8") as log:
                    log.write(json.dumps(line) + "\n")
                seen = {}
            if now - saved > 300:
                self.save()
                saved = now
        bar.close()
        self.save()

    def _step(self, batch: Batch) -> dict[str, float]:
        loss, errors = self.learn(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return errors

    def save(self) -> None:
        """Write the state and the model."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        torch.save(state, self.out / f"{self.NAME}.tmp")
        (self.out / f"{self.NAME}.tmp").replace(self.out / f"{self.NAME}.pt")
        self.model.save_pretrained(self.out / self.NAME)

    def drawn(self, picture: Tensor, batch: Batch) -> tuple[Tensor, float]:
        """The loss of a drawn picture (N, 3, 256, 256) beside the batch's, and its mean absolute
        error."""
        large = batch["large"].to(self.device)
        error = picture - large
        weight = weights(batch["word"].to(self.device), large.shape[-1])
        loss = (error.abs() * weight).mean() + EDGES * edges(error, weight)
        return loss, float(error.detach().abs().mean())


def weights(word: Tensor, size: int) -> Tensor:
    """`WORD` where the word touches (N, h, w), else 1; of mean 1, as (N, 1, size, size)."""
    weight = 1 + (WORD - 1) * word[:, None].float()
    weight = weight / weight.mean((2, 3), keepdim=True)
    return torch.nn.functional.interpolate(weight, (size, size))


def edges(error: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours, along rows and columns, of an
    error (N, 3, H, W) in [-2, 2]."""
    across = (error[..., 1:] - error[..., :-1]).abs() * weight[..., 1:]
    down = (error[..., 1:, :] - error[..., :-1, :]).abs() * weight[..., 1:, :]
    return across.mean() + down.mean()
