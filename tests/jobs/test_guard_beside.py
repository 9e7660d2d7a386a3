"""The guard where the benign text runs as a row beside the prompt's. Harmless words stand for toxic
ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests import tiny_newer, tiny_pipelines
from tests.jobs.test_guard import BAD, CLEAN, GOOD, KEEP, apart, arguments, pictures
from tests.patching.test_invariants import TOLERANCE
from textloc import guard
from textloc.checkpoints import families
from textloc.checkpoints.loading import Model
from textloc.errors import GuardError
from textloc.patching.hooks import patched
from textloc.runs import Patch, Run

BESIDE = ("aura-flow", "bria", "lumina2", "ovis-image", "qwen-image", "qwen-image-21", "z-image")
PLACED = {"lumina2", "qwen-image-21"}
"""Where the picture stands hangs on the length of the text."""
SHORT, LONG = 'a red sign "HO"', 'a red sign "LOVELY"'
EXACT: dict[str, Any] = {"output_type": "np"}


@pytest.fixture(autouse=True)
def single_thread() -> None:
    torch.set_num_threads(1)


def beside(name: str) -> Model:
    newer = name in tiny_newer.NEWER
    made = tiny_newer.model(name) if newer else tiny_pipelines.OTHERS[name]()
    return tiny_pipelines.precise(made)


def keeping(benign: str) -> dict[str, Any]:
    return KEEP | {"replacements": {"stop": benign.split('"')[1]}}


def test_these_are_all_of_them() -> None:
    held = {name for name, family in families.PIPELINES.items() if family.BESIDE}
    tried = {type(beside(name).pipe).__name__ for name in BESIDE}
    assert held == tried | {"QwenImageEditPipeline"}  # tests/jobs/test_drawing_on.py


@pytest.mark.parametrize("benign", [GOOD, SHORT])
@pytest.mark.parametrize("name", BESIDE)
def test_with_all_layers_the_picture_is_the_benign_prompts(name: str, benign: str) -> None:
    model = beside(name)
    plain, swapped = (pictures(model, [text, CLEAN], **EXACT) for text in (BAD, benign))
    clean = pictures(model, [CLEAN], **EXACT)
    with guard(model.pipe, "all", **keeping(benign)) as state:
        alone, with_another = (pictures(model, p, **EXACT) for p in ([BAD], [BAD, CLEAN]))
        assert np.array_equal(clean, pictures(model, [CLEAN], **EXACT))
    assert [told.benign for told in state.guarded] == [benign] * 2
    assert apart(with_another[0], plain[0]) > 10 * TOLERANCE
    assert apart(with_another[1], plain[1]) < TOLERANCE
    if benign == GOOD or name != "lumina2":
        assert apart(with_another[0], swapped[0]) < TOLERANCE
    if benign == GOOD or name not in PLACED:
        assert apart(alone[0], pictures(model, [benign], **EXACT)[0]) < TOLERANCE
    assert np.array_equal(plain, pictures(model, [BAD, CLEAN], **EXACT))


@pytest.mark.parametrize("benign", [GOOD, SHORT])
@pytest.mark.parametrize("name", BESIDE)
def test_a_guarded_step_is_the_patched_one(name: str, benign: str) -> None:
    """In the first step, where the benign prompt's own run has the same picture."""
    model = beside(name)
    model.defaults = replace(model.defaults, steps=1)
    chosen = (0, len(model.layers) - 1)
    source, target = Run(BAD, 0), Run(benign, 0)
    runs = [source.patched(Patch(chosen, target)), target, Run(CLEAN, 0)]  # all as long as BAD

    def drawn() -> np.ndarray:
        asked = arguments(model, [BAD, benign, CLEAN], **EXACT)
        asked["generator"] = [torch.Generator().manual_seed(0) for _ in runs]
        return np.asarray(model.pipe(**asked).images)

    plain = drawn()
    with patched(model.denoiser, model.layers, runs, scheduler=model.pipe.scheduler):
        wanted = drawn()
    with guard(model.pipe, chosen, **keeping(benign)):
        found = drawn()
    assert apart(found, wanted) < TOLERANCE
    assert apart(found[0], plain[0]) > 10 * TOLERANCE
    assert apart(found[1:], plain[1:]) < TOLERANCE


@pytest.mark.parametrize("name", ["qwen-image", "z-image"])
def test_a_longer_text_is_read_or_refused(name: str) -> None:
    model = beside(name)
    benign = pictures(model, [LONG], **EXACT)
    with guard(model.pipe, "all", **keeping(LONG)):
        if name == "z-image":  # texts are a list
            assert apart(pictures(model, [BAD], **EXACT), benign) < TOLERANCE
        else:
            with pytest.raises(GuardError, match="or, one prompt a call, a shorter one"):
                pictures(model, [BAD])
    with guard(model.pipe, "all", **keeping(SHORT)):
        if name == "qwen-image":  # how the other row is encoded hangs on the longest of the call
            with pytest.raises(GuardError, match="not as long in tokens"):
                pictures(model, [BAD, 'a red sign "LOV"'])


def test_a_cache_of_keys_and_values_is_refused_where_it_would_be_read() -> None:
    model = beside("qwen-image-21")
    cached = EXACT | {"use_kv_cache": True}
    before = pictures(model, [CLEAN], **cached)
    with guard(model.pipe, "all", **KEEP):
        assert np.array_equal(before, pictures(model, [CLEAN], **cached))
        with pytest.raises(GuardError, match="use_kv_cache=False"):
            pictures(model, [BAD], **cached)


def test_texts_in_lists_are_accounted_for() -> None:
    model = beside("z-image")
    toxic = model.pipe.encode_prompt([BAD], "cpu", False)[0]
    before = pictures(model, [BAD], **EXACT)

    def put(pipe: Any, _step: int, _time: Any, kept: dict[str, Any]) -> dict[str, Any]:
        kept["prompt_embeds"][0].data.copy_(toxic[0])
        return kept

    def turn(pipe: Any, _step: int, _time: Any, kept: dict[str, Any]) -> dict[str, Any]:
        return kept | {"prompt_embeds": [states * 2 for states in kept["prompt_embeds"]]}

    changed = {"callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"]}
    with guard(model.pipe, "all", **KEEP) as state:
        for way in (put, turn):
            with pytest.raises(GuardError, match="none of those"):
                pictures(model, [GOOD], callback_on_step_end=way, **changed)
        given = arguments(model, [GOOD]) | {"prompt": None, "prompt_embeds": toxic}
        with pytest.raises(GuardError):
            model.pipe(**given | {"guidance_scale": 0.0})
        states = [torch.zeros(4, 1, 4, 4).double()], torch.zeros(1).double(), toxic
        with pytest.raises(GuardError, match="did not come through"):
            model.denoiser(*states)
        with pytest.raises(GuardError, match="form that the guard does not know"):
            _other_form(model)
    assert state.guarded == []
    assert np.array_equal(before, pictures(model, [BAD], **EXACT))


def _other_form(model: Model) -> None:
    """A call whose denoiser is given its texts as a tuple."""
    kind = type(model.pipe)
    encode = kind.encode_prompt

    def packed(pipe: Any, *args: Any, **kwargs: Any) -> Any:
        prompts, negative = encode(pipe, *args, **kwargs)
        return tuple(prompts), tuple(negative)

    model.pipe.encode_prompt = packed.__get__(model.pipe)
    try:
        pictures(model, [CLEAN])
    finally:
        del model.pipe.encode_prompt


@pytest.mark.parametrize("name", ["qwen-image", "z-image"])
def test_several_pictures_a_prompt_cost_a_row_each(name: str) -> None:
    model = beside(name)
    noise = [torch.Generator().manual_seed(seed) for seed in range(2)]
    many = EXACT | {"num_images_per_prompt": 2, "generator": noise}
    seen: list[int] = []
    block = model.denoiser.get_submodule(model.layers[0].key)
    with guard(model.pipe, "all", **keeping(SHORT)):
        with_rows = block.register_forward_hook(lambda _m, _a, out: seen.append(len(out)))
        guarded = pictures(model, [BAD], **many)
        with_rows.remove()
        single = pictures(model, [BAD], **EXACT)
    assert apart(guarded[0], single[0]) < TOLERANCE
    assert apart(guarded[0], guarded[1]) > 10 * TOLERANCE
    # Z-Image guides within a pass, Qwen-Image by passes of its own
    assert set(seen) == ({6} if name == "z-image" else {4, 2})


def test_a_callers_prompts_are_not_written_to() -> None:
    """Z-Image puts its template into the list that it is given."""
    model = beside("z-image")
    prompts = [BAD]
    with guard(model.pipe, "all", **KEEP) as state:
        model.pipe(**arguments(model, [BAD]) | {"prompt": prompts})
    assert prompts == [BAD]
    assert [told.prompt for told in state.guarded] == [BAD]


@pytest.mark.parametrize("name", ["aura-flow", "qwen-image", "z-image"])
def test_a_toxic_negative_prompt_is_guarded_as_a_prompt_is(name: str) -> None:
    model = beside(name)
    by_good, by_bad = (pictures(model, [CLEAN], negative_prompt=[n], **EXACT) for n in (GOOD, BAD))
    assert apart(by_good, by_bad) > 10 * TOLERANCE
    with guard(model.pipe, "all", **KEEP):
        assert apart(pictures(model, [CLEAN], negative_prompt=[BAD], **EXACT), by_good) < TOLERANCE
