"""Where the text layers are, at full size (no weights) and on what is not a denoiser."""

from __future__ import annotations

import json

import pytest
import torch

from textloc import architectures
from textloc.architectures import full_size
from textloc.errors import CheckpointError, LayerError
from textloc.layers import format_layers, parse_layers
from textloc.paths import ROOT

CONFIGS = ROOT.parent / "shared" / "configs"
PUBLISHED = {
    "sd-1.4": "stable-diffusion-v1-4",
    "sd-2.1": "stable-diffusion-2-1",
    "sdxl": "stable-diffusion-xl-base-1.0",
}


def test_sdxl_has_the_papers_layers() -> None:
    """Paper, Table 1 and section 4: 70 layers, of which 55 to 57 write."""
    unet = full_size.build("sdxl")
    layers = architectures.text_layers(unet)
    assert len(layers) == 70
    blocks = [layer.name.split(".")[0] for layer in layers]
    assert blocks == ["down_blocks"] * 24 + ["mid_block"] * 10 + ["up_blocks"] * 36
    assert [layers[i].name for i in (55, 56, 57)] == [
        f"up_blocks.0.attentions.2.transformer_blocks.{i}.attn2" for i in (1, 2, 3)
    ]
    assert sum(layers[i].kv_parameters for i in (55, 56, 57)) == 15_728_640
    assert sum(p.numel() for p in unet.parameters()) == 2_567_463_684


@pytest.mark.parametrize("name", ["sd-1.4", "sd-2.1"])
def test_sd_has_sixteen_layers(name: str) -> None:
    layers = architectures.text_layers(full_size.build(name))
    assert len(layers) == 16
    assert [layer.index for layer in layers] == list(range(16))
    blocks = [layer.name.split(".")[0] for layer in layers]
    assert blocks == ["down_blocks"] * 6 + ["mid_block"] + ["up_blocks"] * 9


@pytest.mark.skipif(not CONFIGS.is_dir(), reason="the published configs are not here")
@pytest.mark.parametrize("name", PUBLISHED)
def test_our_arguments_are_the_published_ones(name: str) -> None:
    from diffusers import UNet2DConditionModel

    published = json.loads((CONFIGS / f"{PUBLISHED[name]}.unet.json").read_text(encoding="utf-8"))
    with torch.device("meta"):
        theirs = UNet2DConditionModel.from_config(published)
    ours = full_size.build(name)
    shapes = [(key, tuple(value.shape)) for key, value in ours.state_dict().items()]
    assert shapes == [(key, tuple(value.shape)) for key, value in theirs.state_dict().items()]
    heads = [layer.heads for layer in architectures.text_layers(ours)]
    assert heads == [layer.heads for layer in architectures.text_layers(theirs)]


def test_an_unknown_denoiser_says_how_to_add_it() -> None:
    with pytest.raises(CheckpointError, match=r"Linear is not known; known are UNet2D.*FAMILIES"):
        architectures.text_layers(torch.nn.Linear(1, 1))


def test_fused_projections_are_refused() -> None:
    from tests.tiny_pipelines import sd

    unet = sd().denoiser
    unet.fuse_qkv_projections()
    with pytest.raises(LayerError, match="fused"):
        architectures.text_layers(unet)


def test_layer_lists() -> None:
    assert parse_layers("0, 3,7-9", 10) == (0, 3, 7, 8, 9)
    assert format_layers((9, 0, 3, 7, 8)) == "0, 3, 7-9"
    assert parse_layers(format_layers((0, 3, 7, 8, 9)), 10) == (0, 3, 7, 8, 9)
    for bad in ("", "a", "1-", "-1", "3-1", "10", "8-10"):
        with pytest.raises(LayerError):
            parse_layers(bad, 10)
