"""What patching must keep, on random tiny pipelines of every family and on the shipped checkpoint.

All in double precision (`tiny_pipelines.precise`): no claim holds, or fails, by rounding.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests import tiny_pipelines
from textloc.checkpoints.families import text_channels
from textloc.checkpoints.known import KNOWN
from textloc.checkpoints.loading import Model, load
from textloc.errors import Cancelled, LayerError, OutOfMemoryError, PromptError
from textloc.patching import generation
from textloc.patching.hooks import Patching, patched
from textloc.runs import Patch, Run, Sampling

SOURCE, TARGET = Run('a red sign "AB"', 1), Run('a blue mug "XYZ"', 1)
TOLERANCE = 1e-5
"""Of pixels in [0, 1]: some hundred roundings of the single precision (6e-8) in which schedulers
compute and masks and places of tokens are made. Measured: below 4e-6. What patches change is
above 1e-3."""

CASES = [
    *itertools.product(["sd", "sdxl"], tiny_pipelines.SHAPES),
    ("ldm", "two-blocks"),
    *(("other", name) for name in tiny_pipelines.OTHERS),
    *(("shipped", entry.name) for entry in KNOWN if entry.shipped),
]
DEPENDENT = ("sd3", "flux", "pixart", "sana", "qwen")
UNMASKED = [case for case in CASES if not case[1].removeprefix("tiny-").startswith(DEPENDENT)]
"""Without the families whose text keys depend on the picture, or are masked."""


def marked(cases: list[tuple[str, str]]) -> list[Any]:
    """The cases, but trained checkpoints other than the first as slow: they are of families whose
    random pipelines are tried, too."""
    return [
        pytest.param(case, marks=pytest.mark.slow)
        if case[0] == "shipped" and case[1] != "tiny-sdxl"
        else case
        for case in cases
    ]


SEVERAL = [case for case in CASES if not case[1].endswith("-one")]
"""With more than one text layer."""


@pytest.fixture(scope="module", params=marked(CASES), ids="-".join)
def model(request: pytest.FixtureRequest) -> Model:
    family, shape = request.param
    if family == "shipped":
        return tiny_pipelines.precise(load(shape))
    if family == "other":
        return tiny_pipelines.precise(tiny_pipelines.OTHERS[shape]())
    return tiny_pipelines.precise(tiny_pipelines.FAMILIES[family](shape))


def pictures(
    model: Model, runs: list[Run], steps: int = 3, guidance: float = 2.0, share: bool = True
) -> tuple[np.ndarray, Patching]:
    """Float pictures (row, H, W, 3) in [0, 1] of one pipeline call, and what patching counted. Of a
    trained checkpoint with an autoencoder its latents, about as large in numbers: 256 pixels are
    decoded in double precision for three quarters of the time, by no part that is patched."""
    trained = model.name != "random" and getattr(model.pipe, "vae", None) is not None
    sampling = replace(model.defaults, steps=steps, guidance=guidance)
    with torch.no_grad(), patched(model.denoiser, model.layers, runs, share) as state:
        out = model.pipe(
            **model.family.arguments(model.pipe, runs, sampling),
            generator=[torch.Generator().manual_seed(run.seed) for run in runs],
            output_type="latent" if trained else "np",
        )
    images = out.image if hasattr(out, "image") else out.images  # Kandinsky 5 says `image`
    return np.asarray(images), state


def whole(model: Model, donor: Run) -> Patch:
    """A patch of all text layers and all other text channels."""
    names = tuple(channel.name for channel in text_channels(model.denoiser))
    return Patch(everything(model), donor, channels=names)


def text_tokens(model: Model) -> int:
    """Text tokens of the first text layer in the longest pass of a call with `SOURCE`."""
    denoiser, layer, family = model.denoiser, model.layers[0], model.family
    lengths: list[int] = []
    signature = inspect.signature(denoiser.forward)

    def see(_module: Any, args: Any, kwargs: Any) -> None:
        found = signature.bind(*args, **kwargs).arguments
        if layer.place in ("first", "last"):
            lengths.append(family.tokens(denoiser, found))
        elif layer.place == "rows":
            lengths.append(family.places(denoiser, found).shape[-1])

    def project(_module: Any, _args: Any, projected: torch.Tensor) -> None:
        if layer.place == "all":
            lengths.append(projected.shape[1])

    handles = [
        denoiser.register_forward_pre_hook(see, with_kwargs=True),
        denoiser.get_submodule(layer.key).register_forward_hook(project),
    ]
    pictures(model, [SOURCE], steps=1)
    for handle in handles:
        handle.remove()
    return max(lengths)


def everything(model: Model) -> tuple[int, ...]:
    return tuple(range(len(model.layers)))


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_everything_patched_is_the_target(model: Model, guidance: float) -> None:
    runs = [SOURCE, TARGET, SOURCE.patched(whole(model, TARGET))]
    (source, target, moved), _ = pictures(model, runs, guidance=guidance, share=False)
    assert apart(moved, target) < TOLERANCE
    assert apart(moved, source) > 10 * TOLERANCE


def test_a_channel_alone_changes_the_picture_and_is_no_layer(model: Model) -> None:
    names = [channel.name for channel in text_channels(model.denoiser)]
    if not names:
        with pytest.raises(LayerError, match="no text channel 'pooled'"):
            pictures(
                model, [SOURCE, TARGET, SOURCE.patched(Patch((), TARGET, channels=("pooled",)))]
            )
        return
    layers = everything(model)
    runs = [SOURCE, TARGET, SOURCE.patched(Patch((), TARGET, channels=tuple(names)))]
    runs.append(SOURCE.patched(Patch(layers, TARGET)))
    (source, target, channel, held), _ = pictures(model, runs)
    assert apart(channel, source) > 10 * TOLERANCE
    assert apart(channel, target) > 10 * TOLERANCE
    assert apart(held, target) > 10 * TOLERANCE


def test_patching_changes_the_picture_and_no_neighbour(model: Model) -> None:
    """Some layers give a third picture; all of them the target, if text has no other way in."""
    runs = [SOURCE, TARGET, SOURCE.patched(Patch((0, len(model.layers) - 1), TARGET))]
    (source, target, moved), _ = pictures(model, runs)
    (alone, beside), _ = pictures(model, [SOURCE, TARGET])
    assert apart(source, alone) < TOLERANCE
    assert apart(target, beside) < TOLERANCE
    assert apart(moved, source) > 10 * TOLERANCE
    if len(model.layers) > 2 or text_channels(model.denoiser):
        assert apart(moved, target) > 10 * TOLERANCE
    else:  # these two are all that there are
        assert apart(moved, target) < TOLERANCE


def test_leaving_restores_bit_for_bit(model: Model) -> None:
    before, _ = pictures(model, [SOURCE])
    state = dict(vars(model.denoiser))
    hooks = [len(module._forward_hooks) for module in model.denoiser.modules()]
    runs = [SOURCE, TARGET, SOURCE.patched(Patch((0,), TARGET))]
    pictures(model, runs)
    with pytest.raises(ZeroDivisionError), patched(model.denoiser, model.layers, runs):
        raise ZeroDivisionError
    assert vars(model.denoiser).keys() == state.keys()
    assert [len(module._forward_hooks) for module in model.denoiser.modules()] == hooks
    after, _ = pictures(model, [SOURCE])
    assert np.array_equal(before, after)


@pytest.mark.parametrize("model", marked(UNMASKED), indirect=True, ids="-".join, scope="module")
def test_injection_equals_patching(model: Model) -> None:
    """Replacing the text states that a layer sees is patching, where text is static."""
    layer = model.layers[len(model.layers) // 2]
    assert layer.static
    assert layer.mask is None
    (_, _, moved), _ = pictures(
        model, [SOURCE, TARGET, SOURCE.patched(Patch((layer.index,), TARGET))], share=False
    )

    def inject(_module: Any, args: Any, kwargs: Any) -> Any:
        states = kwargs["encoder_hidden_states"].unflatten(0, (-1, 3)).clone()
        states[:, 2] = states[:, 1]
        kwargs["encoder_hidden_states"] = states.flatten(0, 1)
        return args, kwargs

    attention = model.denoiser.get_submodule(layer.name)
    handle = attention.register_forward_pre_hook(inject, with_kwargs=True)
    try:
        (_, _, injected), _ = pictures(model, [SOURCE, TARGET, SOURCE], share=False)
    finally:
        handle.remove()
    assert apart(moved, injected) < TOLERANCE


def test_a_row_that_only_gives_its_text_is_not_computed(model: Model) -> None:
    """The picture is the same without its control, and without its donor's where text is static."""
    chosen = (0, len(model.layers) - 1)
    runs = [SOURCE.patched(Patch(chosen, TARGET)), SOURCE.patched(Patch(chosen, TARGET, start=1))]
    sampling = replace(model.defaults, steps=3, guidance=2.0)
    (full,) = generation.generate(model, runs, sampling)
    (lean,) = generation.generate(model, runs, sampling, lean=True)
    assert set(full.images) == {SOURCE, TARGET, *runs}
    assert set(lean.images) == set(runs)
    for run in runs:
        pixels = [np.asarray(chunk.images[run], dtype=int) for chunk in (full, lean)]
        assert apart(*pixels) <= 1
    alone = all(layer.static and layer.mask is None for layer in model.layers)
    (lean,) = generation.generate(model, runs[:1], sampling, lean=True)
    assert lean.patching.rows_unshared == 2 * full.patching.rows_unshared // 4
    assert lean.patching.rows == lean.patching.rows_unshared // (2 if alone else 1)
    channels = tuple(channel.name for channel in text_channels(model.denoiser))
    if alone and channels:  # states that this call does not have are those of a computed row
        moved = SOURCE.patched(Patch(chosen, TARGET, channels=channels))
        (lean,) = generation.generate(model, [moved], sampling, lean=True)
        assert lean.patching.rows == lean.patching.rows_unshared


def test_every_step_is_no_limit_and_no_step_is_the_source(model: Model) -> None:
    layers = everything(model)
    runs = [
        SOURCE,
        TARGET,
        SOURCE.patched(Patch(layers, TARGET)),
        SOURCE.patched(Patch(layers, TARGET, start=0, stop=3)),
        SOURCE.patched(Patch(layers, TARGET, start=3)),
        SOURCE.patched(Patch(layers, TARGET, start=1, stop=2)),
    ]
    (source, _, moved, limited, none, middle), _ = pictures(model, runs)
    assert apart(moved, limited) < TOLERANCE
    assert apart(none, source) == 0  # of one call, where it is no row of its own
    assert apart(middle, source) > 10 * TOLERANCE
    assert apart(middle, moved) > 10 * TOLERANCE


def test_heads_and_tokens_add_up_to_the_layer(model: Model) -> None:
    layer = max(model.layers, key=lambda layer: layer.heads)
    tokens = text_tokens(model)
    heads = tuple(range(layer.heads))
    one = (layer.index,)
    target = Run('a tan mugs "XY"', 1)  # as long as the source: a mask has no heads
    runs = [
        SOURCE,
        target,
        SOURCE.patched(Patch(one, target)),
        SOURCE.patched(*(Patch(one, target, heads=(head,)) for head in heads)),
        SOURCE.patched(Patch(one, target, tokens=(0, 5)), Patch(one, target, tokens=(5, tokens))),
        SOURCE.patched(Patch(one, target, heads=heads[:1])),
    ]
    (source, _, moved, by_head, by_token, first), _ = pictures(model, runs)
    assert apart(moved, by_head) < TOLERANCE
    assert apart(moved, by_token) < TOLERANCE
    assert apart(first, source) > 10 * TOLERANCE


def test_a_longer_text_is_not_cut_off_by_a_mask(model: Model) -> None:
    """Where texts are masked, some heads of texts of other lengths are refused."""
    longer = Run('a red sign that says "ABCDEF"', 1)
    runs = [SOURCE, longer, SOURCE.patched(whole(model, longer))]
    (_, target, moved), _ = pictures(model, runs)
    assert apart(moved, target) < TOLERANCE
    if model.layers[0].mask is not None:
        with pytest.raises(LayerError, match="masks the two texts differently"):
            pictures(model, [*runs, SOURCE.patched(Patch((0,), longer, heads=(0,)))])


@pytest.mark.parametrize("model", marked(SEVERAL), indirect=True, ids="-".join, scope="module")
def test_two_donors(model: Model) -> None:
    other = Run('a white book "QQ"', 1)
    layers = everything(model)
    first, rest = layers[:1], layers[1:]
    runs = [SOURCE, TARGET, other, SOURCE.patched(Patch(first, TARGET), Patch(rest, other))]
    rows, _ = pictures(model, runs)
    assert all(apart(*two) > 10 * TOLERANCE for two in itertools.combinations(rows, 2))


def test_shared_rows_give_the_same_pictures_and_cost_less(model: Model) -> None:
    runs = [SOURCE, TARGET]
    runs += [SOURCE.patched(Patch((layer,), TARGET, start=2)) for layer in everything(model)]
    shared, counted = pictures(model, runs)
    apart_, counted_apart = pictures(model, runs, share=False)
    assert apart(shared, apart_) < TOLERANCE
    assert counted.rows < counted.rows_unshared == counted_apart.rows
    # two of three steps need the two plain rows only, in every guidance pass
    passes = counted.rows_unshared // (3 * len(runs))
    assert counted.rows == passes * (2 + 2 + len(runs))


@pytest.mark.parametrize(
    "name",
    [
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
        "PNDMScheduler",
        "DDPMScheduler",
    ],
)
def test_shared_rows_with_other_schedulers(name: str) -> None:
    import diffusers

    model = tiny_pipelines.precise(tiny_pipelines.sdxl(scheduler=getattr(diffusers, name)()))
    layers = everything(model)
    runs = [SOURCE, TARGET, SOURCE.patched(Patch(layers, TARGET, start=2))]
    shared, counted = pictures(model, runs, steps=5)
    unshared, _ = pictures(model, runs, steps=5, share=False)
    assert counted.rows < counted.rows_unshared
    assert apart(shared, unshared) < TOLERANCE
    assert apart(shared[2], shared[0]) > 10 * TOLERANCE


# -- what must be refused ------------------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> Model:
    return tiny_pipelines.precise(tiny_pipelines.sdxl())


def test_a_silent_layer_is_an_error(small: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    attention = small.denoiser.get_submodule(small.layers[0].name)
    monkeypatch.setattr(attention, "forward", lambda hidden, **_: hidden)
    with pytest.raises(LayerError, match="did not run exactly once"):
        pictures(small, [SOURCE])


def test_a_compiled_or_patched_denoiser_is_refused(
    small: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        patched(small.denoiser, small.layers, [SOURCE]),
        pytest.raises(LayerError, match="patched already"),
        patched(small.denoiser, small.layers, [SOURCE]),
    ):
        pass
    monkeypatch.setattr(small.denoiser, "_compiled_call_impl", print)
    with (
        pytest.raises(LayerError, match="compiled"),
        patched(small.denoiser, small.layers, [SOURCE]),
    ):
        pass


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (SOURCE.patched(Patch((99,), TARGET)), "there is no text layer 99"),
        (SOURCE.patched(Patch((0,), TARGET, heads=(9,))), "layer 0 has 3 heads"),
        (SOURCE.patched(Patch((0,), Run("elsewhere"))), "no row of this batch|not a row"),
    ],
)
def test_impossible_patches(small: Model, run: Run, message: str) -> None:
    with (
        pytest.raises(LayerError, match=message),
        patched(small.denoiser, small.layers, [SOURCE, TARGET, run]),
    ):
        pass


@pytest.mark.parametrize(
    "make",
    [
        lambda: Patch((), TARGET),  # neither layer nor channel
        lambda: Patch((-1,), TARGET),
        lambda: Patch((0,), TARGET, heads=()),
        lambda: Patch((0,), TARGET, start=2, stop=2),
        lambda: Patch((0,), TARGET, tokens=(3, 3)),
        lambda: Patch((0,), SOURCE.patched(Patch((0,), TARGET))),
    ],
)
def test_empty_patches(make: Callable[[], Patch]) -> None:
    with pytest.raises(LayerError):
        make()


def test_a_batch_of_another_size_is_refused(small: Model) -> None:
    with (
        pytest.raises(LayerError, match="no multiple"),
        torch.no_grad(),
        patched(small.denoiser, small.layers, [SOURCE, TARGET]),
    ):
        small.pipe(SOURCE.prompt, num_inference_steps=1, guidance_scale=1.0, output_type="latent")


# -- generation ----------------------------------------------------------------------------

SAMPLING = Sampling(3, 2.0, 16, 16)


def sweep(model: Model) -> list[Run]:
    return [SOURCE, TARGET, *(SOURCE.patched(Patch((i,), TARGET)) for i in everything(model))]


def collect(model: Model, runs: list[Run], **options: Any) -> dict[Run, np.ndarray]:
    found: dict[Run, np.ndarray] = {}
    for chunk in generation.generate(model, runs, SAMPLING, **options):
        assert not found.keys() & chunk.images.keys()
        found.update({run: np.asarray(image, int) for run, image in chunk.images.items()})
    return found


@pytest.mark.parametrize("rows", [1, 3, 5, 100])
def test_chunks_give_the_same_pictures(small: Model, rows: int) -> None:
    runs = sweep(small)
    whole, parts = collect(small, runs), collect(small, runs, max_rows=rows)
    assert whole.keys() == parts.keys() == set(runs)
    assert max(np.abs(whole[run] - parts[run]).max() for run in runs) <= 1
    for batch in generation.chunks(runs, rows):
        assert SOURCE in batch or not any(run.patches for run in batch)
        assert len(batch) <= max(rows, 3)


def test_set_and_unset_negative_prompts_do_not_share_a_call(small: Model) -> None:
    unset, empty = Run("a sign", 0), Run("a sign", 0, negative_prompt="")
    assert [len(batch) for batch in generation.chunks([unset, empty], 10)] == [1, 1]
    found = collect(small, [unset, empty])
    assert np.abs(found[unset] - found[empty]).max() > 0


def test_stopping_ends_within_a_step_and_leaves_the_model_clean(small: Model) -> None:
    before = collect(small, [SOURCE])
    steps: list[int] = []
    with pytest.raises(Cancelled):
        collect(
            small,
            sweep(small),
            on_step=lambda step, _: steps.append(step),
            cancelled=lambda: bool(steps),
        )
    assert steps == [1]
    assert np.array_equal(before[SOURCE], collect(small, [SOURCE])[SOURCE])


def test_running_out_of_memory_halves_the_call(
    small: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, sizes = small.pipe.unet.conv_in.forward, []

    def limited(sample: torch.Tensor) -> torch.Tensor:
        sizes.append(len(sample))
        if len(sample) > limit:
            raise torch.OutOfMemoryError
        return original(sample)

    monkeypatch.setattr(small.pipe.unet.conv_in, "forward", limited)
    limit = 10
    assert collect(small, sweep(small)).keys() == set(sweep(small))
    assert max(sizes) > 10
    limit = 2
    with pytest.raises(OutOfMemoryError, match="smaller --size"):
        collect(small, sweep(small))


def test_pictures_come_from_the_pipelines_own_call(
    small: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(type(small.pipe), "__call__", broken)
    with pytest.raises(ZeroDivisionError):
        collect(small, [SOURCE])


def test_a_prompt_that_is_too_long_is_refused(small: Model) -> None:
    with pytest.raises(PromptError, match="tokens and random reads 24"):
        collect(small, [Run("a sign that says much more than fits here")])
