"""A guard without a detector: one step away from toxic words, taken in every call.

Activation steering with a difference of means (Rimsky et al., arXiv 2312.06681, section 3, of a
language model's residual stream; here of the text keys and values that the localized layers read):

1. v = mean over pairs of (mean over the word's tokens of the benign prompt's keys − the same of the
   toxic prompt's), for keys and values of every layer apart.
2. In every call keys and values of the quoted text's tokens become k + scale · v; of all tokens
   where a prompt quotes nothing.

Where the text's states depend on the picture (joint attention) the means are taken over the steps,
too. Nothing looks at what a prompt asks for: harmless words are steered as toxic ones are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from textloc.baselines.always_on import AlwaysOn
from textloc.baselines.text_states import Enough, looked_at, seen
from textloc.errors import LayerError
from textloc.layers import TextLayer, check_layers
from textloc.patching.tokens import tokens_of
from textloc.prompts import quoted
from textloc.runs import Run, Sampling

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model

_STEPS = 4  # of a call that the means are taken over, where they differ between steps


@dataclass(frozen=True)
class Steering(AlwaysOn):
    """The method (a `Baseline`), and the control of the runs that it makes (a `runs.Control`).

    layers: text layers that are steered. pairs: toxic and benign prompts that the means are taken
    over, each quoting its word. scale: how far; 1 is the difference itself.

    Raises:
        LayerError: no layer, no pair, or a scale that is no number.
    """

    layers: tuple[int, ...]
    pairs: tuple[tuple[str, str], ...]
    scale: float = 1.0
    LEAN: ClassVar[bool] = False  # its hooks count on every row
    TITLE: ClassVar[str] = "Mean steering vector"
    PAPER: ClassVar[str] = "arXiv 2312.06681"

    def __post_init__(self) -> None:
        if not self.layers or not self.pairs or not math.isfinite(self.scale):
            raise LayerError("steering needs layers, pairs of prompts and a scale that is a number")

    def check(self, model: Model, sampling: Sampling) -> None:
        """Check that the layers are there and that it is known where their text stands, and take
        the means: `around` is entered where no other prompts can be looked at.

        Raises:
            LayerError: one is not, or rows have places of their own.
        """
        check_layers(self.layers, len(model.layers))
        if any(model.layers[index].place == "rows" for index in self.layers):
            raise LayerError(
                f"the text of {type(model.pipe).__name__} stands at places of its own in each row, "
                "which steering does not follow; patch the localized layers instead"
            )
        means(self, model, sampling)

    def _asked(self, model: Model, sampling: Sampling) -> tuple[Any, ...]:
        """What the vectors depend on."""
        return model.digest, sampling, self.layers, self.pairs

    @staticmethod
    @contextmanager
    def around(
        model: Model, batch: Sequence[Run], rows: Sequence[int], sampling: Sampling
    ) -> Iterator[None]:
        """Steer these rows.

        Raises:
            LayerError: `check` was not called for this model and this sampling.
        """
        steered: dict[int, Steering] = {}
        for row in rows:
            control = batch[row].control
            assert isinstance(control, Steering)
            steered[row] = control
        known = _KNOWN.get(model.denoiser, {})
        vectors = {}
        for control in set(steered.values()):
            if (asked := control._asked(model, sampling)) not in known:
                raise LayerError(
                    "the vectors of this model are not known yet; call Steering.check with it first"
                )
            vectors[control] = known[asked]
        places = {row: _places(model, batch[row].prompt, sampling) for row in rows}

        def add(layer: TextLayer, name: str, text: Tensor) -> None:
            states = text.unflatten(0, (-1, len(batch)))  # (pass, row, T, D), a view
            for row, control in steered.items():
                if layer.index in control.layers:
                    at = [place for place in places[row] if place < states.shape[2]]
                    vector = vectors[control][name].to(states.device, states.dtype)
                    states[:, row, at] += control.scale * vector

        chosen = {index for control in vectors for index in control.layers}
        with _projected(model, [model.layers[index] for index in sorted(chosen)], add):
            yield


_KNOWN: WeakKeyDictionary[Any, dict[Any, Mapping[str, Tensor]]] = WeakKeyDictionary()


def means(method: Steering, model: Model, sampling: Sampling) -> Mapping[str, Tensor]:
    """The vectors (D,) by the name of the projection: mean benign minus mean toxic, zero in the
    features of a projection that are neither keys nor values. They are kept while the model is."""
    known = _KNOWN.setdefault(model.denoiser, {})
    asked = method._asked(model, sampling)
    if asked not in known:
        toxic, benign = zip(*method.pairs, strict=True)
        layers = [model.layers[index] for index in method.layers]
        sides = [_mean(model, texts, layers, sampling) for texts in (benign, toxic)]
        known[asked] = {name: sides[0][name] - sides[1][name] for name in sides[0]}
    return known[asked]


def _mean(
    model: Model, texts: Sequence[str], layers: Sequence[TextLayer], sampling: Sampling
) -> dict[str, Tensor]:
    """By projection, what it gives for the words' tokens, in the mean over prompts (and steps)."""
    static = all(layer.static for layer in layers)
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for first in range(0, len(texts), 16):
        some = texts[first : first + 16]
        places = [_places(model, text, sampling) for text in some]
        passes = 0

        def see(
            layer: TextLayer, name: str, text: Tensor, places: Sequence[Sequence[int]] = places
        ) -> None:
            if len(text) != len(places):
                raise LayerError(
                    f"{type(model.pipe).__name__} makes more than one pass where guidance is off, "
                    "and which reads the prompt is not known; patch the localized layers instead"
                )
            features = torch.zeros(text.shape[-1], dtype=torch.bool)
            for part in layer.parts[name]:
                features[slice(None) if part is None else slice(*part)] = True
            for row, at in enumerate(places):
                words = text[row, [place for place in at if place < text.shape[1]]]
                mean = words.float().mean(0).cpu() * features
                sums[name] = sums.get(name, torch.zeros(())) + mean
                counts[name] = counts.get(name, 0) + 1

        def enough(_denoiser: Any, _arguments: dict[str, Any]) -> None:
            nonlocal passes
            passes += 1
            if static and passes > 1:
                raise Enough

        steps = replace(sampling, steps=max(2, min(sampling.steps, _STEPS)))
        with _projected(model, layers, see):
            looked_at(model, some, steps, enough)
    return {name: total / counts[name] for name, total in sums.items()}


def _places(model: Model, prompt: str, sampling: Sampling) -> list[int]:
    """Places of the quoted text's tokens among a layer's; of all tokens where nothing is quoted."""
    parts = model.family.texts(model.pipe, sampling)
    lengths = [length for _, length in model.family.readers(model.pipe, sampling)]
    found = tokens_of(model, prompt, prompt, sampling, parts[-1].first + max(lengths))
    if not quoted(prompt):
        return [token.index for token in found if token.source]
    return [token.index for token in found if token.letter is not None]


@contextmanager
def _projected(model: Model, layers: Sequence[TextLayer], see: Any) -> Iterator[None]:
    """Call `see(layer, name, text)` with the text's part (row, T, D) of what each projection of
    these layers gives while the block lasts; what it changes in place is what the layer reads."""
    tokens = 0

    def look(denoiser: Any, arguments: dict[str, Any]) -> None:
        nonlocal tokens
        tokens = model.family.tokens(denoiser, arguments)

    def hook(layer: TextLayer, name: str) -> Any:
        def changed(_module: Any, _args: Any, projected: Tensor) -> Tensor:
            found = projected.clone()
            if layer.place == "first":
                see(layer, name, found[:, :tokens])
            elif layer.place == "last":
                see(layer, name, found[:, found.shape[1] - tokens :])
            else:
                see(layer, name, found)
            return found

        return changed

    with ExitStack() as undo:
        if any(layer.mixed for layer in layers):
            undo.enter_context(seen(model, look))
        for layer in layers:
            for name in layer.parts:
                module = model.denoiser.get_submodule(name)
                undo.callback(module.register_forward_hook(hook(layer, name)).remove)
        yield
