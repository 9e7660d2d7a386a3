"""Training of the `AutoencoderKL` that speaks the linear code of `codec.Codec`.

The code is that of a scene drawn with 64 pixels; the decoder draws the same scene with 256, and the
encoder finds the code in the large picture. Both learn by plain regression, so they can be trained
while denoisers are already learning on the code.

The decoder sees codes with a little noise, as a denoiser's are never exact, and in every other
picture what a trained denoiser predicts (`Predicted`), so that it learns to draw cleanly what comes
out a little wrong.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textloc.scenes import rendering, wording, words
from textloc.tiny.codec import Codec, to_tensor
from textloc.tiny.recipes.components import autoencoder
from textloc.tiny.teacher import Teacher

BATCH = 8
CODE_NOISE = 0.1
"""Largest standard deviation of the noise on the code that the decoder sees (the code has 1)."""

HIGHEST = 0.8
"""Noise level up to which denoisers are asked what they predict."""

EDGES = 2.0
"""Weight of the error of the differences between neighbouring pixels beside that of the pixels."""

ENCODE_EVERY = 3
"""Steps between two of the encoder, which learns sooner."""

Batch = dict[str, Any]


class Pictures(torch.utils.data.IterableDataset[Batch]):
    """Batches of rendered scenes, of which number `step` depends on (seed, step) alone: small
    (N, 3, 64, 64) and large (N, 3, 256, 256) in [-1, 1], and their prompts."""

    def __init__(self, seed: int, first: int) -> None:
        self.seed, self.first = seed, first

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        step = self.first
        while True:
            rng = np.random.default_rng((self.seed, 0xAE, step))
            drawn = [rendering.sample(rng, words.sample(rng)) for _ in range(BATCH)]
            for row in range(1, BATCH, 2):  # the other rows are those of `Predicted`
                drawn[row] = replace(drawn[row], colour=wording.colour(rng))
            yield {
                "small": torch.stack([to_tensor(rendering.render(s)) for s in drawn]),
                "large": torch.stack(
                    [to_tensor(rendering.render(s, rendering.LARGE)) for s in drawn]
                ),
                "prompts": [scene.prompt for scene in drawn],
            }
            step += 1


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


class Trainer:
    """One run in a folder: `vae.pt` (to resume), `vae.jsonl`, `vae/` (the finished model).

    It begins with the weights of the autoencoder in the folder `start`, as far as they fit, where
    one is given; one of 64x64 pictures gives its four blocks.
    """

    def __init__(
        self,
        out: Path,
        codec: Codec,
        seed: int = 0,
        device: str = "cpu",
        start: Path | None = None,
    ) -> None:
        self.out, self.codec, self.seed = out, codec, seed
        self.device = torch.device(device)
        out.mkdir(parents=True, exist_ok=True)
        self.model = autoencoder(seed)
        with torch.no_grad():  # a nearly deterministic posterior: log-variance -12
            self.model.quant_conv.weight[codec.basis.shape[1] :] = 0
            self.model.quant_conv.bias[codec.basis.shape[1] :] = -12
        if start is not None:
            self._take(start)
        self.model.to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=2e-3, betas=(0.9, 0.98), fused=True
        )
        self.step = 0
        if (out / "vae.pt").exists():
            state = torch.load(out / "vae.pt", map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]

    def _take(self, start: Path) -> None:
        """The weights that fit. Blocks are counted from the code outward: the decoder's from the
        first, the encoder's from the last."""
        old = type(self.model).from_pretrained(start, torch_dtype=torch.float32)
        more = len(self.model.encoder.down_blocks) - len(old.encoder.down_blocks)
        own, fits = self.model.state_dict(), {}
        for name, value in old.state_dict().items():
            moved = re.sub(
                r"(encoder\.down_blocks\.)(\d+)", lambda m: f"{m[1]}{int(m[2]) + more}", name
            )
            if moved in own and own[moved].shape == value.shape:
                fits[moved] = value
        self.model.load_state_dict(fits, strict=False)

    def train(
        self,
        steps: int | None,
        minutes: float | None,
        lr: float,
        decay: int = 0,
        predicted: Predicted | None = None,
        report: int = 50,
    ) -> None:
        """Train until step `steps` or for `minutes`; the rate falls over the last `decay` steps.

        Args:
            predicted: gives the code of every other picture of a batch; None uses rendered ones.
        """
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
            for name, value in self._learn(next(loader), predicted).items():
                seen.setdefault(name, []).append(value)
            self.step += 1
            bar.update()
            if self.step % report == 0:
                means = {name: sum(values) / len(values) for name, values in seen.items()}
                bar.set_postfix({name: f"{value:.4f}" for name, value in means.items()})
                line = {"step": self.step, **means, "seconds": now - began}
                with (self.out / "vae.jsonl").open("a", encoding="utf-8") as log:
                    log.write(json.dumps(line) + "\n")
                seen = {}
            if now - saved > 300:
                self.save()
                saved = now
        bar.close()
        self.save()

    def _learn(self, batch: Batch, predicted: Predicted | None) -> dict[str, float]:
        """One step; the errors by name."""
        small, large = batch["small"].to(self.device), batch["large"].to(self.device)
        code = self.codec.encode(small)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        strength = CODE_NOISE * torch.rand(len(code), 1, 1, 1, generator=generator)
        given = code + (strength * torch.randn(code.shape, generator=generator)).to(self.device)
        if predicted is not None:
            given[::2] = predicted(code[::2], batch["prompts"][::2], self.step)
        drawn = self.model.decode(given).sample
        draw = (drawn - large).abs().mean()
        loss = draw + EDGES * edges(drawn, large)
        errors = {"decode_l1": float(draw.detach())}
        if self.step % ENCODE_EVERY == 0:
            find = (self.model.encode(large).latent_dist.mean - code).abs().mean()
            loss = loss + 0.2 * find
            errors["encode_l1"] = float(find.detach())
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
        torch.save(state, self.out / "vae.tmp")
        (self.out / "vae.tmp").replace(self.out / "vae.pt")
        self.model.save_pretrained(self.out / "vae")
        self.codec.save(self.out / "vae" / "codec.safetensors")


def edges(drawn: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours, along rows and columns."""
    error = drawn - wanted
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return across + down
