"""Where the text layers are, at full size (no weights) and on what is not a denoiser."""

from __future__ import annotations

import json

import pytest
import torch

from tests.checkpoints.built import built
from textloc.checkpoints import families
from textloc.checkpoints.families import full_size
from textloc.errors import CheckpointError, LayerError
from textloc.layers import format_layers, parse_layers
from textloc.paths import ROOT

CONFIGS = ROOT.parent / "shared" / "configs"
PUBLISHED = {
    "ldm": "ldm-text2im-large-256.unet",
    "sd-1.5": "stable-diffusion-v1-4.unet",  # the same U-Net
    "sd-2.1": "stable-diffusion-2-1.unet",
    "sdxl": "stable-diffusion-xl-base-1.0.unet",
    "if": "IF-I-XL-v1.0.unet",
    "sd3": "stable-diffusion-3-medium-diffusers.transformer",
    "sd3.5-medium": "stable-diffusion-3.5-medium.transformer",
    "sd3.5-large": "stable-diffusion-3.5-large.transformer",
    "flux-dev": "FLUX.1-dev.transformer",
    "flux-schnell": "FLUX.1-schnell.transformer",
    "pixart-sigma": "PixArt-Sigma-XL-2-1024-MS.transformer",
    "sana-600m": "Sana_600M.transformer",
    "sana-1600m": "Sana_1600M_1024px.transformer",
    "qwen-image": "Qwen-Image.transformer",
}


def test_sdxl_has_the_papers_layers() -> None:
    """Paper, Table 1 and section 4: 70 layers, of which 55 to 57 write."""
    unet = built("sdxl")
    layers = families.text_layers(unet)
    assert len(layers) == 70
    blocks = [layer.name.split(".")[0] for layer in layers]
    assert blocks == ["down_blocks"] * 24 + ["mid_block"] * 10 + ["up_blocks"] * 36
    assert [layers[i].name for i in (55, 56, 57)] == [
        f"up_blocks.0.attentions.2.transformer_blocks.{i}.attn2" for i in (1, 2, 3)
    ]
    assert sum(layers[i].kv_parameters for i in (55, 56, 57)) == 15_728_640
    assert sum(p.numel() for p in unet.parameters()) == 2_567_463_684


def test_deepfloyd_if_has_the_papers_layers() -> None:
    """Paper, Table 1: 22 layers, of which 17 writes. The paper's weight count is that of `to_k` and
    `to_v`, which project the picture; the text's own projections are wider."""
    unet = built("if")
    layers = families.text_layers(unet)
    blocks = [layer.name.split(".")[0] for layer in layers]
    assert blocks == ["down_blocks"] * 9 + ["mid_block"] + ["up_blocks"] * 12
    assert layers[17].name == "up_blocks.1.attentions.3"
    assert layers[17].kv_parameters == 2 * 2816 * 2112
    attention = unet.get_submodule(layers[17].name)
    image = attention.to_k.weight.numel() + attention.to_v.weight.numel()
    assert image == 2 * 2112**2 == 8_921_088
    assert sum(p.numel() for p in unet.parameters()) == 4_304_695_110
    assert [c.module for c in families.text_channels(unet)] == ["add_embedding"]


def test_sd3_has_the_papers_layers() -> None:
    """Paper, Table 1: 24 layers, of which 10 writes."""
    transformer = built("sd3")
    layers = families.text_layers(transformer)
    assert [layer.name for layer in layers] == [f"transformer_blocks.{i}.attn" for i in range(24)]
    assert layers[10].kv_parameters == 2 * 1536**2 == 4_718_592
    assert sum(p.numel() for p in transformer.parameters()) == 2_028_328_000
    assert not any(layer.static for layer in layers)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("ldm", 16),
        ("sd3.5-medium", 24),
        ("sd3.5-large", 38),
        ("flux-dev", 57),
        ("flux-schnell", 57),
        ("pixart-sigma", 28),
        ("sana-600m", 28),
        ("sana-1600m", 20),
        ("qwen-image", 60),
    ],
)
def test_the_other_families_at_full_size(name: str, count: int) -> None:
    denoiser = built(name)
    layers = families.text_layers(denoiser)
    assert len(layers) == count
    assert [layer.index for layer in layers] == list(range(count))
    numbers = [[int(p) for p in layer.name.split(".") if p.isdigit()] for layer in layers]
    if name.startswith("flux"):
        kinds = [layer.name.split(".")[0] for layer in layers]
        assert kinds == ["transformer_blocks"] * 19 + ["single_transformer_blocks"] * 38
        assert [layer.mixed for layer in layers] == [False] * 19 + [True] * 38
    elif name != "ldm":
        assert numbers == [[i] if "attn" in layers[i].name else [] for i in range(count)]
        assert not any(layer.mixed for layer in layers)
    width = denoiser.get_submodule(layers[0].key).weight.numel()
    assert layers[0].kv_parameters == 2 * width


@pytest.mark.parametrize("name", ["sd-1.5", "sd-2.1"])
def test_sd_has_sixteen_layers(name: str) -> None:
    layers = families.text_layers(built(name))
    assert len(layers) == 16
    assert [layer.index for layer in layers] == list(range(16))
    blocks = [layer.name.split(".")[0] for layer in layers]
    assert blocks == ["down_blocks"] * 6 + ["mid_block"] + ["up_blocks"] * 9


@pytest.mark.skipif(not CONFIGS.is_dir(), reason="the published configs are not here")
@pytest.mark.parametrize("name", PUBLISHED)
def test_our_arguments_are_the_published_ones(name: str) -> None:
    published = json.loads((CONFIGS / f"{PUBLISHED[name]}.json").read_text(encoding="utf-8"))
    ours = built(name)
    with torch.device("meta"):
        theirs = type(ours).from_config(published)
    shapes = [(key, tuple(value.shape)) for key, value in ours.state_dict().items()]
    assert shapes == [(key, tuple(value.shape)) for key, value in theirs.state_dict().items()]
    heads = [layer.heads for layer in families.text_layers(ours)]
    assert heads == [layer.heads for layer in families.text_layers(theirs)]


def test_an_unknown_denoiser_says_how_to_add_it() -> None:
    with pytest.raises(
        CheckpointError,
        match=r"Linear is not known; known are .*UNet2D.*Load it with its pipeline.*DENOISERS",
    ):
        families.text_layers(torch.nn.Linear(1, 1))


def test_fused_projections_are_refused() -> None:
    from tests.tiny_pipelines import sd

    unet = sd().denoiser
    unet.fuse_qkv_projections()
    with pytest.raises(LayerError, match="fused"):
        families.text_layers(unet)


def test_layer_lists() -> None:
    assert parse_layers("0, 3,7-9", 10) == (0, 3, 7, 8, 9)
    assert format_layers((9, 0, 3, 7, 8)) == "0, 3, 7-9"
    assert parse_layers(format_layers((0, 3, 7, 8, 9)), 10) == (0, 3, 7, 8, 9)
    for bad in ("", "a", "1-", "-1", "3-1", "10", "8-10"):
        with pytest.raises(LayerError):
            parse_layers(bad, 10)


UNCOUNTED = {
    *("BriaFiboTransformer2DModel", "BriaTransformer2DModel", "ErnieImageTransformer2DModel"),
    *("GlmImageTransformer2DModel", "HiDreamImageTransformer2DModel", "HunyuanDiT2DModel"),
    *("Ideogram4Transformer2DModel", "Kandinsky5Transformer3DModel", "OmniGenTransformer2DModel"),
    *("LongCatImageTransformer2DModel", "NucleusMoEImageTransformer2DModel"),
}
"""Their published shapes are not those of the class, or were not found."""


def test_every_denoiser_is_counted_at_full_size_or_said_not_to_be() -> None:
    counted = {cls for cls, _ in full_size.DENOISERS.values()}
    assert counted | UNCOUNTED == families.DENOISERS.keys()
    assert counted & UNCOUNTED == set()


@pytest.mark.parametrize(
    ("name", "count", "billions"),
    [
        ("flux2-dev", 56, 32.2),
        ("flux2-klein-4b", 25, 3.9),
        ("flux2-klein-9b", 32, 9.1),
        ("hunyuan-image-2.1", 60, 17.4),
        ("cogview4", 28, 6.4),
        ("auraflow", 36, 6.8),
        ("lumina-next", 24, 1.8),
        ("z-image-turbo", 30, 6.2),
        ("chroma", 57, 8.9),
        ("qwen-image-2.1", 32, 7.1),
        ("krea-2", 28, 12.8),
        ("cogview3-plus", 30, 2.8),
        ("kandinsky-3", 18, 3.1),
        ("lumina-2", 26, 2.6),
        ("ovis-image", 33, 7.4),
        ("prx", 16, 1.2),
    ],
)
def test_newer_families_at_full_size(name: str, count: int, billions: float) -> None:
    denoiser = built(name)
    layers = families.text_layers(denoiser)
    assert [layer.index for layer in layers] == list(range(count))
    assert round(sum(p.numel() for p in denoiser.parameters()) / 1e9, 1) == billions
