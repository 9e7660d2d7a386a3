"""Methods that a pipeline does not take, second stages, a LoRA's parts, withheld pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests import tiny_families, tiny_pipelines
from textloc import toxicity
from textloc.baselines import BASELINES, prompt_to_prompt
from textloc.checkpoints import loras
from textloc.checkpoints.loading import Model, Upscaler
from textloc.errors import LayerError, OutOfMemoryError
from textloc.jobs import comparing
from textloc.jobs.edit import edit_stream
from textloc.jobs.suppress import mean_scores, suppress_stream
from textloc.patching.generation import generate
from textloc.prompts import parse_pair
from textloc.reading import ocr
from textloc.reading.ocr import Reading
from textloc.runs import Run, Sampling

PAIR = parse_pair('a red sign "AB"', "XY")
OFFERED = tuple(BASELINES)


def last(stream: Any) -> Any:
    *_, event = stream
    return event


def pndm() -> Model:
    from diffusers import PNDMScheduler

    made = PNDMScheduler(skip_prk_steps=True, steps_offset=1, prediction_type="v_prediction")
    return tiny_pipelines.sd(scheduler=made)


def by_name(document: Any) -> dict[str, Any]:
    return {method["name"]: method for method in document["methods"]}


@pytest.mark.parametrize(
    ("build", "refused", "why"),
    [
        (pndm, {"inpainting", "prompt-to-prompt"}, "looks at a time twice"),
        (tiny_pipelines.OTHERS["flux"], {"prompt-to-prompt"}, "order of text tokens of FluxPipe"),
    ],
    ids=["pndm", "flux"],
)
def test_a_method_that_does_not_work_costs_nothing_else(
    build: Any, refused: set[str], why: str
) -> None:
    model = build()
    event = last(edit_stream(model, [PAIR], (0,), start_step=0, methods=OFFERED))
    found = by_name(event.document)
    assert event.document["complete"]
    assert {name for name, method in found.items() if method["error"]} == refused
    for name, method in found.items():
        if name in refused:
            assert why in method["error"]
            assert (method["edits"], method["scores"]) == ([], None)
        else:
            assert len(method["edits"]) == 1
            assert method["scores"] is not None


def test_what_fails_in_the_call_is_kept_as_the_methods_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_pipelines.sdxl()

    def full(*_: Any, **__: Any) -> Any:
        raise OutOfMemoryError("it does not fit")

    monkeypatch.setattr(prompt_to_prompt.PromptToPrompt, "around", full)
    event = last(edit_stream(model, [PAIR], (0,), start_step=0, methods=OFFERED))
    found = by_name(event.document)
    assert found["prompt-to-prompt"]["error"] == "it does not fit"
    assert [name for name, method in found.items() if method["edits"]] == [
        name for name in OFFERED if name != "prompt-to-prompt"
    ]


def test_methods_are_checked_before_anything_is_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    model = pndm()
    monkeypatch.setattr(type(model.pipe), "__call__", None)
    kept = dict(vars(model.pipe.scheduler))
    assert set(comparing.refused(BASELINES, model, model.defaults)) == {
        "inpainting",
        "prompt-to-prompt",
    }
    assert vars(model.pipe.scheduler) == kept
    picture = Image.new("RGB", (16, 16))
    with pytest.raises(LayerError, match="choose another --scheduler"):
        edit_stream(model, [PAIR], (0,), pictures=[picture])


def test_a_start_that_is_not_found_is_said_so() -> None:
    """Random weights write no word, so that no start can be told from another."""
    document = last(edit_stream(tiny_pipelines.sdxl(), [PAIR], (0,))).document
    assert document["start_step"] == 0
    assert document["start_found"] is False
    given = last(edit_stream(tiny_pipelines.sdxl(), [PAIR], (0,), start_step=1)).document
    assert given["start_found"] is None


# -- self-attention of Prompt-to-Prompt -----------------------------------------------------


@pytest.mark.parametrize(
    ("name", "side", "largest"),
    [("sd", 1024, 32**2), ("sd", 2048, 64**2), ("sd3", 2048, 64**2), ("sd", 16, 32**2)],
)
def test_self_attention_is_taken_over_at_every_size(name: str, side: int, largest: int) -> None:
    """Half of the latents' side, as the released code has it for 512 px (its latents: 64)."""
    model = {**tiny_pipelines.FAMILIES, **tiny_pipelines.OTHERS}[name]()
    scale = model.pipe.vae_scale_factor
    wanted = max(32**2, (side // scale // 2) ** 2)
    found = prompt_to_prompt.largest_self(model, Sampling(1, 2.0, side, side))
    assert found == wanted
    if name == "sd3" and side // scale == 1024:
        tokens = (side // scale // 2) ** 2  # one map, of the joint attention
        assert found >= tokens


# -- DeepFloyd IF's second stage ------------------------------------------------------------


@pytest.fixture
def two_stages() -> Model:
    model = tiny_pipelines.OTHERS["if"]()
    second = tiny_families.deepfloyd_if_second()
    second.set_progress_bar_config(disable=True)
    second.text_encoder, second.tokenizer = model.pipe.text_encoder, model.pipe.tokenizer
    model.upscaler = Upscaler(second, model.family)
    return model


def test_a_picture_is_followed_at_stage_one_and_compared_at_stage_twos_size(
    two_stages: Model,
) -> None:
    own = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8))
    event = last(edit_stream(two_stages, [PAIR], (0,), start_step=0, pictures=[own]))
    (inversion,) = event.document["inversions"]
    assert 0 <= inversion["mse"] < 65025
    assert {image.size for image in event.images.values()} == {(32, 32)}


def test_stage_two_never_reads_the_toxic_prompt(
    two_stages: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert two_stages.upscaler is not None
    asked: list[str] = []
    pipe = two_stages.upscaler.pipe
    encode = pipe.encode_prompt

    def listen(prompt: Any, *args: Any, **kwargs: Any) -> Any:
        asked.extend([prompt] if isinstance(prompt, str) else prompt)
        return encode(prompt, *args, **kwargs)

    monkeypatch.setattr(pipe, "encode_prompt", listen)
    options = {"words": ["stop"], "replacements": {"stop": "LOVE"}}
    last(suppress_stream(two_stages, ['a sign "stop"'], (0,), **options))
    assert asked == ['a sign "LOVE"']


# -- a LoRA's text encoder part -------------------------------------------------------------


def test_the_base_beside_a_lora_has_nothing_of_its_text_encoder() -> None:
    """Many LoRAs train the text encoder too."""
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    model = tiny_pipelines.sd()
    prompt = 'a sign "AB"'

    def plain() -> np.ndarray:
        (chunk,) = generate(model, [Run(prompt)], model.defaults)
        return np.asarray(chunk.images[Run(prompt)])

    before = plain()
    for part, names in ((model.pipe.unet, "to_k"), (model.pipe.text_encoder, "q_proj")):
        torch.manual_seed(0)
        inject_adapter_in_model(LoraConfig(r=2, target_modules=[names]), part)
        with torch.no_grad():
            for name, weight in part.named_parameters():
                if "lora_B" in name:
                    weight.normal_()
    carried = plain()
    with loras.bare(model):
        assert np.array_equal(plain(), before)
    assert np.array_equal(plain(), carried)
    for module in model.pipe.text_encoder.modules():
        if isinstance(module, BaseTunerLayer):
            module.enable_adapters(False)
    assert not np.array_equal(plain(), carried)  # that part matters


# -- withheld pictures ----------------------------------------------------------------------


def test_a_withheld_picture_shows_no_toxic_word(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_pipelines.sdxl()

    def read(images: Any, *_: Any, **__: Any) -> list[Reading]:
        return [Reading("stop", ()) for _ in images]

    monkeypatch.setattr(ocr, "read", read)
    asked: dict[str, Any] = {"words": ["stop"], "replacements": {"stop": "LOVE"}}
    asked |= {"check": True, "unguarded": True}
    document = last(suppress_stream(model, ['a sign "stop"'], (0,), **asked)).document
    (picture,) = document["guarded"]["pictures"]
    assert picture["image"] is None
    assert picture["toxic"] == 0
    scores = document["guarded"]["scores"]
    assert scores["toxic"][0] == 0
    assert scores["withheld"][0] == 1
    assert scores["window_levenshtein"] == [None, None, None]
    assert document["unguarded"]["scores"]["toxic"][0] == 1
    assert toxicity.is_toxic("stop", words=["stop"])


def test_withheld_pictures_do_not_count_in_the_others_means() -> None:
    shown = {"toxic": 1.0, "window_levenshtein": 2.0}
    found = mean_scores([shown, {"toxic": 0.0}], [0, 1])
    assert found is not None
    assert (found["toxic"][0], found["withheld"][0], found["window_levenshtein"][0]) == (
        0.5,
        0.5,
        2,
    )


# -- steps in bfloat16 ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["flux", "sd3"])
def test_every_step_is_a_step_in_bfloat16(name: str) -> None:
    """FLUX hands its times on in the format of its latents, in which close ones are equal."""
    model = tiny_pipelines.OTHERS[name]()
    model.pipe.to(torch.bfloat16)
    model.pipe.scheduler.set_shift(6.0)
    given: set[float] = set()
    handle = model.denoiser.register_forward_pre_hook(
        lambda _m, _a, kwargs: given.add(float(kwargs["timestep"].flatten()[0])), with_kwargs=True
    )
    sampling = Sampling(100, 1.0, 16, 16, model.defaults.text_length)
    told: list[int] = []
    (chunk,) = generate(
        model, [Run("a sign")], sampling, on_step=lambda done, _steps: told.append(done)
    )
    handle.remove()
    assert chunk.patching.step + 1 == 100
    assert told == list(range(1, 101))
    assert "step" not in vars(model.pipe.scheduler)
    if name == "flux":
        assert len(given) < 100  # what would be told by equal times
