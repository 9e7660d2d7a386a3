"""A warm start: the weights that fit, and a text encoder that speaks to them.

Between families the denoisers have most weights in common and the text encoders have none. A new
encoder first learns to give the text states of the old ones (distillation), which takes minutes;
begun with a random one, all that the denoiser knows about letters is lost before it is found again.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from textloc.errors import CheckpointError
from textloc.tiny.codec import Codec, Pixels
from textloc.tiny.data import GROWN, Batches, Settings
from textloc.tiny.denormals import flushed
from textloc.tiny.recipes import RECIPES
from textloc.tiny.teacher import Texts

_BLOCK = re.compile(r"transformer_blocks\.(\d+)\.")
_MODULATION = re.compile(r"\.norm1(?:_context)?\.linear\.(?:weight|bias)$")
_EMBEDDINGS = ("token_embedding.weight", "shared.weight", "embed_tokens.weight")


def _vocabulary(parts: dict[str, Any], name: str, start: Path) -> list[tuple[int, int]]:
    """The numbers of every token that the tokenizer of a text encoder has in common with the one in
    the folder `start`; none of any other part."""
    reader = name.replace("text_encoder", "tokenizer")
    if reader == name or not (start / reader).is_dir():
        return []
    tokenizer, folder = parts[reader], start / reader
    old = type(tokenizer).from_pretrained(folder).get_vocab()
    return [(row, old[token]) for token, row in tokenizer.get_vocab().items() if token in old]


def _deeper(own: dict[str, Tensor], old: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a transformer of fewer blocks for one of more: the last block stays the last,
    and the blocks before it that are new change nothing yet (their modulation is zero)."""

    end, new_end = (max(map(_block, state), default=-1) for state in (old, own))
    if new_end <= end:
        return old
    moved = {
        _BLOCK.sub(f"transformer_blocks.{new_end}.", k) if _block(k) == end else k: v
        for k, v in old.items()
    }
    for key, value in own.items():
        if _MODULATION.search(key) and end <= _block(key) < new_end:
            moved[key] = torch.zeros_like(value)
    return moved


def _block(name: str) -> int:
    """The number of the transformer block that a weight is of, -1 for none."""
    found = _BLOCK.match(name)
    return int(found[1]) if found else -1


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
        old = _deeper(own, old)
        fits = {k: v for k, v in old.items() if k in own and v.shape == own[k].shape}
        known = _vocabulary(parts, name, start)
        for key in own.keys() & old.keys():
            if own[key].ndim != 2 or own[key].shape[1:] != old[key].shape[1:]:
                continue
            if key.endswith("position_embedding.weight"):  # prompts of another length
                rows = min(len(own[key]), len(old[key]))
                fits[key] = torch.cat([old[key][:rows], own[key][rows:]])
            elif known and key.endswith(_EMBEDDINGS):  # more words: every token keeps its row
                fits[key] = own[key].clone()
                for new_row, old_row in known:
                    fits[key][new_row] = old[key][old_row]
        part.load_state_dict(fits, strict=False)
        taken += len(fits)
        if fits.keys() == own.keys():
            whole.add(name)
    if not taken:
        raise CheckpointError(f"no weights of {start} fit; choose a checkpoint that is more alike")
    return whole


@flushed()
def imitate(
    settings: Settings, parts: dict[str, Any], codec: Codec | Pixels, start: Path, steps: int
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

    teacher = Texts(start)
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
        wanted, _ = teacher.states(teacher.tokenize(prompts))
        given, _ = recipe.text(student, recipe.tokenize(parts, prompts))
        given = given[:, : wanted.shape[1]]  # a newer one reads longer prompts
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
