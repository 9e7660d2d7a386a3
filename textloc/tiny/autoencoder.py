"""Training of the `AutoencoderKL` that speaks the linear code of `codec.Codec`.

The encoder learns to give the code of a picture and the decoder to draw the picture of a code, each
by plain regression, so they can be trained while the denoiser is already learning on the same code.
The decoder sees codes with a little noise, as a denoiser's are never exact. When the denoiser is
trained, `Trainer.adapt` shows the decoder what that one predicts, so that it learns to draw cleanly
what comes out a little wrong.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textloc.scenes import rendering, words
from textloc.tiny.codec import Codec, to_tensor
from textloc.tiny.recipes.components import autoencoder

BATCH = 16
CODE_NOISE = 0.1
"""Largest standard deviation of the noise on the code that the decoder sees (the code has 1)."""


class Pictures(torch.utils.data.IterableDataset[Tensor]):
    """Batches (N, 3, 64, 64) of rendered scenes; batch `step` depends on (seed, step) alone."""

    def __init__(self, seed: int, first: int) -> None:
        self.seed, self.first = seed, first

    def __iter__(self) -> Any:
        torch.set_num_threads(1)
        step = self.first
        while True:
            rng = np.random.default_rng((self.seed, 0xAE, step))
            drawn = [rendering.sample(rng, words.sample(rng)) for _ in range(BATCH)]
            yield torch.stack([to_tensor(rendering.render(scene)) for scene in drawn])
            step += 1


class Trainer:
    """One run in a folder: `vae.pt` (to resume), `vae.jsonl`, `vae/` (the finished model).

    It begins with the weights of the autoencoder in the folder `start`, where one is given.
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
        self.model = autoencoder(seed).to(self.device)
        with torch.no_grad():  # a nearly deterministic posterior: log-variance -12
            self.model.quant_conv.weight[codec.basis.shape[1] :] = 0
            self.model.quant_conv.bias[codec.basis.shape[1] :] = -12
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=2e-3, betas=(0.9, 0.98), fused=True
        )
        self.step = 0
        if (out / "vae.pt").exists():
            state = torch.load(out / "vae.pt", map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
        elif start is not None:
            old = type(self.model).from_pretrained(start, torch_dtype=torch.float32)
            self.model.load_state_dict(old.state_dict())

    def train(self, steps: int | None, minutes: float | None, lr: float, decay: int = 0) -> None:
        """Train until step `steps` or for `minutes`; the rate falls over the last `decay` steps."""
        from tqdm.auto import tqdm

        loader = iter(
            torch.utils.data.DataLoader(
                Pictures(self.seed, self.step), batch_size=None, num_workers=1
            )
        )
        began = time.monotonic()
        bar = tqdm(total=steps, initial=self.step, unit="step", mininterval=5)
        total = torch.zeros(2)
        while steps is None or self.step < steps:
            if minutes is not None and time.monotonic() - began > minutes * 60:
                break
            pictures = next(loader).to(self.device)
            with torch.no_grad():
                code = self.codec.encode(pictures)
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
                strength = CODE_NOISE * torch.rand(len(code), 1, 1, 1, generator=generator)
                noise = strength * torch.randn(code.shape, generator=generator)
            rate = lr * min(1.0, (self.step + 1) / 100)
            if steps is not None and decay:
                rate *= min(1.0, (steps - self.step) / decay)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            drawn = self.model.decode(code + noise.to(self.device)).sample
            found = self.model.encode(pictures).latent_dist.mean
            draw = (drawn - pictures).abs().mean()
            find = (found - code).abs().mean()
            self.optimizer.zero_grad(set_to_none=True)
            (draw + 0.2 * find).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.step += 1
            total += torch.stack([draw.detach(), find.detach()]).cpu()
            bar.update()
            if self.step % 50 == 0:
                values = {"decode_l1": float(total[0]) / 50, "encode_l1": float(total[1]) / 50}
                bar.set_postfix({k: f"{v:.4f}" for k, v in values.items()})
                seconds = time.monotonic() - began
                with (self.out / "vae.jsonl").open("a", encoding="utf-8") as log:
                    log.write(json.dumps({"step": self.step, **values, "seconds": seconds}) + "\n")
                total = torch.zeros(2)
            if self.step % 500 == 0:
                self.save()
        bar.close()
        self.save()

    def adapt(
        self,
        predicted: Iterable[tuple[Tensor, Tensor]],
        steps: int,
        lr: float = 1e-3,
        report: int = 50,
    ) -> None:
        """Train the decoder alone on codes that the denoiser predicts; the encoder stays.

        Args:
            predicted: batches of codes (N, C, h, w) and the pictures they should give, as
                `train.Trainer.predictions` makes them. steps: batches to take. lr: falls linearly
                to 0.
        """
        from tqdm.auto import tqdm

        weights = [*self.model.decoder.parameters(), *self.model.post_quant_conv.parameters()]
        optimizer = torch.optim.AdamW(weights, lr=lr, betas=(0.9, 0.98), fused=True)
        total = 0.0
        bar = tqdm(zip(range(steps), predicted, strict=False), total=steps, mininterval=5)
        for step, (code, pictures) in bar:
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1.0, (step + 1) / 20) * (1 - step / steps)
            drawn = self.model.decode(code).sample
            loss = (drawn - pictures).abs().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            total += float(loss.detach())
            if (step + 1) % report == 0:
                bar.set_postfix({"decode_l1": f"{total / report:.4f}"})
                line = {"adapt_step": step + 1, "decode_l1": total / report}
                with (self.out / "vae.jsonl").open("a", encoding="utf-8") as log:
                    log.write(json.dumps(line) + "\n")
                total = 0.0
        self.save()

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
