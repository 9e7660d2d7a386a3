"""Prompt-to-Prompt, on random tiny pipelines of every family that it knows, and its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from torch.nn import functional

from tests import tiny_pipelines
from textloc.baselines import prompt_to_prompt
from textloc.baselines.alignment import Alignment, align
from textloc.baselines.prompt_to_prompt import PromptToPrompt, blend_mask, mixed
from textloc.checkpoints.loading import Model
from textloc.errors import CheckpointError, LayerError
from textloc.patching import generation
from textloc.runs import Run

MAKERS: dict[str, Callable[[], Model]] = {
    **tiny_pipelines.FAMILIES,
    **{name: tiny_pipelines.OTHERS[name] for name in ("if", "sd3", "sd35", "pixart")},
}
SOURCE = Run('a red sign "AB"', 1)
TARGETS = {
    "as long": 'a red sign "XY"',
    "longer": 'a red sign "XYZ"',
    "inserted": 'a very red sign "AB"',
    "other": 'a blue mug or "XYZ"',
}
LEVEL = 1.0
"""What rounding may do to a picture of 255 levels."""


@pytest.fixture(scope="module", params=MAKERS)
def model(request: pytest.FixtureRequest) -> Model:
    made = MAKERS[request.param]()
    # the method's own sums are in single precision and take no mask in double
    return made if request.param == "pixart" else tiny_pipelines.precise(made)


@pytest.fixture(scope="module")
def sd() -> Model:
    return tiny_pipelines.precise(tiny_pipelines.sd())


def edit(target: str = TARGETS["longer"], source: Run = SOURCE, **options: Any) -> Run:
    return prompt_to_prompt.run(source, target, **options)


def pictures(model: Model, *runs: Run) -> list[np.ndarray]:
    """Pictures of one call in levels of 255, in the order of the runs."""
    images = {}
    for chunk in generation.generate(model, runs, model.defaults):
        images.update(chunk.images)
    return [np.asarray(images[run], np.float64) for run in runs]


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


def far(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.square(a - b).mean())


def test_with_equal_prompts_the_edit_is_the_source(model: Model) -> None:
    whole = {"cross_steps": 1, "self_steps": 1}
    runs = [edit(SOURCE.prompt), edit(SOURCE.prompt, **whole, blend=None)]
    source, *edits = pictures(model, SOURCE, *runs)
    assert all(apart(picture, source) <= LEVEL for picture in edits)


def test_without_control_the_edit_is_the_target(model: Model) -> None:
    target = Run(TARGETS["longer"], SOURCE.seed)
    plain, edited = pictures(model, target, edit(cross_steps=0, self_steps=0, blend=None))
    assert apart(plain, edited) <= LEVEL


def test_the_edit_keeps_more_of_the_picture_and_the_source_stays(model: Model) -> None:
    (alone,) = pictures(model, SOURCE)
    target = Run(TARGETS["longer"], SOURCE.seed)
    runs = [edit(target.prompt, cross_steps=1, self_steps=1, blend=b) for b in (None, 0.9)]
    source, plain, *edits = pictures(model, SOURCE, target, *runs)
    assert apart(source, alone) <= LEVEL
    for edited in edits:
        assert 0 < far(edited, source) < far(plain, source)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_all_probabilities_sum_to_one(
    model: Model, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums: list[Tensor] = []
    texts: set[tuple[int, int, int]] = set()

    def watched(own: Tensor, source: Tensor, text: slice, *rest: Any) -> Tensor:
        found = mixed(own, source, text, *rest)
        sums.append(found.sum(-1).flatten())
        texts.add((text.start, text.stop, found.shape[-1]))
        assert float(found.min()) >= 0
        return found

    monkeypatch.setattr(prompt_to_prompt, "mixed", watched)
    pictures(model, edit(target, cross_steps=1, self_steps=0.5))
    assert torch.allclose(torch.cat(sums).float(), torch.ones(()), atol=1e-5)
    name = type(model.pipe).__name__
    if name == "StableDiffusion3Pipeline":  # keys are [picture, CLIP, T5]
        joint = (16, 16 + 40 + 40, 16 + 40 + 40)
        assert texts - {(0, 0, 16)} == {joint}
    elif name == "IFPipeline":  # keys are [text, picture]
        assert texts == {(0, 77, 77 + 64)}
    else:
        length = {"LDMTextToImagePipeline": 77, "PixArtSigmaPipeline": 40}.get(name, 24)
        assert {text for text in texts if text[1]} == {(0, length, length)}


def test_two_edits_in_one_call_are_what_each_is_alone(model: Model) -> None:
    other = Run('a green mug "HOP"', 2)
    runs = [edit(blend=0.9), edit('a green mug "TEAS"', other, blend=0.9)]
    for run, both in zip(runs, pictures(model, *runs), strict=True):
        (alone,) = pictures(model, run)
        assert apart(both, alone) <= LEVEL


def test_without_guidance_too(sd: Model) -> None:
    images = {}
    runs = [SOURCE, edit(SOURCE.prompt, cross_steps=1, blend=None)]
    sampling = type(sd.defaults)(steps=2, guidance=1.0, height=16, width=16)
    for chunk in generation.generate(sd, runs, sampling):
        images.update(chunk.images)
    source, edited = (np.asarray(images[run], np.float64) for run in runs)
    assert apart(source, edited) <= LEVEL


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_restored(model: Model, fails: bool) -> None:
    attention = functional.scaled_dot_product_attention
    before = _hooks(model)
    step = vars(model.pipe.scheduler).get("step")
    batch = [SOURCE, edit()]
    left = None
    try:
        with PromptToPrompt.around(model, batch, [1], model.defaults):
            assert _hooks(model) != before
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError as error:
        left = error
    assert (left is not None) is fails
    assert functional.scaled_dot_product_attention is attention
    assert _hooks(model) == before
    assert vars(model.pipe.scheduler).get("step") is step
    assert not torch.overrides._get_current_function_mode_stack()


def _hooks(model: Model) -> list[int]:
    modules = list(model.denoiser.modules())
    return [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules]


@pytest.mark.parametrize("name", ["flux", "qwen-image", "sana"])
def test_an_unknown_order_of_tokens_is_refused(name: str) -> None:
    model = tiny_pipelines.OTHERS[name]()
    with pytest.raises(CheckpointError, match="works for Stable Diffusion, SDXL"):
        pictures(model, edit())


def test_attention_that_cannot_be_seen_is_refused() -> None:
    model = tiny_pipelines.sd()
    model.denoiser.set_attn_processor(AttnProcessor())
    with pytest.raises(LayerError, match="calls scaled_dot_product_attention 0 times"):
        pictures(model, edit())
    model = tiny_pipelines.sd()
    model.denoiser.fuse_qkv_projections()
    with pytest.raises(LayerError):
        pictures(model, edit())


def test_another_number_of_text_tokens_is_refused(sd: Model) -> None:
    encode = sd.pipe.encode_prompt

    def longer(*args: Any, **kwargs: Any) -> Any:
        return tuple(torch.cat([states, states], 1) for states in encode(*args, **kwargs))

    sd.pipe.encode_prompt = longer
    try:
        with pytest.raises(LayerError, match="reads 48 text tokens, and the prompts have 24"):
            pictures(sd, edit())
    finally:
        del sd.pipe.encode_prompt


def test_bad_settings_are_refused(sd: Model) -> None:
    for options in ({"cross_steps": 1.2}, {"self_steps": -0.1}, {"blend": 0.0}, {"blend": 1.0}):
        with pytest.raises(LayerError):
            PromptToPrompt(SOURCE, **options)
    with pytest.raises(LayerError, match="not such an edit itself"):
        edit(source=edit())
    with (
        pytest.raises(LayerError, match="not a row of this batch"),
        PromptToPrompt.around(sd, [edit()], [0], sd.defaults),
    ):
        pass


# -- the alignment of tokens -------------------------------------------------------------


def _gives(source: Sequence[int], target: Sequence[int], word: bool = True) -> Alignment:
    found = align(source, target, 8, word)
    assert found.shares.shape == (8, 8)
    assert found.shares.min() >= 0
    return found


@pytest.mark.parametrize("word", [True, False])
def test_as_many_tokens_go_one_to_one(word: bool) -> None:
    found = _gives([1, 2, 3, 9], [1, 7, 8, 9], word)
    assert torch.equal(found.shares, torch.eye(8))
    assert found.changed.tolist() == [[0, 1, 1, 0, 0, 0, 0, 0]] * 2
    assert not found.kept.any()


@pytest.mark.parametrize("word", [True, False])
@pytest.mark.parametrize(("source", "target"), [(2, 3), (3, 2), (1, 4)])
def test_another_number_of_tokens_shares_equally(source: int, target: int, word: bool) -> None:
    found = _gives([1, *range(20, 20 + source), 9], [1, *range(30, 30 + target), 9], word)
    middle = found.shares[1 : 1 + source, 1 : 1 + target]
    assert torch.allclose(middle, torch.full((source, target), 1 / target))
    assert found.shares[0, 0] == found.shares[1 + source, 1 + target] == 1
    assert torch.allclose(found.shares.sum(1), torch.ones(8))  # the source gives all
    assert found.changed.sum(1).tolist() == [source, target]
    assert not found.kept.any()


def test_a_word_is_one_stretch_though_it_shares_letters() -> None:
    word = _gives([1, 2, 3, 4, 9], [1, 3, 5, 6, 9])
    assert torch.equal(word.shares, torch.eye(8))
    loose = _gives([1, 2, 3, 4, 9], [1, 3, 5, 6, 9], word=False)
    assert loose.shares[2, 1] == 1


@pytest.mark.parametrize("word", [True, False])
def test_new_tokens_keep_their_own_attention(word: bool) -> None:
    found = _gives([1, 2, 9], [1, 5, 6, 2, 9], word)
    assert found.kept.tolist() == [0, 1, 1, 0, 0, 0, 0, 0]
    assert found.changed.tolist() == [[0.0] * 8, [0, 1, 1, 0, 0, 0, 0, 0]]
    assert not found.shares[:, 1:3].any()
    assert found.shares[1, 3] == found.shares[2, 4] == found.shares[6, 6] == 1


def test_tokens_that_are_gone_are_dropped() -> None:
    found = _gives([1, 5, 6, 2, 9], [1, 2, 9])
    assert not found.shares[1:3].any()
    assert found.shares[3, 1] == found.shares[4, 2] == 1
    assert found.changed.tolist() == [[0, 1, 1, 0, 0, 0, 0, 0], [0.0] * 8]


# -- the mixed attention -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("cross", "text", "keys"),
    [
        (cross, text, keys)
        for cross in (False, True)
        for text in (slice(0, 8), slice(5, 13), slice(0, 0))
        for keys in (8, 13)
        if text.stop <= keys and (text.stop or not cross)  # without text there is no cross
    ],
)
@pytest.mark.parametrize("picture", [False, True])
@pytest.mark.parametrize("target", [[1, 7, 9], [1, 7, 8, 9], [1, 2, 5, 9], [1, 9]])
def test_mixed_probabilities_sum_to_one(
    cross: bool, picture: bool, target: list[int], text: slice, keys: int
) -> None:
    noise = torch.Generator().manual_seed(0)
    own, source = (4 * torch.randn(2, 3, 6, keys, generator=noise)).softmax(-1)
    found = mixed(own, source, text, align([1, 2, 9], target, 8, True), cross, picture)
    assert torch.allclose(found.sum(-1), torch.ones(3, 6), atol=1e-6)
    assert found.min() >= 0


def test_mixed_takes_what_is_asked() -> None:
    noise = torch.Generator().manual_seed(0)
    own, source = torch.randn(2, 3, 6, 13, generator=noise).softmax(-1)
    same, text, image = align([1, 2, 9], [1, 7, 9], 8, True), slice(5, 13), slice(0, 5)
    assert torch.allclose(mixed(own, source, text, same, True, True), source)
    assert torch.allclose(mixed(own, source, text, same, False, False), own)
    words = mixed(own, source, text, same, True, False)
    assert torch.allclose(words[..., text], source[..., text])
    ratio = words[..., image] / own[..., image]
    assert torch.allclose(ratio, ratio[..., :1].expand_as(ratio))
    places = mixed(own, source, text, same, False, True)
    assert torch.allclose(places[..., text], own[..., text])
    new = mixed(own, source, text, align([1, 9], [1, 7, 9], 8, True), True, True)
    assert torch.allclose(new[..., 6], own[..., 6])  # the token that is only in the target


# -- the local blend ---------------------------------------------------------------------


def test_the_blend_is_where_either_word_is_looked_for() -> None:
    maps = torch.full((2, 8, 4), 0.1)
    maps[0, 1, 1] = maps[1, 6, 2] = 1.0
    mask = blend_mask(maps.flatten(1), (16, 8), 0.3)  # of latents twice as fine
    wanted = torch.zeros(16, 8, dtype=torch.bool)
    wanted[0:6, 0:6] = wanted[10:16, 2:8] = True  # 3 x 3 places round each
    assert torch.equal(mask, wanted)
    assert blend_mask(maps.flatten(1), (15, 7), 0.05).all()  # halved and rounded up
    assert not blend_mask(torch.zeros(2, 32), (8, 4), 0.3).any()


def test_outside_of_the_blend_the_latents_are_the_sources(
    sd: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:5, 3:7] = True
    monkeypatch.setattr(prompt_to_prompt, "blend_mask", lambda *_args: mask)
    latents: list[Tensor] = []
    decode = sd.pipe.vae.decode

    def watched(code: Tensor, *args: Any, **kwargs: Any) -> Any:
        latents.append(code)
        return decode(code, *args, **kwargs)

    monkeypatch.setattr(sd.pipe.vae, "decode", watched)
    pictures(sd, SOURCE, edit())
    source, edited = latents[0]
    assert torch.equal(source[:, ~mask], edited[:, ~mask])
    assert not torch.equal(source[:, mask], edited[:, mask])
