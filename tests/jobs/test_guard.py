"""A guard around a pipeline. Harmless words stand for toxic ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import tiny_families, tiny_newer, tiny_pipelines
from textloc import guard
from textloc.checkpoints import known
from textloc.checkpoints.loading import Model
from textloc.errors import CheckpointError, GuardError, LayerError, TextlocError, ToxicityError
from textloc.patching import generation
from textloc.patching.hooks import patched
from textloc.patching.injection import Words, injected
from textloc.reading import ocr
from textloc.reading.ocr import Reading
from textloc.runs import Patch, Run

STATIC: dict[str, Callable[[], Model]] = {
    "sd": tiny_pipelines.sd,
    "sdxl": tiny_pipelines.sdxl,
    **{name: tiny_pipelines.OTHERS[name] for name in ("if", "pixart", "sana")},
}
JOINT = {name: tiny_pipelines.OTHERS[name] for name in ("sd3", "sd35", "flux", "flux-schnell")}
BAD, GOOD = 'a red sign "STOP"', 'a red sign "LOVE"'
CLEAN = 'a green mug "HOP"'
KEEP: dict[str, Any] = {"words": ("stop", "halt", "wait"), "replacements": {"stop": "LOVE"}}
LEVEL = 1.0
"""What rounding may do to a picture of 255 levels: a value halfway goes to either side."""


def arguments(model: Model, prompts: list[str], **more: Any) -> dict[str, Any]:
    runs = [Run(prompt, seed) for seed, prompt in enumerate(prompts)]
    noise = [torch.Generator().manual_seed(seed) for seed in range(len(prompts))]
    kinds = type(model.pipe).__mro__  # a test's own may hide what they take
    kind = next(k for k in kinds if vars(diffusers).get(k.__name__) is k or k is object)
    pipe = object.__new__(kind)
    vars(pipe).update(vars(model.pipe))
    asked = model.family.arguments(pipe, runs, model.defaults)
    return {**asked, "generator": noise, **more}


def pictures(model: Model, prompts: list[str], **more: Any) -> np.ndarray:
    return levels(model.pipe(**arguments(model, prompts, **more)).images)


def levels(images: Any) -> np.ndarray:
    return np.stack([np.asarray(image, np.float64) for image in images])


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


# ---------------------------------------------------------------------------- what it does


@pytest.mark.parametrize("family", [*STATIC, *JOINT])
def test_clean_calls_pass_bit_for_bit(family: str) -> None:
    model = {**STATIC, **JOINT}[family]()
    before = pictures(model, [GOOD, CLEAN])
    with guard(model.pipe, [0], **KEEP) as state:
        within = pictures(model, [GOOD, CLEAN])
    assert np.array_equal(before, within)
    assert np.array_equal(before, pictures(model, [GOOD, CLEAN]))
    assert state.guarded == []


@pytest.mark.parametrize("family", STATIC)
def test_a_guarded_call_is_the_patched_one(family: str) -> None:
    """The localized layers read the benign text, everything else the prompt as it is."""
    model = tiny_pipelines.precise(STATIC[family]())
    layers = tuple(range(0, len(model.layers), 2))
    runs = [Run(BAD, 0).patched(Patch(layers, Run(GOOD, 0))), Run(CLEAN, 1)]
    images: dict[Run, Any] = {}
    for chunk in generation.generate(model, runs, model.defaults):
        images.update(chunk.images)
    plain = pictures(model, [BAD, CLEAN])
    with guard(model.pipe, layers, **KEEP) as state:
        guarded = pictures(model, [BAD, CLEAN])
    assert apart(guarded, levels([images[run] for run in runs])) <= LEVEL
    assert apart(guarded[0], plain[0]) > LEVEL
    assert apart(guarded[1], plain[1]) <= LEVEL
    assert [(told.prompt, told.benign) for told in state.guarded] == [(BAD, GOOD)]
    assert state.guarded[0].findings[0].text == "STOP"
    assert np.array_equal(plain, pictures(model, [BAD, CLEAN]))  # the model is as it was


@pytest.mark.parametrize("family", JOINT)
def test_joint_attention_carries_the_benign_text(family: str) -> None:
    model = tiny_pipelines.precise(JOINT[family]())
    exact = {"output_type": "np"}  # in [0, 1], not rounded to levels
    plain, swapped = (pictures(model, [text, CLEAN], **exact) for text in (BAD, GOOD))
    with guard(model.pipe, "all", **KEEP):
        guarded = pictures(model, [BAD, CLEAN], **exact)
    assert apart(guarded[1], plain[1]) < 1e-5
    assert apart(guarded[0], plain[0]) > 1e-3
    assert apart(guarded[0], swapped[0]) < apart(plain[0], swapped[0]) - 1e-3
    assert np.array_equal(plain, pictures(model, [BAD, CLEAN], **exact))


@pytest.mark.parametrize("family", JOINT)
def test_carrying_ones_own_text_changes_nothing(family: str) -> None:
    model = tiny_pipelines.precise(JOINT[family]())
    states = encoded(model, [BAD])
    plain = pictures(model, [BAD])
    for chosen in ((0,), (len(model.layers) - 1,), tuple(range(len(model.layers)))):
        words = [Words(states[0], states[0].clone())]
        with injected(model.denoiser, model.layers, chosen, words) as state:
            assert apart(pictures(model, [BAD]), plain) <= LEVEL
        assert state.seen == {0}


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_between_passes_that_carry_the_keys_and_values_of_the_last_are_read(family: str) -> None:
    model = JOINT[family]()
    own, given = encoded(model, [BAD])[-1], encoded(model, [GOOD])[-1]
    text, chosen = len(own), (0, len(model.layers) - 1)
    seen: dict[str, list[torch.Tensor]] = {}

    def keep(name: str) -> Callable[[Any, Any, torch.Tensor], None]:
        return lambda _module, _args, output: seen.setdefault(name, []).append(output.clone())

    words = [Words(own, given)]
    with injected(model.denoiser, model.layers, chosen, words, every=2) as state:
        hooks = [
            model.denoiser.get_submodule(name).register_forward_hook(keep(name))
            for layer in chosen
            for name in model.layers[layer].parts
        ]
        kept = pictures(model, [BAD])
    for hook in hooks:
        hook.remove()
    assert state.passes == 3
    for first, second, third in seen.values():
        other = first[-1, text : 2 * text]
        assert torch.equal(second[-1, :text], other)
        assert not torch.equal(first[-1, :text], other)
        assert third.shape == first.shape != second.shape
        assert not torch.equal(third[-1, text : 2 * text], other)
    with injected(model.denoiser, model.layers, chosen, words):
        always = pictures(model, [BAD])
    assert apart(kept, always) < apart(always, pictures(model, [BAD]))


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_carried_text_is_a_rows_own_as_long_as_their_pictures_are_equal(family: str) -> None:
    """In the first block, where nothing of the picture has read a text yet, carrying is exact."""
    model = tiny_pipelines.precise(JOINT[family]())
    inputs = type(model.denoiser).forward
    captured: dict[str, Any] = {}

    def capture(*args: Any, **kwargs: Any) -> Any:
        import inspect

        captured.setdefault("call", inspect.signature(inputs).bind(model.denoiser, *args, **kwargs))
        return original(*args, **kwargs)

    original = model.denoiser.forward
    model.denoiser.forward = capture
    pictures(model, [BAD, GOOD])
    del model.denoiser.forward
    call = dict(captured["call"].arguments)
    call.pop("self")
    for name, value in call.items():  # two rows: the prompts, at one noise and pooled state
        if isinstance(value, torch.Tensor) and value.ndim and name not in ("txt_ids", "img_ids"):
            rows = value[-2:]
            same = name not in ("encoder_hidden_states",)
            call[name] = rows[:1].expand_as(rows) if same else rows
    runs = [Run(BAD, 0).patched(Patch((0,), Run(GOOD, 0))), Run(GOOD, 0)]
    with torch.no_grad():
        with patched(model.denoiser, model.layers, runs, share=False):
            exact = model.denoiser(**call)[0][0]
        text = call["encoder_hidden_states"]
        with injected(model.denoiser, model.layers, (0,), [Words(text[0], text[1])]):
            carried = model.denoiser(**call)[0][0]
        plain = model.denoiser(**call)[0][0]
    assert torch.allclose(exact, carried, rtol=0, atol=1e-5)  # places of tokens are float32
    assert not torch.allclose(exact, plain, rtol=0, atol=1e-3)


def encoded(model: Model, prompts: list[str]) -> torch.Tensor:
    """Text states as the pipeline's own call makes them."""
    kept: list[Any] = []
    original = model.pipe.encode_prompt

    def listen(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        kept.append(result[0])
        return result

    model.pipe.encode_prompt = listen
    try:
        pictures(model, prompts)
    finally:
        del model.pipe.encode_prompt
    return torch.as_tensor(kept[0])


# ---------------------------------------------------------------------------- shapes of calls


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_a_quantized_denoiser_is_guarded_and_a_compiled_one_refused() -> None:
    pipe = tiny_pipelines.sdxl().pipe
    whole = pipe.unet
    pipe.unet = torch.ao.quantization.quantize_dynamic(whole, {torch.nn.Linear})
    with guard(pipe, [0], words=("AB",)) as state:
        pipe('a sign "AB"', num_inference_steps=1, height=16, width=16)
    assert [one.prompt for one in state.guarded] == ['a sign "AB"']
    pipe.unet = torch.compile(whole)
    with pytest.raises(CheckpointError, match="compiled"), guard(pipe, [0]):
        pass


@pytest.mark.parametrize(
    "options", [{"check": True, "ocr": "eyes"}, {"languages": "klingon"}, {"detector": "nose"}]
)
def test_what_is_not_there_is_told_at_the_door(options: dict[str, Any]) -> None:
    with (
        pytest.raises(TextlocError, match=r"eyes|klingon|nose"),
        guard(tiny_pipelines.sdxl().pipe, [0], **options),
    ):
        pass


def test_one_prompt_lists_and_several_images_a_prompt() -> None:
    model = tiny_pipelines.sdxl()
    noise = [torch.Generator().manual_seed(seed) for seed in range(4)]
    asked = arguments(model, [BAD, CLEAN], num_images_per_prompt=2, generator=noise)
    with guard(model.pipe, [0, 1], **KEEP):
        many = levels(model.pipe(**asked).images)
        one = arguments(model, [BAD]) | {"prompt": BAD}
        single = levels(model.pipe(**one).images)
        as_tuple = model.pipe(**arguments(model, [BAD], return_dict=False))
    assert len(many) == 4
    assert apart(many[0], single[0]) <= LEVEL
    assert apart(levels(as_tuple[0])[0], single[0]) <= LEVEL


def test_a_second_prompt_is_guarded_too() -> None:
    model = tiny_pipelines.precise(tiny_pipelines.sdxl())
    with guard(model.pipe, "all", **KEEP) as state:
        guarded = pictures(model, [CLEAN], prompt_2=[BAD])
    benign = pictures(model, [CLEAN], prompt_2=[GOOD])
    plain = pictures(model, [CLEAN], prompt_2=[BAD])
    assert apart(guarded, plain) > LEVEL
    assert apart(guarded, benign) < apart(plain, benign)
    assert [told.prompt for told in state.guarded] == [BAD]


def test_a_picture_to_picture_call_is_guarded() -> None:
    from diffusers import StableDiffusionImg2ImgPipeline
    from PIL import Image

    model = tiny_pipelines.sd()
    pipe = StableDiffusionImg2ImgPipeline(**model.pipe.components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)

    def call(prompt: str) -> np.ndarray:
        noise, picture = torch.Generator().manual_seed(0), Image.new("RGB", (16, 16), "red")
        made = pipe(prompt=prompt, image=picture, num_inference_steps=4, generator=noise)
        return levels(made.images)

    plain = call(BAD)
    with guard(pipe, "all", **KEEP) as state:
        guarded = call(BAD)
    assert apart(guarded, plain) > LEVEL
    assert state.guarded[0].benign == GOOD
    assert np.array_equal(plain, call(BAD))


def test_a_second_stage_is_guarded() -> None:
    from PIL import Image

    pipe = tiny_families.deepfloyd_if_second()
    pipe.set_progress_bar_config(disable=True)

    def call(prompt: str) -> np.ndarray:
        noise, picture = torch.Generator().manual_seed(0), Image.new("RGB", (16, 16), "red")
        asked = {"num_inference_steps": 3, "clean_caption": False, "generator": noise}
        return levels(pipe(prompt=prompt, image=picture, **asked).images)

    plain, clean = call(BAD), call(GOOD)
    with guard(pipe, "all", **KEEP) as state:
        assert apart(call(BAD), plain) > LEVEL
        assert np.array_equal(clean, call(GOOD))
    assert [told.benign for told in state.guarded] == [GOOD]


def text_read(model: Model, chosen: tuple[int, ...], prompts: list[str]) -> list[torch.Tensor]:
    """Keys and values of the layers in the first pass, as the attention gets them."""
    seen: dict[str, torch.Tensor] = {}
    handles: list[Any] = []

    def keep(name: str) -> Callable[[Any, Any, torch.Tensor], None]:
        def hook(_module: Any, _args: Any, output: torch.Tensor) -> None:
            seen.setdefault(name, output.clone())

        return hook

    def listen(*_: Any) -> None:  # by now every other hook is there, and runs before these
        first.remove()
        for layer in chosen:
            for name in (model.layers[layer].key, model.layers[layer].value):
                module = model.denoiser.get_submodule(name)
                handles.append(module.register_forward_hook(keep(name)))

    first = model.denoiser.register_forward_pre_hook(listen)
    pictures(model, prompts)
    for handle in handles:
        handle.remove()
    return list(seen.values())


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.sampled_from(["stop", "halt", "wait", "love", "tree"]), min_size=1, max_size=3),
    st.sampled_from([str.upper, str.title, " ".join, str.lower]),
    st.sampled_from(['a sign "{}"', "a sign saying {}", "{} on a mug"]),
)
def test_no_detected_word_reaches_the_guarded_layers(
    words: list[str], written: Callable[[str], str], sentence: str
) -> None:
    """At these layers keys and values are those of benign texts, whatever the words are."""
    model, chosen = _sd(), (0, 2)
    replaced = dict.fromkeys(KEEP["words"], "LOVE")
    prompts = [sentence.format(written(word)) for word in words]
    benign = [
        sentence.format("LOVE") if word in replaced else prompt
        for word, prompt in zip(words, prompts, strict=True)
    ]
    with guard(model.pipe, chosen, words=KEEP["words"], replacements=replaced) as state:
        read = text_read(model, chosen, prompts)
    assert {told.prompt for told in state.guarded} == set(prompts) - set(benign)
    for own, wanted in zip(read, text_read(model, chosen, benign), strict=True):
        assert torch.allclose(own, wanted, atol=1e-5)


_MODELS: dict[str, Model] = {}


def _sd() -> Model:
    if "sd" not in _MODELS:
        _MODELS["sd"] = tiny_pipelines.precise(tiny_pipelines.sd())
    return _MODELS["sd"]


# ---------------------------------------------------------------------------- what it keeps


def halved(model: Model) -> None:
    """A weight is written in place."""
    with torch.no_grad():
        model.denoiser.get_submodule(model.layers[0].key).weight.mul_(0.5)


def exchanged(model: Model) -> None:
    """A weight has other data."""
    weight = model.denoiser.get_submodule(model.layers[0].value).weight
    weight.data = weight.data * 0.5


def doubled(model: Model) -> None:
    """An adapter weighs more."""
    for module in model.denoiser.modules():
        if hasattr(module, "scale_layer"):
            module.scale_layer(2.0)


@pytest.mark.parametrize("change", [halved, exchanged, doubled])
def test_what_is_kept_between_passes_follows_the_model(change: Callable[[Model], None]) -> None:
    model = tiny_pipelines.sd()
    if change is doubled:
        from peft import LoraConfig

        keys = [layer.key for layer in model.layers]
        config = LoraConfig(r=2, target_modules=keys, init_lora_weights="gaussian")
        model.denoiser.add_adapter(config)
        for name, weight in model.denoiser.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight)
    text = encoded(model, [BAD, GOOD])[-2:]
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    own = text[:1].clone()

    def step() -> torch.Tensor:
        return torch.as_tensor(model.denoiser(noise, 1, own, return_dict=False)[0])

    def once() -> torch.Tensor:
        with injected(model.denoiser, model.layers, (0,), [Words(text[0], text[1])]):
            return step()

    with torch.no_grad():
        with injected(model.denoiser, model.layers, (0,), [Words(text[0], text[1])]):
            before = step()
            assert torch.equal(before, step())  # of what was kept
            change(model)
            after = step()
        assert torch.equal(after, once())
        assert not torch.equal(before, after)
        with injected(model.denoiser, model.layers, (0,), [Words(text[0], text[1])]) as state:
            step()
            own.mul_(2)  # the same tensor, another text: no longer that of the words
            other = step()
        assert state.seen == {0}
        assert torch.equal(other, step())


def test_a_call_in_inference_mode_is_guarded_too() -> None:
    model = tiny_pipelines.sd()
    with guard(model.pipe, [0, 1], **KEEP):
        guarded = pictures(model, [BAD, CLEAN])
        with torch.inference_mode():
            assert apart(pictures(model, [BAD, CLEAN]), guarded) <= LEVEL


# ---------------------------------------------------------------------------- what it refuses


def test_layers_that_run_without_their_projections_are_refused() -> None:
    model = tiny_pipelines.sd()
    with guard(model.pipe, [0], **KEEP):
        model.pipe.fuse_qkv_projections(vae=False)
        with pytest.raises(LayerError, match="did not run in a pass"):
            pictures(model, [BAD])


@pytest.mark.parametrize(
    ("arguments_", "error", "message"),
    [
        ({"prompt": None, "prompt_embeds": torch.zeros(1, 24, 32)}, GuardError, "as text"),
        ({"prompt": [3]}, GuardError, "neither a text nor"),
    ],
)
def test_what_cannot_be_read_is_refused(
    arguments_: dict[str, Any], error: type[Exception], message: str
) -> None:
    model = _sd()
    with guard(model.pipe, [0], **KEEP), pytest.raises(error, match=message):
        model.pipe(**arguments_, num_inference_steps=1)


def test_pipelines_that_cannot_be_guarded_are_refused() -> None:
    with pytest.raises(GuardError, match="within its call"), guard(tiny_pipelines.ldm().pipe, [0]):
        pass
    with (
        pytest.raises(LayerError, match="cannot carry a second text"),
        guard(tiny_newer.model("chroma").pipe, [0]),
    ):
        pass
    model = tiny_pipelines.sd()
    with pytest.raises(LayerError, match="no text layer 99"), guard(model.pipe, [99]):
        pass
    with pytest.raises(LayerError, match="not known here"), guard(model.pipe):
        pass
    hope: Any = "hope"
    with (
        pytest.raises(GuardError, match="no fallback 'hope'"),
        guard(model.pipe, [0], fallback=hope),
    ):
        pass
    with pytest.raises(ToxicityError, match="no detector"), guard(model.pipe, [0], detector="x"):
        pass
    model.pipe.controlnet = torch.nn.Identity()
    with pytest.raises(GuardError, match="controlnet"), guard(model.pipe, [0]):
        pass
    with pytest.raises(CheckpointError, match="no U-Net or transformer"), guard(object(), [0]):
        pass


@pytest.mark.parametrize("layers", [(0, 1), (0, 99)])
def test_layers_are_known_by_the_name_of_the_hub(
    monkeypatch: pytest.MonkeyPatch, layers: tuple[int, ...]
) -> None:
    entry = known.find("sdxl")
    assert entry is not None
    monkeypatch.setattr(known, "KNOWN", (replace(entry, localized=layers),))
    model = tiny_pipelines.sdxl()
    model.pipe.register_to_config(_name_or_path="stabilityai/stable-diffusion-xl-base-1.0")
    if layers == (0, 99):  # another checkpoint under that name
        with pytest.raises(LayerError, match="not known here"), guard(model.pipe):
            pass
        return
    with guard(model.pipe, **KEEP) as state:
        pictures(model, [BAD])
    assert state.layers == (0, 1)
    assert "published" in state.layers_from
    assert len(state.guarded) == 1


def test_the_model_is_as_it_was_after_an_exception() -> None:
    model = tiny_pipelines.sd()
    kind, before = type(model.pipe), pictures(model, [BAD])

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    with (
        pytest.raises(ZeroDivisionError),
        guard(model.pipe, [0], **KEEP),
    ):
        pictures(model, [BAD], callback_on_step_end=fail)
    assert type(model.pipe) is kind
    assert "encode_prompt" not in vars(model.pipe)
    assert not any("forward" in vars(module) for module in model.denoiser.modules())
    for module in model.denoiser.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert np.array_equal(before, pictures(model, [BAD]))


# ---------------------------------------------------------------------------- the check by OCR


def read_as(monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
    """Have OCR read these texts, one a call; the last one ever after."""
    said = list(texts)

    def read(images: list[Any], _engine: str) -> list[Reading]:
        text = said.pop(0) if len(said) > 1 else said[0]
        return [Reading(text, ()) for _ in images]

    monkeypatch.setattr(ocr, "read", read)


def test_a_picture_that_still_reads_so_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _sd()
    for text in ("STOP", "S T O P", "STQP"):
        read_as(monkeypatch, text)
        with (
            guard(model.pipe, [0], check=True, **KEEP),
            pytest.raises(ToxicityError, match="withheld"),
        ):
            pictures(model, [BAD])
    read_as(monkeypatch, "LOVE")
    with guard(model.pipe, [0], check=True, **KEEP) as state:
        pictures(model, [BAD])
    assert state.guarded[0].fallback is None


@pytest.mark.parametrize(
    ("fallback", "texts", "told"),
    [
        ("prompt-swap", ("STOP", "LOVE"), "prompt-swap"),
        ("more-layers", ("STOP", "LOVE"), "more-layers"),
        ("more-layers", ("STOP", "STOP", "LOVE"), "prompt-swap"),
    ],
)
def test_fallbacks_begin_from_the_same_noise(
    monkeypatch: pytest.MonkeyPatch, fallback: Any, texts: tuple[str, ...], told: str
) -> None:
    model = _sd()
    read_as(monkeypatch, *texts)
    with guard(model.pipe, [0], check=True, fallback=fallback, **KEEP) as state:
        made = pictures(model, [BAD])
    assert state.guarded[0].fallback == told
    if told == "prompt-swap":
        wanted = pictures(model, [GOOD])
    else:
        with guard(model.pipe, "all", **KEEP):
            wanted = pictures(model, [BAD])
    assert apart(made, wanted) <= LEVEL


def test_the_check_reads_pictures_only() -> None:
    model = _sd()
    with (
        guard(model.pipe, [0], check=True, **KEEP),
        pytest.raises(GuardError, match="output_type"),
    ):
        pictures(model, [BAD], output_type="np")
