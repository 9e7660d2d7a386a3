"""Runs to images, through the diffusers pipeline's own call.

1. Runs are laid out as rows of one batch; the runs they take from and the unpatched control come
   along as rows of their own.
2. Where they do not fit into the row budget they are split into chunks; a chunk that runs out of
   memory is tried again with half of the rows, and so is all that comes after it. Decoding that
   runs out of memory is done in slices; the steps before it are not made again.
3. Whatever ends a call early leaves the pipeline as it was: number formats, offloading, hooks.
4. Images are yielded chunk by chunk, so that progress, partial figures and stopping come for free.
5. A `Keeper` may hold finished calls. What a row comes to depends a little on the rows beside it
   (the last bits of sums), so a call is kept and found as a whole, and the rows of a call are
   chosen as they were before: what is found is what the call would give.
6. A `Maker` may make the calls in other places, several at once; they are yielded in their order
   all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from PIL import Image

from textloc.checkpoints import schedulers
from textloc.checkpoints.loading import Model, Upscaler
from textloc.checkpoints.memory import call_size, free_cache, is_out_of_memory, may_fit
from textloc.errors import Cancelled, CheckpointError, LayerError, OutOfMemoryError
from textloc.patching.hooks import Patching, decoding, patched
from textloc.replacing import replaced
from textloc.runs import Run, Sampling

MAX_ROWS = 32
"""Rows in one call at most, however much memory there is; more give no gain in speed."""

_SECOND = "second stage"
"""Its place among the rows that are known to fit."""


@dataclass(frozen=True)
class Chunk:
    """One finished pipeline call.

    images: new pictures by run. seconds: wall time of the call. patching: its row counts. kept:
    whether a `Keeper` held it, so that it was not made now.
    """

    images: dict[Run, Image.Image]
    seconds: float
    patching: Patching
    kept: bool = False


@dataclass(frozen=True)
class Call:
    """What a pipeline call came to.

    images: the wanted pictures by run, in the order of the batch; None where memory ran out.
    patching, seconds: as `Chunk`. decoded: rows that are decoded at once at most from then on.
    """

    images: dict[Run, Image.Image] | None
    patching: Patching
    seconds: float
    decoded: int


class Keeper(Protocol):
    """Keeps the calls of one `generate` as they finish, for another that asks the same."""

    def rows(self, measured: Callable[[], int]) -> int:
        """Rows a call at most: those that were `measured` when the same was asked first."""

    def find(self, batch: Sequence[Run], wanted: Collection[Run]) -> Call | None:
        """What that call came to, or None where it is to be made."""

    def keep(self, batch: Sequence[Run], wanted: Collection[Run], call: Call) -> None:
        """Keep what a call came to."""


class Coming(NamedTuple):
    """A call that will be asked for. new: the wanted pictures that no call before it gives."""

    batch: tuple[Run, ...]
    wanted: frozenset[Run]
    new: frozenset[Run]


class Maker(Protocol):
    """Makes the calls of one `generate` in other places, and keeps those that are finished."""

    def fits(self, rows: int) -> bool:
        """Whether a call of so many rows could fit there (`memory.may_fit`)."""

    def begin(self, calls: Iterator[Coming]) -> None:
        """Begin calls that are not kept, in their order, and take no more of them than there is
        room for."""

    def begun(self, batch: tuple[Run, ...]) -> bool:
        """Whether that call was begun, and was not asked for yet."""

    def call(self, batch: tuple[Run, ...], wanted: frozenset[Run], decoded: int) -> Call:
        """What that call came to. decoded: rows that are decoded at once at most."""


def support(run: Run, lean: bool = False) -> tuple[Run, ...]:
    """The rows a run needs beside it: those that its controls and its donors' follow, the donors
    and, unless `lean`, a patched run's unpatched self."""
    donors = tuple(patch.donor for patch in run.patches)
    plain = (run.plain,) if run.patches and not lean else ()
    controls = [row.control for row in (run, *donors) if row.control is not None]
    leaders = tuple(control.leader for control in controls if control.leader is not None)
    needed = dict.fromkeys((*leaders, *plain, *donors))
    needed.pop(run, None)
    return tuple(needed)


def chunks(runs: Sequence[Run], rows: int, lean: bool = False) -> list[tuple[Run, ...]]:
    """Split runs into batches of at most `rows` rows, support rows counted, order kept.

    A batch holds at least one run with its support, so it can exceed a very small budget.
    """
    batches: list[dict[Run, None]] = []
    negative: bool | None = None
    for run in dict.fromkeys(runs):
        needed = dict.fromkeys((*support(run, lean), run))
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
    lean: bool = False,
    on_step: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    keeper: Keeper | None = None,
    maker: Maker | None = None,
) -> Iterator[Chunk]:
    """Generate every run; support rows that come along are yielded too, each run once.

    Args:
        model: a loaded checkpoint.
        runs: what to generate.
        sampling: steps, guidance and size of all rows.
        max_rows: rows a call at most; None takes what fits the memory that is free.
        share: compute rows that are still equal once (`patched`).
        lean: only the asked runs become pictures, and no unpatched control comes along. Donors are
            computed only where the text depends on the picture (joint attention), and not decoded.
        on_step: called with (steps done, steps) of the current call after each step; a scheduler
            may make more steps than were asked for (KDPM2).
        cancelled: asked before each step; True stops the job.
        keeper: holds calls that were made before, which are yielded and not made again.
        maker: makes the calls somewhere else; `on_step` is not called for them.

    Yields:
        Finished calls. The first may hold fewer or more images than `max_rows` asks.

    Raises:
        Cancelled: `cancelled` said so. OutOfMemoryError: not even one run fits.
        LayerError: as `patched`, or steps that the scheduler does not keep apart.
        CheckpointError: a scheduler that cannot do what the checkpoint predicts.
        PromptError: a prompt that is too long for the checkpoint or that it cannot spell, or
            negative prompts that one call cannot express side by side.
    """
    schedulers.check(model.pipe.scheduler)
    asked = set(runs)
    for row in dict.fromkeys(row for run in runs for row in (*support(run, lean), run)):
        _check_prompts(model, row, sampling)

    def measured() -> int:
        rows = max_rows or min(MAX_ROWS, model.rows_that_fit(sampling))
        return min(rows, model.rows_known.get(call_size(sampling), rows))

    def again(rows: int) -> list[tuple[Run, ...]]:
        """All that waits, in calls of so many rows."""
        every = dict.fromkeys(run for batch in waiting for run in batch)
        left = [run for run in every if run not in done and (run in asked or not lean)]
        return chunks(left, rows, lean)

    def wanted_of(batch: tuple[Run, ...]) -> frozenset[Run]:
        return frozenset(asked.intersection(batch) if lean else batch)

    def coming() -> Iterator[Coming]:
        """The calls that are left, if none of them runs out of memory."""
        given = set[Run]()
        for batch in list(waiting):
            wanted = wanted_of(batch)
            if new := wanted - given - done:
                yield Coming(batch, wanted, new)
                given |= wanted

    budget = measured() if keeper is None else keeper.rows(measured)
    decoded = budget
    waiting = chunks(runs, budget, lean)
    for batch in waiting:  # raises now what a later call would raise
        model.family.arguments(model.pipe, batch, sampling)
    done: set[Run] = set()
    ahead = coming()
    while waiting:
        batch = waiting[0]
        if cancelled():
            raise Cancelled("stopped; what was finished before is kept")
        wanted = wanted_of(batch)
        if wanted <= done:
            del waiting[0]
            continue
        begun = maker is not None and maker.begun(batch)
        call = None if keeper is None or begun else keeper.find(batch, wanted)
        kept = call is not None
        if call is None and keeper is not None and not begun:
            rows = len(batch)
            if not (may_fit(model, rows, sampling) if maker is None else maker.fits(rows)):
                smaller = again(measured())  # there was more memory when the rows were chosen
                if smaller[0] != batch:
                    waiting, ahead = smaller, coming()
                    continue
        if maker is not None:
            maker.begin(ahead)
        if call is None:
            if maker is None:
                call = make(model, batch, wanted, sampling, decoded, share, on_step, cancelled)
            else:
                call = maker.call(batch, wanted, decoded)
            if call.images is None and len(again(max(1, len(batch) // 2))[0]) >= len(batch):
                raise OutOfMemoryError(_too_much(model, f"{len(batch)} rows do not"))
            if keeper is not None and (maker is None or call.images is None):
                keeper.keep(batch, wanted, call)
        if call.images is None:
            budget = max(1, len(batch) // 2)
            waiting, ahead = again(budget), coming()
            model.rows_known[call_size(sampling)] = budget
            continue
        del waiting[0]
        decoded = min(decoded, call.decoded)
        new = {run: image for run, image in call.images.items() if run not in done}
        done.update(new)
        yield Chunk(new, call.seconds, call.patching, kept)


def make(
    model: Model,
    batch: Sequence[Run],
    wanted: Collection[Run],
    sampling: Sampling,
    decoded: int,
    share: bool = True,
    on_step: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Call:
    """Make one pipeline call, and free the memory of one that ran out of it.

    Args:
        batch: its rows, support rows among them. wanted: those that become pictures. decoded: rows
            that are decoded at once at most. sampling, share, on_step, cancelled: as `generate`.

    Raises:
        Cancelled, LayerError, CheckpointError, PromptError, as `generate`; OutOfMemoryError: not
        even one picture can be decoded, or enlarged.
    """
    began, most = time.perf_counter(), [decoded]
    images, state = None, Patching()
    try:
        images, state = _call(model, batch, wanted, sampling, share, on_step, cancelled, most)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    if images is None:  # the error held on to what the call had made
        free_cache(model.device)
    return Call(images, state, time.perf_counter() - began, most[0])


def _check_prompts(model: Model, run: Run, sampling: Sampling) -> None:
    for prompt in (run.prompt, run.prompt_2, run.prompt_3):
        if prompt is not None:
            model.check_prompt(prompt, sampling)
    if run.negative_prompt is not None:
        model.check_length(run.negative_prompt, sampling)


def _too_much(model: Model, what: str) -> str:
    half = "" if model.dtype != "float32" else "--dtype float16, "
    way = "" if model.device.startswith("cpu") else "--offload sequential, "
    return (
        f"{what} fit into the memory of {model.device}; choose a smaller --size, {half}{way}or a "
        "machine with more memory"
    )


@contextmanager
def _intact(pipe: Any) -> Iterator[None]:
    """Give a pipeline back as it was where its call ends early: SDXL decodes in float32 and casts
    its autoencoder back at the end only, and offloaded parts go back to the CPU there."""
    import torch

    every = pipe.components.values()
    parts: list[Any] = [part for part in every if isinstance(part, torch.nn.Module)]
    formats = [part.dtype for part in parts]
    try:
        yield
    except BaseException:
        for part, dtype in zip(parts, formats, strict=True):
            if part.dtype != dtype:
                part.to(dtype=dtype)
        pipe.maybe_free_model_hooks()
        raise


@contextmanager
def _sliced(model: Model, autoencoder: Any, most: list[int]) -> Iterator[None]:
    """Decode in slices while the block lasts, where all rows at once run out of memory. most: rows
    of one slice, lowered where that is too many."""
    import torch

    original = autoencoder.decode

    def decode(code: Any, *args: Any, **kwargs: Any) -> Any:
        tried = 0  # with one row
        while True:
            rows = min(most[0], len(code))
            try:
                parts = [original(part, *args, **kwargs) for part in code.split(rows)]
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                tried += rows == 1
                if tried > 1:
                    said = _too_much(model, "the decoding of one picture does not")
                    raise OutOfMemoryError(said) from error
            most[0] = max(1, rows // 2)
            free_cache(model.device)
        if len(parts) == 1:
            return parts[0]
        if isinstance(parts[0], tuple):
            return (torch.cat([part[0] for part in parts]), *parts[0][1:])
        return type(parts[0])(sample=torch.cat([part.sample for part in parts]))

    with replaced(autoencoder, "decode", decode):
        yield


def _check_steps(scheduler: Any, batch: Sequence[Run], steps: int) -> None:
    """`patched` tells steps apart by their time; some schedulers look between their steps."""
    limited = any(patch.start or patch.stop for run in batch for patch in run.patches)
    if limited and len(set(scheduler.timesteps.tolist())) > steps:
        raise LayerError(
            f"{type(scheduler).__name__} also looks between its {steps} steps, so a patch cannot "
            "begin or end at one; patch all steps, or choose another --scheduler, such as "
            "DDIMScheduler"
        )


@contextmanager
def _decoding(
    model: Model, batch: Sequence[Run], wanted: Collection[Run], most: list[int]
) -> Iterator[None]:
    found = [getattr(model.pipe, name, None) for name in ("vae", "vqvae")]
    with ExitStack() as entered:
        for autoencoder in found:  # none: it works on pixels
            if autoencoder is not None:
                entered.enter_context(_sliced(model, autoencoder, most))
                entered.enter_context(decoding(autoencoder, batch, wanted))
        yield


def _call(
    model: Model,
    batch: Sequence[Run],
    wanted: Collection[Run],
    sampling: Sampling,
    share: bool,
    on_step: Callable[[int, int], None] | None,
    cancelled: Callable[[], bool],
    decoded: list[int],
) -> tuple[dict[Run, Image.Image], Patching]:
    """One pipeline call with the rows of `batch`; the pictures of those that are wanted. decoded:
    rows that are decoded at once at most, lowered where they are too many."""
    import torch

    def before(step: int) -> None:
        """Called before each denoising step; the steps before it are done."""
        times = len(set(model.pipe.scheduler.timesteps.tolist())) - asked + sampling.steps
        if step == 0:
            _check_steps(model.pipe.scheduler, batch, asked)
        elif on_step is not None:
            on_step(step, times)
        if cancelled():
            raise Cancelled("stopped; what was finished before is kept")

    arguments = model.family.arguments(model.pipe, batch, sampling)
    asked = int(arguments.get("num_inference_steps", sampling.steps))  # of a picture, some are made
    noise = [torch.Generator("cpu").manual_seed(run.seed) for run in batch]
    controls = dict.fromkeys(type(run.control) for run in batch if run.control is not None)
    narrowed = all(control.LEAN for control in controls)
    computed = wanted if narrowed else None
    with ExitStack() as entered:
        entered.enter_context(torch.no_grad())
        entered.enter_context(_intact(model.pipe))
        state = entered.enter_context(
            patched(
                model.denoiser,
                model.layers,
                batch,
                share and narrowed,
                before,
                computed,
                scheduler=model.pipe.scheduler,
            )
        )
        entered.enter_context(_decoding(model, batch, wanted, decoded))
        for control in controls:
            rows = [row for row, run in enumerate(batch) if isinstance(run.control, control)]
            entered.enter_context(control.around(model, batch, rows, sampling))
        out = model.call(
            **arguments,
            generator=noise,
            output_type="pil",
        )
    if on_step is not None:
        on_step(state.step + 1, state.step + 1)
    images = list(out.image if hasattr(out, "image") else out.images)  # Kandinsky 5 says `image`
    if len(images) != len(batch):
        raise CheckpointError(
            f"the pipeline returned {len(images)} images for {len(batch)} prompts; is this a "
            "text-to-image pipeline?"
        )
    finished = {run: image for run, image in zip(batch, images, strict=True) if run in wanted}
    if model.upscaler is not None:
        finished = _enlarged(model, model.upscaler, finished, cancelled)
    return finished, state


def _enlarged(
    model: Model,
    upscaler: Upscaler,
    pictures: dict[Run, Image.Image],
    cancelled: Callable[[], bool],
) -> dict[Run, Image.Image]:
    """Pictures through the second stage, as many at once as fit; the first stage is not made again
    where they do not."""
    import torch

    waiting, done = list(pictures), dict[Run, Image.Image]()
    rows = model.rows_known.get(_SECOND) or min(MAX_ROWS, upscaler.rows_that_fit())
    while waiting:
        if cancelled():
            raise Cancelled("stopped; what was finished before is kept")
        some = waiting[:rows]
        noise = [torch.Generator("cpu").manual_seed(run.seed) for run in some]
        full = False
        try:
            with torch.no_grad(), _intact(upscaler.pipe):
                enlarged = upscaler(some, [pictures[run] for run in some], noise)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(some) == 1:
                said = _too_much(model, "one row of the second stage does not")
                raise OutOfMemoryError(said) from error
            full = True
        if full:
            rows = model.rows_known[_SECOND] = max(1, len(some) // 2)
            free_cache(model.device)
            continue
        done |= dict(zip(some, enlarged, strict=True))
        waiting = waiting[rows:]
    return done
