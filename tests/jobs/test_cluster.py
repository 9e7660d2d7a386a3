"""On a cluster a job ends in the document of the local run, whatever becomes of its workers."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache as cache_of_calls
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from PIL import Image, ImageDraw

import textloc
from tests import tiny_pipelines
from tests.jobs.documents_compared import without_times
from tests.jobs.ray_stand_in import Ray
from textloc import cli
from textloc.baselines.steering import Steering
from textloc.bench import swap
from textloc.checkpoints import loras
from textloc.checkpoints.loading import Model, load
from textloc.errors import (
    Cancelled,
    CheckpointError,
    ClusterError,
    OCRError,
    OutOfMemoryError,
    PromptError,
)
from textloc.jobs import cluster, keeping, worker
from textloc.jobs.attribute import attribute_stream
from textloc.jobs.edit import edit_stream
from textloc.jobs.keeping import Keeping
from textloc.jobs.localize import localize_stream
from textloc.patching import generation
from textloc.prompts import parse_pair
from textloc.reading import ocr
from textloc.runs import Patch, Run

PAIRS = [parse_pair(f'a {color} sign "AB"', "XYZ") for color in ("red", "blue", "green")]
Job = Callable[[Any], Iterator[Any]]


def _picture(model: Model) -> Image.Image:
    image = Image.new("RGB", (16, 16), "white")
    ImageDraw.Draw(image).rectangle((3, 3, 9, 12), "black")
    return image


JOBS: dict[str, Job] = {
    "sweep": lambda m: localize_stream(m, PAIRS, chunk_rows=4),
    "by shares": lambda m: localize_stream(m, PAIRS[:2], chunk_rows=3, search="attribution"),
    "attribute": lambda m: attribute_stream(m, PAIRS, seeds=(0, 1)),
    "edit": lambda m: edit_stream(m, PAIRS[:2], [0, 1], methods=["prompt-to-prompt", "inpainting"]),
    "own picture": lambda m: edit_stream(m, PAIRS[:1], [0, 1], pictures=[_picture(m)]),
}


@pytest.fixture(autouse=True)
def one_thread(_threads: None) -> None:
    """The two CPUs of the stand-in have two workers, whatever the other tests compute with."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint that workers can load."""
    place = tmp_path_factory.mktemp("saved") / "tiny"
    model = tiny_pipelines.sdxl()
    model.pipe.save_pretrained(place)
    side = model.defaults.height
    usual = {"num_inference_steps": 2, "guidance_scale": 2.0, "height": side, "width": side}
    (place / "call_defaults.json").write_text(json.dumps(usual), encoding="utf-8")
    return str(place)


@pytest.fixture(scope="module")
def local(folder: str) -> Callable[[str], Any]:
    """What the jobs end in without a cluster."""

    @cache_of_calls
    def found(name: str) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(generation, "MAX_ROWS", 4)
            patch.setenv("TEXTLOC_CACHE", "off")
            return ended(JOBS[name](load(folder)))

    return found


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that is on."""
    monkeypatch.setenv("TEXTLOC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ray]:
    """Puts a Ray of this process in the place of a real one; rows are few, so that calls are
    many."""
    monkeypatch.setattr(generation, "MAX_ROWS", 4)

    def made(**options: Any) -> Ray:
        ray = Ray(**options)

        @contextmanager
        def session(_on: str) -> Iterator[Any]:
            yield ray

        monkeypatch.setattr(cluster, "_session", session)
        return ray

    return made


def ended(stream: Iterator[Any]) -> tuple[str, dict[str, bytes]]:
    """Document and pictures of a job."""
    *_, last = stream
    return without_times(last.document), {k: image.tobytes() for k, image in last.images.items()}


def made(ray: Ray) -> int:
    """Cells that workers made."""
    return sum(ray.calls[method].total() for method in ("call", "shares") if method in ray.calls)


# -- the same document ------------------------------------------------------------------------


@pytest.mark.parametrize("name", JOBS)
def test_it_is_the_document_of_the_local_run(
    name: str, folder: str, local: Callable[[str], Any], stand_in: Callable[..., Ray]
) -> None:
    ray = stand_in()
    with cluster.joined("ray", folder) as model:
        assert model.workers.count == 2
        assert ended(JOBS[name](model)) == local(name)
    assert not ray.open
    for method in ("call", "shares"):
        assert set(ray.calls.get(method, {}).values()) <= {1}


@pytest.mark.parametrize("name", ["sweep", "attribute", "own picture"])
def test_the_cells_of_lost_workers_are_made_by_others(
    name: str, folder: str, local: Callable[[str], Any], stand_in: Callable[..., Ray]
) -> None:
    lost = {"load": (1,), "call": (0, 2, 5), "shares": (1, 4)}
    ray = stand_in(lost=lambda method, before: before in lost.get(method, ()))
    with cluster.joined("ray", folder) as model:
        assert ended(JOBS[name](model)) == local(name)
    for method in ("call", "shares"):  # no cell is made twice but those that were lost
        calls = ray.calls.get(method, Counter())
        again = sum(times - 1 for times in calls.values())
        assert again == sum(number < calls.total() for number in lost[method])


@pytest.mark.parametrize("name", ["sweep", "attribute"])
def test_what_a_cluster_made_is_found_here_and_the_other_way_round(
    name: str, folder: str, cache: Path, stand_in: Callable[..., Ray]
) -> None:
    ray = stand_in()
    with cluster.joined("ray", folder) as model:
        *_, there = JOBS[name](model)
    count = made(ray)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation, "_call", lambda *_: pytest.fail("made again"))
        patch.setattr(keeping, "shares_stream", lambda *_, **__: pytest.fail("made again"))
        patch.setattr(ocr, "read", lambda *_, **__: pytest.fail("read again"))
        *_, here = JOBS[name](load(folder))
        with cluster.joined("ray", folder) as model:
            *_, again = JOBS[name](model)
    assert made(ray) == count
    assert without_times(there.document) == without_times(here.document)
    assert without_times(there.document) == without_times(again.document)
    assert there.found == 0
    assert here.found == again.found > 0


def test_a_job_that_is_stopped_goes_on(
    folder: str, local: Callable[[str], Any], cache: Path, stand_in: Callable[..., Ray]
) -> None:
    ray = stand_in()
    with cluster.joined("ray", folder) as model:
        events = JOBS["sweep"](model)
        for _ in range(3):
            next(events)
        events.close()
        assert not model.workers._waiting
    before = set(ray.calls["call"])
    with cluster.joined("ray", folder) as model:
        assert ended(JOBS["sweep"](model)) == local("sweep")
    assert len(before) >= 3
    assert set(ray.calls["call"].values()) == {1}


def test_rows_that_run_out_of_memory_are_cut_as_here(
    folder: str, stand_in: Callable[..., Ray], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in()
    call = generation._call

    def small(model: Any, batch: Any, *rest: Any) -> Any:
        if len(batch) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(model, batch, *rest)

    monkeypatch.setattr(generation, "_call", small)
    monkeypatch.setattr(generation, "free_cache", lambda _device: None)  # takes long
    here = ended(localize_stream(load(folder), PAIRS[:1], chunk_rows=7))
    with cluster.joined("ray", folder) as model:
        assert ended(localize_stream(model, PAIRS[:1], chunk_rows=7)) == here
    monkeypatch.setattr(generation, "_call", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with cluster.joined("ray", folder) as model, pytest.raises(OutOfMemoryError, match="rows"):
        ended(localize_stream(model, PAIRS[:1]))


def test_rows_of_a_machine_are_shared_by_its_workers(
    folder: str, stand_in: Callable[..., Ray], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(cpus=3)
    monkeypatch.setattr(Model, "rows_that_fit", lambda *_: 10)
    with cluster.joined("ray", folder) as model:
        assert model.rows_that_fit(model.defaults) == 3
    with cluster.joined("ray", folder, workers=1) as model:
        assert model.rows_that_fit(model.defaults) == 10


def test_a_control_that_has_to_look_first_does_so_where_it_runs(
    folder: str, stand_in: Callable[..., Ray]
) -> None:
    stand_in()
    source, target = Run(PAIRS[0].source), Run(PAIRS[0].target)
    steering = Steering((0, 1), ((PAIRS[0].source, PAIRS[0].target),))
    runs = [replace(source, control=steering), target, source.patched(Patch((0,), target))]
    here = load(folder)
    steering.check(here, here.defaults)
    (plain,) = generation.generate(here, runs[:1], here.defaults)
    with cluster.joined("ray", folder) as model:
        (chunk,) = Keeping().generate(model, runs[:1], model.defaults)
    assert [i.tobytes() for i in chunk.images.values()] == [
        i.tobytes() for i in plain.images.values()
    ]


def test_options_reach_the_workers(stand_in: Callable[..., Ray]) -> None:
    stand_in()
    name = loras.shipped()[0]
    asked = {"dtype": "bfloat16", "scheduler": "DDIMScheduler", "size": (32, 64)}
    with cluster.joined("ray", "tiny-sdxl", lora=name, lora_scale=0.5, **asked) as model:
        members = model.workers._members
        held = next(one.actor.held for one in members if one.ready)._models[None]
        for one in (held, model):
            assert one.dtype == "bfloat16"
            assert type(one.pipe.scheduler).__name__ == "DDIMScheduler"
            assert (one.defaults.height, one.defaults.width) == (32, 64)
            assert one.lora is not None
            assert (one.lora.name, one.lora.scale) == (name, 0.5)
        assert model.identity == held.identity
        assert model.workers.facts.digest == held.digest


# -- what goes wrong --------------------------------------------------------------------------


def test_too_many_lost_workers_end_it(folder: str, stand_in: Callable[..., Ray]) -> None:
    ray = stand_in(lost=lambda method, _: method == "call")
    with (
        pytest.raises(ClusterError, match=r"same cell \(it was killed\); give them more memory"),
        cluster.joined("ray", folder) as model,
    ):
        ended(JOBS["sweep"](model))
    assert not ray.open
    ray = stand_in(lost=lambda method, _: method == "load")
    with (
        pytest.raises(ClusterError, match="before they held the model"),
        cluster.joined("ray", folder),
    ):
        pass
    assert ray.calls["load"].total() == cluster.TRIES
    assert not ray.open


def test_errors_arrive_as_they_are(
    folder: str, stand_in: Callable[..., Ray], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in()
    with (
        pytest.raises(CheckpointError, match="there is no checkpoint 'nonesuch'"),
        cluster.joined("ray", "nonesuch"),
    ):
        pass
    for error in (OutOfMemoryError("a picture does not fit"), PromptError("too long")):

        def failing(*_: Any, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(worker.Worker, "call", failing)
        with (
            pytest.raises(type(error), match=str(error)),
            cluster.joined("ray", folder) as model,
        ):
            ended(JOBS["sweep"](model))
    monkeypatch.undo()


def test_a_worker_that_misses_something(
    folder: str, stand_in: Callable[..., Ray], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in()
    with (
        pytest.raises(CheckpointError, match=r"there is no /nowhere/lora.* on .*; put it where"),
        cluster.joined("ray", folder, lora="/nowhere/lora.safetensors"),
    ):
        pass
    asked = keeping.Asked({"engine": "rapidocr", "version": "0.1"}, {}, lambda _: 1)
    with cluster.joined("ray", folder) as model:
        chunks = Keeping().generate(model, [Run("a sign")], model.defaults, reads=asked)
        with pytest.raises(OCRError, match="install the same"):
            next(chunks)

    def missing(*_: Any) -> Any:
        raise ModuleNotFoundError("No module named 'diffusers'")

    monkeypatch.setattr(worker.Worker, "load", missing)
    with pytest.raises(ClusterError, match="misses a package"), cluster.joined("ray", folder):
        pass


def test_workers_have_to_be_alike(
    folder: str, stand_in: Callable[..., Ray], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in()
    loaded, seen = worker.Worker.load, list[Any]()

    def other(self: Any, asked: Any) -> Any:
        facts = loaded(self, asked)
        seen.append(facts)
        assert facts.made_by is not None
        machine = facts.made_by["machine"] | {"capability": f"number {len(seen)}"}
        return replace(facts, made_by=facts.made_by | {"machine": machine})

    monkeypatch.setattr(worker.Worker, "load", other)
    with (
        pytest.raises(ClusterError, match=r"differ \(capability: number 1 and number 2\)"),
        cluster.joined("ray", folder) as model,
    ):
        ended(JOBS["attribute"](model))
    monkeypatch.setattr(
        worker.Worker, "load", lambda self, asked: replace(loaded(self, asked), code="another")
    )
    with pytest.raises(ClusterError, match="another version"), cluster.joined("ray", folder):
        pass
    monkeypatch.setattr(
        worker.Worker, "load", lambda self, asked: replace(loaded(self, asked), digest="another")
    )
    with pytest.raises(ClusterError, match="other weights"), cluster.joined("ray", folder):
        pass


def test_a_stop_ends_it(folder: str, stand_in: Callable[..., Ray]) -> None:
    ray = stand_in()
    asked = iter(range(12))
    with cluster.joined("ray", folder) as model:
        events = localize_stream(model, PAIRS, cancelled=lambda: next(asked, None) is None)
        with pytest.raises(Cancelled):
            ended(events)
    assert not ray.open


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on": "dask"}, "write ray, or ray://HOST:10001"),
        ({"on": "ray", "workers": 0}, "at least one worker"),
        ({"on": "ray://127.0.0.1:9"}, "nothing answers at ray://127.0.0.1:9"),
        ({"on": "ray://127.0.0.1:port"}, "nothing answers"),
    ],
)
def test_what_cannot_be_joined(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ClusterError, match=said), cluster.joined(model="tiny-sdxl", **options):
        pass


def test_no_room(folder: str, stand_in: Callable[..., Ray]) -> None:
    stand_in(cpus=0)
    with pytest.raises(ClusterError, match="1 CPUs"), cluster.joined("ray", folder):
        pass


def test_what_is_in_memory_cannot_be_sent() -> None:
    model = tiny_pipelines.sdxl()
    for one in (model, model.pipe):
        with pytest.raises(ClusterError, match="cannot be sent"):
            textloc.localize(one, PAIRS[0].source, "XYZ", on="ray")


def test_workers_without_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ClusterError, match='on="ray"'):
        textloc.attribute("tiny-sdxl", PAIRS[0].source, "XYZ", workers=2)
    asked = ["--source", PAIRS[0].source, "--target", "XYZ", "--workers", "2"]
    assert cli.main(["attribute", *asked]) == 2
    assert "--on ray" in capsys.readouterr().err


def test_without_ray(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    asked = ["--source", PAIRS[0].source, "--target", "XYZ", "--on", "ray"]
    assert cli.main(["localize", *asked]) == 2
    assert "pip install textloc[cluster]" in capsys.readouterr().err


# -- a real cluster of two workers ------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> Iterator[Any]:
    """Ray with room for two workers."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield ray
        ray.shutdown()


@pytest.mark.slow
def test_a_worker_is_killed_in_the_middle(
    real: Any, folder: str, local: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "MAX_ROWS", 4)
    give, given, killed = cluster.Workers._give, list[cluster.Task](), list[int]()

    def noted(self: Any, member: Any, task: cluster.Task) -> None:
        give(self, member, task)
        if task.method in ("call", "shares"):
            given.append(task)
        if len(given) == 4 and not killed:
            killed.append(_kill_one())

    monkeypatch.setattr(cluster.Workers, "_give", noted)
    for name in ("sweep", "attribute"):
        given.clear()
        killed.clear()
        with cluster.joined("ray", folder) as model:
            assert ended(JOBS[name](model)) == local(name)
        lost = [task for task in given if task.lost]
        assert killed
        assert len(lost) == 2  # one task, handed out twice
        assert len(given) == len(set(given)) + 1


def _kill_one() -> int:
    """Kill a worker that makes a cell, as the memory running out would."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for process in psutil.process_iter(["name", "cmdline"]):
            said = " ".join(process.info["cmdline"] or ())
            if said.startswith(("ray::Worker.call", "ray::Worker.shares")):
                process.kill()
                return process.pid
        time.sleep(0.005)
    raise AssertionError("no worker makes anything")


@pytest.mark.slow
def test_a_bench_on_a_cluster(real: Any, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "MAX_ROWS", 4)
    here = swap.measure(load(folder), PAIRS, [0, 1])
    with cluster.joined("ray", folder) as model:
        assert swap.measure(model, PAIRS, [0, 1]) == here


@pytest.mark.slow
def test_from_python_and_the_command_line(
    real: Any, folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{pair.source}\t{pair.target}\n" for pair in PAIRS))
    here = textloc.localize(folder, pairs=pairs, search="sweep")
    there = textloc.localize(folder, pairs=pairs, search="sweep", on="ray", workers=2)
    assert without_times(there.document) == without_times(here.document)
    asked = ["--model", folder, "--pairs", str(pairs), "--json", "-"]
    said = []
    for on in ([], ["--on", "ray"]):
        assert cli.main(["attribute", *asked, *on]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert without_times(said[0]) == without_times(said[1])
