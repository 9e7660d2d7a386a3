"""What keeps words out of pictures: negative prompts and Safe Latent Diffusion."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, HeunDiscreteScheduler, PNDMScheduler
from torch import Tensor

from tests import tiny_pipelines
from textloc.baselines import SUPPRESSING, negative_prompt, safe_latent_diffusion
from textloc.baselines.safe_latent_diffusion import CONCEPT, SafeLatentDiffusion
from textloc.checkpoints.loading import Model
from textloc.errors import LayerError, PromptError
from textloc.patching import generation
from textloc.reading.ocr import Reading
from textloc.runs import Patch, Run, Sampling

MAKERS: dict[str, Callable[[], Model]] = {
    **tiny_pipelines.FAMILIES,
    **{name: tiny_pipelines.OTHERS[name] for name in ("if", "sd3", "sd35", "pixart", "sana")},
    "qwen-image": tiny_pipelines.OTHERS["qwen-image"],
}
SOURCE = Run('a red sign "AB"', 1)
OTHER = Run('a green mug "HOP"', 2)
NOW: dict[str, Any] = {"warm_up": 0}
SMOOTH: dict[str, Any] = {**NOW, "scale": 30.0, "threshold": 9.0}
"""Without the jump at the threshold, which makes rounding errors large."""

LEVEL = 1.0
"""What rounding may do to a picture of 255 levels: a value halfway goes to either side."""


@pytest.fixture(scope="module", params=MAKERS)
def model(request: pytest.FixtureRequest) -> Model:
    return tiny_pipelines.precise(MAKERS[request.param]())


@pytest.fixture
def sd() -> Model:
    return tiny_pipelines.precise(tiny_pipelines.sd())


def guard(source: Run = SOURCE, concept: str | None = None, **options: Any) -> Run:
    return safe_latent_diffusion.run(source, "", concept=concept, **options)


def pictures(model: Model, *runs: Run, sampling: Sampling | None = None, **how: Any) -> Any:
    """Pictures of the runs in levels of 255, in their order."""
    images = {}
    for chunk in generation.generate(model, runs, sampling or model.defaults, **how):
        images.update(chunk.images)
    return [np.asarray(images[run], np.float64) for run in runs]


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


# --- Safe Latent Diffusion: the method ------------------------------------------------------


class Watched:
    """Records what the denoiser gives before the hooks of the baseline, and what the scheduler
    gets."""

    def __init__(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[Tensor] = []  # a step: (pass, row, ...)
        self.got: list[Tensor] = []
        self._calls: list[Tensor] = []
        self._hook = model.denoiser.register_forward_hook(self._output)
        step = model.pipe.scheduler.step

        def watched(output: Tensor, *args: Any, **kwargs: Any) -> Any:
            if self._calls:  # else it is tried on zeros, before the call
                self.got.append(output.clone())
                rows = len(output)
                self.given.append(torch.cat(self._calls).unflatten(0, (-1, rows)))
                self._calls.clear()
            return step(output, *args, **kwargs)

        monkeypatch.setattr(model.pipe.scheduler, "step", watched)
        monkeypatch.setattr(model.pipe, "prepare_extra_step_kwargs", lambda *_: {}, raising=False)

    def _output(self, _module: Any, _args: Any, output: Any) -> None:
        self._calls.append(output[0].clone())

    def remove(self) -> None:
        self._hook.remove()


def order(watched: Watched) -> tuple[int, int]:
    """Which pass is without text and which with it: without it, rows of one seed are equal in the
    first step."""
    (without,) = (
        number for number, rows in enumerate(watched.given[0]) if torch.allclose(rows[0], rows[1])
    )
    return without, 1 - without


def test_the_scheduler_gets_what_the_paper_says(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The equations, written out once more, on the outputs of the denoiser itself."""
    options = {"scale": 30.0, "warm_up": 1, "threshold": 0.02, "momentum_scale": 0.4}
    run = guard(concept="AB", momentum_beta=0.6, **options)
    watched = Watched(model, monkeypatch)
    try:
        pictures(model, Run("x", SOURCE.seed), run)  # rows: x, the concept, the guarded run
    finally:
        watched.remove()
    without, prompted = order(watched)
    assert (without, prompted) == ((1, 0) if "Qwen" in type(model.pipe).__name__ else (0, 1))
    guidance, momentum = model.defaults.guidance, torch.zeros(())
    clean = model.pipe.scheduler.config.get("prediction_type") == "sample"
    acted = False
    for step, (given, got) in enumerate(zip(watched.given, watched.got, strict=True)):
        if given.ndim == 5:
            given = given[:, :, : model.denoiser.config.in_channels]
        if got.ndim == 4:
            got = got[:, : model.denoiser.config.in_channels]
        u, p, s = given[without, 2], given[prompted, 2], given[prompted, 1]
        above = (s - p) if clean else (p - s)
        scale = torch.clamp(30 * above.abs(), max=1)
        scale = torch.where(above >= 0.02, torch.zeros(()), scale)
        gamma = scale * (s - u) + 0.4 * momentum
        momentum = 0.6 * momentum + 0.4 * gamma
        for row, change in ((0, 0), (2, gamma if step >= 1 else 0)):
            u, p = given[without, row], given[prompted, row]
            expected = u + guidance * (p - change - u)
            if "Qwen" in type(model.pipe).__name__:  # as long as with the prompt
                expected *= p.norm(dim=-1, keepdim=True) / expected.norm(dim=-1, keepdim=True)
            # the method's own sums are in single precision, of values around 1
            assert torch.allclose(got[row].double(), expected.double(), rtol=1e-5, atol=1e-5)
        acted = acted or bool(step >= 1 and gamma.abs().max() > 1e-3)
    assert acted


RELEASED = {
    "ddim": lambda: DDIMScheduler(steps_offset=1, clip_sample=False),
    "pndm": lambda: PNDMScheduler(steps_offset=1, skip_prk_steps=True),
}
"""Schedulers of the released code; PNDM looks at its second time twice."""


@pytest.mark.parametrize("scheduler", RELEASED)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"warm_up": 3},
        {"scale": 20.0, "warm_up": 2, "threshold": 0.0, "momentum_scale": 0, "momentum_beta": 0},
        {"scale": 5000.0, "threshold": 1.0, "momentum_scale": 0.5, "momentum_beta": 0.7, **NOW},
    ],
)
def test_the_picture_is_that_of_the_released_code(
    scheduler: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import StableDiffusionPipelineSafe

    model = tiny_pipelines.precise(tiny_pipelines.sd(scheduler=RELEASED[scheduler]()))
    decode, decoded = model.pipe.vae.decode, []

    def watched(code: Tensor, *args: Any, **kwargs: Any) -> Any:
        decoded.append(code)
        return decode(code, *args, **kwargs)

    monkeypatch.setattr(model.pipe.vae, "decode", watched)
    sampling = Sampling(steps=14 if not options else 6, guidance=4.0, height=16, width=16)
    run = guard(concept="AB", **options)
    (picture,) = pictures(model, run, sampling=sampling, lean=True)
    pictures(model, SOURCE, sampling=sampling)
    parts = {n: part for n, part in model.pipe.components.items() if n != "image_encoder"}
    released = StableDiffusionPipelineSafe(**parts, requires_safety_checker=False)
    released.set_progress_bar_config(disable=True)
    released.safety_concept = "AB"
    control = run.control
    assert isinstance(control, SafeLatentDiffusion)
    image = released(
        SOURCE.prompt,
        height=16,
        width=16,
        num_inference_steps=sampling.steps,
        guidance_scale=sampling.guidance,
        generator=torch.Generator().manual_seed(SOURCE.seed),
        sld_guidance_scale=control.scale,
        sld_warmup_steps=control.warm_up,
        sld_threshold=control.threshold,
        sld_momentum_scale=control.momentum_scale,
        sld_mom_beta=control.momentum_beta,
    ).images[0]
    assert apart(picture, np.asarray(image, np.float64)) <= LEVEL
    found, plain, expected = (code.numpy() for code in decoded)
    # The model is in double precision, so only the method's own sums round, in single precision:
    # 6e-8, which its scale of up to 5000 makes 3e-4 where it is not cut at one, at few places and
    # of a part of the output. Measured: below 4e-6 of the largest; the method itself: 4e-3.
    rounding = 1e-4 * np.abs(expected).max()
    assert apart(found, expected) < rounding
    assert apart(found, plain) > 10 * rounding


def test_what_it_does_not_act_on_is_the_plain_picture(model: Model) -> None:
    """No scale, no place below the threshold, warming up to the end, or the prompt as concept."""
    runs = [guard(scale=0, **NOW), guard(threshold=-1e6, **NOW), guard(warm_up=99)]
    runs.append(guard(concept=SOURCE.prompt, **NOW))
    plain, *guarded, acting = pictures(model, SOURCE, *runs, guard(**NOW))
    assert all(apart(picture, plain) <= LEVEL for picture in guarded)
    assert apart(acting, plain) > LEVEL


def test_rows_do_not_depend_on_their_neighbours(model: Model) -> None:
    runs = [guard(**SMOOTH), guard(OTHER, **SMOOTH), guard(concept="x", **SMOOTH), SOURCE, OTHER]
    runs.append(OTHER.patched(Patch((0,), SOURCE)))
    together = pictures(model, *runs)
    for run, both in zip(runs, together, strict=True):
        (alone,) = pictures(model, run, lean=True)
        assert apart(both, alone) <= LEVEL


def test_the_momentum_grows_while_it_warms_up(sd: Model) -> None:
    """Of two steps the first warms up; only the momentum knows of it in the second."""
    sampling = Sampling(steps=2, guidance=4.0, height=16, width=16)
    still, moved, plain = pictures(
        sd,
        guard(warm_up=1, momentum_scale=0),
        guard(warm_up=1, momentum_scale=1.0, momentum_beta=0.0),
        SOURCE,
        sampling=sampling,
    )
    assert apart(still, moved) > LEVEL
    assert apart(plain, moved) > LEVEL


def test_the_concept_is_seen_at_the_guarded_latents(
    sd: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    forward = sd.denoiser.forward

    @functools.wraps(forward)
    def watched(sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(sample.unflatten(0, (2, -1)).clone())
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(sd.denoiser, "forward", watched)
    pictures(sd, guard(**NOW), SOURCE, lean=True)
    for latents in seen:  # rows: the concept, the guarded run, the source
        assert torch.equal(latents[:, 0], latents[:, 1])
    assert not torch.equal(seen[-1][:, 1], seen[-1][:, 2])


@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_other_predictions(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction of the clean picture falls where the noise grows."""
    scheduler = DDIMScheduler(prediction_type=kind, clip_sample=False)
    model = tiny_pipelines.precise(tiny_pipelines.sd(scheduler=scheduler))
    watched = Watched(model, monkeypatch)
    try:
        pictures(model, guard(momentum_scale=0, **NOW))
    finally:
        watched.remove()
    (u, p), s = watched.given[0][:, 1], watched.given[0][1, 0]
    left_alone = (p - s) <= -0.01 if kind == "sample" else (p - s) >= 0.01
    assert 0 < left_alone.float().mean() < 1
    guided = u + model.defaults.guidance * (p - u)
    same = (watched.got[0][1] - guided).abs() < 1e-6
    assert same[left_alone].all()
    assert not same[~left_alone].all()


@pytest.mark.parametrize("scheduler", [DDPMScheduler, HeunDiscreteScheduler])
def test_noise_at_each_step_and_two_looks_at_one(scheduler: Any) -> None:
    model = tiny_pipelines.precise(tiny_pipelines.sd(scheduler=scheduler()))
    plain, idle, acting = pictures(model, SOURCE, guard(scale=0, **NOW), guard(**NOW))
    assert apart(plain, idle) <= LEVEL
    assert apart(plain, acting) > LEVEL


# --- Safe Latent Diffusion: what is refused, and what is left behind --------------------------


@pytest.mark.parametrize("name", ["flux", "flux-schnell"])
@pytest.mark.parametrize("steps", [1, 3])
def test_without_a_pass_without_text_it_is_refused(name: str, steps: int) -> None:
    model = tiny_pipelines.OTHERS[name]()
    sampling = Sampling(steps, 3.5, 16, 16, model.defaults.text_length)
    with pytest.raises(LayerError, match="FluxPipeline makes no pass without text"):
        pictures(model, guard(), sampling=sampling)
    assert not model.denoiser._forward_hooks
    assert not model.denoiser._forward_pre_hooks
    with pytest.raises(PromptError, match="no negative prompt"):
        pictures(model, negative_prompt.run(SOURCE, ""))


def test_without_guidance_it_is_refused(model: Model) -> None:
    sampling = Sampling(2, 1.0, model.defaults.height, model.defaults.width, 80)
    with pytest.raises(LayerError, match="guidance 1 is none"):
        pictures(model, guard(), sampling=sampling)
    error = PromptError if "LDM" in type(model.pipe).__name__ else LayerError
    with pytest.raises(error):
        pictures(model, negative_prompt.run(SOURCE, ""), sampling=sampling)


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_restored(sd: Model, fails: bool) -> None:
    run = guard()
    assert run.control is not None
    assert run.control.leader is not None
    left = None
    try:
        with SafeLatentDiffusion.around(sd, [run.control.leader, run], [0, 1], sd.defaults):
            assert sd.denoiser._forward_hooks
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError as error:
        left = error
    assert (left is not None) is fails
    assert not sd.denoiser._forward_hooks
    assert not sd.denoiser._forward_pre_hooks


@pytest.mark.parametrize(
    "options",
    [
        {"scale": -1},
        {"scale": float("inf")},
        {"warm_up": -1},
        {"threshold": float("nan")},
        {"momentum_scale": 1.5},
        {"momentum_beta": 1.0},
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(LayerError):
        guard(**options)


def test_runs_that_cannot_be_guarded_are_refused(sd: Model) -> None:
    with pytest.raises(PromptError, match="concept is empty"):
        guard(concept=" ")
    for source in (guard(), SOURCE.patched(Patch((0,), OTHER))):
        for method in (safe_latent_diffusion, negative_prompt):
            with pytest.raises(LayerError, match="generated from its prompt alone"):
                method.run(source, "")
    with pytest.raises(LayerError, match="without patches"):
        pictures(sd, guard().patched(Patch((0,), SOURCE)))
    with (
        pytest.raises(LayerError, match="not a row of this batch"),
        SafeLatentDiffusion.around(sd, [guard()], [0], sd.defaults),
    ):
        pass


def test_the_concept() -> None:
    """What the source prompt quotes, else that of the paper."""
    found = [guard(Run(prompt)).control for prompt in ('a "BAD" and a "WORD"', "a sign")]
    assert [c.concept for c in found if isinstance(c, SafeLatentDiffusion)] == ["BAD WORD", CONCEPT]
    assert SafeLatentDiffusion(SOURCE).concept == CONCEPT
    assert SafeLatentDiffusion(SOURCE) == SafeLatentDiffusion(SOURCE, warm_up=10)


# --- Negative prompts -------------------------------------------------------------------------


@pytest.mark.parametrize("own", [None, "blurry"])
def test_a_negative_prompt_is_the_pipelines_own(model: Model, own: str | None) -> None:
    if "LDM" in type(model.pipe).__name__:
        with pytest.raises(PromptError, match="no negative prompt"):
            pictures(model, negative_prompt.run(SOURCE, ""))
        return
    source = Run(SOURCE.prompt, 1, own)
    expected = Run(SOURCE.prompt, 1, "AB" if own is None else "blurry, AB")
    found, same, plain = pictures(model, negative_prompt.run(source, ""), expected, source)
    assert apart(found, same) <= LEVEL
    arguments = model.family.arguments(model.pipe, [source], model.defaults)

    def own_call(**given: Any) -> np.ndarray:
        noise = [torch.Generator().manual_seed(1)]
        images = model.pipe(**arguments | given, generator=noise, output_type="np").images
        return 255 * np.asarray(images[0], np.float64)

    image = own_call(negative_prompt=[expected.negative_prompt])
    assert apart(found, image) <= LEVEL
    assert apart(plain, own_call()) <= LEVEL
    assert apart(image, own_call()) > 1e-3 * 255  # before it is rounded to levels


def test_negative_prompts_that_say_nothing_are_refused() -> None:
    with pytest.raises(PromptError, match="quotes no text"):
        negative_prompt.run(Run("a sign"), "")
    with pytest.raises(PromptError, match="is empty"):
        negative_prompt.run(SOURCE, "", text=" ")
    assert negative_prompt.run(Run("a sign"), "", text="AB").negative_prompt == "AB"


def test_all_methods_have_one_form(sd: Model) -> None:
    target = 'a red sign "XY"'
    runs = {n: m.run(SOURCE, target, Reading("AB"), (16, 16)) for n, m in SUPPRESSING.items()}
    assert runs["prompt-swap"].prompt == target
    assert {runs[name].prompt for name in runs if name != "prompt-swap"} == {SOURCE.prompt}
    assert len(pictures(sd, *runs.values())) == 3
    assert all(method.TITLE and method.PAPER for method in SUPPRESSING.values())
