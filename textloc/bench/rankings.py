"""Ways to rank text layers from the denoiser's predictions alone, beside integrated gradients.

All look at the source's noisy picture at one step, as `patching.attribution` does, and give one
number a layer, the larger the more it matters.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from textloc.checkpoints.loading import Model
from textloc.patching.attribution import Array, TextPath, on_the_way, record
from textloc.patching.hooks import leaves_watched
from textloc.patching.tokens import tokens_of
from textloc.runs import Run


def first_order(model: Model, path: TextPath, _word: list[int]) -> Array:
    """Attribution patching (Nanda 2023): the derivative at the source, where nothing is patched
    yet. A forward and a backward pass."""
    derivatives, _ = path.look([0.0])
    return np.array([float(layer.sum()) for layer in derivatives])


def attention_contribution(model: Model, path: TextPath, word: list[int]) -> Array:
    """The norm of what the word's tokens add to what a layer's attention gives (Zarei et al. 2025,
    arXiv 2505.18832, section 3): the difference that zero values at these tokens make to the output
    of the layer's attention. One pass more than there are layers."""
    found: list[float] = []
    path.keep_source()
    whole = _attention(model, path, path.factors([0.0]))
    path.blend.silence(model.layers)
    for layer in model.layers:
        factors = path.factors([0.0])
        factors[layer.index][:, word] = 1.0
        without = _attention(model, path, factors)
        if layer.index not in whole:  # an attention without an output of its own (FLUX's last)
            found.append(float("nan"))
            continue
        apart = whole[layer.index] - without[layer.index]
        found.append(float(apart.norm(dim=-1).mean()))
    return np.array(found)


def _attention(model: Model, path: TextPath, factors: list[Tensor]) -> dict[int, Tensor]:
    """By layer, what its attention gives for the picture."""
    names = {f"{layer.name}.to_out.0": layer.index for layer in model.layers}
    given: dict[int, Tensor] = {}

    def see(name: str, _args: object, output: Tensor) -> None:
        if name in names:
            given[names[name]] = output.detach().float()

    with leaves_watched(model.denoiser, see):
        path.moved(factors)
    return given


def removal(model: Model, path: TextPath, _word: list[int]) -> Array:
    """Block removal: how far the prediction moves where a layer reads no text (its text values are
    zeros). One pass a layer."""
    path.keep_source()
    path.blend.silence(model.layers)
    found: list[float] = []
    for layer in model.layers:
        factors = path.factors([0.0])
        factors[layer.index][:] = 1.0
        found.append(float(path.moved(factors).norm()))
    return np.array(found)


RIVALS: dict[str, Callable[[Model, TextPath, list[int]], Array]] = {
    "first-order": first_order,
    "attention contribution": attention_contribution,
    "block removal": removal,
}
"""Name to `(model, path, tokens of the word) -> (layers,)`."""


def rank(
    model: Model, source: Run, target: Run, steps: tuple[int, ...], names: tuple[str, ...] = ()
) -> dict[str, tuple[Array, int]]:
    """By name, the mean over steps and the row-passes it took (backward counted double).

    Args:
        names: of `RIVALS`; none takes all.
    """
    recorded, rows = record(model, source, target, model.defaults, steps, lambda: False)
    found: dict[str, tuple[Array, int]] = {}
    for name in names or tuple(RIVALS):
        values, passes = [], rows
        for one in recorded:
            with on_the_way(model, one) as path:
                tokens = tokens_of(
                    model, source.prompt, target.prompt, model.defaults, path.blend.tokens
                )
                word = [token.index for token in tokens if token.letter is not None]
                values.append(RIVALS[name](model, path, word))
                passes += path.row_passes
        found[name] = np.mean(values, axis=0), passes
    return found
