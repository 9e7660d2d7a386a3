"""Calls that begin from a picture: image-to-image, inpainting and Qwen-Image-Edit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests import tiny_newer, tiny_pipelines, tiny_siblings
from tests.jobs import test_guard as guarding
from tests.patching.test_invariants import TOLERANCE, apart, whole
from textloc import guard
from textloc.checkpoints import drawing
from textloc.checkpoints.families import redrawing
from textloc.checkpoints.loading import Model
from textloc.cli import main
from textloc.errors import PromptError
from textloc.jobs import guard as guards
from textloc.jobs.localize import localize_stream
from textloc.patching import generation, tokens
from textloc.patching.attribution import record
from textloc.patching.hooks import patched
from textloc.pictures import reference
from textloc.prompts import parse_pair
from textloc.runs import Patch, Run

PAIR = parse_pair('a "CAT"', 'a "DOG"')
RUNS = Run(PAIR.source, 1), Run(PAIR.target, 1)
KINDS = sorted(tiny_siblings.TEXT_TO_IMAGE)


@pytest.fixture(autouse=True)
def single_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Qwen-Image-Edit looks at pictures of a million pixels."""
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit as module

    monkeypatch.setattr(module, "calculate_dimensions", lambda _area, _ratio: (32, 32, None))


def shade(side: int, light: bool = True) -> Image.Image:
    return Image.radial_gradient("L").resize((side, side)).point(lambda v: v if light else 255 - v)


def half(side: int) -> Image.Image:
    mask = Image.new("L", (side, side))
    mask.paste(255, (0, 0, side // 2, side))
    return mask


def from_text(kind: str) -> Model:
    return tiny_siblings.of(tiny_siblings.TEXT_TO_IMAGE[kind](), 16)


def edit_model() -> Model:
    return tiny_siblings.of(tiny_siblings.qwen_image_edit(), 16)


def drawn(model: Model, runs: list[Run], sampling: Any) -> tuple[np.ndarray, Any]:
    with (
        torch.no_grad(),
        patched(model.denoiser, model.layers, runs, scheduler=model.pipe.scheduler) as state,
    ):
        out = model.pipe(
            **model.family.arguments(model.pipe, runs, sampling),
            generator=[torch.Generator().manual_seed(run.seed) for run in runs],
            output_type="np",
        )
    return np.asarray(out.images), state


@pytest.mark.parametrize("made", [1, 3, 20, 49, 50])
@pytest.mark.parametrize("strength", [0.05, 0.29, 0.3, 0.6, 0.8, 0.9999, 1.0])
def test_just_the_steps_that_are_asked_for_are_made(made: int, strength: float) -> None:
    steps, share = redrawing.whole(made, strength)
    assert int(steps * share) == made == steps - int(max(steps - steps * share, 0))
    assert 0 < share <= 1
    assert abs(share - strength) < strength / made


@pytest.mark.parametrize("way", ["Img2Img", "Inpaint"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sibling_that_draws_on_a_picture_is_patched_alike(kind: str, way: str) -> None:
    base = from_text(kind)
    mask = half(32) if way == "Inpaint" else None
    model = drawing.drawing_on(base, mask is not None)
    assert type(model.pipe).__name__ == f"{kind}{way}Pipeline"
    assert model.denoiser is base.denoiser
    assert drawing.drawing_on(model) is model
    source, target = RUNS
    late, never = (source.patched(replace(whole(model, target), start=step)) for step in (1, 3))
    runs = [source, target, source.patched(whole(model, target)), late, never]
    ask = replace(model.defaults, steps=3, guidance=2.0)
    seen = [
        drawn(model, runs, replace(ask, reference=reference(shade(32, light), ask, mask)))
        for light in (True, False)
    ]
    (pictures, state), (others, _) = seen
    assert state.step + 1 == 3
    assert apart(pictures[2], pictures[1]) < TOLERANCE
    assert apart(pictures[1], pictures[0]) > 10 * TOLERANCE
    assert apart(pictures[3], pictures[0]) > 10 * TOLERANCE
    assert apart(pictures[3], pictures[1]) > 10 * TOLERANCE
    assert apart(pictures[4], pictures[0]) < TOLERANCE
    assert apart(pictures[0], others[0]) > 0.01
    call = replace(ask, reference=reference(shade(32), ask, mask))
    images: dict[Run, Any] = {}
    steps: list[tuple[int, int]] = []
    for chunk in generation.generate(
        model, runs, call, on_step=lambda done, of: steps.append((done, of))
    ):
        images.update(chunk.images)
    assert steps[-1] == (3, 3)
    assert all(of == 3 for _, of in steps)
    levels = [np.asarray(images[run], np.float64) / 255 for run in runs]
    assert max(apart(one, other) for one, other in zip(levels, pictures, strict=True)) < 2 / 255
    found, _ = record(model, source, target, call, [0, 2], lambda: False)
    assert [one.step for one in found] == [0, 2]


@pytest.mark.parametrize("kind", ["StableDiffusionXL", "Flux"])
def test_what_is_drawn_on_is_in_the_request(kind: str) -> None:
    base = from_text(kind)
    given: list[dict[str, Any]] = [
        {},
        {"image": shade(32)},
        {"image": shade(32), "strength": 0.5},
        {"image": shade(32), "mask": half(32)},
    ]
    asked = []
    for more in given:
        *_, event = localize_stream(base, [PAIR], search="sweep", layers=[0], steps=2, **more)
        assert event.document["complete"]
        asked.append(event.document["request"])
    assert len({request.get("image") for request in asked}) == 4
    assert all(request["steps"] == 2 for request in asked)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"mask": half(32)}, "for a picture"),
        ({"strength": 0.5}, "for a picture"),
        ({"image": shade(32), "strength": 0.0}, r"outside \(0, 1\]"),
        ({"image": shade(32), "strength": float("nan")}, r"outside \(0, 1\]"),
        ({"image": shade(32), "mask": half(16)}, "a mask of the picture's size"),
        ({"image": shade(32), "mask": Image.new("L", (32, 32))}, "black everywhere"),
    ],
)
def test_a_picture_that_cannot_be_drawn_on(more: dict[str, Any], said: str) -> None:
    with pytest.raises(PromptError, match=said):
        localize_stream(from_text("StableDiffusion"), [PAIR], **more)


def test_a_pipeline_says_what_it_wants_beside_its_prompt() -> None:
    base = from_text("StableDiffusion")
    draws, redraws = (drawing.drawing_on(base, mask) for mask in (False, True))
    with pytest.raises(PromptError, match=r"Img2ImgPipeline draws on a picture: give one \(--im"):
        list(localize_stream(draws, [PAIR]))
    with pytest.raises(PromptError, match=r"InpaintPipeline draws on .*--mask"):
        list(localize_stream(redraws, [PAIR]))
    with pytest.raises(PromptError, match="give a mask"):
        localize_stream(redraws, [PAIR], image=shade(32))
    with pytest.raises(PromptError, match="takes no mask"):
        localize_stream(draws, [PAIR], image=shade(32), mask=half(32))
    flux2 = tiny_newer.model("flux2")
    with pytest.raises(PromptError, match="takes no strength"):
        localize_stream(flux2, [PAIR], image=shade(32), strength=0.5)
    with pytest.raises(PromptError, match=r"EditPipeline changes a picture: give one \(--image"):
        list(localize_stream(edit_model(), [PAIR]))


def test_the_command_draws_on_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shade(64).save(tmp_path / "in.png")
    asked = ["localize", "--source", PAIR.source, "--target", "DOG", "--mask", "none.png"]
    assert main([*asked, "--image", str(tmp_path / "in.png")]) == 2
    assert "none.png" in capsys.readouterr().err


PROMPTS = {
    "Flux": ("prompt_2",),
    "StableDiffusion": ("prompt",),
    "StableDiffusion3": ("prompt_3",),
    "StableDiffusionXL": ("prompt",),
}
"""Arguments whose text reaches nothing but text layers; the others make the pooled state."""


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("way", ["Img2Img", "Inpaint"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_guard_keeps_a_word_out_of_what_is_drawn_on(
    kind: str, way: str, strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_pipelines.precise(drawing.drawing_on(from_text(kind), way == "Inpaint"))
    more: dict[str, Any] = {"image": [shade(16).convert("RGB")] * 2, "strength": strength}
    if way == "Inpaint":
        more["mask_image"] = [half(16)] * 2
    if kind == "Flux":
        more |= {"height": 16, "width": 16}
    if "3" in kind or kind == "Flux":
        more["max_sequence_length"] = model.defaults.text_length
    if kind == "StableDiffusionXL":
        more["prompt_2"] = [guarding.CLEAN] * 2

    def pictures(text: str) -> np.ndarray:
        noise = [torch.Generator().manual_seed(seed) for seed in range(2)]
        asked = {"prompt": [guarding.CLEAN] * 2, "num_inference_steps": 5, "guidance_scale": 2.0}
        asked |= {name: [text, guarding.CLEAN] for name in PROMPTS[kind]}
        return np.asarray(model.pipe(**asked, **more, generator=noise, output_type="np").images)

    plain, swapped, clean = (pictures(t) for t in (guarding.BAD, guarding.GOOD, guarding.CLEAN))
    assert apart(plain[0], swapped[0]) > 10 * TOLERANCE
    with guard(model.pipe, "all", **guarding.KEEP) as state:
        guarded = pictures(guarding.BAD)
        assert np.array_equal(clean, pictures(guarding.CLEAN))
        monkeypatch.setattr(guards, "_EVERY", 1)  # the benign text is carried in every pass
        always = pictures(guarding.BAD)
    assert [told.benign for told in state.guarded] == [guarding.GOOD] * 2
    assert apart(guarded[0], plain[0]) > 10 * TOLERANCE
    assert apart(always[0], swapped[0]) < TOLERANCE
    assert max(apart(found[1], plain[1]) for found in (guarded, always)) < TOLERANCE
    assert np.array_equal(plain, pictures(guarding.BAD))


def test_a_picture_is_edited_with_other_words() -> None:
    model = edit_model()
    source, target = RUNS
    runs = [source, target, source.patched(Patch(tuple(range(len(model.layers))), target))]
    ask = model.defaults
    call = replace(ask, reference=reference(shade(32), ask))
    pictures, state = drawn(model, runs, call)
    others, _ = drawn(model, runs, replace(ask, reference=reference(shade(32, False), ask)))
    assert state.step + 1 == ask.steps
    assert apart(pictures[2], pictures[1]) < TOLERANCE
    assert apart(pictures[1], pictures[0]) > 10 * TOLERANCE
    assert apart(pictures[0], others[0]) > 10 * TOLERANCE
    asked = model.family.arguments(model.pipe, [source], call)
    noise = [torch.Generator().manual_seed(1)]
    asked["image"] = call.reference.picture if call.reference else None  # as a user calls it
    alone = model.pipe(**asked, generator=noise, output_type="np").images
    assert apart(np.asarray(alone)[0], pictures[0]) < TOLERANCE
    found, _ = record(model, source, target, call, [0], lambda: False)
    states = found[0].source["encoder_hidden_states"]
    letters = tokens.tokens_of(model, source.prompt, target.prompt, call, states.shape[1])
    assert [token.source for token in letters if token.letter is not None][:3] == list("CAT")
    seen = [token for token in letters if token.letter in (0, 1, 2)]
    changed = (states - found[0].target["encoder_hidden_states"]).abs().amax((0, 2))
    assert changed[: seen[0].index].max() < 1e-5 < changed[seen[0].index]


def test_the_guard_keeps_a_word_out_of_an_edit() -> None:
    model = tiny_pipelines.precise(edit_model())

    def pictures(text: str) -> np.ndarray:
        noise = [torch.Generator().manual_seed(1)]
        asked = {"prompt": [text], "negative_prompt": [""], "true_cfg_scale": 2.0, "height": 16}
        asked |= {"width": 16, "image": shade(32).convert("RGB"), "num_inference_steps": 3}
        return np.asarray(model.pipe(**asked, generator=noise, output_type="np").images)

    plain, swapped, clean = (pictures(t) for t in (guarding.BAD, guarding.GOOD, guarding.CLEAN))
    with guard(model.pipe, "all", **guarding.KEEP) as state:
        guarded = pictures(guarding.BAD)
        assert np.array_equal(clean, pictures(guarding.CLEAN))
    assert [told.benign for told in state.guarded] == [guarding.GOOD]
    assert apart(guarded, swapped) < TOLERANCE
    assert apart(guarded, plain) > 10 * TOLERANCE
    assert np.array_equal(plain, pictures(guarding.BAD))
