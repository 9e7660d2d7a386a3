"""Runs to images, through the diffusers pipeline's own call.

1. Runs are laid out as rows of one batch; the runs they take from and the unpatched control come
   along as rows of their own.
2. Where they do not fit into the row budget they are split into chunks; a chunk that runs out of
   memory is halved and tried again.
3. Images are yielded chunk by chunk, so that progress, partial figures and stopping come for free.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from textloc.checkpoints import Model
from textloc.errors import Cancelled, CheckpointError, OutOfMemoryError
from textloc.patching import Patching, patched
from textloc.runs import Run, Sampling

MAX_ROWS = 32
"""Rows in one call at most, however much memory there is; more give no gain in speed."""


@dataclass(frozen=True)
class Chunk:
    """One finished pipeline call.

    images: new pictures by run. seconds: wall time of the call. patching: its row counts.
    """

    images: dict[Run, Image.Image]
    seconds: float
    patching: Patching


def support(run: Run) -> tuple[Run, ...]:
    """The rows a patched run needs beside it: its unpatched control and its donors."""
    if not run.patches:
        return ()
    return tuple(dict.fromkeys((run.plain, *(patch.donor for patch in run.patches))))


def chunks(runs: Sequence[Run], rows: int) -> list[tuple[Run, ...]]:
    """Split runs into batches of at most `rows` rows, support rows counted, order kept.

    A batch holds at least one run with its support, so it can exceed a very small budget.
    """
    batches: list[dict[Run, None]] = []
    negative: bool | None = None
    for run in dict.fromkeys(runs):
        needed = dict.fromkeys((*support(run), run))
        unset = run.negative_prompt is None
        if batches and negative == unset and len(batches[-1] | needed) <= rows:
            batches[-1] |= needed
        else:
            batches.append(needed)
        negative = unset
    return [tuple(batch) for batch in batches]


def generate(
    model: Model,
    runs: Sequence[Run],
    sampling: Sampling,
    *,
    max_rows: int | None = None,
    share: bool = True,
    on_step: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Chunk]:
    """Generate every run; support rows that come along are yielded too, each run once.

    Args:
        model: a loaded checkpoint.
        runs: what to generate.
        sampling: steps, guidance and size of all rows.
        max_rows: rows a call at most; None takes what fits the memory that is free.
        share: compute rows that are still equal once (`patched`).
        on_step: called with (steps done, steps) of the current call after each step.
        cancelled: asked after each step; True stops the job.

    Yields:
        Finished calls. The first may hold fewer or more images than `max_rows` asks.

    Raises:
        Cancelled: `cancelled` said so. OutOfMemoryError: not even one run fits.
        LayerError: as `patched`. PromptError: a prompt too long for the checkpoint.
    """
    for run in runs:
        model.check_prompt(run.prompt)
    budget = max_rows or min(MAX_ROWS, model.rows_that_fit(sampling))
    waiting = chunks(runs, budget)
    done: set[Run] = set()
    while waiting:
        batch = waiting.pop(0)
        if cancelled():
            raise Cancelled("stopped; what was finished before is kept")
        if all(run in done for run in batch):
            continue
        began = time.perf_counter()
        try:
            images, state = _call(model, batch, sampling, share, on_step, cancelled)
        except _memory_errors() as error:
            smaller = chunks([run for run in batch if run not in done], max(1, len(batch) // 2))
            if len(smaller) < 2:
                raise OutOfMemoryError(
                    f"{len(batch)} rows do not fit into the memory of {model.device}; choose a "
                    "smaller size, dtype float16, or a machine with more memory"
                ) from error
            waiting = smaller + waiting
            continue
        new = {run: image for run, image in zip(batch, images, strict=True) if run not in done}
        done.update(new)
        yield Chunk(new, time.perf_counter() - began, state)


def _memory_errors() -> tuple[type[BaseException], ...]:
    import torch

    return (torch.OutOfMemoryError, MemoryError)


def _call(
    model: Model,
    batch: Sequence[Run],
    sampling: Sampling,
    share: bool,
    on_step: Callable[[int, int], None] | None,
    cancelled: Callable[[], bool],
) -> tuple[list[Image.Image], Patching]:
    """One pipeline call with the rows of `batch`."""
    import torch

    def after(_pipe: object, step: int, _timestep: object, kwargs: dict[str, object]) -> object:
        if on_step is not None:
            on_step(step + 1, sampling.steps)
        if cancelled():
            raise Cancelled("stopped; what was finished before is kept")
        return kwargs

    size = {"height": sampling.height, "width": sampling.width}
    noise = [torch.Generator("cpu").manual_seed(run.seed) for run in batch]
    with torch.no_grad(), patched(model.denoiser, model.layers, batch, share) as state:
        out = model.pipe(
            **model.family.arguments(model.pipe, batch),
            generator=noise,
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance,
            output_type="pil",
            callback_on_step_end=after,
            **{key: value for key, value in size.items() if value is not None},
        )
    images = list(out.images)
    if len(images) != len(batch):
        raise CheckpointError(
            f"the pipeline returned {len(images)} images for {len(batch)} prompts; is this a "
            "text-to-image pipeline?"
        )
    return images, state
