"""From a training folder to an ordinary diffusers folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from textloc.errors import CheckpointError
from textloc.scenes.rendering import COLOURS, OBJECTS, SHADES
from textloc.scenes.wording import NAMES
from textloc.tiny.recipes import RECIPES

SPELLING = {
    "letters": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "least": 2,
    "most": 6,
    "objects": list(OBJECTS),
    "colours": list(COLOURS),
    "names": {
        one: sorted({name.casefold() for name in names} - {one}) for one, names in NAMES.items()
    },
    "shades": list(SHADES),
    "colourless": True,
}
"""What a trained checkpoint can draw and spell, as its folder says it (`checkpoints.spelling`)."""


def load_averaged(parts: dict[str, Any], averaged: dict[str, Tensor]) -> None:
    """Put averaged weights, named as in `train.Model`, into the parts."""
    for name, part in parts.items():
        if isinstance(part, torch.nn.Module):
            own = {k[len(name) + 1 :]: v for k, v in averaged.items() if k.startswith(f"{name}.")}
            part.load_state_dict(own, strict=False)


def export(run: Path, vae: Path, out: Path, family: str, card: str) -> None:
    """Write `out` as a diffusers folder: fp16, shards of 9 MB, with card and call defaults.

    Args:
        run: folder of `train.Trainer` (`state.pt`). vae: folder of the trained autoencoder with
        its `codec.safetensors`. out: written anew. card: text of the model card.

    Raises:
        CheckpointError: a folder is incomplete.
    """
    recipe = RECIPES[family]
    if not (run / "state.pt").is_file():
        raise CheckpointError(f"{run} holds no state.pt; train first")
    if recipe.latent and not (vae / "codec.safetensors").is_file():
        raise CheckpointError(f"{vae} holds no codec.safetensors; train the autoencoder first")
    state = torch.load(run / "state.pt", map_location="cpu", weights_only=True)
    parts = recipe.components(0)
    load_averaged(parts, state["averaged"])
    pipe = recipe.pipeline(parts, _autoencoder(vae) if recipe.latent else None)
    write(pipe, out, recipe.call, card)
    if recipe.latent:
        path = out / "vae" / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)  # a path of the machine that trained it
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (out / "vae" / "codec.safetensors").write_bytes((vae / "codec.safetensors").read_bytes())
    _write_json(out / "spelling.json", SPELLING)


def write(pipe: Any, out: Path, call: dict[str, Any], card: str) -> None:
    """Write a pipeline as a diffusers folder `out`: fp16, shards of 9 MB, with its usual call and
    the text of its card."""
    pipe.to(torch.float16).save_pretrained(out, max_shard_size="9MB", safe_serialization=True)
    for path in out.glob("text_encoder*/config.json"):
        # transformers loads in the dtype that the config names; diffusers loads in float32. Both
        # must agree where nobody asks for a dtype.
        config = json.loads(path.read_text(encoding="utf-8"))
        config["dtype"] = "float32"
        _write_json(path, config)
    _write_json(out / "call_defaults.json", call)
    (out / "README.md").write_text(card, encoding="utf-8")


def _autoencoder(folder: Path) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
