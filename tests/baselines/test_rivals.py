"""SAFREE, a mean steering vector and a LoRA as methods that keep words out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests import tiny_pipelines
from tests.baselines.test_suppressing import LEVEL, apart, pictures
from textloc.baselines import quieted, safree, steering, text_states
from textloc.baselines.safree import Safree
from textloc.baselines.steering import Steering
from textloc.checkpoints.loading import Model
from textloc.errors import LayerError, PromptError
from textloc.patching import tokens
from textloc.runs import Patch, Run

SOURCE = Run('a red sign "AB"', 1)
PAIRS = (('a red sign "AB"', 'a red sign "XY"'), ('a mug "BC"', 'a mug "YZ"'))
MAKERS: dict[str, Callable[[], Model]] = {
    "sdxl": tiny_pipelines.FAMILIES["sdxl"],
    "sd3": tiny_pipelines.OTHERS["sd3"],
    "if": tiny_pipelines.OTHERS["if"],
}


@pytest.fixture(scope="module", params=MAKERS)
def model(request: pytest.FixtureRequest) -> Model:
    return tiny_pipelines.precise(MAKERS[request.param]())


def scales(model: Model) -> tuple[float, ...]:
    return (0.9, 0.2) if hasattr(model.denoiser, "up_blocks") else ()


# --- SAFREE: its formulas ---------------------------------------------------------------------


def test_a_basis_projects_as_the_formula_does() -> None:
    columns = torch.randn(7, 3, generator=torch.Generator().manual_seed(0)).double()
    states = torch.randn(4, 7, generator=torch.Generator().manual_seed(1)).double()
    whole = columns @ torch.linalg.inv(columns.T @ columns) @ columns.T
    space = safree.basis(list(columns.T))
    assert torch.allclose(safree.inside(states, space), states @ whole, atol=1e-12)
    assert torch.allclose(
        safree.outside(states, space) @ columns, torch.zeros(()).double(), atol=1e-9
    )
    twice = safree.basis([columns[:, 0], 2 * columns[:, 0]])
    assert twice.shape == (7, 1)  # where columns depend on each other the formula has no inverse


def test_a_token_whose_removal_leads_away_is_toxic() -> None:
    toxic = safree.basis([torch.tensor([1.0, 0.0, 0.0])])
    pooled = torch.tensor([[9.0, 1.0, 0.0], [9.0, 0.0, 1.0], [0.0, 1.2, 0.0]])
    assert safree.trigger(pooled, toxic, 0.01).tolist() == [False, False, True]
    assert safree.trigger(pooled, toxic, 0.3).tolist() == [False, False, False]


def test_only_low_frequencies_that_grew_are_weakened() -> None:
    own = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(0)).double()
    safe = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(1)).double()
    before, beside, after = (
        torch.fft.fft2(states) for states in (safe, own, safree.attended(safe, own, 0.5).double())
    )
    low = torch.zeros(8, 6, dtype=torch.bool)
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            low[down, across] = True
    grew = low & (before.abs() > beside.abs())
    assert 0 < grew.sum() < 2 * low.sum()
    expected = torch.where(grew, 0.5 * before, before)
    assert torch.allclose(after, expected, atol=1e-4)  # in single precision, of sums around 10


def test_tokens_stand_for_their_part_of_the_prompt(model: Model) -> None:
    """Cut out of the prompt, a token's span leaves the other tokens as they are."""
    for part in model.family.texts(model.pipe, model.defaults):
        found = tokens.spans(part, SOURCE.prompt)
        assert "".join(SOURCE.prompt[a:b] for a, b in found.values()) == SOURCE.prompt
        assert list(found) == sorted(found)
        assert tokens.length(part, SOURCE.prompt) >= len(found)


def test_some_tokens_are_filtered_and_others_are_not(model: Model) -> None:
    method = Safree(("AB",), alpha=0.0)
    states, safe, steps = safree.filtered(model, SOURCE.prompt, method, model.defaults)
    assert 5 <= steps <= 9  # gamma 10, of a cosine from 1 to -1
    changed = (states - safe).abs().amax(-1) > 1e-6
    assert changed.any()
    assert not changed.all()
    assert safree.filtered(model, SOURCE.prompt, replace(method, steps=2), model.defaults)[2] == 2


# --- SAFREE: the call ---------------------------------------------------------------------------


def test_safree_changes_its_row_alone(model: Model) -> None:
    other = Run('a green mug "HOP"', 2)
    method = Safree(alpha=0.0, scales=scales(model))
    filtered = method.run(SOURCE, "")
    plain, beside, changed = pictures(model, SOURCE, other, filtered)
    again, alone = pictures(model, SOURCE, other)
    assert apart(plain, again) <= LEVEL
    assert apart(beside, alone) <= LEVEL
    assert apart(plain, changed) > LEVEL
    (idle,) = pictures(model, replace(method, steps=0).run(SOURCE, ""))
    assert apart(plain, idle) <= LEVEL
    assert not model.denoiser._forward_pre_hooks


def test_a_filtered_row_reads_the_filtered_states() -> None:
    model = tiny_pipelines.precise(tiny_pipelines.sdxl())
    method = Safree(("AB",), alpha=0.0, steps=1, scales=())
    own, safe, _ = safree.filtered(model, SOURCE.prompt, method, model.defaults)
    given: list[torch.Tensor] = []

    def see(_module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        states = args[2] if len(args) > 2 else kwargs["encoder_hidden_states"]
        given.append(states.clone())

    handle = model.denoiser.register_forward_pre_hook(see, with_kwargs=True)
    try:
        pictures(model, method.run(SOURCE, ""))
    finally:
        handle.remove()
    calls = [call for call in given if len(call) == 2]  # without text, with text
    assert len(calls) == model.defaults.steps
    assert torch.allclose(calls[0][1].float(), safe, atol=1e-5)
    assert torch.allclose(calls[1][1].float(), own, atol=1e-5)


def test_what_safree_refuses() -> None:
    with pytest.raises(PromptError, match="concept is empty"):
        Safree(())
    with pytest.raises(LayerError, match="from 0 to below 1"):
        Safree(scales=(1.0,))
    with pytest.raises(LayerError, match="without patches"):
        Safree().run(SOURCE.patched(Patch((0,), Run("x"))), "")
    model = tiny_pipelines.OTHERS["sd3"]()
    with pytest.raises(LayerError, match=r"give no scales"):
        Safree().check(model, model.defaults)


# --- steering -----------------------------------------------------------------------------------


def test_steering_adds_the_difference_of_means(model: Model) -> None:
    last = len(model.layers) - 1
    method = Steering((last,), PAIRS, 2.0)
    with pytest.raises(LayerError, match=r"call Steering\.check"):
        pictures(model, method.run(SOURCE, ""))
    method.check(model, model.defaults)
    vectors = steering.means(method, model, model.defaults)
    assert set(vectors) == set(model.layers[last].parts)
    assert all(vector.abs().max() > 0 for vector in vectors.values())
    other = Run('a green mug "HOP"', 2)
    still = replace(method, scale=0.0).run(SOURCE, "")
    plain, beside, changed, idle = pictures(model, SOURCE, other, method.run(SOURCE, ""), still)
    (alone,) = pictures(model, other)
    assert apart(beside, alone) <= LEVEL
    assert apart(plain, idle) <= LEVEL
    assert apart(plain, changed) > 0
    assert not model.denoiser.get_submodule(model.layers[last].key)._forward_hooks


def test_the_means_of_static_layers_are_those_of_the_text() -> None:
    """Once more from the text states themselves."""
    model = tiny_pipelines.precise(tiny_pipelines.sdxl())
    layer = model.layers[1]
    method = Steering((1,), PAIRS[:1])
    project = model.denoiser.get_submodule(layer.key)
    states = text_states.encoded(model, PAIRS[0], model.defaults)
    places = steering._places(model, PAIRS[0][0], model.defaults)
    toxic, benign = (project(each[places]).mean(0) for each in states)
    found = steering.means(method, model, model.defaults)[layer.key]
    assert torch.allclose(found, (benign - toxic).float(), atol=1e-5)


def test_what_steering_refuses(model: Model) -> None:
    with pytest.raises(LayerError, match="steering needs layers"):
        Steering((), PAIRS)
    with pytest.raises(LayerError, match="there is no text layer 99"):
        Steering((99,), PAIRS).check(model, model.defaults)


# --- a LoRA -------------------------------------------------------------------------------------


def test_a_lora_is_carried_in_its_own_calls_alone(tmp_path: Any) -> None:
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    model = tiny_pipelines.sdxl()
    config = LoraConfig(r=2, target_modules=["attn2.to_v"], init_lora_weights=False)
    model.denoiser.add_adapter(config)
    state = get_peft_model_state_dict(model.denoiser)
    type(model.pipe).save_lora_weights(tmp_path, unet_lora_layers=state)
    model.denoiser.delete_adapters("default")
    method = quieted.Quieted(str(tmp_path))
    method.check(model, model.defaults)
    (plain,) = pictures(model, SOURCE)
    (changed,) = pictures(model, method.run(SOURCE, ""))
    (again,) = pictures(model, SOURCE)
    assert apart(plain, again) == 0
    assert apart(plain, changed) > LEVEL
    with pytest.raises(LayerError, match="carry the same LoRA"):
        pictures(model, SOURCE, method.run(SOURCE, ""))
