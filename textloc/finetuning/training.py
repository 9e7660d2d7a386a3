"""The loop: LoRA on chosen layers, by peft and accelerate.

One process or several (`accelerate launch`): a step's batch is the same samples with the same noise
however many share it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from textloc.checkpoints.loading import Spelling
from textloc.errors import Cancelled, OutOfMemoryError, TrainingError
from textloc.files import replace_file
from textloc.finetuning import adapter, card, data, progress
from textloc.finetuning.conditions import check_trained, dropped, shift, unconditional
from textloc.finetuning.encoded import Encoded, Filter, prepare
from textloc.finetuning.objective import Objective
from textloc.patching.generation import generate
from textloc.prompts import quoted
from textloc.reading import metrics, ocr
from textloc.results.identity import canonical
from textloc.runs import Run, Sampling

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model
    from textloc.finetuning.settings import Settings


@dataclass(frozen=True)
class Reports:
    """What a run tells, which the weights do not depend on.

    every: steps between lines of the log. validate: steps between validations, 0 for none but the
    last. save: steps between states. prompts: what validations draw; None takes captions of samples
    held out, at most `pictures`. engine: of OCR. tracker: `tensorboard`, `trackio` or another that
    accelerate knows, or None. checkpointing: recompute activations to save memory. micro: samples
    a pass at most; None takes the whole batch. examine: called at each validation with the model,
    which carries the averaged LoRA, and the step; what it returns is logged with the scores.
    """

    every: int = 20
    validate: int = 200
    save: int = 100
    prompts: tuple[str, ...] | None = None
    pictures: int = 16
    engine: str = "auto"
    tracker: str | None = "tensorboard"
    checkpointing: bool = False
    micro: int | None = None
    examine: Callable[[Model, int], dict[str, float]] | None = None


EVERYTHING, USUAL = Filter(), Reports()


@dataclass(frozen=True)
class Progress:
    """How a run stands.

    kind: `prepare` (samples are encoded), `train` or `validate`. step, steps: done and asked (of
    `prepare`: samples done, and 0). values: what the log says of this step.
    """

    kind: str
    step: int
    steps: int
    values: dict[str, float] = field(default_factory=dict)


def finetune_stream(
    model: Model,
    place: str,
    settings: Settings,
    out: Path,
    *,
    which: Filter = EVERYTHING,
    reports: Reports = USUAL,
    cache: Path | None = None,
    resume: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """Train a LoRA and write it to `out`, with its card and log.

    Args:
        model: a loaded checkpoint; it is left as it was. place: a source of `data`. out: a folder.
        which: samples that are taken. cache: where prepared samples are kept; None is `out/cache`.
        resume: go on where a run in `out` stopped. cancelled: asked before each step; a state is
            saved first.

    Raises:
        TrainingError: settings, data or `out` that cannot be used; a loss that is no number.
        LayerError, CheckpointError, PromptError, OCRError, OutOfMemoryError, Cancelled.
    """
    check_trained(model.pipe)
    which = replace(which, regions=settings.text_weight != 1)
    adapter.modules(model, settings.layers, settings.targets)
    if not hasattr(type(model.pipe), "save_lora_weights"):
        raise TrainingError(f"{type(model.pipe).__name__} cannot load LoRA weights")
    _check_tracker(reports.tracker)
    _optimizer_class(settings.optimizer)
    if progress.begun(out) and not resume:
        raise TrainingError(
            f"{out} holds a run that has begun; give --resume to go on with it, or another --out"
        )
    run = _Training(model, place, settings, out, which, reports, cache, cancelled)
    return run.run()


def world_batch(settings: Settings, world: int) -> int:
    """Samples of one process a step.

    Raises:
        TrainingError: the batch cannot be shared evenly.
    """
    if settings.batch % world:
        raise TrainingError(
            f"a batch of {settings.batch} cannot be shared by {world} processes; use a multiple"
        )
    return settings.batch // world


@dataclass
class _Training:
    model: Model
    place: str
    settings: Settings
    out: Path
    which: Filter
    reports: Reports
    cache: Path | None
    cancelled: Callable[[], bool]

    def run(self) -> Iterator[Progress]:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        settings = self.settings
        self.out.mkdir(parents=True, exist_ok=True)
        tracker = self.reports.tracker
        if any(hasattr(part, "_hf_hook") for part in self.model.denoiser.modules()):
            raise TrainingError(
                "the denoiser is trained whole on its device, and it is offloaded here; give "
                "--offload none with --mixed-precision bf16 or --gradient-checkpointing, or take a "
                "GPU with more memory"
            )
        if settings.mixed_precision == "fp16" and self.model.device == "cpu":
            raise TrainingError("fp16 needs a GPU; give --mixed-precision bf16 or no")
        AcceleratorState._reset_state()  # keeps the precision of the process's first run for all
        accelerator = Accelerator(
            mixed_precision=settings.mixed_precision,
            cpu=self.model.device == "cpu",
            log_with=tracker,
            project_dir=str(self.out),
        )
        self.sampling = adapter.size(self.model.defaults, settings.resolution)
        scheduler, size = self.model.pipe.scheduler, self.sampling
        objective = Objective(scheduler, settings.noise_levels, shift(self.model, size))
        with accelerator.main_process_first():
            encoded = yield from self._prepared()
        held = _held_out(len(encoded), settings)
        self.model = replace(self.model, spelling=_spelling(self.model, encoded.captions))
        denoiser = self.model.denoiser
        frozen = [p for p in denoiser.parameters() if p.requires_grad]
        self.own = _forward(denoiser)
        parameters = adapter.inject(self.model, settings)
        try:
            yield from self._train(accelerator, objective, encoded, held, parameters)
        finally:
            _set_forward(denoiser, self.own)  # accelerate's casts to the mixed precision
            denoiser.eval()
            if self.reports.checkpointing:
                denoiser.disable_gradient_checkpointing()
            denoiser.unload_lora()
            for parameter in frozen:
                parameter.requires_grad_(True)
            if tracker is not None:
                accelerator.end_training()

    # -- samples ---------------------------------------------------------------------------

    def _prepared(self) -> Generator[Progress, None, Encoded]:
        """Prepare the samples; a generator that returns them."""
        about = canonical(
            [
                *(self.model.digest, self.model.dtype, data.digest(self.place), vars(self.which)),
                *(self.sampling.height, self.sampling.width, self.sampling.text_length),
            ]
        )
        self.data_digest = hashlib.sha256(about.encode()).hexdigest()
        folder = (self.cache or self.out / "cache") / self.data_digest[:16]
        done: list[int] = []
        yield Progress("prepare", 0, 0)
        encoded = prepare(self.model, self.place, self.sampling, folder, self.which, done.append)
        size = encoded.megabytes
        values = {"cache_mb": size, "mb_a_sample": size / len(encoded)}
        yield Progress("prepare", len(encoded), 0, values)
        return encoded

    # -- steps -----------------------------------------------------------------------------

    def _train(
        self,
        accelerator: Any,
        objective: Objective,
        encoded: Encoded,
        held: int,
        parameters: list[Any],
    ) -> Iterator[Progress]:
        from diffusers.training_utils import EMAModel

        settings, reports, model = self.settings, self.reports, self.model
        denoiser = model.denoiser
        if reports.checkpointing:
            denoiser.enable_gradient_checkpointing()
        empty = unconditional(model, self.sampling)
        kind = _optimizer_class(settings.optimizer)
        optimizer = kind(parameters, lr=settings.lr, weight_decay=settings.weight_decay)
        ema = EMAModel(parameters, decay=settings.ema, use_ema_warmup=True, power=0.75)
        trained = progress.Trained(parameters, optimizer, ema)
        digest = settings.digest(self.data_digest)
        first = progress.restore(self.out, digest, trained)
        wrapped, prepared = accelerator.prepare(denoiser, optimizer)
        main = accelerator.is_main_process
        log = progress.Log(self.out, first) if main else None
        if reports.tracker is not None:
            accelerator.init_trackers("logs", config=_flat(settings.described()))
        share = world_batch(settings, accelerator.num_processes)
        mine = slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)
        micro = min(reports.micro or share, share)
        prompts = reports.prompts or _prompts(encoded.captions[:held], reports.pictures)
        losses: list[float] = []
        began, seen = time.perf_counter(), 0

        def state(step: int) -> None:
            if main:
                progress.save(self.out, step, digest, trained)

        def told(step: int, values: dict[str, float], kind: str) -> Progress:
            if log is not None:
                log.write({"step": step, "kind": kind, **values})
            if reports.tracker is not None:
                accelerator.log(values, step=step)
            return Progress(kind, step, settings.steps, values)

        looks = bool(prompts) or reports.examine is not None
        if first == 0 and reports.validate and looks and main:
            yield told(0, self._validate(prompts, 0), "validate")
        for step in range(first + 1, settings.steps + 1):
            if self.cancelled():
                if step - 1 > first:
                    state(step - 1)
                raise Cancelled(f"stopped after step {step - 1}; --resume goes on from there")
            if step == first + 2:  # the first step also sets things up
                began, seen = time.perf_counter(), 0
            wrapped.train()
            places, drop, levels, generator = _draw(settings, objective, held, len(encoded), step)
            latents, region, rows = encoded.rows(places[mine])
            weights = 1 + (settings.text_weight - 1) * region
            noise = torch.randn((settings.batch, *latents.shape[1:]), generator=generator)[mine]
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(step)
            total = 0.0
            for begin in range(0, share, micro):
                part = slice(begin, min(begin + micro, share))
                here = slice(mine.start + part.start, mine.start + part.stop)
                last = part.stop == share
                with nullcontext() if last else accelerator.no_sync(wrapped):
                    loss = _loss(
                        model,
                        wrapped,
                        objective,
                        latents[part].to(denoiser.device),
                        noise[part].to(denoiser.device, latents.dtype),
                        levels[here],
                        weights[part].to(denoiser.device),
                        dropped({k: v[part] for k, v in rows.items()}, empty, drop[here]),
                    )
                    weight = (part.stop - part.start) / share
                    try:
                        accelerator.backward(loss * weight)
                    except RuntimeError as error:
                        raise _memory(error) from error
                total += float(loss.detach()) * weight
            if not np.isfinite(total):
                raise TrainingError(
                    f"the loss of step {step} is no number; lower the learning rate, or use "
                    "bf16 in place of fp16. The last state is kept"
                )
            accelerator.clip_grad_norm_(parameters, 1.0)
            prepared.step()
            prepared.zero_grad()
            ema.step(parameters)
            losses.append(total)
            seen += settings.batch
            if step % reports.every == 0 or step == settings.steps:
                values = {"loss": float(np.mean(losses)), "lr": settings.rate(step)}
                values["samples_per_second"] = seen / (time.perf_counter() - began)
                began, seen = time.perf_counter(), 0
                values["memory_gb"] = _memory_used(denoiser.device)
                yield told(step, values, "train")
                losses = []
            ended = step == settings.steps
            if step % reports.save == 0 or ended:
                state(step)
            due = reports.validate and step % reports.validate == 0
            if main and looks and (due or ended):
                paused = time.perf_counter()
                with adapter.averaged(ema, parameters):
                    yield told(step, self._validate(prompts, step), "validate")
                began += time.perf_counter() - paused
        if main:
            with adapter.averaged(ema, parameters):
                adapter.write(model, self.out)
            self._finish(encoded)
        accelerator.wait_for_everyone()

    # -- looking at it ---------------------------------------------------------------------

    def _validate(self, prompts: Sequence[str], step: int) -> dict[str, float]:
        """Draw the prompts, each with a seed of its own, and read them; a sheet is kept. They are
        drawn as the LoRA will be used, without accelerate's casts."""
        denoiser = self.model.denoiser
        denoiser.eval()
        wrapped = _forward(denoiser)
        _set_forward(denoiser, self.own)
        try:
            return self._looked(prompts, step)
        finally:
            _set_forward(denoiser, wrapped)

    def _looked(self, prompts: Sequence[str], step: int) -> dict[str, float]:
        found: dict[str, float] = {}
        if prompts:
            pictures = drawn(self.model, list(enumerate(prompts)), self.sampling)
            texts = [" ".join(quoted(prompt)) for prompt in prompts]
            read = [reading.text for reading in ocr.read(pictures, self.reports.engine)]
            folder = self.out / "samples"
            folder.mkdir(exist_ok=True)
            page = sheet(pictures)
            replace_file(folder / f"step-{step:07d}.png", lambda file: page.save(file, "PNG"))
            found = scores([(r, t) for r, t in zip(read, texts, strict=True) if t])
        if self.reports.examine is not None:
            found |= self.reports.examine(self.model, step)
        return found

    def _finish(self, encoded: Encoded) -> None:
        card.write(
            self.out, self.model, self.settings, self.place, encoded.report, progress.read(self.out)
        )


_PREPARED = ("forward", "_original_forward", "_is_accelerate_prepared")
"""What accelerate sets on a module that it prepares; one that is marked it does not wrap again."""


def _forward(denoiser: Any) -> dict[str, Any]:
    """How a module's forward is wrapped, if at all."""
    return {name: vars(denoiser)[name] for name in _PREPARED if name in vars(denoiser)}


def _set_forward(denoiser: Any, found: dict[str, Any]) -> None:
    """Put back what `_forward` gave."""
    for name in _PREPARED:
        vars(denoiser).pop(name, None)
    for name, value in found.items():
        setattr(denoiser, name, value)


def drawn(model: Model, asked: Sequence[tuple[int, str]], sampling: Sampling) -> list[Image.Image]:
    """The pictures of (seed, prompt), in order."""
    runs = [Run(prompt, seed) for seed, prompt in asked]
    images: dict[Run, Image.Image] = {}
    for chunk in generate(model, runs, sampling):
        images |= chunk.images
    return [images[run] for run in runs]


def scores(read: Sequence[tuple[str, str]]) -> dict[str, float]:
    """`exact` and `ocr_f1` of (text read, text asked for); empty where there are none."""
    if not read:
        return {}
    exact = [metrics.exact_match(r, t) for r, t in read]
    return {"exact": float(np.mean(exact)), "ocr_f1": metrics.mean_ocr_f1(read)}


def sheet(pictures: Sequence[Image.Image], columns: int = 8) -> Image.Image:
    """All pictures in rows, with a line between them."""
    width, height = pictures[0].size
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * (width + 2) - 2, rows * (height + 2) - 2), "white")
    for i, picture in enumerate(pictures):
        page.paste(picture, (i % columns * (width + 2), i // columns * (height + 2)))
    return page


def _held_out(count: int, settings: Settings) -> int:
    """Samples kept for validation, the first of them; never more than a tenth."""
    held = min(settings.held_out, count // 10)
    if count - held < 1:
        raise TrainingError(f"{count} samples are too few to train on")
    return held


def _prompts(captions: Sequence[str], most: int) -> tuple[str, ...]:
    """Captions that quote a text first; others are drawn but not scored."""
    return tuple(sorted(captions, key=lambda caption: not quoted(caption))[:most])


def _spelling(model: Model, captions: Sequence[str]) -> Spelling | None:
    """What can be spelled after training: what the checkpoint can, and what the captions quote."""
    known = model.spelling
    texts = [text for caption in captions for text in quoted(caption)]
    if known is None or not texts:
        return known
    letters = set(known.letters).union(*(text.upper() for text in texts))
    lengths = [known.least, known.most, *map(len, texts)]
    return Spelling("".join(sorted(letters)), min(lengths), max(lengths))


def _draw(
    settings: Settings, objective: Objective, held: int, count: int, step: int
) -> tuple[list[int], Tensor, Tensor, torch.Generator]:
    """Of step `step`, from 1: places of the batch's samples, which of them lose their caption (N,),
    noise levels (N,), and the generator that noise is drawn from."""
    first, last = (step - 1) * settings.batch, step * settings.batch
    every = count - held
    places = []
    for number in range(first, last):
        epoch, place = divmod(number, every)
        places.append(held + int(_order(settings.seed, epoch, every)[place]))
    words = np.random.SeedSequence((settings.seed, 1, step)).generate_state(2)
    generator = torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))
    drop = torch.rand(settings.batch, generator=generator) < settings.drop
    levels = objective.draw(settings.batch, generator)
    return places, drop, levels, generator


_ORDERS: dict[tuple[int, int, int], Any] = {}


def _order(seed: int, epoch: int, count: int) -> Any:
    """The order of the samples in an epoch; the last one asked for is remembered."""
    key = (seed, epoch, count)
    if key not in _ORDERS:
        _ORDERS.clear()
        _ORDERS[key] = np.random.default_rng((seed, 0, epoch)).permutation(count)
    return _ORDERS[key]


def _loss(
    model: Model,
    denoiser: Any,
    objective: Objective,
    clean: Tensor,
    noise: Tensor,
    levels: Tensor,
    weight: Tensor,
    rows: dict[str, Tensor],
) -> Tensor:
    batch = objective.noised(clean, noise, levels)
    here = {name: value.to(clean.device) for name, value in rows.items()}
    given = model.family.asked(model.denoiser, batch.latents, batch.time, here)
    try:
        output = model.family.answered(denoiser(**given, return_dict=False)[0])
    except RuntimeError as error:
        raise _memory(error) from error
    return objective.loss(output, batch, weight).mean()


def _memory(error: RuntimeError) -> Exception:
    if "out of memory" not in str(error) and not isinstance(error, torch.OutOfMemoryError):
        return error
    return OutOfMemoryError(
        "a pass does not fit into memory; lower --micro-batch, or give --gradient-checkpointing"
    )


def _check_tracker(name: str | None) -> None:
    """Check that a tracker is known and installed; accelerate passes over one that is not."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    if name is None or name in {
        str(getattr(one, "value", one)) for one in get_available_trackers()
    }:
        return
    if name in LOGGER_TYPE_TO_CLASS:
        raise TrainingError(f"the tracker {name} is not installed: pip install {name}")
    raise TrainingError(
        f"there is no tracker {name!r}; use {', '.join(LOGGER_TYPE_TO_CLASS)} or none"
    )


def _optimizer_class(name: str) -> Any:
    if name == "adamw":
        return torch.optim.AdamW
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise TrainingError(
            "the 8-bit optimiser needs bitsandbytes: pip install bitsandbytes, or use adamw"
        ) from error
    return AdamW8bit


def _memory_used(device: Any) -> float:
    """Most memory used so far in GiB: of the accelerator, else of the process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device) / 2**30)
    import psutil

    return float(psutil.Process().memory_info().rss / 2**30)


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """As trackers take it: numbers and texts."""
    return {k: v if isinstance(v, int | float | str) else str(v) for k, v in settings.items()}
