"""Text layers found by looking, beside those that the files say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests import tiny_newer, tiny_pipelines
from tests.patching.test_invariants import SOURCE, TARGET, TOLERANCE, apart, pictures, whole
from textloc.checkpoints import families
from textloc.checkpoints.families import probe
from textloc.checkpoints.loading import Model
from textloc.errors import CheckpointError, LayerError, TextlocError
from textloc.layers import TextLayer
from textloc.paths import ROOT

FIRST = ("sd", "sdxl", "if", "sd3", "flux", "pixart", "sana", "qwen-image")
MADE: dict[str, Callable[[], Model]] = {
    **{name: (tiny_pipelines.FAMILIES | tiny_pipelines.OTHERS)[name] for name in FIRST},
    **{name: (lambda name=name: tiny_newer.model(name)) for name in tiny_newer.NEWER},
}
REFUSED = {  # what keeps the probe from them
    "ernie-image": "not the target's",  # the picture's places count from the end of the text
    "hidream": "does not run",  # rows are the second axis of its text
    "ideogram4": "not the target's",  # so they do, with padding in front
    "lumina2": "not the target's",  # every row's text has places of its own
    "z-image": "no batch",  # texts and pictures come as lists
}


def looked_at(model: Model) -> probe.Probed:
    sampling = replace(model.defaults, steps=2, guidance=2.0)
    given, component = probe.captured(model.pipe, model.family, sampling)
    return probe.probe(model.denoiser, given, component)


def described(layer: TextLayer) -> tuple[Any, ...]:
    return layer.key, layer.value, layer.place, layer.heads, layer.key_part, layer.value_part


@pytest.mark.parametrize("name", MADE)
def test_what_is_found_by_looking_is_what_the_file_says(name: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = MADE[name]()
    if name in REFUSED:
        with pytest.raises(TextlocError, match=REFUSED[name]):
            looked_at(model)
        return
    found = looked_at(model).find(model.denoiser)
    assert {described(layer) for layer in found} == {described(layer) for layer in model.layers}


def test_it_is_right_on_most_of_them() -> None:
    right = len(MADE) - len(REFUSED)
    assert right / len(MADE) >= 0.8
    said = f"the probe is right on {right} of {len(MADE)} known pipeline classes"
    assert said in " ".join((ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8").split())


def forget(monkeypatch: pytest.MonkeyPatch, pipe: Any, denoiser: Any) -> None:
    """As if there were no file of this family."""
    monkeypatch.delitem(families.PIPELINES, type(pipe).__name__)
    monkeypatch.delitem(families.DENOISERS, type(denoiser).__name__)


@pytest.mark.parametrize("name", ["sd3", "flux", "krea2", "chroma"])
def test_a_pipeline_without_a_file_is_used_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    torch.set_num_threads(1)
    known = MADE[name]()
    forget(monkeypatch, known.pipe, known.denoiser)
    with pytest.raises(CheckpointError, match="Load it with its pipeline"):
        families.text_layers(known.denoiser)
    monkeypatch.setattr(probe, "_SIDE", known.defaults.height)
    family = families.of_pipeline(known.pipe)
    assert "found by looking" in caplog.text
    layers = families.text_layers(known.denoiser)
    assert [layer.name for layer in layers] == [layer.name for layer in known.layers]
    model = replace(known, family=family, layers=layers)
    runs = [SOURCE, TARGET, SOURCE.patched(whole(model, TARGET))]
    (source, target, moved), _ = pictures(model, runs, share=False)
    assert apart(moved, target) < TOLERANCE
    assert apart(moved, source) > 10 * TOLERANCE
    again, _ = pictures(model, runs)
    assert apart(again[2], moved) < TOLERANCE


def test_what_does_not_keep_the_invariants_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Text that reaches the picture past every projection of keys and values."""
    model = tiny_pipelines.OTHERS["sd3"]()
    block = model.denoiser.transformer_blocks[0]
    original = block.forward

    def leak(*args: Any, **kwargs: Any) -> Any:
        text, picture = original(*args, **kwargs)
        past = kwargs["encoder_hidden_states"].mean(1, keepdim=True)  # (row, 1, feature)
        return text, picture + past

    monkeypatch.setattr(block, "forward", leak)
    with pytest.raises(LayerError, match="is not the target's"):
        looked_at(model)


def test_a_pipeline_without_a_prompt_is_no_case_for_looking() -> None:
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        norm_num_groups=2,
    )
    with pytest.raises(CheckpointError, match="takes no prompt"):
        families.of_pipeline(DDPMPipeline(unet, DDPMScheduler()))
