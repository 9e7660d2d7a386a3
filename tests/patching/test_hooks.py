"""Patching in detail: against a version by hand, with every scheduler, and left as it was.

`test_invariants.py` holds what patching must keep on every family; pictures are float, in [0, 1],
of models in double precision (`tiny_pipelines.precise`).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import tiny_pipelines
from tests.patching.test_invariants import (
    SOURCE,
    TARGET,
    TOLERANCE,
    apart,
    everything,
    pictures,
    whole,
)
from textloc.checkpoints.loading import Model
from textloc.errors import LayerError
from textloc.patching.hooks import patched
from textloc.runs import Patch, Run

OTHER = Run('a white book "QQ"', 1)
STEPS, TOKENS = 3, 24
ROUNDING = TOLERANCE
VISIBLE = 1e-2  # what a patch of all layers changes at least


def scheduler(name: str, **config: Any) -> Any:
    """With v-prediction, for the text to matter: an untrained U-Net's epsilon hardly does."""
    return getattr(diffusers, name)(prediction_type="v_prediction", **config)


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def model(request: pytest.FixtureRequest) -> Model:
    return tiny_pipelines.precise(tiny_pipelines.FAMILIES[request.param]())


@pytest.fixture
def fresh() -> Model:
    """A model that the test may spoil."""
    return tiny_pipelines.sdxl()


# -- against a version by hand --------------------------------------------------------------


@contextmanager
def every_projection(model: Model, change: Callable[[int, str, Any], Any]) -> Iterator[None]:
    """`change(layer, name, projected)` on each key and value projection of the denoiser."""
    handles = [
        model.denoiser.get_submodule(name).register_forward_hook(
            lambda _m, _a, out, index=layer.index, name=name: change(index, name, out)
        )
        for layer in model.layers
        for name in (layer.key, layer.value)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def by_hand(model: Model, run: Run, guidance: float) -> np.ndarray:
    """The picture of one run: its donors run first and alone, their keys and values are recorded
    and put in place in a call with this one row."""
    recorded: dict[Run, dict[str, list[torch.Tensor]]] = {}
    for donor in {patch.donor for patch in run.patches}:
        recorded[donor] = {}

        def record(_layer: int, name: str, out: Any, donor: Run = donor) -> None:
            recorded[donor].setdefault(name, []).append(out.clone())

        with every_projection(model, record):
            pictures(model, [donor], guidance=guidance)

    step = dict.fromkeys((name for x in model.layers for name in (x.key, x.value)), -1)

    def replace(layer: int, name: str, out: torch.Tensor) -> torch.Tensor:
        step[name] += 1
        size = out.shape[-1] // model.layers[layer].heads  # of a head
        out = out.clone()  # (pass, T, D)
        for patch in run.patches:
            if layer in patch.layers and patch.active(step[name]):
                donor = recorded[patch.donor][name][step[name]]
                first, end = patch.tokens or (0, out.shape[1])
                for head in patch.heads or range(model.layers[layer].heads):
                    at = slice(head * size, (head + 1) * size)
                    out[:, first:end, at] = donor[:, first:end, at]
        return out

    with every_projection(model, replace):
        return pictures(model, [run.plain], guidance=guidance)[0][0]


@st.composite
def patches(draw: st.DrawFn, layers: int) -> Patch:
    """Any patch of a tiny pipeline; heads only at layer 0, which has three."""
    heads = draw(st.none() | st.sets(st.integers(0, 2), min_size=1).map(lambda s: tuple(sorted(s))))
    chosen = {0} if heads else draw(st.sets(st.integers(0, layers - 1), min_size=1))
    start = draw(st.integers(0, STEPS))
    stop = draw(st.none() | st.integers(start + 1, STEPS + 1))
    tokens = draw(
        st.none()
        | st.tuples(st.integers(0, TOKENS), st.integers(0, TOKENS))
        .filter(lambda both: both[0] != both[1])
        .map(lambda both: (min(both), max(both)))
    )
    donor = draw(st.sampled_from([TARGET, OTHER]))
    return Patch(tuple(sorted(chosen)), donor, heads, start, stop, tokens)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data(), guidance=st.sampled_from([1.0, 3.0]), share=st.booleans())
def test_any_patch_is_what_it_is_by_hand(
    model: Model, data: st.DataObject, guidance: float, share: bool
) -> None:
    drawn = data.draw(st.lists(patches(len(model.layers)), min_size=1, max_size=3))
    run = SOURCE.patched(*drawn)
    found, _ = pictures(model, [SOURCE, TARGET, OTHER, run], guidance=guidance, share=share)
    assert apart(found[3], by_hand(model, run, guidance)) < ROUNDING


def test_the_last_patch_wins(model: Model) -> None:
    layers = everything(model)
    runs = [
        SOURCE.patched(Patch(layers, OTHER), Patch(layers, TARGET)),
        SOURCE.patched(Patch(layers, TARGET)),
    ]
    (_, _, _, both, one), _ = pictures(model, [SOURCE, TARGET, OTHER, *runs])
    assert apart(both, one) < ROUNDING


def drawn_shape(seed: int) -> dict[str, Any]:
    """One to three blocks of unlike widths, heads and depths."""
    rng = random.Random(seed)
    blocks = rng.choice([1, 2, 3])
    heads = [rng.choice([1, 2, 3, 5, 7]) for _ in range(blocks)]
    return {
        "channels": tuple(8 * h * rng.choice([1, 2]) for h in heads),
        "heads": tuple(heads),
        "depth": tuple(rng.choice([1, 1, 2, 3]) for _ in range(blocks)),
        "tokens": rng.choice([23, 31, 48]),
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_any_shape(family: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All layers, all heads and all tokens patched: the target; of a layer: the layer."""
    monkeypatch.setitem(tiny_pipelines.SHAPES, "drawn", drawn_shape(seed))
    model = tiny_pipelines.precise(tiny_pipelines.FAMILIES[family]("drawn"))
    last = max(everything(model))
    heads = range(model.layers[last].heads)
    runs = [
        SOURCE,
        TARGET,
        SOURCE.patched(whole(model, TARGET)),
        SOURCE.patched(Patch((last,), TARGET)),
        SOURCE.patched(*(Patch((last,), TARGET, heads=(head,)) for head in heads)),
    ]
    (source, target, moved, layer, by_head), _ = pictures(model, runs, share=False)
    assert apart(moved, target) < ROUNDING
    assert apart(layer, by_head) < ROUNDING
    assert apart(source, target) > VISIBLE


def test_a_row_does_not_depend_on_its_neighbours(model: Model) -> None:
    """Nor on their number or order, patched or not."""
    run = SOURCE.patched(Patch((0, 1), TARGET, start=1))
    few, _ = pictures(model, [SOURCE, TARGET, run])
    crowd = [Run(f'a sign "{word}"', seed) for seed, word in enumerate(["AA", "BB", "CC", "DD"])]
    many, _ = pictures(model, [run, *crowd, TARGET, OTHER.patched(Patch((1,), TARGET)), SOURCE])
    alone, _ = pictures(model, [SOURCE])
    assert apart(few[2], many[0]) < ROUNDING
    assert apart(few[0], many[-1]) < ROUNDING
    assert apart(few[0], alone[0]) < ROUNDING


def test_a_patch_moves_negative_text_too(model: Model) -> None:
    """The guidance pass without the prompt belongs to the text that is taken."""
    source, target = (
        Run(run.prompt, 1, negative_prompt=negative)
        for run, negative in ((SOURCE, "blue"), (TARGET, "a red"))
    )
    runs = [source, target, source.patched(whole(model, target))]
    (before, after, moved), _ = pictures(model, runs, share=False)
    assert apart(moved, after) < ROUNDING
    assert apart(before, after) > VISIBLE


# -- steps and schedulers -------------------------------------------------------------------

ONE_LOOK_A_STEP = [
    ("DDIMScheduler", {}),
    ("DDPMScheduler", {}),
    ("EulerDiscreteScheduler", {}),
    ("EulerAncestralDiscreteScheduler", {}),
    ("DPMSolverMultistepScheduler", {}),
    ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("UniPCMultistepScheduler", {}),
    ("LMSDiscreteScheduler", {}),
]
MORE_LOOKS = [
    ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1}),
    ("HeunDiscreteScheduler", {}),
]


@pytest.mark.parametrize(("name", "config"), [*ONE_LOOK_A_STEP, *MORE_LOOKS])
def test_shared_rows_keep_what_schedulers_remember(name: str, config: dict[str, Any]) -> None:
    """Also the noise of stochastic ones, drawn by one generator a row."""
    model = tiny_pipelines.precise(tiny_pipelines.sdxl(scheduler=scheduler(name, **config)))
    steps, layers = 4, everything(model)
    runs = [SOURCE, TARGET]
    runs += [SOURCE.patched(Patch(layers, TARGET, start=start)) for start in range(steps + 1)]
    shared, counted = pictures(model, runs, steps=steps)
    unshared, counted_unshared = pictures(model, runs, steps=steps, share=False)
    assert apart(shared, unshared) < ROUNDING
    assert counted.rows < counted.rows_unshared == counted_unshared.rows
    assert counted.step == steps - 1
    source, changed = shared[0], [apart(row, shared[0]) for row in shared[2:]]
    assert changed[-1] == 0  # begins after the last step
    assert apart(unshared[-1], unshared[0]) < ROUNDING
    assert all(before > VISIBLE for before in changed[:2])
    assert all(apart(*two) > 10 * ROUNDING for two in itertools.combinations(shared[2:], 2))
    assert source.std() > VISIBLE
    if (name, config) in ONE_LOOK_A_STEP:
        assert counted.passes == steps
        assert counted.rows == 2 * sum(2 + begun for begun in range(1, steps + 1))


@pytest.mark.parametrize(("name", "config"), MORE_LOOKS)
def test_looks_at_the_same_time_are_one_step(name: str, config: dict[str, Any]) -> None:
    """Heun's correction looks at the time of the next step, so it counts as that step's."""
    model = tiny_pipelines.sdxl(scheduler=scheduler(name, **config))
    with torch.no_grad(), patched(model.denoiser, model.layers, [SOURCE]) as state:
        seen: list[tuple[float, int]] = []

        def note(_pipe: Any, _look: int, time: Any, kwargs: Any) -> Any:
            seen.append((float(time), state.step))
            return kwargs

        model.pipe(SOURCE.prompt, num_inference_steps=4, callback_on_step_end=note)
    assert len(seen) > 4
    times = sorted({time for time, _ in seen}, reverse=True)
    assert len(times) == 4
    assert [step for _, step in seen] == [times.index(time) for time, _ in seen]


# -- left as it was -------------------------------------------------------------------------


def inside(denoiser: Any) -> list[Any]:
    """Everything that a hook or a replaced method could leave behind."""
    return [
        (name, dict(module._forward_hooks), dict(module._forward_pre_hooks), set(vars(module)))
        for name, module in denoiser.named_modules()
    ]


class Stop(BaseException):
    pass


def test_an_exception_in_the_middle_leaves_nothing(model: Model) -> None:
    before, (picture, _) = inside(model.denoiser), pictures(model, [SOURCE])
    runs = [SOURCE, TARGET, SOURCE.patched(Patch((0,), TARGET, start=1))]

    def stop(*_: Any) -> None:
        assert inside(model.denoiser) != before
        raise Stop

    call = partial(model.pipe, **model.family.arguments(model.pipe, runs, model.defaults))
    with pytest.raises(Stop), patched(model.denoiser, model.layers, runs):
        call(callback_on_step_end=stop)
    assert inside(model.denoiser) == before
    assert np.array_equal(pictures(model, [SOURCE])[0], picture)


def test_other_hooks_and_forwards_stay(fresh: Model) -> None:
    """Such as those that accelerate puts on a model to move it between devices."""
    calls: list[str] = []
    denoiser = fresh.denoiser
    key = denoiser.get_submodule(fresh.layers[0].key)
    handle = key.register_forward_hook(lambda *_: calls.append("hook"))
    own = partial(type(denoiser).forward, denoiser)
    denoiser.forward = own
    before = inside(denoiser)
    pictures(fresh, [SOURCE, TARGET, SOURCE.patched(Patch((0,), TARGET))])
    assert inside(denoiser) == before
    assert denoiser.forward is own
    assert calls == ["hook"] * STEPS
    handle.remove()


def test_weights_are_not_touched(model: Model) -> None:
    before = {key: value.clone() for key, value in model.denoiser.state_dict().items()}
    pictures(model, [SOURCE, TARGET, SOURCE.patched(Patch(everything(model), TARGET))])
    for key, value in model.denoiser.state_dict().items():
        assert torch.equal(value, before[key])


# -- what must be refused -------------------------------------------------------------------


def test_projections_fused_after_loading(fresh: Model) -> None:
    fresh.denoiser.fuse_qkv_projections()
    with pytest.raises(LayerError, match="did not run exactly once"):
        pictures(fresh, [SOURCE])


def test_a_layer_that_runs_twice(fresh: Model) -> None:
    def look_before(attention: Any, _args: Any, kwargs: Any) -> None:
        attention.to_k(kwargs["encoder_hidden_states"])

    attention = fresh.denoiser.get_submodule(fresh.layers[-1].name)
    attention.register_forward_pre_hook(look_before, with_kwargs=True)
    with pytest.raises(LayerError, match=r"to_k \(and 0 more\) did not run exactly once"):
        pictures(fresh, [SOURCE])


@pytest.mark.parametrize("how", ["whole", "in place", "a block"])
def test_compiled_denoisers(fresh: Model, how: str) -> None:
    denoiser = fresh.denoiser
    if how == "whole":
        denoiser = torch.compile(denoiser, backend="eager")
    elif how == "in place":
        denoiser.compile(backend="eager")
    else:
        denoiser.mid_block.compile(backend="eager")
    with pytest.raises(LayerError, match="compiled"), patched(denoiser, fresh.layers, [SOURCE]):
        pass


def test_tokens_beyond_the_prompt(model: Model) -> None:
    run = SOURCE.patched(Patch((0,), TARGET, tokens=(TOKENS - 1, TOKENS + 1)))
    with pytest.raises(LayerError, match=f"tokens 23 to 25, and the text has {TOKENS}"):
        pictures(model, [SOURCE, TARGET, run])
