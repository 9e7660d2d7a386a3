"""Warm starts."""

from __future__ import annotations

import torch

from textloc.paths import CHECKPOINTS
from textloc.tiny import warm
from textloc.tiny.recipes import RECIPES


def test_a_deeper_transformer_begins_as_the_shallower_one() -> None:
    """The shipped tiny-sd3 has eight blocks and the recipe's more: with its weights the deeper one
    gives the same, the new blocks changing nothing yet."""
    from diffusers import SD3Transformer2DModel

    folder = CHECKPOINTS / "tiny-sd3"
    old = SD3Transformer2DModel.from_pretrained(folder / "transformer", torch_dtype=torch.float32)
    new = RECIPES["sd3"].components(0)["transformer"]
    assert len(new.transformer_blocks) > len(old.transformer_blocks)
    warm.take({"transformer": new}, folder)
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 48, 8, 8), (2, 20, 128), (2, 64))
    code, states, pooled = (torch.randn(shape, generator=generator) for shape in shapes)
    with torch.no_grad():
        wanted, made = (
            model(code, states, pooled, torch.tensor([700.0, 200.0]), return_dict=False)[0]
            for model in (old, new)
        )
    torch.testing.assert_close(made, wanted, atol=1e-4, rtol=0)
