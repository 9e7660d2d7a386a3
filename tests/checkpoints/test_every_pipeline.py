"""Every text-to-image pipeline of the installed diffusers is used, or it is said why not.

A new release of diffusers shows here what is missing.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

from tests import tiny_newer, tiny_siblings
from tests.patching.test_invariants import SOURCE, TARGET, TOLERANCE, apart, pictures, whole
from textloc.checkpoints import families
from textloc.checkpoints.families import common, refused
from textloc.checkpoints.loading import load
from textloc.errors import CheckpointError, LayerError
from textloc.layers import TextLayer
from textloc.patching.hooks import patched
from textloc.runs import Patch, Run

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


def modular() -> list[str]:
    return [name for name in dir(diffusers) if name.endswith("ModularPipeline")]


@pytest.mark.parametrize("name", modular())
def test_modular_pipelines_are_refused_as_such(name: str) -> None:
    assert refused.reason(name) == refused.MODULAR


def test_flux_3_is_refused_with_its_reason(tmp_path: Path) -> None:
    pipe = diffusers.Flux3ModularPipeline()
    pipe.save_pretrained(str(tmp_path / "it"), overwrite_modular_index=True)
    for given in (pipe, tmp_path / "it"):
        with pytest.raises(CheckpointError, match=r"cannot be used: a modular .*none of FLUX\.3"):
            load(given)


def test_the_denoiser_of_flux_3_can_be_patched() -> None:
    """It is the pipeline that cannot be driven."""

    class Flux3(families.Family):
        SHARED = ("img_ids", "txt_ids")

        def find(self, denoiser: Any) -> list[TextLayer]:
            return common.single(denoiser, "single_transformer_blocks.*.attn", "first")

        def inputs(self, denoiser: Any) -> dict[str, Any]:
            return asked(1)

    def asked(rows: int) -> dict[str, Any]:
        noise = torch.Generator().manual_seed(0)
        picture = torch.randn(1, 6, 8, generator=noise).expand(rows, -1, -1)
        places = torch.cartesian_prod(torch.arange(11), torch.arange(1), *[torch.arange(1)] * 2)
        return {
            "hidden_states": picture,
            "encoder_hidden_states": torch.randn(rows, 5, 24, generator=noise),
            "timestep": torch.full((rows,), 0.5),
            "txt_ids": places[:5],
            "img_ids": places[5:],
            "return_dict": False,
        }

    torch.manual_seed(0)
    denoiser = diffusers.Flux3Transformer2DModel(
        in_channels=8,
        cond_in_channels=8,
        num_layers=1,
        num_single_layers=3,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        timestep_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
    )
    source, target = Run("source"), Run("target")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(families.DENOISERS, "Flux3Transformer2DModel", (Flux3(),))
        layers = families.text_layers(denoiser)
        assert len(layers) == 3
        moved = source.patched(Patch((0, 1, 2), target))
        with torch.no_grad(), patched(denoiser, layers, [source, target, moved], share=False):
            given = asked(3)
            given["encoder_hidden_states"][2] = given["encoder_hidden_states"][0]
            one, other, found = denoiser(**given)[0]
    assert float((found - other).abs().max()) < TOLERANCE
    assert float((found - one).abs().max()) > 10 * TOLERANCE


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
