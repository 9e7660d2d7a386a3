"""What is found of a job's finished calls, readings and shares is what the job would make."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests import tiny_pipelines
from tests.jobs.documents_compared import without_times
from textloc.checkpoints import memory
from textloc.checkpoints.loading import Model, Upscaler
from textloc.errors import Cancelled
from textloc.jobs import keeping, made_by
from textloc.jobs.attribute import attribute_stream
from textloc.jobs.edit import edit_stream
from textloc.jobs.keeping import Keeping
from textloc.jobs.localize import localize_stream
from textloc.jobs.suppress import suppress_stream
from textloc.patching import generation
from textloc.prompts import parse_pair
from textloc.reading import ocr
from textloc.reading.ocr import Reading
from textloc.runs import Patch, Run

PAIRS = [parse_pair(f'a {color} sign "AB"', "XYZ") for color in ("red", "blue")]
SOURCE, TARGET = Run(PAIRS[0].source, 3), Run(PAIRS[0].target, 3)
RUNS = [SOURCE, TARGET, *(SOURCE.patched(Patch((n,), TARGET)) for n in range(3))]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that is on."""
    monkeypatch.setenv("TEXTLOC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_pipelines.sdxl()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of the pipeline calls that are made."""
    made, call = list[int](), generation._call

    def counted(model: Any, batch: Any, *rest: Any) -> Any:
        made.append(len(batch))
        return call(model, batch, *rest)

    monkeypatch.setattr(generation, "_call", counted)
    return made


def pixels(model: Model, runs: list[Run] = RUNS, **options: Any) -> dict[Run, bytes]:
    """Pictures of runs by a job of their own."""
    found: dict[Run, bytes] = {}
    for chunk in Keeping().generate(model, runs, model.defaults, **options):
        found |= {run: one.mode.encode() + one.tobytes() for run, one in chunk.images.items()}
    return found


def test_what_is_found_is_what_was_made(cache: Path, model: Model, calls: list[int]) -> None:
    made = list(Keeping().generate(model, RUNS, model.defaults, max_rows=4))
    count = len(calls)
    assert count > 1
    found = list(Keeping().generate(model, RUNS, model.defaults, max_rows=4))
    assert len(calls) == count
    assert [chunk.kept for chunk in found] == [True] * len(made)
    for one, other in zip(made, found, strict=True):
        assert list(one.images) == list(other.images)
        assert (one.seconds, one.patching) == (other.seconds, other.patching)
        for run, image in one.images.items():
            assert (image.mode, image.size) == (other.images[run].mode, other.images[run].size)
            assert image.tobytes() == other.images[run].tobytes()
    plain = list(generation.generate(model, RUNS, model.defaults, max_rows=4))
    assert [image.tobytes() for chunk in plain for image in chunk.images.values()] == [
        image.tobytes() for chunk in found for image in chunk.images.values()
    ]


@pytest.mark.parametrize(
    "other",
    [
        lambda m: pixels(m, [*RUNS[:-1], RUNS[-1].patched(Patch((0,), TARGET, start=1))]),
        lambda m: pixels(m, [*RUNS[:-1], Run(SOURCE.prompt, 4)]),
        lambda m: pixels(m, RUNS[:-1]),  # another batch: the rows beside it count
        lambda m: pixels(m, max_rows=3),
        lambda m: pixels(m, share=False),
        lambda m: pixels(m, lean=True, max_rows=3),
    ],
)
def test_another_question_is_not_answered_by_it(
    cache: Path, model: Model, calls: list[int], other: Callable[[Model], Any]
) -> None:
    pixels(model)
    count = len(calls)
    other(model)
    assert len(calls) > count


def _scheduler(model: Model) -> None:
    from diffusers import EulerDiscreteScheduler

    model.pipe.scheduler = EulerDiscreteScheduler.from_config(model.pipe.scheduler.config)


def _processor(model: Model) -> None:
    from diffusers.models.attention_processor import AttnProcessor

    model.denoiser.set_attn_processor(AttnProcessor())


@pytest.mark.parametrize(
    "change",
    [
        _scheduler,
        _processor,
        lambda model: model.pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4),
        lambda model: model.pipe.to(torch.float64),
        lambda model: setattr(model, "digest", "sha256:other"),
        lambda model: torch.set_num_threads(torch.get_num_threads() + 1),
        lambda model: setattr(model.denoiser.conv_in, "padding_mode", "circular"),
    ],
    ids=["scheduler", "processor", "freeu", "dtype", "digest", "threads", "attribute"],
)
def test_another_model_or_machine_is_another_answer(change: Callable[[Model], Any]) -> None:
    model = tiny_pipelines.sdxl()
    before = made_by.made_by(model)
    assert before == made_by.made_by(tiny_pipelines.sdxl())
    change(model)
    assert made_by.made_by(model) != before


@pytest.mark.parametrize("name", [*tiny_pipelines.FAMILIES, *tiny_pipelines.OTHERS])
def test_a_call_does_not_change_what_a_model_is_made_by(name: str) -> None:
    model = {**tiny_pipelines.FAMILIES, **tiny_pipelines.OTHERS}[name]()
    before = made_by.made_by(model)
    assert before is not None
    list(generation.generate(model, [Run('a sign "AB"')], model.defaults))
    assert made_by.made_by(model) == before
    json.dumps(before)


def test_of_a_pipeline_with_code_of_its_own_nothing_is_kept(cache: Path, calls: list[int]) -> None:
    model = tiny_pipelines.sdxl()
    hook = model.denoiser.conv_in.register_forward_hook(lambda *_: None)
    assert made_by.made_by(model) is None
    pixels(model)
    pixels(model)
    assert len(calls) == 2
    hook.remove()
    assert made_by.made_by(model) is not None
    forward = model.denoiser.forward
    model.denoiser.forward = lambda *args, **kwargs: forward(*args, **kwargs)
    assert made_by.made_by(model) is None
    del model.denoiser.forward
    model.upscaler = Upscaler(model.pipe, model.family)  # of which no digest is known
    assert made_by.made_by(model) is None


def test_damage_costs_the_call_alone(cache: Path, model: Model, calls: list[int]) -> None:
    made = pixels(model, max_rows=4)
    count = len(calls)
    largest = max(cache.rglob("*.zip"), key=lambda path: path.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[:-100])
    assert pixels(model, max_rows=4) == made
    assert len(calls) == count + 1
    assert pixels(model, max_rows=4) == made
    assert len(calls) == count + 1


def test_rows_stay_as_they_were_chosen_though_less_memory_is_free(
    cache: Path, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, stopped = tiny_pipelines.sdxl(), Keeping()
    monkeypatch.setattr(Model, "rows_that_fit", lambda self, sampling: 4)
    chunks = stopped.generate(model, RUNS, model.defaults)
    next(chunks)
    chunks.close()
    first = list(calls)
    monkeypatch.setattr(Model, "rows_that_fit", lambda self, sampling: 3)
    pixels(model)
    calls_of_it = list(calls)
    assert max(calls_of_it) == 4
    assert calls_of_it[: len(first)] == first
    fresh = [len(batch) for batch in generation.chunks(RUNS, 4)]
    assert calls_of_it == fresh


def test_rows_that_cannot_fit_any_more_are_cut_and_what_is_there_is_used(
    cache: Path, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_pipelines.sdxl()
    monkeypatch.setattr(Model, "rows_that_fit", lambda self, sampling: 4)
    chunks = Keeping().generate(model, RUNS, model.defaults)
    next(chunks)
    chunks.close()
    monkeypatch.setattr(Model, "rows_that_fit", lambda self, sampling: 3)
    monkeypatch.setattr(memory, "by_formula", lambda *_: 1)
    monkeypatch.setattr(generation, "may_fit", memory.may_fit)
    assert set(pixels(model)) >= set(RUNS)
    assert calls[0] == 4
    assert calls[1:]
    assert max(calls[1:]) <= 3


def test_a_call_that_ran_out_of_memory_is_not_tried_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, tried = generation._call, list[int]()

    def small(model: Any, batch: Any, *rest: Any) -> Any:
        tried.append(len(batch))
        if len(batch) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(model, batch, *rest)

    monkeypatch.setattr(generation, "_call", small)
    model = tiny_pipelines.sdxl()
    made = pixels(model, max_rows=8)
    assert tried[0] > 3
    count = len(tried)
    again = tiny_pipelines.sdxl()  # as in another process
    assert pixels(again, max_rows=8) == made
    assert len(tried) == count
    assert again.rows_known


def test_readings_come_back_as_they_were(
    cache: Path, monkeypatch: pytest.MonkeyPatch, shipped: Model
) -> None:
    (chunk,) = generation.generate(shipped, [Run('a red sign that says "STOP"')], shipped.defaults)
    pictures = [*chunk.images.values(), Image.new("RGB", (64, 64))]
    made = Keeping().read(pictures, "rapidocr", capitals=True)
    assert made[0].boxes
    monkeypatch.setattr(ocr, "read", lambda *_, **__: pytest.fail("read again"))
    found = Keeping().read(pictures, "rapidocr", capitals=True)
    assert found == made
    other = [Reading("other")]
    monkeypatch.setattr(ocr, "read", lambda *_, **__: other)
    assert Keeping().read(pictures, "rapidocr", capitals=False) == other
    assert Keeping().read(pictures[:1], "rapidocr", capitals=True) == other


def _document(stream: Iterator[Any]) -> tuple[str, dict[str, bytes], int]:
    *_, last = stream
    images = {key: image.tobytes() for key, image in last.images.items()}
    return without_times(last.document), images, last.found


def _stopped_and_gone_on(
    job: Callable[..., Iterator[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop a job after each of its events in turn; each time it goes on."""
    monkeypatch.setenv("TEXTLOC_CACHE", "off")
    undisturbed = _document(job())
    assert undisturbed[2] == 0
    monkeypatch.undo()
    for stop in range(1, 5):
        events = job()
        for _ in range(stop):
            next(events, None)
        del events
    gone_on = _document(job())
    assert gone_on[:2] == undisturbed[:2]
    assert gone_on[2] > 0
    made_again = _document(job())
    assert made_again[:2] == undisturbed[:2]
    assert made_again[2] >= gone_on[2]


@pytest.fixture
def own_cache_only(tmp_path: Path) -> Iterator[None]:
    """An empty cache that is on, also after `monkeypatch.undo`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEXTLOC_CACHE", str(tmp_path / "cache"))
        yield


@pytest.mark.usefixtures("own_cache_only")
@pytest.mark.parametrize(
    "job",
    [
        lambda m: localize_stream(m, PAIRS, chunk_rows=5),
        pytest.param(
            lambda m: localize_stream(m, PAIRS, chunk_rows=5, search="attribution"),
            marks=pytest.mark.slow,
        ),
        lambda m: attribute_stream(m, PAIRS, seeds=(0, 1)),
        lambda m: edit_stream(m, PAIRS, [0, 1], methods=["prompt-to-prompt", "inpainting"]),
        lambda m: edit_stream(
            m, PAIRS[:1], [0], start_step=0, pictures=[Image.new("RGB", (16, 16), "red")]
        ),
        lambda m: suppress_stream(
            m,
            ['a sign "DAMN"', 'a sign "AB"'],
            [0],
            check=True,
            unguarded=True,
            methods=["negative-prompt"],
        ),
    ],
    ids=["sweep", "search", "attribute", "edit", "own picture", "suppress"],
)
def test_a_job_that_is_stopped_goes_on_and_ends_in_the_same_document(
    job: Callable[[Model], Iterator[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_pipelines.sdxl()
    _stopped_and_gone_on(lambda: job(model), monkeypatch)


def test_cancelling_stops_what_is_found_too(cache: Path, model: Model) -> None:
    for asked in (
        lambda **k: localize_stream(model, PAIRS, **k),
        lambda **k: attribute_stream(model, PAIRS, **k),
    ):
        list(asked())
        with pytest.raises(Cancelled):
            list(asked(cancelled=lambda: True))


def test_seconds_count_what_was_spent_before(cache: Path, model: Model) -> None:
    *_, first = localize_stream(model, PAIRS)
    *_, again = localize_stream(model, PAIRS)
    assert first.document["costs"] == again.document["costs"]
    assert again.document["timing"]["generate_s"] == first.document["timing"]["generate_s"]
    assert again.document["timing"]["total_s"] > first.document["timing"]["generate_s"]


def test_no_prompt_stands_in_the_cache(cache: Path, model: Model) -> None:
    *_, _last = localize_stream(model, [parse_pair('a secret sign "AB"', "XYZ")])
    content = b"".join(path.read_bytes() for path in cache.rglob("*") if path.is_file())
    assert b"secret" not in content
    assert b"PNG" in content


def test_shares_come_back_bit_for_bit(cache: Path, model: Model) -> None:
    asked: dict[str, Any] = {"sampling": model.defaults, "steps": (0, 1)}
    *_, (_, made) = Keeping().shares(model, [(SOURCE, TARGET)], **asked)
    ((_, found),) = Keeping().shares(model, [(SOURCE, TARGET)], **asked)
    assert found.tokens == made.tokens
    for one, other in zip(made.steps, found.steps, strict=True):
        for values, kept in zip(one.layers, other.layers, strict=True):
            assert values.dtype == kept.dtype
            assert values.flags.c_contiguous == kept.flags.c_contiguous
            assert np.array_equal(values, kept)
        assert {**vars(one), "layers": ()} | {"by_layer": 0} == {**vars(other), "layers": ()} | {
            "by_layer": 0
        }


def test_a_control_that_is_no_plain_data_is_not_kept() -> None:
    with pytest.raises(keeping._NotPlain):
        keeping._plain(Run("a", control=object()))  # type: ignore[arg-type]
