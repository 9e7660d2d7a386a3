"""Generation: batches, bad input before the first call, stopping, memory, what is switched off."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import tiny_pipelines
from tests.patching.test_invariants import SOURCE, TARGET, everything
from textloc.checkpoints import families
from textloc.checkpoints.loading import Model, Spelling
from textloc.errors import Cancelled, CheckpointError, LayerError, OutOfMemoryError, PromptError
from textloc.patching import generation
from textloc.runs import Patch, Run, Sampling

SAMPLING = Sampling(4, 2.0, 16, 16)
LONG = "a sign that says much more than fits here"


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_pipelines.precise(tiny_pipelines.sdxl())


@pytest.fixture(autouse=True)
def _as_much_memory_as_before(model: Model) -> None:
    """What one test runs out of is no limit of the next, in whatever order they are run."""
    model.rows_known.clear()


def with_scheduler(name: str, **config: Any) -> Model:
    made = getattr(diffusers, name)(prediction_type="v_prediction", **config)
    return tiny_pipelines.precise(tiny_pipelines.sdxl(scheduler=made))


def sweep(model: Model, start: int = 0) -> list[Run]:
    return [SOURCE.patched(Patch((i,), TARGET, start=start)) for i in everything(model)]


def collect(model: Model, runs: list[Run], **options: Any) -> dict[Run, np.ndarray]:
    return {
        run: np.asarray(image, int)
        for chunk in generation.generate(model, runs, SAMPLING, **options)
        for run, image in chunk.images.items()
    }


# -- batches --------------------------------------------------------------------------------

PLAIN = st.builds(Run, st.sampled_from("abc"), st.integers(0, 1), st.sampled_from([None, "", "n"]))
RUNS = st.one_of(
    PLAIN,
    st.builds(
        lambda run, donors: run.patched(*(Patch((0,), donor) for donor in donors)),
        PLAIN,
        st.lists(PLAIN, min_size=1, max_size=3),
    ),
)


@given(st.lists(RUNS, max_size=12), st.integers(1, 9))
def test_batches_hold_every_run_with_what_it_needs(runs: list[Run], rows: int) -> None:
    batches = generation.chunks(runs, rows)
    asked = list(dict.fromkeys(runs))
    for batch in batches:
        assert len(set(batch)) == len(batch)
        assert all(needed in batch for run in batch for needed in generation.support(run))
        least = max(len({*generation.support(run), run}) for run in batch)
        assert len(batch) <= max(rows, least)
    found = [run for batch in batches for run in batch]
    assert set(asked) <= set(found)
    assert set(found) <= {*asked, *(x for run in asked for x in generation.support(run))}


def test_late_patches_cost_less_and_change_nothing(model: Model) -> None:
    runs = sweep(model, start=3)
    counts, pictures = [], []
    for share in (True, False):
        (chunk,) = generation.generate(model, runs, SAMPLING, max_rows=99, share=share)
        assert set(chunk.images) == {SOURCE, TARGET, *runs}  # support rows are yielded too
        counts.append(chunk.patching)
        pictures.append([np.asarray(chunk.images[run], int) for run in runs])
    assert counts[0].rows < counts[0].rows_unshared == counts[1].rows_unshared == counts[1].rows
    assert np.abs(np.subtract(*pictures)).max() <= 1


def test_a_sweep_is_the_same_with_any_scheduler_that_remembers() -> None:
    model = with_scheduler("UniPCMultistepScheduler")
    whole, parts = (collect(model, sweep(model, start=2), max_rows=rows) for rows in (99, 4))
    assert whole.keys() == parts.keys()
    assert max(np.abs(whole[run] - parts[run]).max() for run in whole) <= 1


def test_no_run_no_call(model: Model) -> None:
    assert list(generation.generate(model, [], SAMPLING)) == []


# -- progress and stopping ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["DDIMScheduler", "PNDMScheduler", "HeunDiscreteScheduler"])
def test_progress_reaches_its_end(name: str) -> None:
    skip = {"skip_prk_steps": True} if name.startswith("PNDM") else {}
    told: list[tuple[int, int]] = []
    collect(with_scheduler(name, **skip), [SOURCE], on_step=lambda *both: told.append(both))
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert {steps for _, steps in told} == {len(told)}


@pytest.mark.parametrize("name", ["PNDMScheduler", "UniPCMultistepScheduler"])
def test_stopping_leaves_nothing_in_schedulers_that_remember(name: str) -> None:
    skip = {"skip_prk_steps": True} if name.startswith("PNDM") else {}
    model = with_scheduler(name, **skip)
    before = collect(model, [SOURCE])[SOURCE]
    for stop_after in (1, 2, 3):
        told: list[int] = []
        with pytest.raises(Cancelled):
            collect(
                model,
                sweep(model),
                on_step=lambda step, _, told=told: told.append(step),
                cancelled=lambda told=told, most=stop_after: len(told) >= most,
            )
        assert told == list(range(1, stop_after + 1))
        assert np.array_equal(collect(model, [SOURCE])[SOURCE], before)


def test_stopping_between_calls_keeps_what_is_finished(model: Model) -> None:
    stop: list[bool] = []
    job = generation.generate(
        model, sweep(model), SAMPLING, max_rows=3, cancelled=lambda: bool(stop)
    )
    first = next(job)
    stop.append(True)
    with pytest.raises(Cancelled, match="what was finished before is kept"):
        next(job)
    assert len(first.images) == 3


# -- memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        *(
            pytest.param(error, marks=pytest.mark.slow)
            for error in (
                MemoryError(),
                RuntimeError(
                    "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"
                ),
                RuntimeError("MPS backend out of memory"),
            )
        ),
    ],
    ids=["cuda", "python", "cpu", "mps"],
)
def test_every_way_of_running_out_of_memory(
    model: Model, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, original = sweep(model), model.denoiser.conv_in.forward
    before = collect(model, runs, max_rows=99)

    def limited(sample: torch.Tensor) -> torch.Tensor:
        if len(sample) > limit:
            raise error
        return original(sample)

    monkeypatch.setattr(model.denoiser.conv_in, "forward", limited)
    limit = 2 * 5
    after = collect(model, runs, max_rows=99)
    assert after.keys() == before.keys()
    assert max(np.abs(after[run] - before[run]).max() for run in runs) <= 1
    limit = 2 * 2
    with pytest.raises(OutOfMemoryError, match="3 rows do not fit into the memory of cpu"):
        collect(model, runs)


def test_running_out_of_memory_while_decoding(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = model.pipe.vae._decode

    def limited(code: torch.Tensor, **options: Any) -> Any:
        if len(code) > 4:
            raise torch.OutOfMemoryError
        return original(code, **options)

    monkeypatch.setattr(model.pipe.vae, "_decode", limited)
    assert set(sweep(model)) <= collect(model, sweep(model)).keys()


def test_other_errors_are_not_taken_for_it(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(model.denoiser.conv_in, "forward", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        collect(model, [SOURCE])


# -- bad input, told before the first call --------------------------------------------------


@pytest.fixture
def no_calls(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(*_: object, **__: object) -> None:
        raise AssertionError("the pipeline was called")

    monkeypatch.setattr(type(model.pipe), "__call__", call)


@pytest.mark.usefixtures("no_calls")
@pytest.mark.parametrize(
    "run",
    [
        Run(LONG),
        Run("a sign", prompt_2=LONG),
        Run("a sign", negative_prompt=LONG),
        SOURCE.patched(Patch((0,), Run(LONG, 1))),
        SOURCE.patched(Patch((0,), Run("a sign", 1, prompt_2=LONG))),
    ],
    ids=["prompt", "prompt_2", "negative", "donor", "donor's prompt_2"],
)
def test_nothing_is_cut_off_silently(model: Model, run: Run) -> None:
    with pytest.raises(PromptError, match=r"\d+ tokens and random reads 24; shorten it: 'a sign"):
        collect(model, [SOURCE, run])


@pytest.mark.usefixtures("no_calls")
def test_spelling_binds_prompts_but_not_negative_ones(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "spelling", Spelling("ABC", 2, 3))
    for text, message in [("DA", "cannot spell 'D'"), ("A", "2 to 3 letters"), ("AAAA", "has 4")]:
        with pytest.raises(PromptError, match=message):
            collect(model, [Run('a sign "AB"').patched(Patch((0,), Run(f'a sign "{text}"')))])
    with pytest.raises(AssertionError, match="was called"):
        collect(model, [Run('a sign "AB"', negative_prompt='not "XYZXYZ"')])


@pytest.mark.usefixtures("no_calls")
def test_negative_prompts_that_sdxl_cannot_hold_side_by_side(model: Model) -> None:
    run = SOURCE.patched(Patch((0,), Run(TARGET.prompt, 1, negative_prompt="blurry")))
    with pytest.raises(PromptError, match="all set a negative prompt or all leave it unset"):
        collect(model, [SOURCE, run])


def test_unset_and_empty_negative_prompts_are_the_same_elsewhere() -> None:
    like_sd = tiny_pipelines.sdxl()
    like_sd.pipe.register_to_config(force_zeros_for_empty_prompt=False)
    for made in (tiny_pipelines.sd(), like_sd):
        unset, other = Run("a sign"), Run("a mug", negative_prompt="blurry")
        pictures = collect(made, [unset.patched(Patch((0,), other))])
        assert np.abs(pictures[unset] - collect(made, [unset])[unset]).max() <= 1
        empty = Run("a sign", negative_prompt="")
        assert np.abs(pictures[unset] - collect(made, [empty])[empty]).max() <= 1


def test_second_prompts_reach_the_second_encoder_or_are_refused(model: Model) -> None:
    plain, other, same = (
        Run("a sign"),
        Run("a sign", prompt_2="a mug"),
        Run("a sign", 0, None, "a sign"),
    )
    found = collect(model, [plain, other, same])
    assert np.abs(found[plain] - found[other]).max() > 1
    assert np.abs(found[plain] - found[same]).max() <= 1
    with pytest.raises(PromptError, match="one text encoder"):
        collect(tiny_pipelines.sd(), [other])


@pytest.mark.parametrize("name", ["KDPM2DiscreteScheduler", "PNDMScheduler"])
def test_schedulers_that_look_between_steps(name: str) -> None:
    """They can patch all steps, but not from one step on."""
    model = with_scheduler(name)
    whole = SOURCE.patched(Patch(everything(model), TARGET))
    assert whole in collect(model, [whole])
    for limited in ({"start": 1}, {"stop": 2}):
        run = SOURCE.patched(Patch((0,), TARGET, **limited))
        with pytest.raises(LayerError, match=f"{name} also looks between its 4 steps"):
            collect(model, [run])


def test_a_pipeline_that_returns_too_few_pictures(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = SimpleNamespace(images=[])
    monkeypatch.setattr(type(model.pipe), "__call__", lambda *_, **__: empty)
    with pytest.raises(CheckpointError, match="0 images for 1 prompts"):
        collect(model, [SOURCE])


# -- what is switched off -------------------------------------------------------------------


def test_the_watermark_is_switched_off_and_said_so() -> None:
    pipe = tiny_pipelines.sdxl().pipe
    family = families.of_pipeline(pipe)
    assert family.prepare(pipe) == {"safety_checker": None, "watermark": None}
    pipe.watermark = object()
    assert family.prepare(pipe) == {"safety_checker": None, "watermark": "off"}
    assert pipe.watermark is None


def test_the_safety_checker_is_switched_off_and_said_so() -> None:
    model = tiny_pipelines.sd()
    assert model.switched_off == {"safety_checker": None, "watermark": None}
    model.pipe.safety_checker = torch.nn.Identity()
    assert model.family.prepare(model.pipe) == {"safety_checker": "off", "watermark": None}
    assert model.pipe.safety_checker is None
    assert not model.pipe.config.requires_safety_checker
    assert SOURCE in collect(model, [SOURCE])


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_large_pictures_are_decoded_one_by_one(family: str) -> None:
    model = tiny_pipelines.FAMILIES[family]()
    together = collect(model, [SOURCE, TARGET])
    assert not model.pipe.vae.use_slicing
    model.pipe.vae.register_to_config(sample_size=512)
    model.family.prepare(model.pipe)
    assert model.pipe.vae.use_slicing
    one_by_one = collect(model, [SOURCE, TARGET])
    assert max(np.abs(together[run] - one_by_one[run]).max() for run in together) <= 1


def test_pictures_have_the_size_asked_for(model: Model) -> None:
    for height, width in ((16, 24), (24, 16), (None, None)):
        (chunk,) = generation.generate(model, [SOURCE], Sampling(1, 1.0, height, width))
        assert chunk.images[SOURCE].size == (width or 16, height or 16)
