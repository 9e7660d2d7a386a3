"""Loading: every family from a folder, from the Hub, and what is said when it cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import hub_stand_in, tiny_families, tiny_newer, tiny_pipelines
from tests.checkpoints.built import built
from textloc.checkpoints import known, loading, memory
from textloc.checkpoints.families import full_size
from textloc.errors import CheckpointError
from textloc.jobs.localize import localize
from textloc.patching.generation import generate
from textloc.paths import ROOT
from textloc.prompts import parse_pair
from textloc.runs import Run, Sampling

PAIR = parse_pair('a red sign "AB"', "XY")
BUILD: dict[str, Any] = {
    "sd": tiny_pipelines.sd,
    "sdxl": tiny_pipelines.sdxl,
    "ldm": tiny_pipelines.ldm,
    **{name: tiny_pipelines.OTHERS[name] for name in ("if", "sd3", "sd35", "flux", "pixart")},
    **{name: tiny_pipelines.OTHERS[name] for name in ("sana", "qwen-image")},
}


def save(name: str, folder: Path) -> loading.Model:
    """Save a random pipeline as an ordinary diffusers folder with its usual call."""
    model: loading.Model = BUILD[name]()
    model.pipe.save_pretrained(folder)
    usual = model.defaults
    call = {"num_inference_steps": 2, "guidance_scale": 2.0}
    call |= {"height": usual.height, "width": usual.width}
    if usual.text_length:
        call["max_sequence_length"] = usual.text_length
    (folder / "call_defaults.json").write_text(json.dumps(call))
    return model


@pytest.mark.parametrize("name", BUILD)
def test_every_family_loads_from_a_folder_and_localizes(name: str, tmp_path: Path) -> None:
    """The family is found from the classes: neither name nor folder says it."""
    folder = tmp_path / "anything"
    saved = save(name, folder)
    model = loading.load(folder)
    assert model.layers == saved.layers
    assert model.defaults.text_length == saved.defaults.text_length
    if name != "qwen-image":  # where the prompt begins in its template is not saved
        (chunk,) = generate(model, [Run(PAIR.source)], model.defaults)
        (before,) = generate(saved, [Run(PAIR.source)], model.defaults)
        (picture, same) = (next(iter(c.images.values())) for c in (chunk, before))
        assert np.abs(np.asarray(picture, int) - np.asarray(same, int)).max() <= 1
    document = localize(model, [PAIR], layers=[0]).document
    assert document["complete"]
    assert document["layers"][0]["name"] == saved.layers[0].name
    assert document["checkpoint"]["parameters"] == saved.parameters


def test_the_second_stage_gets_the_source_prompt(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    save("if", first)
    stage = tiny_families.deepfloyd_if_second()
    stage.save_pretrained(second)
    model = loading.load(first, upscaler=str(second))
    assert model.upscaler is not None
    asked: list[Any] = []
    pipe = model.upscaler.pipe
    assert pipe.text_encoder is model.pipe.text_encoder
    encode = pipe.encode_prompt
    pipe.encode_prompt = lambda prompt, *args, **kwargs: (
        asked.append(prompt) or encode(prompt, *args, **kwargs)
    )
    document = localize(model, [PAIR], layers=[0], steps=1)
    assert {image.size for image in document.images.values()} == {(32, 32)}
    assert asked[0][:2] == [PAIR.source, PAIR.target]
    assert set(asked[0][2:]) == {PAIR.source}
    save("sd", tmp_path / "sd")
    with pytest.raises(CheckpointError, match="has no second stage"):
        loading.load(tmp_path / "sd", upscaler=str(second))


# -- the Hub --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("hub") / "sd3"
    save("sd3", folder)
    with hub_stand_in.serve({"stand-in/sd3": folder}) as address:
        yield address


COMMANDS = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from textloc import cli

for arguments in json.loads(sys.argv[1]):
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = cli.main(arguments)
    print(json.dumps([status, out.getvalue(), err.getvalue()]))
"""
"""Several commands, for a process takes seconds to start."""


def localize_each(endpoint: str, home: Path, *names: str) -> list[tuple[int, str, str]]:
    """Exit status, output and errors of `textloc localize --model NAME`, one a name.

    In a process of its own, for the address of the Hub is read at import.
    """
    asked = ["--source", PAIR.source, "--target", "XY", "--layers", "0", "--steps", "1"]
    commands = [["localize", "--model", name, *asked, "--json", "-"] for name in names]
    environment = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        cwd=ROOT,
        env={**os.environ, **environment, "TEXTLOC_RESULTS": str(home / "results")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


REFUSED = {
    hub_stand_in.GATED: "is gated: accept its licence at",
    "stand-in/nothing": "the Hub has no model 'stand-in/nothing'",
}


@pytest.mark.slow
def test_a_hub_name_downloads_and_runs_and_what_is_refused_is_one_line(
    hub: str, tmp_path: Path
) -> None:
    (status, said, errors), *refused = localize_each(hub, tmp_path, "stand-in/sd3", *REFUSED)
    assert status == 0, errors
    document = json.loads(said)
    assert document["checkpoint"]["revision"] == hub_stand_in.COMMIT
    assert document["checkpoint"]["name"] == "stand-in/sd3"
    for (status, said, errors), message in zip(refused, REFUSED.values(), strict=True):
        assert status == 2
        assert message in errors.strip().splitlines()[-1]
        assert said == ""
    ((status, _, errors),) = localize_each("http://127.0.0.1:9", tmp_path, "stand-in/sd3")
    assert status in (0, 2)  # from the cache, or told that the Hub is away
    assert "Traceback" not in errors


# -- the table ------------------------------------------------------------------------------


def test_the_table_holds_every_family() -> None:
    names = [entry.name for entry in known.KNOWN]
    assert len(set(names)) == len(names)
    published_sizes = {entry.name for entry in known.KNOWN if not entry.shipped}
    assert published_sizes <= set(full_size.DENOISERS) | {"sdxl-turbo"}, "counted at full size"
    assert known.find("nonesuch") is None
    published = {entry.name: entry.localized for entry in known.KNOWN if entry.localized}
    assert published == {"sdxl": (55, 56, 57), "if": (17,), "sd3": (10,)}


ENCODERS = {"flux2-dev": 50}
"""GB of text encoders that are larger than most: FLUX.2's has 24 billion parameters."""


@pytest.mark.parametrize("name", [name for name in full_size.DENOISERS if known.find(name)])
def test_sizes_leave_room_for_the_denoiser(name: str) -> None:
    entry = known.find(name)
    assert entry is not None
    weights = 2 * sum(p.numel() for p in built(name).parameters()) / 1e9
    assert weights < entry.gigabytes < weights + ENCODERS.get(name, 20)


@pytest.mark.parametrize(
    ("weights", "largest", "free", "how"),
    [
        (10, 6, 20, "whole"),
        (30, 6, 20, "model"),
        (30, 24, 20, "sequential"),
        (1, 1, 1, "sequential"),
    ],
)
def test_placement(weights: int, largest: int, free: int, how: str) -> None:
    assert memory.placement(weights * 2**30, largest * 2**30, free * 2**30) == how


def test_an_unknown_device_is_told() -> None:
    with pytest.raises(CheckpointError, match="no device 'quantum'"):
        loading.load("tiny-sdxl", device="quantum")


def test_sampling_of_a_family_that_reads_long_texts(tmp_path: Path) -> None:
    save("sd3", tmp_path / "sd3")
    model = loading.load(tmp_path / "sd3")
    with pytest.raises(loading.PromptError, match=r"tokens and .* reads 40"):
        model.check_prompt("a sign " * 10)
    longer = Sampling(1, 2.0, 16, 16, text_length=100)
    model.check_prompt("a sign " * 10, longer)


def test_a_size_that_the_pipeline_refuses_is_told_in_its_words() -> None:
    model = loading.load("tiny-sd3", size=(288, 288))
    with pytest.raises(CheckpointError, match=r"(?s)Pipeline refuses this call: .*leave the size"):
        list(generate(model, [Run('a red sign that says "STOP"')], model.defaults))


def test_a_call_that_takes_no_guidance(tmp_path: Path) -> None:
    """`Flux2KleinKVPipeline` knows neither `guidance_scale` nor `true_cfg_scale`."""
    tiny_newer.flux2_klein_kv().save_pretrained(tmp_path / "kv")
    usual = loading.load(str(tmp_path / "kv")).defaults
    assert (usual.steps, usual.guidance) == (4, 1.0)
