"""The text states of a checkpoint, as its denoiser is given them, for methods that change these.

They are taken from the pipeline's own call, which is ended as soon as the denoiser is given them:
so any family's are found, whatever its encoders are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from textloc.errors import LayerError
from textloc.runs import Run, Sampling

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model

_AT_ONCE = 16  # texts that are encoded in one call


class Enough(Exception):
    """Ends a call that has given what was looked for (`looked_at`)."""


def encoded(model: Model, texts: Sequence[str], sampling: Sampling) -> Tensor:
    """The text states (N, T, D) of texts.

    Raises:
        LayerError: the denoiser of this family is not given one tensor of them.
    """
    given: list[Tensor] = []

    def see(_module: Any, arguments: dict[str, Any]) -> None:
        states = arguments[model.family.TEXT]
        if not isinstance(states, Tensor) or states.ndim != 3:
            raise _not_one(model)
        given.append(states.detach().clone())
        raise Enough

    for first in range(0, len(texts), _AT_ONCE):
        some = texts[first : first + _AT_ONCE]
        looked_at(model, some, sampling, see)
        if len(given[-1]) != len(some):
            raise _not_one(model)
    return torch.cat(given)


def looked_at(model: Model, texts: Sequence[str], sampling: Sampling, see: Any) -> None:
    """The pipeline's own call with texts as prompts, one a row, without guidance, of which `see`
    looks at every pass (`seen`) until it raises `Enough`."""
    runs = [Run(text) for text in texts]
    call = model.family.arguments(model.pipe, runs, replace(sampling, guidance=1.0))
    noise = [torch.Generator("cpu").manual_seed(run.seed) for run in runs]
    with seen(model, see), torch.no_grad():
        try:
            model.call(**call, generator=noise, output_type="pil")
        except Enough:
            model.pipe.maybe_free_model_hooks()


@contextmanager
def seen(model: Model, see: Any) -> Iterator[None]:
    """Call `see(denoiser, arguments)` with the denoiser's arguments by name before each of its
    passes while the block lasts; what it changes in them is what the denoiser gets."""
    import inspect

    signature = inspect.signature(type(model.denoiser).forward)

    def before(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        call = signature.bind(module, *args, **kwargs)
        see(module, call.arguments)
        return call.args[1:], call.kwargs

    handle = model.denoiser.register_forward_pre_hook(before, with_kwargs=True, prepend=True)
    try:
        yield
    finally:
        handle.remove()


def _not_one(model: Model) -> LayerError:
    return LayerError(
        f"{type(model.pipe).__name__} does not give its denoiser the text as one tensor, which "
        "this method changes; patch the localized layers or swap the prompt instead"
    )
