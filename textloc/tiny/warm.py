"""A warm start: the weights that fit, and a text encoder that speaks to them.

Between families the denoisers have most weights in common and the text encoders have none. A new
encoder first learns to give the text states of the old ones (distillation), which takes minutes;
begun with a random one, all that the denoiser knows about letters is lost before it is found again.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from textloc.errors import CheckpointError
from textloc.tiny.codec import Codec
from textloc.tiny.data import GROWN, Batches, Settings
from textloc.tiny.recipes import RECIPES, Recipe


def check(start: Path) -> Path:
    """The file of the picture code in a folder that `export` wrote.

    Raises:
        CheckpointError: it is not there.
    """
    source = start / "vae" / "codec.safetensors"
    if not source.exists():
        raise CheckpointError(
            f"{start} holds no vae/codec.safetensors; --from wants a folder that "
            "`python -m textloc.tiny export` wrote"
        )
    return source


def take(parts: dict[str, Any], start: Path) -> set[str]:
    """Load what fits into the parts; returns the names of those in which every weight fits.

    Raises:
        CheckpointError: nothing fits.
    """
    taken, whole = 0, set()
    for name, part in parts.items():
        if not isinstance(part, torch.nn.Module) or not (start / name).is_dir():
            continue
        cls: Any = type(part)
        old = cls.from_pretrained(start / name, torch_dtype=torch.float32).state_dict()
        own = part.state_dict()
        fits = {k: v for k, v in old.items() if k in own and v.shape == own[k].shape}
        part.load_state_dict(fits, strict=False)
        taken += len(fits)
        if fits.keys() == own.keys():
            whole.add(name)
    if not taken:
        raise CheckpointError(f"no weights of {start} fit; choose a checkpoint that is more alike")
    return whole


def imitate(
    settings: Settings, parts: dict[str, Any], codec: Codec, start: Path, steps: int
) -> float:
    """Teach the text encoders of `parts` to give the states of those in `start`.

    Args:
        settings: family, seed and batch. steps: batches of training prompts; Adam at 1e-3, falling
            linearly to 0.

    Returns:
        Mean squared difference over the variance of the states, mean of the last tenth.

    Raises:
        CheckpointError: an unknown pipeline, or states of another number or width.
    """
    from tqdm.auto import tqdm

    teacher, known = _teacher(start)
    recipe = RECIPES[settings.family]
    student = SimpleNamespace(**parts)
    texts = [part for name, part in parts.items() if name.startswith("text_encoder")]
    weights = [w for part in texts for w in part.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    data = Batches(settings, codec, parts, GROWN)
    last: list[float] = []
    bar = tqdm(range(steps), unit="step", mininterval=5)
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, (step + 1) / 50) * (1 - step / steps)
        prompts = data.prompts(step)
        with torch.no_grad():
            wanted, _ = teacher.text(known, teacher.tokenize(vars(known), prompts))
        torch.set_flush_denormal(True)
        given, _ = recipe.text(student, recipe.tokenize(parts, prompts))
        if given.shape != wanted.shape:
            raise CheckpointError(
                f"{start.name} gives text states of shape {tuple(wanted.shape[1:])}, "
                f"{recipe.name} of {tuple(given.shape[1:])}; it cannot learn from them"
            )
        loss = (given - wanted).square().mean() / wanted.var()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        last = [*last[-(steps // 10) :], float(loss.detach())]
        if step % 50 == 0:
            bar.set_postfix(difference=f"{last[-1]:.4f}")
    return sum(last) / len(last)


def _teacher(start: Path) -> tuple[Recipe, SimpleNamespace]:
    """The recipe of a checkpoint, and its text encoders and tokenizers."""
    index = json.loads((start / "model_index.json").read_text(encoding="utf-8"))
    known = {recipe.pipeline_class: recipe for recipe in RECIPES.values()}
    if index["_class_name"] not in known:
        raise CheckpointError(f"{start} is a {index['_class_name']}, of which there is no recipe")
    recipe = known[index["_class_name"]]
    parts = recipe.components(0)
    found: dict[str, Any] = {}
    for name, part in parts.items():
        if name.startswith(("text_encoder", "tokenizer")):
            cls: Any = type(part)
            found[name] = cls.from_pretrained(start / name)
    return recipe, SimpleNamespace(**found)
