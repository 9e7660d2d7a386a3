"""The training call of every family that is trained, against its pipeline's own call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests import tiny_newer
from tests.finetuning.test_training import MODELS, train
from textloc.checkpoints.latents import between_steps
from textloc.checkpoints.loading import Model
from textloc.finetuning import adapter, fidelity
from textloc.finetuning.conditions import conditions, dropped, shift, stacked, unconditional
from textloc.finetuning.objective import Objective
from textloc.replacing import replaced
from textloc.runs import Run

NEWER = ("chroma", "flux2", "flux2-klein", "z-image")
NAMES = ("sd3", "flux", "flux-schnell", "qwen-image", *NEWER)
PROMPTS = ['a "AB"', 'the longer "C"']


def made(name: str) -> Model:
    return tiny_newer.model(name) if name in tiny_newer.NEWER else MODELS[name]()


def as_given(name: str, velocity: Tensor) -> Any:
    """A velocity as the denoiser of this family gives it."""
    if name == "z-image":
        return [-one[:, None] for one in velocity]
    return velocity


def tensor(latents: Any) -> Tensor:
    return latents if isinstance(latents, Tensor) else torch.stack(latents).squeeze(2)


def pictures(model: Model, count: int) -> list[Image.Image]:
    side = model.defaults.height or 0
    noise = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
    return [Image.fromarray(pixels) for pixels in noise]


@pytest.mark.parametrize("name", NAMES)
def test_the_training_call_is_the_pipelines_at_every_noise_level(name: str) -> None:
    """A denoiser that answers what training wants of it leads the pipeline to the clean picture,
    and on that way the pipeline asks it just what training asks."""
    model = made(name)
    family, denoiser, pipe = model.family, model.denoiser, model.pipe
    call = replace(model.defaults, guidance=family.UNGUIDED)
    clean = family.encode(pipe, pictures(model, 2), call)
    rows = conditions(model, PROMPTS, call)
    objective = Objective(pipe.scheduler, shift=1.0)
    noise: list[Tensor] = []
    ends: list[Tensor] = []

    names = list(inspect.signature(type(denoiser).forward).parameters)[1:]

    def answer(*args: Any, **given: Any) -> Any:
        given |= zip(names, args, strict=False)
        assert given.pop("return_dict") is False
        step = len(ends)
        if not step:
            noise.append(tensor(given[family.NOISY]))
        level = pipe.scheduler.sigmas[step].expand(2)
        batch = objective.noised(clean, noise[0], level)
        asked = family.asked(denoiser, batch.latents, batch.time, rows)
        said = {key: value for key, value in given.items() if value is not None and value != {}}
        assert said.keys() == {key for key, value in asked.items() if value is not None}
        for key, value in said.items():
            if isinstance(value, Tensor):
                assert value.dtype == asked[key].dtype
                assert value.shape == asked[key].shape
            if key != "img_shapes":
                torch.testing.assert_close(value, asked[key], atol=1e-5, rtol=1e-4)
            else:
                assert value == asked[key]
        output = as_given(name, batch.wanted)
        assert torch.equal(family.answered(output), batch.wanted)
        return (output,)

    def ended(_step: int, _before: Tensor, after: Tensor) -> Tensor:
        ends.append(after)
        return after

    noises = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    with replaced(denoiser, "forward", answer), between_steps(pipe, ended):
        runs = [Run(prompt) for prompt in PROMPTS]
        model.call(**family.arguments(pipe, runs, call), generator=noises, output_type="pil")
    assert len(ends) == call.steps
    torch.testing.assert_close(ends[-1], clean, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_kept_alike_alone_and_beside_longer_ones(name: str) -> None:
    model = made(name)
    denoiser, call = model.denoiser, model.defaults
    both = conditions(model, PROMPTS, call)
    parts = [conditions(model, [prompt], call) for prompt in PROMPTS]
    joined = {key: stacked([part[key] for part in parts]) for key in both}
    for key, value in both.items():
        torch.testing.assert_close(joined[key], value, atol=1e-5, rtol=1e-4)
    latents = model.family.encode(model.pipe, pictures(model, 2), call)
    time = torch.tensor([300.0, 700.0])

    def output(noisy: Tensor, times: Tensor, rows: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            given = model.family.asked(denoiser, noisy, times, rows)
            return model.family.answered(denoiser(**given, return_dict=False)[0])

    whole = output(latents, time, joined)
    assert whole.shape == latents.shape
    alone = [output(latents[i : i + 1], time[i : i + 1], parts[i]) for i in (0, 1)]
    torch.testing.assert_close(whole, torch.cat(alone), atol=1e-4, rtol=1e-3)
    empty = unconditional(model, call)
    some = dropped(both, empty, torch.tensor([True, False]))
    one, other = (output(latents[:1], time[:1], rows) for rows in (empty, parts[0]))
    found = output(latents, time, some)
    torch.testing.assert_close(found[:1], one, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found[1:], whole[1:], atol=1e-4, rtol=1e-3)
    assert (one - other).abs().max() > 1e-3  # the caption is read


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_lora_changes_the_chosen_layers_alone_and_loads_again(
    name: str, folder: Path, tmp_path: Path
) -> None:
    model = made(name)
    last = len(model.layers) - 1
    before = {key: value.clone() for key, value in model.denoiser.state_dict().items()}
    written = train(model, folder, tmp_path / "out", layers=(last,), steps=2, text_weight=2.0)
    assert all(torch.equal(before[k], v) for k, v in model.denoiser.state_dict().items())
    layer = model.layers[last]
    assert all(layer.name in key for key in written)
    assert any(layer.key in key for key in written)
    assert any(value.abs().max() > 0 for key, value in written.items() if "lora_B" in key)
    places = {place: model.denoiser.get_submodule(place) for place in one_layer(model)}
    inputs = {place: torch.randn(3, module.in_features) for place, module in places.items()}
    plain = {place: module(inputs[place]) for place, module in places.items()}
    model.pipe.load_lora_weights(tmp_path / "out")
    changed = {
        place
        for place in places
        if not torch.equal(model.denoiser.get_submodule(place)(inputs[place]), plain[place])
    }
    assert changed == set(adapter.modules(model, (last,), ("q", "k", "v", "out")))
    model.pipe.unload_lora_weights()
    assert all(torch.equal(before[k], v) for k, v in model.denoiser.state_dict().items())


def one_layer(model: Model) -> list[str]:
    """Every linear module that a LoRA could be on."""
    return [
        name
        for name, module in model.denoiser.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_right_answer_costs_nothing_wherever_the_text_is(name: str) -> None:
    model = made(name)
    clean = model.family.encode(model.pipe, pictures(model, 2), model.defaults)
    objective = Objective(model.pipe.scheduler)
    batch = objective.noised(clean, torch.randn_like(clean), torch.tensor([0.2, 0.8]))
    places = clean.shape[-2:] if clean.ndim == 4 else clean.shape[1:2]
    weight = torch.zeros(2, *places)
    weight.flatten(1)[:, 0] = 1
    assert objective.loss(batch.wanted, batch, weight).abs().max() == 0
    wrong = batch.wanted.clone()
    wrong[(..., 0, 0) if clean.ndim == 4 else (slice(None), 0)] += 2
    torch.testing.assert_close(objective.loss(wrong, batch, weight), torch.full((2,), 4.0))
    weight = 1 - weight
    assert objective.loss(wrong, batch, weight).abs().max() == 0


SHIFTS: dict[str, Callable[[float], float]] = {"exponential": np.exp, "linear": float}


@pytest.mark.parametrize("kind", SHIFTS)
def test_noise_levels_are_shifted_as_the_call_shifts_them(kind: str) -> None:
    model = made("flux")
    assert shift(model, model.defaults) is None
    model.pipe.scheduler.register_to_config(
        use_dynamic_shifting=True, shift=3.0, time_shift_type=kind
    )
    found = shift(model, model.defaults)
    config = model.pipe.scheduler.config
    slope = (config.max_shift - config.base_shift) / (4096 - 256)
    tokens = model.family.encode(model.pipe, pictures(model, 1), model.defaults).shape[1]
    assert found == pytest.approx(SHIFTS[kind](config.base_shift + slope * (tokens - 256)))
    clean = torch.zeros(1, 3, 2)
    time = Objective(model.pipe.scheduler, shift=found).noised(clean, clean, torch.tensor([0.5]))
    model.pipe.scheduler.set_timesteps(sigmas=[1.0, 0.5], mu=np.log(found))
    if kind == "exponential":
        assert float(time.time) == pytest.approx(float(model.pipe.scheduler.timesteps[1]), rel=1e-5)
    usual = Objective(model.pipe.scheduler).noised(clean, clean, torch.tensor([0.5]))
    assert float(usual.time) == pytest.approx(500)


@pytest.mark.parametrize("name", NEWER)
def test_features_of_ones_own(name: str) -> None:
    model = made(name)
    some = pictures(model, 3)
    found = fidelity.own(some, model)
    assert found.shape[0] == 3
    assert np.allclose(fidelity.own(some[1:2], model), found[1:2], atol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 1e-4
