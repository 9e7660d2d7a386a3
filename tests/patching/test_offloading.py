"""Weights that come to the device bit by bit, by accelerate's and diffusers' own hooks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload
from accelerate.hooks import ModelHook, add_hook_to_module

from tests import tiny_pipelines
from tests.patching.test_invariants import SOURCE, TARGET, everything
from textloc.checkpoints.loading import Model
from textloc.errors import OutOfMemoryError
from textloc.jobs.guard import guard
from textloc.patching.generation import generate
from textloc.runs import Patch, Run, Sampling

BUILD: dict[str, Any] = {**tiny_pipelines.FAMILIES, **tiny_pipelines.OTHERS}
WAYS = ("model", "sequential", "group")


class Away(ModelHook):
    """A component whose weights are on the device while it runs only, as `CpuOffload` has it: what
    reads them earlier fails as it does on a GPU."""

    execution_device = torch.device("cpu")

    def init_hook(self, module: torch.nn.Module) -> torch.nn.Module:
        self.state = {key: value.clone() for key, value in module.state_dict().items()}
        return module.to("meta")

    def pre_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        module.load_state_dict(self.state, assign=True)
        return args, kwargs

    def post_forward(self, module: torch.nn.Module, output: Any) -> Any:
        module.to("meta")
        return output


def offload(pipe: Any, way: str) -> None:
    """Hold the denoiser's weights as on a GPU; the CPU is the device."""
    name = "unet" if hasattr(pipe, "unet") else "transformer"
    denoiser = getattr(pipe, name)
    if way == "sequential":
        cpu_offload(denoiser, "cpu", offload_buffers=True)
    elif way == "group":
        pipe.enable_group_offload(onload_device=torch.device("cpu"), offload_type="leaf_level")
    else:
        add_hook_to_module(denoiser, Away())


def pictures(model: Model, runs: list[Run], **options: Any) -> dict[Run, np.ndarray]:
    sampling = Sampling(2, 2.0, 16, 16, model.defaults.text_length)
    return {
        run: np.asarray(image, int)
        for chunk in generate(model, runs, sampling, **options)
        for run, image in chunk.images.items()
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["if", "sdxl", "sd3"])
def test_patched_rows_are_the_same_however_weights_are_held(name: str, way: str) -> None:
    whole, held = BUILD[name](), BUILD[name]()
    offload(held.pipe, way)
    runs = [SOURCE, SOURCE.patched(Patch((0,), TARGET))]
    runs.append(SOURCE.patched(Patch(everything(whole), TARGET)))
    for lean in (True, False):
        wanted, found = (pictures(model, runs, lean=lean) for model in (whole, held))
        assert found.keys() == wanted.keys()
        assert max(np.abs(found[run] - wanted[run]).max() for run in wanted) <= 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["sdxl", "sd3", "if"])
def test_guard_works_however_weights_are_held(name: str, way: str) -> None:
    found = []
    for held in (False, True):
        pipe = BUILD[name]().pipe
        if held:
            offload(pipe, way)
        with guard(pipe, (0,), words=("stop",), replacements={"stop": "LOVE"}) as state:
            size = {} if name == "if" else {"height": 16, "width": 16}
            image = pipe(
                'a sign "stop"',
                num_inference_steps=2,
                generator=torch.Generator().manual_seed(0),
                **size,
            ).images[0]
        assert len(state.guarded) == 1
        found.append(np.asarray(image, int))
    assert np.abs(found[0] - found[1]).max() <= 1


def test_a_failed_call_gives_a_whole_model_offload_back() -> None:
    model = BUILD["sdxl"]()
    model.pipe.enable_model_cpu_offload(device="cpu")
    before = pictures(model, [SOURCE])[SOURCE]
    hooks = len(model.pipe._all_hooks)

    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    model.denoiser.conv_in.forward = full
    with pytest.raises(OutOfMemoryError):
        pictures(model, [SOURCE])
    del model.denoiser.conv_in.forward
    assert len(model.pipe._all_hooks) == hooks
    assert np.array_equal(pictures(model, [SOURCE])[SOURCE], before)
