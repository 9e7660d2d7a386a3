"""Every text-to-image pipeline of the installed diffusers is used, or it is said why not.

A new release of diffusers shows here what is missing.
"""

from __future__ import annotations

import inspect
import re

import diffusers
import pytest
import torch
from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

from tests import tiny_newer, tiny_siblings
from tests.patching.test_invariants import SOURCE, TARGET, TOLERANCE, apart, pictures, whole
from textloc.checkpoints import families
from textloc.checkpoints.families import refused
from textloc.errors import CheckpointError, LayerError

OTHERS = (  # not in the mapping of diffusers 0.42
    "BriaFibo2Pipeline",
    "BriaFiboPipeline",
    "BriaPipeline",
    "DreamLitePipeline",
    "ErnieImagePipeline",
    "HiDreamImagePipeline",
    "HunyuanImagePipeline",
    "Kandinsky5T2IPipeline",
    "KolorsPAGPipeline",
    "KolorsPipeline",
    "LDMTextToImagePipeline",
    "LongCatImagePipeline",
    "OmniGenPipeline",
    "PRXPixelPipeline",
    "SanaSprintPipeline",
    "StableDiffusionAdapterPipeline",
    "StableDiffusionXLAdapterPipeline",
)
EVERY = sorted({cls.__name__ for cls in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values()} | {*OTHERS})

FIRST = {  # tried by tests/patching/test_invariants.py
    "FluxPipeline",
    "IFPipeline",
    "LDMTextToImagePipeline",
    "PixArtSigmaPipeline",
    "QwenImagePipeline",
    "SanaPipeline",
    "StableDiffusion3Pipeline",
    "StableDiffusionPipeline",
    "StableDiffusionXLPipeline",
}
APART = {
    "GlmImagePipeline": "not tried: the processor of its language model is not here",
    "PRXPixelPipeline": "PRX's denoiser and family on pixels, not tried",
}
"""Used, but not tried whole."""


def _tried() -> set[str]:
    newer = {type(make()).__name__ for make, *_ in tiny_newer.NEWER.values()}
    return FIRST | newer | tiny_siblings.SIBLINGS.keys() | tiny_siblings.DRAWING.keys()


def test_every_pipeline_is_used_or_refused_with_a_reason() -> None:
    used = {name for name in EVERY if name in families.PIPELINES}
    silent = [name for name in EVERY if name not in used and refused.reason(name) is None]
    assert not silent
    assert len(used) >= 40


def test_every_pipeline_that_is_used_is_tried() -> None:
    assert families.PIPELINES.keys() - _tried() - APART.keys() == set()
    assert _tried() - families.PIPELINES.keys() == set()


def test_the_table_names_classes_that_are_there() -> None:
    """KolorsPipeline is a stand-in of its name where sentencepiece is not installed."""
    assert [name for name in families.PIPELINES if not hasattr(diffusers, name)] == []
    for name in families.PIPELINES:
        call = inspect.signature(getattr(diffusers, name).__call__).parameters
        assert "prompt" in call or "Kolors" in name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("StableDiffusionControlNetPipeline", "second network"),
        ("StableDiffusionXLAdapterPipeline", "second network"),
        ("QwenImageControlNetPipeline", "second network"),
        ("StableDiffusionInstructPix2PixPipeline", "needs a picture"),
        ("FluxFillPipeline", "needs a picture"),
        ("FluxControlPipeline", "needs a picture"),
        ("QwenImageEditPlusPipeline", "one prompt at a time"),
        ("QwenImageEditInpaintPipeline", "needs a picture"),
        ("KandinskyV22CombinedPipeline", "a prior"),
        ("StableCascadeCombinedPipeline", "a prior"),
        ("HeliosPipeline", "videos"),
        ("WanPipeline", "videos"),
        ("StableDiffusion3PAGPipeline", "StableDiffusion3Pipeline"),
    ],
)
def test_what_cannot_be_used_says_why(name: str, why: str) -> None:
    pipe = type(name, (), {})()
    with pytest.raises(CheckpointError, match=f"{name} cannot be used: .*{why}"):
        families.of_pipeline(pipe)


@pytest.mark.parametrize("name", tiny_siblings.SIBLINGS)
def test_siblings_of_a_known_pipeline_are_patched_alike(name: str) -> None:
    """Perturbed attention adds a third pass; few-step samplers guide without one."""
    torch.set_num_threads(1)
    model = tiny_siblings.model(name)
    runs = [SOURCE, TARGET, SOURCE.patched(whole(model, TARGET))]
    (source, target, moved), _ = pictures(model, runs, steps=2, guidance=2.0, share=False)
    assert apart(moved, target) < TOLERANCE
    assert apart(moved, source) > 10 * TOLERANCE
    again, _ = pictures(model, runs, steps=2, guidance=2.0)
    assert apart(again[2], moved) < TOLERANCE


def _now() -> int:
    return 1


CACHES: dict[str, tuple[str, dict[str, object]]] = {
    "FasterCacheConfig": (
        "FasterCache",
        {
            "spatial_attention_block_skip_range": 2,
            "current_timestep_callback": _now,
            "tensor_format": "BCHW",
            "is_guidance_distilled": True,
        },
    ),
    "FirstBlockCacheConfig": ("first-block cache", {}),
    "MagCacheConfig": ("MagCache", {"calibrate": True}),
    "PyramidAttentionBroadcastConfig": (
        "pyramid attention broadcast",
        {"spatial_attention_block_skip_range": 2, "current_timestep_callback": _now},
    ),
    "SeaCacheConfig": ("SeaCache", {}),
    "TaylorSeerCacheConfig": ("TaylorSeer", {}),
    "TextKVCacheConfig": ("cache of text keys and values", {}),
}
"""What `enable_cache` takes, to its name in an error and what it is made with."""


def test_every_cache_of_diffusers_is_in_the_table() -> None:
    from diffusers.models import cache_utils

    source = inspect.getsource(cache_utils.CacheMixin.enable_cache)
    assert set(re.findall(r"isinstance\(config, (\w+)\)", source)) == CACHES.keys()


@pytest.mark.parametrize("config", CACHES)
def test_caches_of_diffusers_are_refused_by_name(config: str) -> None:
    from tests.tiny_families import flux

    title, options = CACHES[config]
    of_text = config == "TextKVCacheConfig"  # for one denoiser
    denoiser = (tiny_newer.nucleus() if of_text else flux()).transformer
    layers = families.text_layers(denoiser)
    denoiser.enable_cache(getattr(diffusers, config)(**options))
    with pytest.raises(LayerError, match=f"{title}.*disable_cache"):
        families.text_layers(denoiser)
    denoiser.disable_cache()
    assert families.text_layers(denoiser) == layers


def test_weights_held_in_fewer_bits_are_patched_alike() -> None:
    """Layerwise casting skips no layer."""
    torch.set_num_threads(1)
    model = tiny_newer.model("flux2")
    model.denoiser.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)
    runs = [SOURCE, TARGET, SOURCE.patched(whole(model, TARGET))]
    (source, target, moved), _ = pictures(model, runs, steps=2, share=False)
    assert apart(moved, target) < TOLERANCE
    assert apart(source, target) > TOLERANCE


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers.pipelines.prx import pipeline_prx

    monkeypatch.delattr(pipeline_prx, "ftfy", raising=False)
    pipe = type("PRXPipeline", (), {"__module__": pipeline_prx.__name__})()
    with pytest.raises(CheckpointError, match="pip install ftfy"):
        families.of_pipeline(pipe).prepare(pipe)
