"""Training of the tiny denoisers, from scratch or from a shipped checkpoint.

What decides whether a small model learns to spell is which noise levels it is trained on: letters
show through a half-noised picture, so only high noise teaches which letter goes where. Most steps
are therefore drawn there, and the loss is that of the clean picture (x0) over the noise variance,
the latter at least `LEAST_VARIANCE`. The number to watch is the *letter ratio*: the loss given
another word's letters over the loss given the right ones, at pure noise. It is 1 while the model
ignores the word.

Two more things make the letters come sooner. Training begins with one plain scene and words of two
letters, where a letter has nearly a fixed place, and grows from there (`data.stage`); begun with
all scenes, not one letter was learned from ten times as many pictures. The patches that the word
touches weigh more in the loss (`data.TEXT_WEIGHT`): the background would drown the letters' share
of the gradient. What the prompt leaves open is told by the noise (`coupling`).

Three auxiliary heads, which are not part of the checkpoint, say directly what is to be learned: one
reads from the text states of a letter its place in the word, one from all text states which object
and which colour the prompt names, and one from the U-Net's last features which letter stands at
each place. Without them the letters are found only after some hundred thousand pictures; their
weight is `AUXILIARY`.

Batches are pairs of prompts that share the scene and not the word. Each prompt takes the *pooled*
text state of its partner, so the pooled path learns the scene and leaves the letters to
cross-attention.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from textloc.errors import CheckpointError
from textloc.paths import WORDS
from textloc.scenes import words
from textloc.tiny import coupling, warm
from textloc.tiny.codec import Codec, Pixels, fit
from textloc.tiny.data import BLANK, COLOURS, OBJECTS, PLACES, STRIPS, Batches, Settings
from textloc.tiny.denormals import flushed
from textloc.tiny.recipes import RECIPES, Recipe
from textloc.tiny.teacher import LEAST, Teacher, code_of

LEAST_VARIANCE = 0.1
"""Bounds the weight of slightly noised samples. At 0.4 the words are learned, but pictures stay
grainy for thousands of steps: nothing then teaches the last steps of denoising."""

AUXILIARY = 0.2
"""Weight of each auxiliary cross-entropy (nats) beside the loss."""


IMITATION = 1500
"""Batches of prompts from which the text encoder of another family learns at a warm start."""

BETAS = (0.9, 0.98)
AVERAGE_EVERY = 4
"""Steps between two updates of the averaged weights."""


def swap_partners(rows: Tensor) -> Tensor:
    """Exchange rows 0 and 1, 2 and 3, …"""
    swapped: Tensor = rows.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
    return swapped


class Model(torch.nn.Module):
    """The parts of a pipeline as one trainable module, called as the pipeline calls them."""

    component_weight: Tensor

    def __init__(self, recipe: Recipe, parts: dict[str, Any], codec: Codec | Pixels) -> None:
        super().__init__()
        self.recipe = recipe
        for name, part in parts.items():
            if isinstance(part, torch.nn.Module):
                self.add_module(name, part)
        self.parts = parts
        self.place_head = torch.nn.Linear(recipe.states, PLACES)
        module, channels = recipe.features
        self.letter_head = torch.nn.Conv2d(channels, STRIPS * (BLANK + 1), 1)
        self.named_head = torch.nn.Linear(recipe.states, len(OBJECTS) + len(COLOURS))
        self._features = torch.empty(0)
        self.get_submodule(module).register_forward_hook(self._keep)
        self._unseen: tuple[Tensor, Tensor] | None = None  # rows dropped and hidden, in training
        if recipe.pooled_module is not None:
            self.get_submodule(recipe.pooled_module).register_forward_hook(self._exchange)
        # a component counts by its spread, not its variance: strokes of letters vary far less
        # than the colour of the background, which nobody can predict
        weight = 1 / codec.spread
        weight = weight / (weight * codec.spread.square()).mean()
        self.register_buffer("component_weight", weight[:, None, None], persistent=False)

    def _keep(self, _block: object, _args: object, output: Any) -> None:
        self._features = self.recipe.picture_features(output)

    def predict(
        self, code: Tensor, tokens: Tensor, t: Tensor, drop: Tensor, hide: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The clean code (N, C, h, w) predicted from `code` noised to level t, and the text states
        (N, L, D) before any is dropped; the pooled state is a partner's, or hidden."""
        told, pooled = self.recipe.text(self, tokens)
        states = told if self.recipe.empty else told.masked_fill(drop[:, None, None], 0)
        self._unseen = drop, hide
        if pooled is not None:
            pooled = self._partners(pooled)
        noisy, _, level, time_ = self.noised(code, t, noise)
        output = self.recipe.denoise(self, noisy, time_, states, pooled)
        self._unseen = None
        return self.recipe.clean(output, noisy, level[:, None, None, None]), told

    def noised(
        self, code: Tensor, t: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The code (N, C, h, w) at noise level t, its shares of signal and noise, and the
        denoiser's time, (N,) each."""
        signal, level, time_ = self.recipe.level(self.parts, t)
        noisy = signal[:, None, None, None] * code + level[:, None, None, None] * noise
        return noisy, signal, level, time_

    def _partners(self, pooled: Tensor) -> Tensor:
        """Pooled states (N, P) of the partners, or hidden; a dropped row's is that of no text."""
        assert self._unseen is not None
        drop, hide = self._unseen
        seen = swap_partners(pooled).masked_fill(hide[:, None], 0)
        unconditional = pooled if self.recipe.empty else torch.zeros_like(pooled)
        return torch.where(drop[:, None], unconditional, seen)

    def _exchange(self, _module: object, _args: object, pooled: Tensor) -> Tensor:
        return pooled if self._unseen is None else self._partners(pooled)

    def loss(
        self,
        code: Tensor,
        tokens: Tensor,
        t: Tensor,
        drop: Tensor,
        hide: Tensor,
        weight: Tensor,
        noise: Tensor,
        places: Tensor,
        letters: Tensor,
        named: Tensor,
        target: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x0 loss per sample (N,), weighted by patch and by 1 / max(sigma^2, 0.1); and the mean
        cross-entropies of places, of letters, over conditioned samples with t >= 0.6, and of what
        is named.

        target: what to predict instead of `code`, (N, C, h, w).
        """
        clean, states = self.predict(code, tokens, t, drop, hide, noise)
        place = functional.cross_entropy(self.place_head(states).flatten(0, 1), places.flatten())
        goal = code if target is None else target
        error = ((clean - goal).square() * self.component_weight).mean(1)  # (N, h, w)
        weight = functional.interpolate(weight[:, None], error.shape[1:]).squeeze(1)
        told = self.letter_head(self._features).unflatten(1, (STRIPS, -1)).transpose(1, 2)
        judged = letters.masked_fill((drop | (t < 0.6))[:, None, None, None], -100)
        letter = functional.cross_entropy(told, judged, reduction="sum") / (
            judged >= 0
        ).sum().clamp(1)
        scale = self.recipe.level(self.parts, t)[1].square().clamp(min=LEAST_VARIANCE)
        return (error * weight).mean((1, 2)) / scale, place, letter, self._named(states, named)

    def _named(self, states: Tensor, named: Tensor) -> Tensor:
        """Mean cross-entropy of objects and colours (N, 2), of which some token of a prompt, with
        states (N, L, D), has to tell."""
        told = self.named_head(states).logsumexp(1).split((len(OBJECTS), len(COLOURS)), 1)
        losses = [
            functional.cross_entropy(logits, named[:, kind], reduction="sum")
            for kind, logits in enumerate(told)
        ]
        loss: Tensor = sum(losses, torch.zeros(())) / (named >= 0).sum().clamp(1)
        return loss


def letter_ratio(model: Model, batch: dict[str, Tensor], noise: Tensor) -> float:
    """Loss of the word's patches at pure noise, given the partner's word over given the right one.

    1 means that the letters are not used; it grows with spelling.
    """
    ones = torch.ones_like(batch["t"])
    keep = torch.zeros_like(batch["drop"])
    with torch.no_grad():
        rest = {"t": ones, "drop": keep, "hide": keep, "weight": batch["weight"] - 1}
        rest |= {"noise": noise, **{k: batch[k] for k in ("places", "letters", "named")}}
        right = model.loss(batch["code"], batch["tokens"], **rest)[0].mean()
        wrong = model.loss(batch["code"], swap_partners(batch["tokens"]), **rest)[0].mean()
    return float(wrong / right)


def _keep_code(codec: Codec | Pixels, file: Path) -> None:
    if isinstance(codec, Codec):
        codec.save(file)


class Trainer:
    """One training run in a folder: `state.pt` (to resume), `log.jsonl`, `samples/`."""

    def __init__(
        self,
        out: Path,
        settings: Settings,
        device: str = "cpu",
        start: Path | None = None,
        teacher: Path | None = None,
    ) -> None:
        self.out, self.settings, self.device = out, settings, torch.device(device)
        out.mkdir(parents=True, exist_ok=True)
        self.recipe = RECIPES[settings.family]
        self.parts = self.recipe.components(settings.seed)
        codec_file = out / "codec.safetensors"
        begun = codec_file.exists() or (out / "state.pt").exists()
        if start is not None and not begun:
            _keep_code(self._warm_start(start), codec_file)
        self.teacher = Teacher(teacher, self.device) if teacher is not None else None
        if self.teacher is not None and not codec_file.exists():
            _keep_code(self.teacher.codec, codec_file)
        self.codec = self._code(codec_file)
        self.axes = coupling.axes(self.codec)
        self.model = Model(self.recipe, self.parts, self.codec).to(self.device)
        self.weights: list[Tensor] = list(self.model.parameters())
        self.averaged = {k: v.detach().clone() for k, v in self.model.named_parameters()}
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.lr, betas=BETAS, weight_decay=0.01, fused=True
        )
        # weights that have been through the curriculum go on with all scenes and words
        self.step = settings.grown if start is not None else 0
        if (out / "state.pt").exists():
            self._resume()

    def _code(self, file: Path) -> Codec | Pixels:
        if not self.recipe.latent:
            return Pixels()
        if not file.exists():
            fit(self.settings.seed).save(file)
        return Codec.load(file)

    def _warm_start(self, start: Path) -> Codec | Pixels:
        """Take weights from a shipped checkpoint folder, of this family or of another (the
        optimizer state starts afresh); its code."""
        codec = code_of(start)
        whole = warm.take(self.parts, start)
        if not any(name in whole for name in self.parts if name.startswith("text_encoder")):
            warm.imitate(self.settings, self.parts, codec, start, IMITATION)
        return codec

    def _resume(self) -> None:
        state = torch.load(self.out / "state.pt", map_location=self.device, weights_only=True)
        if state["settings"]["family"] != self.settings.family:
            raise CheckpointError(
                f"{self.out} holds a run of {state['settings']['family']}; choose another --out"
            )
        self.model.load_state_dict(state["model"], strict=False)  # without derived buffers
        # a run of an older version has fewer auxiliary heads, which are last
        state["optimizer"]["param_groups"][0]["params"] = list(range(len(self.weights)))
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["betas"], group["fused"] = BETAS, True
        self.averaged |= state["averaged"]
        self.step = state["step"]

    def save(self) -> None:
        """Write `state.pt` under a temporary name and rename it."""
        state = {
            "settings": asdict(self.settings),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged,
            "step": self.step,
        }
        temporary = self.out / "state.tmp"
        torch.save(state, temporary)
        temporary.replace(self.out / "state.pt")

    def rate(self, step: int, steps: int | None, decay: int) -> float:
        """Learning rate: warm-up, constant, then linear decay over the last `decay` of `steps`."""
        rate = self.settings.lr * min(1.0, (step + 1) / self.settings.warmup)
        if steps is not None and decay:
            rate *= min(1.0, max(0.0, (steps - step) / decay))
        return rate

    def noise(self, step: int, shape: torch.Size) -> Tensor:
        """Noise of one step; drawn on the CPU so that every device sees the same."""
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + step)
        return torch.randn(shape, generator=generator).to(self.device)

    @flushed()
    def train(
        self,
        steps: int | None,
        minutes: float | None,
        decay: int = 0,
        report: int = 100,
        sample: int = 1000,
    ) -> None:
        """Train until step `steps` or for `minutes`, whichever ends first.

        Every `report` steps loss and letter ratio are logged; every `sample` steps a grid of
        pictures is drawn with the averaged weights and read.
        """
        from tqdm.auto import tqdm

        began = saved = time.monotonic()
        loader = self._batches()
        bar = tqdm(total=steps, initial=self.step, unit="step", mininterval=5)
        mean, seen = torch.zeros(4), 0
        while steps is None or self.step < steps:
            now = time.monotonic()
            if minutes is not None and now - began > minutes * 60:
                break
            batch = {k: v.to(self.device) for k, v in next(loader).items()}
            noise = self.noise(self.step, batch["code"].shape)
            noise = coupling.coupled(noise, batch.pop("open"), self.axes)
            taught, told = batch.pop("taught", None), batch.pop("told", None)
            target = self._target(taught, told, batch, noise)
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(self.step, steps, decay)
            # the tails of sharp attention: 1.6 times as fast without; onnxruntime, which reads the
            # samples, switches it off
            torch.set_flush_denormal(True)
            losses, *others = self.model.loss(noise=noise, target=target, **batch)
            loss = losses.mean()
            self.optimizer.zero_grad(set_to_none=True)
            (loss + AUXILIARY * sum(others)).backward()
            self._clip()
            self.optimizer.step()
            self._average()
            self.step += 1
            mean += torch.stack([loss, *others]).detach().cpu()
            seen += 1
            bar.update()
            if self.step % report == 0:
                ratio = letter_ratio(self.model, batch, noise)
                names = ("loss", "place", "letter", "named")
                values = dict(zip(names, (mean / seen).tolist(), strict=True))
                values["ratio"] = ratio
                self._log(**values, seconds=time.monotonic() - began)
                bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()})
                mean, seen = torch.zeros(4), 0
            if self.step % sample == 0:
                score = self.sample()
                tqdm.write(f"step {self.step}: exact match {score:.2f}")
                self._log(exact_match=score)
            if now - saved > 120:
                self.save()
                saved = now
        bar.close()
        self.save()

    def _target(
        self,
        taught: Tensor | None,
        told: Tensor | None,
        batch: dict[str, Tensor],
        noise: Tensor,
    ) -> Tensor | None:
        """What the teacher predicts, from the plainest prompt, from what the model sees at high
        noise."""
        if self.teacher is None or taught is None or told is None:
            return None
        code, t = batch["code"], batch["t"]
        noisy, signal, level, _ = self.model.noised(code, t, noise)
        asked = (t >= LEAST) & ~batch["drop"] & told
        return self.teacher.targets(code, noisy, signal, level, taught, asked, self.codec)

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """Batches from the next step on; a GPU is fed by more workers than one."""
        taught = self.teacher.tokenize if self.teacher is not None else None
        data = Batches(self.settings, self.codec, self.parts, self.step, taught)
        workers = max(1, min(12, (os.cpu_count() or 2) - 2)) if self.device.type == "cuda" else 1
        return iter(torch.utils.data.DataLoader(data, batch_size=None, num_workers=workers))

    def sample(self, count: int = 24) -> float:
        """Draw `count` unseen words with the averaged weights through the pipeline, save the grid,
        and return the share read exactly. The linear code decodes, so no autoencoder is needed."""
        from textloc.reading import metrics, ocr
        from textloc.tiny import evaluate, export
        from textloc.tiny.recipes.components import autoencoder

        parts = self.recipe.components(self.settings.seed)
        averaged = {k: v.cpu() for k, v in self.averaged.items()}
        export.load_averaged(parts, averaged)
        pipe = self.recipe.pipeline(parts, autoencoder(0)).to(self.device)
        pipe.set_progress_bar_config(disable=True)
        listed = words.read_list(WORDS / "evaluation.txt")[:count]
        asked = evaluate.ask(listed, "plain")
        made = pipe(
            [scene.prompt for scene in asked],
            generator=[torch.Generator().manual_seed(i) for i in range(count)],
            output_type="latent" if isinstance(self.codec, Codec) else "pil",
            **self.recipe.call,
        ).images
        pictures = self._decoded(made.float().cpu()) if isinstance(self.codec, Codec) else made
        folder = self.out / "samples"
        folder.mkdir(exist_ok=True)
        evaluate.sheet(pictures).save(folder / f"{self.step:06d}.png")
        readings = ocr.read(pictures)
        exact = [metrics.exact_match(r.text, s.word) for r, s in zip(readings, asked, strict=True)]
        return sum(exact) / len(exact)

    def _decoded(self, code: Tensor) -> list[Image.Image]:
        """Pictures of a code (N, C, h, w), by the linear way back."""
        pixels = (self.codec.decode(code).clamp(-1, 1) + 1) * 127.5
        arrays = pixels.permute(0, 2, 3, 1).round().byte().numpy()
        return [Image.fromarray(array) for array in arrays]

    def _clip(self) -> None:
        """Scale the gradients to norm 1 where they exceed it."""
        gradients = [p.grad for p in self.weights if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if norm > 1:
            torch._foreach_mul_(gradients, 1 / float(norm))

    def _average(self) -> None:
        if self.step % AVERAGE_EVERY:
            return
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step)) ** AVERAGE_EVERY
        with torch.no_grad():
            averaged = list(self.averaged.values())
            torch._foreach_lerp_(averaged, self.weights, 1 - decay)

    def _log(self, **values: float) -> None:
        if not all(math.isfinite(v) for v in values.values()):
            raise CheckpointError(
                f"training diverged at step {self.step}; resume from the last state with a lower "
                "--lr"
            )
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": self.step, **values}) + "\n")
