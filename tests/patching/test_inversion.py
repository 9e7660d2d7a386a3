"""One's own picture: followed by every family, read with care."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests import tiny_pipelines
from textloc import pictures
from textloc.checkpoints.loading import Model
from textloc.errors import LayerError, PromptError
from textloc.patching import generation, inversion
from textloc.runs import Patch, Run, Sampling

FAMILIES: dict[str, Callable[[], Model]] = {
    "sd": tiny_pipelines.sd,
    "sdxl": tiny_pipelines.sdxl,
    "ldm": tiny_pipelines.ldm,
    **tiny_pipelines.OTHERS,
}
SOURCE, TARGET = Run('a red sign "AB"', 1), Run('a blue mug "XYZ"', 1)


def noise_picture(size: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_source_row_becomes_the_picture(family: str) -> None:
    """Whatever the model makes of the prompt; a patched row differs, and its neighbours go on."""
    model = tiny_pipelines.precise(FAMILIES[family]())
    sampling = replace(model.defaults, steps=3, guidance=2.0)
    picture = noise_picture((sampling.width or 0, sampling.height or 0))
    followed = inversion.follow(picture, SOURCE, sampling)
    swapped = replace(followed, prompt=TARGET.prompt)
    every = Patch(tuple(range(len(model.layers))), swapped)
    edit = followed.patched(every)
    images = {}
    for chunk in generation.generate(model, [followed, edit, SOURCE], sampling):
        images.update({run: np.asarray(image, int) for run, image in chunk.images.items()})
    clean = model.family.encode(model.pipe, [picture], sampling)
    assert np.abs(images[followed] - _decoded(model, clean, sampling)).max() <= 1
    assert np.abs(images[edit] - images[followed]).max() > 0
    (alone,) = generation.generate(model, [SOURCE], sampling)
    assert np.abs(images[SOURCE] - np.asarray(alone.images[SOURCE], int)).max() <= 1
    control = followed.control
    assert isinstance(control, inversion.FromPicture)
    assert len(control.corrections) == sampling.steps
    assert min(control.corrections) > 0
    (lean,) = generation.generate(model, [edit], sampling, lean=True)
    assert set(lean.images) == {edit}
    assert np.abs(np.asarray(lean.images[edit], int) - images[edit]).max() <= 1


def _decoded(model: Model, clean: torch.Tensor, sampling: Sampling) -> np.ndarray:
    """The picture of latents by the pipeline itself: a call whose only step ends there."""
    from textloc.checkpoints.latents import between_steps

    last = replace(sampling, steps=1)
    with torch.no_grad(), between_steps(model.pipe, lambda *_: clean):
        out = model.pipe(
            **model.family.arguments(model.pipe, [SOURCE], last),
            generator=[torch.Generator().manual_seed(0)],
            output_type="pil",
        )
    return np.asarray(out.images[0], int)


def test_equal_pictures_are_equal_runs() -> None:
    sampling = Sampling(3, 2.0, 16, 16)
    runs = [inversion.follow(noise_picture((16, 16)), SOURCE, sampling) for _ in range(2)]
    other = inversion.follow(Image.new("RGB", (16, 16)), SOURCE, sampling)
    assert runs[0] == runs[1] != other
    assert len({*runs, other}) == 2


def test_a_scheduler_that_looks_twice_is_refused() -> None:
    from diffusers import HeunDiscreteScheduler

    model = tiny_pipelines.sd(scheduler=HeunDiscreteScheduler())
    sampling = replace(model.defaults, steps=3)
    run = inversion.follow(noise_picture((16, 16)), SOURCE, sampling)
    with pytest.raises(LayerError, match="HeunDiscreteScheduler looks at a time twice"):
        list(generation.generate(model, [run], sampling))
    assert "step" not in vars(model.pipe.scheduler)


def test_pictures_are_cut_to_the_shape_of_the_call(tmp_path: Path) -> None:
    sampling = Sampling(3, 2.0, 64, 64)
    assert pictures.fit(noise_picture((90, 64)), sampling).size == (64, 64)
    with pytest.raises(PromptError, match="would lose 50%"):
        pictures.fit(noise_picture((128, 64)), sampling)
    with pytest.raises(PromptError, match="give height and width"):
        pictures.fit(noise_picture((64, 64)), Sampling(3, 2.0))


def test_pictures_are_read_with_care(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    noise_picture((20, 10)).save(good)
    bad.write_bytes(b"no picture")
    assert pictures.read_picture(good).size == (20, 10)
    for path in (bad, tmp_path / "missing.png"):
        with pytest.raises(PromptError, match="cannot be read as a picture"):
            pictures.read_picture(path)
    monkeypatch.setattr(pictures, "LARGEST", 100)
    with pytest.raises(PromptError, match="make it smaller first"):
        pictures.read_picture(good)


def test_a_poor_inversion_is_one_that_had_to_be_corrected() -> None:
    assert inversion.poor([1.4, 1.2, 0.9])
    assert not inversion.poor([1.4, 0.5, 0.4])
    assert not inversion.poor([])
