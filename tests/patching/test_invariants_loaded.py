"""The invariants with what people load on top, and with shapes drawn at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests import tiny_families, tiny_pipelines
from tests.patching.test_invariants import (
    SOURCE,
    TARGET,
    TOLERANCE,
    apart,
    everything,
    pictures,
    whole,
)
from textloc.checkpoints import families
from textloc.checkpoints.loading import Model
from textloc.patching.hooks import patched
from textloc.runs import Patch, Run

EVERY: dict[str, Callable[[], Model]] = {**tiny_pipelines.FAMILIES, **tiny_pipelines.OTHERS}


@pytest.mark.parametrize("name", EVERY)
def test_lora_is_part_of_what_is_patched(name: str) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    model = tiny_pipelines.precise(EVERY[name]())
    (before,), _ = pictures(model, [SOURCE])
    leaves = {path.rsplit(".", 1)[1] for x in model.layers for path in (x.key, x.value)}
    torch.manual_seed(0)
    adapter = LoraConfig(target_modules=sorted(leaves), r=4, lora_alpha=32, init_lora_weights=False)
    inject_adapter_in_model(adapter, model.denoiser)
    layers = families.text_layers(model.denoiser)
    assert [(x.name, x.kv_parameters) for x in layers] == [
        (x.name, x.kv_parameters) for x in model.layers
    ]
    model.layers = layers
    runs = [SOURCE, TARGET, SOURCE.patched(whole(model, TARGET))]
    (source, target, moved), _ = pictures(model, runs, share=False)
    assert apart(source, before) > 10 * TOLERANCE
    assert apart(moved, target) < TOLERANCE
    assert apart(moved, source) > 10 * TOLERANCE


@pytest.mark.parametrize("name", [name for name in EVERY if name != "ldm"])
def test_two_images_a_prompt_are_two_rows(name: str) -> None:
    """Rows are prompt-major. `LDMTextToImagePipeline` makes one picture a prompt.

    Sana and Qwen-Image repeat the text masks in another order than the texts (diffusers 0.42), so
    there the pictures are not those of single rows; what is moved still is what it was.
    """
    model = tiny_pipelines.precise(EVERY[name]())
    sources = [Run(SOURCE.prompt, seed) for seed in (1, 2)]
    targets = [Run(TARGET.prompt, seed) for seed in (1, 2)]
    moved = [s.patched(whole(model, t)) for s, t in zip(sources, targets, strict=True)]
    runs = [*sources, *moved, *targets]
    call = model.family.arguments(model.pipe, [SOURCE, SOURCE, TARGET], model.defaults)
    with torch.no_grad(), patched(model.denoiser, model.layers, runs):
        out = model.pipe(
            **call,
            num_images_per_prompt=2,
            generator=[torch.Generator().manual_seed(run.seed) for run in runs],
            output_type="np",
        ).images
    assert apart(out[2:4], out[4:6]) < TOLERANCE
    assert apart(out[:2], out[2:4]) > 10 * TOLERANCE
    if name not in ("sana", "qwen-image", "qwen-image-one"):
        singly, _ = pictures(model, runs)
        assert apart(out, singly) < TOLERANCE


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_an_ip_adapter_stays_as_it_is(name: str) -> None:
    """What a picture prompt adds to a text layer is no text, and is not patched."""
    model = tiny_pipelines.precise(EVERY[name]())
    unet, width = model.denoiser, model.denoiser.config.cross_attention_dim
    torch.manual_seed(0)
    adapter: dict[str, Any] = {}
    crossing = [path for path in unet.attn_processors if path.endswith("attn2.processor")]
    for number, path in enumerate(crossing):
        channels = unet.get_submodule(path.removesuffix(".processor")).to_k.out_features
        for part in ("to_k_ip", "to_v_ip"):
            adapter[f"{2 * number + 1}.{part}.weight"] = torch.randn(channels, width)
    projection = {
        "proj.weight": torch.randn(4 * width, 16),
        "proj.bias": torch.zeros(4 * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    runs = [SOURCE, TARGET, SOURCE.patched(Patch(everything(model), TARGET))]
    (plain, *_), _ = pictures(model, runs)
    unet._load_ip_adapter_weights([{"image_proj": projection, "ip_adapter": adapter}])
    layers = families.text_layers(unet)
    assert layers == model.layers
    looked = torch.randn(1, 1, 16).repeat(2 * len(runs), 1, 1)  # of both guidance passes
    call = model.family.arguments(model.pipe, runs, model.defaults)
    with torch.no_grad(), patched(unet, layers, runs) as state:
        source, target, moved = model.pipe(
            **call,
            ip_adapter_image_embeds=[looked],
            generator=[torch.Generator().manual_seed(run.seed) for run in runs],
            output_type="np",
        ).images
    assert state.rows < state.rows_unshared or state.passes == 3
    assert apart(source, plain) > 10 * TOLERANCE
    if name == "sd":  # SDXL's pooled text is not patched here
        assert apart(moved, target) < TOLERANCE
    assert apart(moved, source) > 10 * TOLERANCE


def drawn(seed: int) -> tuple[str, Model]:
    """A family and a shape of its own, decided by `seed`."""
    rng = random.Random(seed)
    heads, blocks = rng.choice((1, 2, 3, 5, 7)), rng.choice((1, 2, 3))
    families: dict[str, Callable[[], Any]] = {
        "if": lambda: tiny_families.deepfloyd_if(heads, blocks),
        "sd3": lambda: tiny_families.sd3(blocks, heads),
        "sd35": lambda: tiny_families.sd35(blocks, heads),
        "flux": lambda: tiny_families.flux(blocks, rng.choice((1, 2)), heads),
        "pixart": lambda: tiny_families.pixart(blocks, heads),
        "sana": lambda: tiny_families.sana(blocks, heads),
        "qwen-image": lambda: tiny_families.qwen_image(blocks, heads),
    }
    unets = {"sd": tiny_pipelines.sd, "sdxl": tiny_pipelines.sdxl}
    name = [*families, *unets][seed % (len(families) + len(unets))]
    if name in unets:
        count = rng.choice((1, 2))
        many = [rng.choice((1, 2, 3, 5)) for _ in range(count)]
        tiny_pipelines.SHAPES["drawn"] = {
            "channels": tuple(8 * h for h in many),
            "heads": tuple(many),
            "depth": tuple(rng.choice((1, 2)) for _ in range(count)),
            "tokens": rng.choice((24, 33, 48)),
        }
        return name, unets[name]("drawn")
    size = 32 if name == "sana" else 16
    return name, tiny_pipelines._model(families[name](), size=size)


@pytest.mark.parametrize("seed", range(18))
def test_any_shape_moves_to_the_target_and_comes_back(seed: int) -> None:
    name, model = drawn(seed)
    tiny_pipelines.precise(model)
    rng = random.Random(seed)
    letters = "".join(rng.choice("ABCDEFGH") for _ in range(rng.randint(1, 5)))
    target = Run(f'a {rng.choice(("tan", "blue"))} mug "{letters}"', 1)
    guidance = rng.choice((1.0, 3.0))
    one = Patch((rng.randrange(len(model.layers)),), target, start=1)
    runs = [SOURCE, target, SOURCE.patched(whole(model, target)), SOURCE.patched(one)]
    (before,), _ = pictures(model, [SOURCE], guidance=guidance)
    (source, wanted, moved, part), _ = pictures(model, runs, guidance=guidance)
    assert apart(moved, wanted) < TOLERANCE, name
    assert apart(moved, source) > 10 * TOLERANCE, name
    assert apart(part, source) > 10 * TOLERANCE, name
    (again,), _ = pictures(model, [SOURCE], guidance=guidance)
    assert np.array_equal(again, before), name
    assert apart(again, source) < TOLERANCE, name
