"""Running out of memory, number formats and offloading, as full-size pipelines have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests import tiny_families, tiny_pipelines
from tests.patching.test_invariants import SOURCE, TARGET, everything
from textloc.checkpoints import memory
from textloc.checkpoints.loading import Model, Upscaler
from textloc.errors import Cancelled, CheckpointError, OutOfMemoryError
from textloc.patching import generation
from textloc.runs import Patch, Run, Sampling

SAMPLING = Sampling(4, 2.0, 16, 16)


def sweep(model: Model) -> list[Run]:
    return [SOURCE.patched(Patch((i,), TARGET)) for i in everything(model)]


def collect(model: Model, runs: list[Run], **options: Any) -> dict[Run, np.ndarray]:
    return {
        run: np.asarray(image, int)
        for chunk in generation.generate(model, runs, SAMPLING, **options)
        for run, image in chunk.images.items()
    }


def half(model: Model, dtype: torch.dtype = torch.float16) -> Model:
    """The pipeline in half precision, its autoencoder asking to be upcast as SDXL's does."""
    model.pipe.to(dtype)
    model.pipe.vae.register_to_config(force_upcast=True)
    return model


@contextmanager
def allocator(
    module: Any, name: str, rows: Callable[[Any], int], most: int, error: type[Exception]
) -> Iterator[list[int]]:
    """Raises where a call of `module.name` has more than `most` rows; yields the rows of all."""
    original, own = getattr(module, name), vars(module).get(name)
    seen: list[int] = []

    def limited(*args: Any, **kwargs: Any) -> Any:
        seen.append(rows(args[0]))
        if seen[-1] > most:
            raise error("CUDA out of memory. Tried to allocate 20.00 MiB")
        return original(*args, **kwargs)

    setattr(module, name, limited)
    try:
        yield seen
    finally:
        if own is None:
            delattr(module, name)
        else:
            setattr(module, name, own)


OUT = torch.OutOfMemoryError
assert torch.cuda.OutOfMemoryError is OUT


# -- half precision and force_upcast --------------------------------------------------------


@pytest.mark.parametrize("sliced", [False, True])
def test_memory_that_runs_out_while_sdxl_decodes_in_float32(sliced: bool) -> None:
    """The pipeline has upcast its autoencoder by then and does not cast it back itself."""
    model = half(tiny_pipelines.sdxl())
    model.pipe.vae.use_slicing = sliced
    runs = sweep(model)
    before = collect(model, runs, max_rows=99)
    with allocator(model.pipe.vae, "_decode", len, 2, OUT):
        after = collect(model, runs, max_rows=99)
    assert model.pipe.vae.dtype == torch.float16
    assert after.keys() == before.keys()
    assert max(np.abs(after[run] - before[run]).max() for run in runs) <= 1
    again = collect(model, runs, max_rows=99)
    assert all(np.array_equal(again[run], before[run]) for run in runs)


@pytest.mark.parametrize("stop", [OUT("CUDA out of memory."), ValueError("broken"), Cancelled()])
def test_whatever_ends_a_call_leaves_the_pipeline_as_it_was(stop: Exception) -> None:
    model = half(tiny_pipelines.sdxl())
    before = collect(model, [SOURCE])[SOURCE]

    def broken(*_: Any, **__: Any) -> Any:
        assert model.pipe.vae.dtype == torch.float32  # upcast, as it should be here
        raise stop

    own = dict(vars(model.pipe.vae))
    model.pipe.vae._decode = broken
    with pytest.raises((OutOfMemoryError, ValueError, Cancelled)):
        collect(model, [SOURCE])
    del model.pipe.vae._decode
    assert vars(model.pipe.vae).keys() == own.keys()
    assert {part.dtype for part in (model.pipe.vae, model.denoiser)} == {torch.float16}
    assert np.array_equal(collect(model, [SOURCE])[SOURCE], before)


def test_an_error_gives_offloaded_parts_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_pipelines.sdxl()
    freed: list[int] = []
    monkeypatch.setattr(type(model.pipe), "maybe_free_model_hooks", lambda _self: freed.append(1))
    collect(model, [SOURCE])
    usual = len(freed)
    with allocator(model.denoiser.conv_in, "forward", len, 0, OUT), pytest.raises(OutOfMemoryError):
        collect(model, [SOURCE])
    assert len(freed) == usual + 1


# -- the row budget -------------------------------------------------------------------------


def test_rows_that_were_too_many_are_not_tried_again() -> None:
    """Nine rows where six fit: the first call fails at its first pass, none after it does."""
    model = tiny_pipelines.sdxl()
    runs = [Run(f"a sign {n}") for n in range(36)]
    with allocator(model.denoiser.conv_in, "forward", len, 2 * 6, OUT) as seen:
        collect(model, runs, max_rows=9)
    failed = [rows for rows in seen if rows > 12]
    assert failed == [18]
    assert len(seen) == 1 + SAMPLING.steps * 36 // 4
    with allocator(model.denoiser.conv_in, "forward", len, 2 * 6, OUT) as seen:
        collect(model, runs[:9], max_rows=9)  # nor by the next part of a job
    assert max(seen) <= 12


def test_decoding_in_slices_makes_no_step_again() -> None:
    model = tiny_pipelines.sdxl()
    runs = [Run(f"a sign {n}") for n in range(24)]
    before = collect(model, runs, max_rows=8)
    with (
        allocator(model.pipe.vae, "_decode", len, 3, OUT) as decoded,
        allocator(model.denoiser.conv_in, "forward", len, 99, OUT) as passes,
    ):
        after = collect(model, runs, max_rows=8)
    assert len(passes) == 3 * SAMPLING.steps
    assert [rows for rows in decoded if rows > 3] == [8, 4]  # once, not once a call
    assert max(np.abs(after[run] - before[run]).max() for run in runs) <= 1


def test_one_picture_that_cannot_be_decoded_is_told_of_at_once() -> None:
    model = tiny_pipelines.sdxl()
    with (
        allocator(model.pipe.vae, "_decode", len, 0, OUT),
        allocator(model.denoiser.conv_in, "forward", len, 99, OUT) as passes,
        pytest.raises(OutOfMemoryError, match="decoding of one picture does not fit into the mem"),
    ):
        collect(model, [Run(f"a sign {n}") for n in range(8)], max_rows=8)
    assert len(passes) == SAMPLING.steps


@pytest.mark.parametrize("error", [OUT, RuntimeError, MemoryError])
@pytest.mark.slow
def test_the_second_stage_runs_in_parts_that_fit(error: type[Exception]) -> None:
    model = tiny_pipelines.OTHERS["if"]()
    second = tiny_families.deepfloyd_if_second()
    second.set_progress_bar_config(disable=True)
    second.text_encoder, second.tokenizer = model.pipe.text_encoder, model.pipe.tokenizer
    model.upscaler = Upscaler(second, model.family)
    runs = [Run(f"a sign {n}") for n in range(6)]
    before = collect(model, runs, max_rows=6)
    assert {picture.shape for picture in before.values()} == {(32, 32, 3)}
    with (
        allocator(second.unet.conv_in, "forward", len, 2 * 2, error) as seen,
        allocator(model.denoiser.conv_in, "forward", len, 99, OUT) as passes,
    ):
        after = collect(model, runs, max_rows=6)
    assert len(passes) == SAMPLING.steps  # stage I is not made again
    assert [rows for rows in seen if rows > 4] == [12, 6]
    assert max(np.abs(after[run] - before[run]).max() for run in runs) <= 1
    with (
        allocator(second.unet.conv_in, "forward", len, 0, error),
        pytest.raises(OutOfMemoryError, match="one row of the second stage does not fit"),
    ):
        collect(model, runs)


# -- measuring ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "peaks", "rows"),
    [
        (18.5, (10.0, 12.0), 5),  # 0.9 of 20.5 GiB; 10 for one, 2 for each more
        (8.0, (10.0, 12.0), 1),
        (8.0, (10.0, None), 1),  # two do not fit
        (98.0, (10.0, 10.0), None),  # more rows than there is sense in
    ],
)
def test_rows_are_measured_on_an_accelerator(
    free: float, peaks: tuple[float, float | None], rows: int | None, monkeypatch: Any
) -> None:
    model = tiny_pipelines.sdxl()
    left = list(peaks)
    gib = 2**30

    def step(_model: Model, _rows: int, _sampling: Sampling) -> None:
        if left[0] is None:
            raise OUT("CUDA out of memory.")

    monkeypatch.setattr(memory, "_one_step", step)
    monkeypatch.setattr(memory, "free_cache", lambda _device: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _device: left.pop(0) * gib)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (int(free * gib), 24 * gib))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 2 * gib)
    found = memory.measured(model, SAMPLING)
    assert found is not None
    assert found == rows if rows is not None else found > generation.MAX_ROWS


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux", "if"])
def test_measuring_leaves_pipeline_and_pictures_as_they_were(family: str) -> None:
    model = {**tiny_pipelines.FAMILIES, **tiny_pipelines.OTHERS}[family]()
    before = collect(model, [SOURCE])[SOURCE]
    scheduler = model.pipe.scheduler
    memory._one_step(model, 2, SAMPLING)
    assert model.pipe.scheduler is scheduler
    assert np.array_equal(collect(model, [SOURCE])[SOURCE], before)


def test_weights_that_are_yet_to_come_are_not_free_memory() -> None:
    denoiser = tiny_pipelines.sdxl().denoiser
    assert memory.to_come(denoiser, "cpu") == 0
    assert memory.to_come(denoiser, "cuda") == memory.size_of(denoiser)
    one_by_one = tiny_pipelines.sdxl().denoiser.to("meta")
    largest = max(p.numel() for p in denoiser.parameters()) * 4
    assert largest <= memory.to_come(one_by_one, "cuda") < 2 * largest


@pytest.mark.parametrize(
    "error",
    [
        OUT("CUDA out of memory."),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if"),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception) -> None:
    assert memory.is_out_of_memory(error)
    assert not memory.is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


# -- pictures of one's own ------------------------------------------------------------------


class Overflowing(torch.nn.Module):
    """A convolution whose activations leave half precision's range, as SDXL's autoencoder's do."""

    def __init__(self, own: torch.nn.Module) -> None:
        super().__init__()
        self.own = own

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return (self.own(states) * 1e6) / 1e6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_pictures_are_encoded_in_float32_where_the_autoencoder_asks_for_it(
    dtype: torch.dtype,
) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    model = tiny_pipelines.sdxl()
    model.pipe.vae.encoder.conv_in = Overflowing(model.pipe.vae.encoder.conv_in)
    wanted = model.family.encode(model.pipe, [picture], SAMPLING)
    half(model, dtype)
    found = model.family.encode(model.pipe, [picture], SAMPLING)
    assert found.dtype == model.pipe.vae.dtype == dtype
    assert float((found.float() - wanted).abs().max()) < 0.05 * float(wanted.abs().max())
    model.pipe.vae.register_to_config(force_upcast=False)
    if dtype == torch.float16:
        with pytest.raises(CheckpointError, match="no numbers in float16; choose --dtype bfl"):
            model.family.encode(model.pipe, [picture], SAMPLING)
