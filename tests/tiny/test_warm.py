"""Warm starts."""

from __future__ import annotations

from pathlib import Path

import torch

from textloc.tiny import warm
from textloc.tiny.recipes import RECIPES


def test_a_deeper_transformer_begins_as_the_shallower_one(tmp_path: Path) -> None:
    """With the weights of eight of the recipe's twelve blocks it gives the same as these, the new
    blocks changing nothing yet."""
    new = RECIPES["sd3"].components(0)["transformer"]
    torch.manual_seed(1)
    old = type(new).from_config({**new.config, "num_layers": 8})
    for value in old.parameters():  # what begins as nothing would hide a block left out
        torch.nn.init.normal_(value, std=0.1)
    assert len(new.transformer_blocks) > len(old.transformer_blocks)
    old.save_pretrained(tmp_path / "transformer")
    warm.take({"transformer": new}, tmp_path)
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 48, 8, 8), (2, 20, 128), (2, 64))
    code, states, pooled = (torch.randn(shape, generator=generator) for shape in shapes)
    with torch.no_grad():
        wanted, made = (
            model(code, states, pooled, torch.tensor([700.0, 200.0]), return_dict=False)[0]
            for model in (old, new)
        )
    torch.testing.assert_close(made, wanted, atol=1e-4, rtol=0)
