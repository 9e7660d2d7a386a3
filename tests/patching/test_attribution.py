"""Attribution against finite differences and patching, on every family; the model as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from tests import tiny_pipelines
from textloc.checkpoints.families import text_layers
from textloc.checkpoints.loading import Model
from textloc.errors import AttributionError, Cancelled, LayerError
from textloc.patching import attribution
from textloc.patching.attribution import (
    Points,
    Shares,
    TextPath,
    on_the_way,
    record,
    shares,
    shares_stream,
)
from textloc.patching.hooks import patched
from textloc.runs import Patch, Run

EVERY: dict[str, Callable[[], Model]] = {**tiny_pipelines.FAMILIES, **tiny_pipelines.OTHERS}
SOURCE, TARGET = Run('a red sign "AB"', 1), Run('a red sign "XYZQ"', 1)  # of unequal length
ROUNDING = 1e-4


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_pipelines.sdxl()


@contextmanager
def way(model: Model, step: int = 0) -> Iterator[TextPath]:
    """The way between both texts at a step, weights without gradient."""
    found, _ = record(model, SOURCE, TARGET, model.defaults, [step], lambda: False)
    with on_the_way(model, found[0]) as path:
        yield path


def apart(one: Shares, other: Shares) -> float:
    """The largest difference between the shares of any layer at any step."""
    return float(np.abs(one.by_step - other.by_step).max())


# -- what a share is ------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_the_end_of_the_way_is_the_patch(name: str) -> None:
    """pred(1) is what the denoiser predicts for a row with all layers patched, and pred(0) what it
    predicts for the source: at the first step, where both runs have one noise."""
    model = EVERY[name]()
    with way(model) as path:
        start, end = path.start.clone(), path.at([1.0])
        assert (path.at([0.0]) - start).abs().max() < ROUNDING
    everything = tuple(range(len(model.layers)))
    runs = [SOURCE, TARGET, SOURCE.patched(Patch(everything, TARGET))]
    seen: list[torch.Tensor] = []
    with torch.no_grad(), patched(model.denoiser, model.layers, runs, share=False):
        inner = model.denoiser.forward

        def look(*args: Any, **kwargs: Any) -> Any:
            output = inner(*args, **kwargs)
            seen.append(output[0])
            return output

        model.denoiser.forward = look
        noise = [torch.Generator().manual_seed(run.seed) for run in runs]
        model.pipe(**model.family.arguments(model.pipe, runs, model.defaults), generator=noise)
        model.denoiser.forward = inner
    first = seen[0][-3:, : start.shape[1]]  # the rows with the prompts
    assert (first[2] - end[0]).abs().max() < ROUNDING
    assert (first[0] - start[0]).abs().max() < ROUNDING
    assert (start - end).abs().max() > 10 * ROUNDING


@pytest.mark.parametrize("name", EVERY)
def test_the_derivative_is_the_measured_one(name: str) -> None:
    """Of single (layer, head, token) factors, in float64, by central differences of f."""
    model = EVERY[name]()
    found, _ = record(model, SOURCE, TARGET, model.defaults, [0], lambda: False)
    model.denoiser.double()
    found = [replace(found[0], source=_double(found[0].source), target=_double(found[0].target))]
    with Doubled(), on_the_way(model, found[0]) as path:
        derivatives, (value,) = path.look([0.4])
        assert value == pytest.approx(_f(path, path.at([0.4])), abs=1e-9)

        def measured(layer: int, token: Any, head: Any) -> float:
            sides = []
            for shift in (1e-4, -1e-4):
                factors = path.factors([0.4])
                factors = [factor.double() for factor in factors]
                factors[layer][0, token, head] += shift
                sides.append(_f(path, path.moved(factors) + path.start))
            return (sides[0] - sides[1]) / 2e-4

        for layer in {0, len(model.layers) - 1}:
            of = derivatives[layer][0]  # (T, head)
            token, head = np.unravel_index(np.abs(of).argmax(), of.shape)
            if model.layers[layer].mask != "encoder_hidden_states_mask":  # it has no heads
                assert measured(layer, token, head) == pytest.approx(of[token, head], rel=1e-3)
            assert measured(layer, slice(None), slice(None)) == pytest.approx(of.sum(), rel=1e-3)


class Doubled(TorchFunctionMode):
    """What asks for single precision gets double: some norms and attentions ask for it whatever
    they are given, and a central difference then shows its rounding (1e-7 / 2e-4)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.float:
            return args[0].double()
        doubled = [torch.float64 if value is torch.float32 else value for value in args]
        named = {
            name: torch.float64 if value is torch.float32 else value
            for name, value in (kwargs or {}).items()
        }
        return func(*doubled, **named)


def _double(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _double(item) for name, item in value.items()}
    is_float = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.double() if is_float else value


def _f(path: TextPath, prediction: torch.Tensor) -> float:
    return float(((prediction - path.start) * path.change).sum() / path.length)


@pytest.mark.parametrize("name", EVERY)
def test_shares_sum_to_one(name: str) -> None:
    model = EVERY[name]()
    found = shares(model, SOURCE, TARGET)
    for step in found.steps:
        assert step.reached
        assert abs(step.error) <= attribution.TOLERANCE
        assert step.gap <= attribution.GAP
        assert list(step.points) == sorted(step.points)
        assert len(step.points) == len(step.path) <= attribution.POINTS
    assert found.by_layer.shape == (len(model.layers),)
    assert found.by_token.shape == (len(model.layers), len(found.tokens))
    assert found.by_token.sum(1) == pytest.approx(found.by_layer)
    assert [head.sum() for head in found.by_head] == pytest.approx(list(found.by_layer))
    assert [len(head) for head in found.by_head] == [layer.heads for layer in model.layers]
    letters = [token for token in found.tokens if token.letter is not None]
    last = {token.tokenizer for token in letters}
    assert all(
        "".join(t.target.upper() for t in letters if t.tokenizer == one) == "XYZQ" for one in last
    )
    looked = sum(3 * len(step.points) + 3 for step in found.steps)
    early = 3 * (len(found.steps[0].points) > 3)  # the first step is looked at twice
    assert found.row_passes == found.recorded_rows + looked + early


def test_what_no_token_changes_has_no_share(model: Model) -> None:
    """The tokens before the word are alike in both texts, in a causal text encoder."""
    found = shares(model, SOURCE, TARGET)
    first = min(token.index for token in found.tokens if token.letter == 0)
    before, rest = found.by_token[:, :first], found.by_token[:, first:]
    assert np.abs(before).max() < 1e-6
    assert np.abs(rest).max() > 0.05


def test_the_first_shares_come_soon() -> None:
    """After a few points, said to be short of the tolerance; the rest goes on from there."""
    early, *rest, last = shares_stream(tiny_pipelines.ldm(), SOURCE, TARGET, steps=[0])
    assert not rest
    assert not early.reached
    assert len(early.steps[0].points) == 3
    assert set(early.steps[0].points) < set(last.steps[0].points)
    assert last.reached
    assert early.row_passes < last.row_passes / 2


def test_steps_are_those_that_were_asked_for(model: Model) -> None:
    seen = [len(found.steps) for found in shares_stream(model, SOURCE, TARGET, steps=[2, 0])]
    assert seen == [1, 2]
    first = shares(model, SOURCE, TARGET, steps=[0])
    assert [step.step for step in first.steps] == [0]
    assert first.recorded_rows == 0


def test_no_image_is_made_and_the_call_is_the_pipelines_own(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("decoded")

    with monkeypatch.context() as patch:
        patch.setattr(type(model.pipe.vae), "decode", never)
        shares(model, SOURCE, TARGET, steps=[2])
    with monkeypatch.context() as patch:
        patch.setattr(type(model.pipe), "__call__", never)
        with pytest.raises(AssertionError):
            shares(model, SOURCE, TARGET, steps=[0])


# -- points ---------------------------------------------------------------------------------


def looked(points: Points, f: Any, derivative: Any, u: list[float]) -> None:
    points.add(u, [np.array([[[derivative(x)]] for x in u])], [f(x) for x in u])


def test_cubics_are_integrated_exactly_between_points() -> None:
    points = Points()
    u = [0.1, 0.35, 0.5, 0.9]
    looked(points, lambda x: x**2, lambda x: 2 * x, u)
    assert np.abs(points.errors()).max() < 1e-12
    assert points.integral()[0] == pytest.approx(1)


@pytest.mark.parametrize(("place", "width"), [(0.37, 0.05), (0.62, 0.002), (0.9, 0.0005)])
def test_points_go_where_words_change(place: float, width: float) -> None:
    """A step function that evenly spread points miss."""

    def f(x: float) -> float:
        return float(0.5 * (1 + np.tanh((x - place) / (2 * width))))

    def derivative(x: float) -> float:
        return f(x) * (1 - f(x)) / width

    points = Points()
    wanted = [0.1, 0.5, 0.9001]
    while len(points.u) < 60:
        looked(points, f, derivative, wanted)
        errors = points.errors()
        if abs(errors.sum()) <= 0.05 and np.abs(errors).sum() <= 0.1:
            break
        wanted = points.next(2)
    assert len(points.u) < 40
    assert float(points.integral()[0].sum()) == pytest.approx(1, abs=0.05)
    near = [x for x in points.u if abs(x - place) < 5 * width]
    assert len(near) >= 3


def test_too_few_points_are_said(model: Model) -> None:
    ldm = tiny_pipelines.ldm()
    few, enough = (shares(ldm, SOURCE, TARGET, steps=[0], points=n) for n in (2, 32))
    assert not few.reached
    assert len(few.steps[0].points) == 2
    assert enough.reached
    assert enough.row_passes > few.row_passes


# -- number formats, memory, what is loaded on top --------------------------------------------


@pytest.mark.parametrize("name", ["sdxl", "sd3", "pixart", "qwen-image", "flux"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(name: str, dtype: str) -> None:
    exact = shares(EVERY[name](), SOURCE, TARGET)
    model = EVERY[name]()
    model.pipe.to(getattr(torch, dtype))
    half = shares(model, SOURCE, TARGET)
    assert apart(exact, half) < (0.08 if dtype == "bfloat16" else 0.03)
    assert half.reached or dtype == "bfloat16"  # whose rounding is not far below the change here


def test_a_gradient_too_large_for_half_is_scaled(model: Model) -> None:
    """Where the gradient is not finite, it is taken again from smaller numbers."""
    with way(model) as path:
        expected, _ = path.look([0.5])
        before = path.row_passes
        calls: list[float] = []
        grad = torch.autograd.grad

        def overflow(along: torch.Tensor, factors: Any) -> Any:
            calls.append(float(along.detach()))
            found = grad(along, factors)
            return [f * float("inf") for f in found] if len(calls) == 1 else found

        torch.autograd.grad = overflow
        try:
            found, _ = path.look([0.5])
        finally:
            torch.autograd.grad = grad
        assert path.row_passes == before + 6
    assert calls[1] == pytest.approx(calls[0] / 64)
    assert max(float(np.abs(a - b).max()) for a, b in zip(expected, found, strict=True)) < ROUNDING


@pytest.mark.parametrize("name", EVERY)
def test_checkpoints_change_nothing(name: str) -> None:
    model = EVERY[name]()
    plain, saved = (shares(model, SOURCE, TARGET, checkpointing=c) for c in (False, True))
    assert not plain.checkpointed
    assert saved.checkpointed
    assert apart(plain, saved) < ROUNDING
    assert plain.row_passes == saved.row_passes


def test_checkpoints_where_memory_is_short(monkeypatch: pytest.MonkeyPatch, model: Model) -> None:
    assert not shares(model, SOURCE, TARGET, steps=[0]).checkpointed
    monkeypatch.setattr(attribution, "free_memory", lambda _device: 1000)
    assert shares(model, SOURCE, TARGET, steps=[0]).checkpointed


@pytest.mark.parametrize("name", ["sdxl", "sd3"])
def test_running_out_of_memory_takes_less(name: str) -> None:
    model = EVERY[name]()
    expected = shares(model, SOURCE, TARGET, steps=[0])
    look, failed = TextPath.look, []

    def short(path: TextPath, points: Any) -> Any:
        if not model.denoiser.is_gradient_checkpointing:
            failed.append(len(points))
            raise RuntimeError("CUDA out of memory")
        return look(path, points)

    TextPath.look = short  # type: ignore[method-assign]
    try:
        found = shares(model, SOURCE, TARGET, steps=[0])
    finally:
        TextPath.look = look  # type: ignore[method-assign]
    assert failed == [3]
    assert found.checkpointed
    assert apart(expected, found) < ROUNDING


@pytest.mark.parametrize("name", ["sdxl", "sd3", "if", "pixart"])
@pytest.mark.parametrize("how", ["module by module", "one component at a time"])
def test_offloaded_weights(name: str, how: str) -> None:
    """accelerate's hooks, here from and to the CPU; weights lie where they lay before."""
    from accelerate import cpu_offload, cpu_offload_with_hook

    expected = shares(EVERY[name](), SOURCE, TARGET)
    model = EVERY[name]()
    if how == "module by module":
        cpu_offload(model.denoiser, torch.device("cpu"))
        assert all(weight.is_meta for weight in model.denoiser.parameters())
    else:
        cpu_offload_with_hook(model.denoiser, torch.device("cpu"))
    found = shares(model, SOURCE, TARGET)
    assert apart(expected, found) < ROUNDING
    if how == "module by module":
        assert found.checkpointed
        assert all(weight.is_meta for weight in model.denoiser.parameters())
        assert all(weight.requires_grad for weight in model.denoiser.parameters())


@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux", "pixart", "if"])
def test_a_lora_counts(name: str) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    model = EVERY[name]()
    before = shares(model, SOURCE, TARGET)
    leaves = {path.rsplit(".", 1)[1] for x in model.layers for path in (x.key, x.value)}
    torch.manual_seed(0)
    adapter = LoraConfig(target_modules=sorted(leaves), r=4, lora_alpha=32, init_lora_weights=False)
    inject_adapter_in_model(adapter, model.denoiser)
    model.layers = text_layers(model.denoiser)
    flags = {name: w.requires_grad for name, w in model.denoiser.named_parameters()}
    assert len(set(flags.values())) == 2  # the adapter alone is trained
    found = shares(model, SOURCE, TARGET)
    assert found.reached
    assert apart(before, found) > 100 * ROUNDING
    assert {name: w.requires_grad for name, w in model.denoiser.named_parameters()} == flags


# -- the model as it was ----------------------------------------------------------------------


def state(model: Model) -> tuple[Any, ...]:
    """All that attribution touches."""
    denoiser = model.denoiser
    names = ("gradient_checkpointing", "_gradient_checkpointing_func")
    return (
        {name: weight.requires_grad for name, weight in denoiser.named_parameters()},
        {name: id(weight) for name, weight in denoiser.named_parameters()},
        "forward" in vars(denoiser),
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in denoiser.modules()],
        [{n: vars(m)[n] for n in names if n in vars(m)} for m in denoiser.modules()],
        denoiser.training,
        [weight.grad is None for weight in denoiser.parameters()],
    )


@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux", "qwen-image", "sana"])
@pytest.mark.parametrize("end", ["done", "stopped", "failed"])
def test_the_model_is_as_it_was(name: str, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = EVERY[name]()
    for number, weight in enumerate(model.denoiser.parameters()):
        weight.requires_grad_(number % 3 == 0)
    weights = {n: w.clone() for n, w in model.denoiser.state_dict().items()}
    before = state(model)
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return end == "stopped" and len(asked) > 5

    if end == "failed":

        def broken(*_args: Any) -> Any:
            raise ValueError("broken")

        monkeypatch.setattr(Points, "next", broken)
        monkeypatch.setattr(attribution, "TOLERANCE", 0)
    try:
        shares(model, SOURCE, TARGET, checkpointing=True, tolerance=1e-9, points=5, cancelled=stop)
        assert end == "done"
    except Cancelled:
        assert end == "stopped"
    except ValueError:
        assert end == "failed"
    assert state(model) == before
    after = model.denoiser.state_dict()
    assert all(torch.equal(weight, after[n]) for n, weight in weights.items())


def test_the_model_can_be_used_between_steps(model: Model) -> None:
    """Nothing is left in the model while the caller looks at a part of the result."""
    before = state(model)
    for _ in shares_stream(model, SOURCE, TARGET):
        assert state(model) == before


# -- bad input --------------------------------------------------------------------------------


def test_equal_texts(model: Model) -> None:
    same = Run('a red sign "ab"', 1)  # CLIP reads no case
    with pytest.raises(AttributionError, match="as the same text"):
        shares(model, SOURCE, same)


def test_equal_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_pipelines.sdxl()
    with torch.no_grad():
        for layer in model.layers:
            for name in (layer.key, layer.value):
                model.denoiser.get_submodule(name).weight.zero_()
    with pytest.raises(AttributionError, match=r"predicts the same.*--search sweep"):
        shares(model, SOURCE, TARGET)


class Quantized(torch.nn.Module):
    """A projection without a gradient."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, states: torch.Tensor, *_args: Any) -> torch.Tensor:
        with torch.no_grad():
            given: torch.Tensor = self.linear(states)
        return given


@pytest.mark.parametrize("part", ["attn1.to_out", "ff.net", "everything"])
def test_weights_without_gradient(part: str) -> None:
    """A single part is enough: what goes round it would give shares that are not true."""
    model = tiny_pipelines.sdxl()
    if part == "everything":
        model.denoiser.conv_out = Quantized(model.denoiser.conv_out)  # type: ignore[arg-type]
    else:
        name = next(
            n
            for n, m in reversed(list(model.denoiser.named_modules()))
            if part in n and isinstance(m, torch.nn.Linear)
        )
        parent, _, leaf = name.rpartition(".")
        module = model.denoiser.get_submodule(parent)
        module[int(leaf)] = Quantized(module[int(leaf)])
    with pytest.raises(AttributionError, match=r"gives no gradient.*--search sweep"):
        shares(model, SOURCE, TARGET)


def test_inference_weights() -> None:
    with torch.inference_mode():
        model = tiny_pipelines.sdxl()
    with pytest.raises(AttributionError, match=r"gives no gradient.*--search sweep"):
        shares(model, SOURCE, TARGET)


def test_not_finite() -> None:
    model = tiny_pipelines.sdxl()
    with torch.no_grad():
        model.denoiser.conv_in.weight.fill_(float("nan"))
    with pytest.raises(AttributionError, match="not finite"):
        shares(model, SOURCE, TARGET)


def test_compiled() -> None:
    model = tiny_pipelines.sdxl()
    model.denoiser.compile()
    with pytest.raises(LayerError, match="compiled"):
        shares(model, SOURCE, TARGET)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"steps": [3]}, "0 to 2"), ({"steps": []}, "0 to 2"), ({"points": 0}, "one point")],
)
def test_steps_and_points_that_are_not_there(
    model: Model, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(LayerError, match=said):
        shares(model, SOURCE, TARGET, **options)
