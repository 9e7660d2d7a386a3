"""A loaded pipeline in the place of a checkpoint's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests import tiny_pipelines
from textloc.checkpoints import given, loading
from textloc.errors import CheckpointError
from textloc.jobs.localize import localize
from textloc.patching.generation import generate
from textloc.paths import CHECKPOINTS
from textloc.prompts import parse_pair
from textloc.runs import Run

PAIR = parse_pair('a red sign "AB"', "XY")
SHIPPED = ("tiny-sdxl", "tiny-ldm", "tiny-sd3", "tiny-if")


def shipped(name: str) -> Any:
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.from_pretrained(CHECKPOINTS / name)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_pipeline_is_the_checkpoint_that_it_was_read_from(name: str) -> None:
    pipe = shipped(name)
    by_pipe, by_name = loading.load(pipe), loading.load(name)
    assert by_pipe.identity == by_name.identity
    assert by_pipe.layers == by_name.layers
    assert (by_pipe.defaults, by_pipe.spelling) == (by_name.defaults, by_name.spelling)
    pictures = [
        next(iter(chunk.images.values()))
        for model in (by_pipe, by_name)
        for chunk in generate(model, [Run('a red sign that says "STOP"')], model.defaults)
    ]
    assert np.array_equal(*map(np.asarray, pictures))


@pytest.mark.parametrize("name", [*tiny_pipelines.FAMILIES, *tiny_pipelines.OTHERS])
def test_a_pipeline_of_every_family_localizes(name: str) -> None:
    build: Callable[[], Any] = {**tiny_pipelines.FAMILIES, **tiny_pipelines.OTHERS}[name]
    saved = build()
    model = loading.load(saved.pipe)
    assert model.layers == saved.layers
    model.defaults = saved.defaults
    document = localize(model, [PAIR], layers=[0], steps=1).document
    assert document["complete"]
    assert document["checkpoint"]["digest"] == model.digest


def change_weight(pipe: Any) -> None:
    with torch.no_grad():
        next(pipe.unet.parameters()).view(-1)[0] += 1e-3


def change_scheduler(pipe: Any) -> None:
    pipe.scheduler = type(pipe.scheduler).from_config(
        pipe.scheduler.config, timestep_spacing="leading"
    )


def change_text_encoder(pipe: Any) -> None:
    with torch.no_grad():
        next(pipe.text_encoder.parameters()).view(-1)[0] += 1e-3


def add_token(pipe: Any) -> None:
    torch.manual_seed(0)
    pipe.tokenizer.add_tokens("<mine>")
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer))


def add_lora(pipe: Any) -> None:
    from peft import LoraConfig

    torch.manual_seed(0)
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_k"]), "theirs")


@pytest.mark.parametrize(
    "change", [change_weight, change_scheduler, change_text_encoder, add_token, add_lora]
)
def test_what_was_changed_in_memory_has_an_identity_of_its_own(
    change: Callable[[Any], None],
) -> None:
    pipe, other = shipped("tiny-sdxl"), shipped("tiny-sdxl")
    before = loading.load(pipe).digest
    change(pipe)
    change(other)
    after = loading.load(pipe).digest
    assert after != before
    assert loading.load(other).digest == after


def test_how_much_of_an_adapter_is_on_counts() -> None:
    pipe = shipped("tiny-sdxl")
    add_lora(pipe)
    digests = set()
    for scale in (1.0, 0.5):
        pipe.set_adapters("theirs", scale)
        digests.add(loading.load(pipe).digest)
    pipe.disable_lora()
    digests.add(loading.load(pipe).digest)
    assert len(digests) == 3


def test_the_pipeline_is_left_as_it_was() -> None:
    model = tiny_pipelines.sd()
    pipe = model.pipe
    checker = torch.nn.Identity()
    pipe.safety_checker = checker
    pipe.vae.register_to_config(sample_size=1024)  # so large that it would be sliced
    pipe._progress_bar_config = {"desc": "mine"}
    before = {name: vars(part).copy() for name, part in pipe.components.items() if part is not None}
    mine = vars(pipe).copy()
    loaded = loading.load(pipe)
    assert loaded.switched_off["safety_checker"] == "off"
    assert loaded.pipe.safety_checker is None
    assert loaded.pipe.vae.use_slicing
    for chunk in generate(loaded, [Run("a red sign")], model.defaults):
        assert chunk.images
    assert vars(pipe) == mine
    assert pipe.safety_checker is checker
    for name in ("vae", "unet", "text_encoder"):
        assert vars(getattr(pipe, name)).keys() == before[name].keys()
    assert not pipe.vae.use_slicing
    assert pipe._progress_bar_config == {"desc": "mine"}
    assert not any(part._forward_hooks for part in pipe.unet.modules())


def test_a_pipeline_is_neither_moved_nor_converted() -> None:
    pipe = tiny_pipelines.sd().pipe
    assert loading.load(pipe, device="cpu", dtype="float32").dtype == "float32"
    with pytest.raises(CheckpointError, match=r"in float32 and float16 is asked for"):
        loading.load(pipe, dtype="float16")
    with pytest.raises(CheckpointError, match=r"on cpu and cuda is asked for"):
        loading.load(pipe, device="cuda")


def test_dropout_that_is_on_is_told() -> None:
    pipe = tiny_pipelines.sd().pipe
    pipe.unet.train()
    assert loading.load(pipe).pipe.unet is pipe.unet  # no dropout in it: no matter
    pipe.unet.mid_block.attentions[0].transformer_blocks[0].ff.net[1].p = 0.1
    with pytest.raises(CheckpointError, match=r"unet of the pipeline is in training mode.*eval"):
        loading.load(pipe)


@pytest.mark.parametrize("thing", [None, 7, object(), torch.nn.Linear(1, 1), ["tiny-sdxl"]])
def test_what_is_no_checkpoint_is_told(thing: Any) -> None:
    with pytest.raises(CheckpointError, match="is no checkpoint: give a known name"):
        loading.load(thing)


def test_an_unknown_pipeline_class_is_told() -> None:
    from diffusers import StableDiffusionInstructPix2PixPipeline

    parts = tiny_pipelines.sd().pipe.components
    pipe = StableDiffusionInstructPix2PixPipeline(**parts, requires_safety_checker=False)
    with pytest.raises(
        CheckpointError, match="InstructPix2PixPipeline cannot be used: it needs a picture"
    ):
        loading.load(pipe)


def test_weights_that_accelerate_keeps_elsewhere_have_the_same_digest() -> None:
    from accelerate import cpu_offload

    saved = tiny_pipelines.sd()
    pipe = saved.pipe
    before = given.digest(pipe)
    cpu_offload(pipe.unet, execution_device=torch.device("cpu"))
    assert next(pipe.unet.parameters()).is_meta
    for chunk in generate(loading.load(pipe), [Run("a red sign")], saved.defaults):
        assert chunk.images
    assert given.digest(pipe) == before


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_has_a_digest(dtype: str) -> None:
    pipe = tiny_pipelines.sd().pipe.to(getattr(torch, dtype))
    assert given.digest(pipe).startswith("sha256:")
