"""Other words in some text layers, in any call of a denoiser, without a row of their own.

`patching` needs the other prompt as a row of the batch. Here the batch stays as it is: its rows are
known by their text states, and at the chosen layers they read the states of other words instead.

1. Cross-attention: the text states come from the prompt alone, so what the layers read is what they
   would read of the other prompt. Their projections get the other states in the place of the row's;
   keys and values that cannot change from step to step are projected once.
2. Joint attention: a text's states change from block to block with the picture. The other text goes
   along as more text tokens of the same row (*carried*): it reads the row's picture and itself, the
   picture reads it in the chosen layers and its own text in all others. Exact would be a row of its
   own, with the other prompt's picture; carried, it costs only text tokens, and up to the last
   chosen layer alone where tokens have no positions (SD3).

Leaving a block gives the denoiser back bit for bit.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from textloc.checkpoints import families
from textloc.checkpoints.families import check_not_compiled
from textloc.errors import LayerError
from textloc.layers import TextLayer, check_layers

_DROPPED = -10_000.0  # what diffusers adds to the attention to a text token that is masked


@dataclass(frozen=True, eq=False)
class Words:
    """What a row's text is, and what is read in its place.

    own, given: text states (T, D) as the denoiser gets them. mask: (T,) of `given`, 1 for a token
    that counts; None where texts are not masked.
    """

    own: Tensor
    given: Tensor
    mask: Tensor | None = None


class Injection:
    """What an `injected` block has done: `seen` are the numbers of the words found in a batch."""

    def __init__(self) -> None:
        self.seen: set[int] = set()


@contextmanager
def injected(
    denoiser: Any,
    layers: Sequence[TextLayer],
    chosen: Sequence[int],
    words: Sequence[Words],
) -> Iterator[Injection]:
    """While the block lasts, rows whose text is one of `words` read other text at some layers.

    Args:
        denoiser: U-Net or transformer, not compiled.
        layers: all its text layers (`families.text_layers`).
        chosen: indices of those that read the other text.
        words: texts of rows and what is read instead; other rows stay as they are. May be filled
            until the denoiser is called first.

    Yields:
        Which of the words were there; look at it after the call.

    Raises:
        LayerError: no or an unknown layer, a compiled denoiser, layers of a kind that cannot carry
        another text (Qwen-Image, whose tokens have positions and a mask), two texts of unequal
        length, or cross-attention that runs without its projections.
    """
    check_injectable(denoiser, layers)
    check_layers(chosen, len(layers))
    if not chosen:
        raise LayerError("name at least one layer that reads the other words")
    state = Injection()
    enter = _static if all(layer.static for layer in layers) else _carried
    with enter(denoiser, layers, chosen, words, state):
        yield state


def check_injectable(denoiser: Any, layers: Sequence[TextLayer]) -> None:
    """Check that the text layers of a denoiser can read other words.

    Raises:
        LayerError: it is compiled, or its layers cannot carry another text.
    """
    check_not_compiled(denoiser)
    if all(layer.static for layer in layers):
        return
    if not hasattr(families.of_denoiser(denoiser), "TEXT_FIRST"):
        raise LayerError(
            f"{type(denoiser).__name__} cannot carry a second text beside its own; run the other "
            "prompt beside it (`textloc.suppress`)"
        )


class _Rows:
    """Finds the rows of a batch that hold one of the words."""

    def __init__(self, words: Sequence[Words], state: Injection) -> None:
        self._words, self._state = words, state
        self._last: tuple[_Same, dict[int, int]] | None = None

    def find(self, states: Tensor) -> dict[int, int]:
        """Row → number of the words, for text states (R, T, D); the same dict while the
        states are the same."""
        if self._last is not None and self._last[0].holds(states):
            return self._last[1]
        found = {}
        for number, word in enumerate(self._words):
            if word.own.shape != word.given.shape:
                raise LayerError("the two texts are of unequal length in tokens; pad them alike")
            own = word.own.to(states)
            if own.shape == states.shape[1:]:
                rows = (states == own).flatten(1).all(1).nonzero().flatten().tolist()
                found.update(dict.fromkeys(rows, number))
                self._state.seen.update([number] if rows else [])
        self._last = (_Same(states), found)
        return found


class _Same:
    """Tells whether tensors are the very ones that were given, not written to since.

    Tensors of inference mode count no writes, so they never pass for the same. What is written
    through `.data` in place, torch does not count for any tensor: it goes unseen.
    """

    def __init__(self, *tensors: Tensor | None) -> None:
        self._tensors, self._marks = tensors, tuple(map(self._mark, tensors))

    def holds(self, *tensors: Tensor | None) -> bool:
        """Whether these are they."""
        return all(
            one is other and mark is not None and mark == self._mark(one)
            for one, other, mark in zip(tensors, self._tensors, self._marks, strict=True)
        )

    @staticmethod
    def _mark(tensor: Tensor | None) -> tuple[int, ...] | None:
        """What changes with a write; None where it cannot be told."""
        if tensor is None:
            return ()
        return None if tensor.is_inference() else (tensor._version, tensor.data_ptr())


@contextmanager
def _wrapped(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """A module with another forward."""
    own = vars(module).get("forward")  # None: the forward is that of its class
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


# ---------------------------------------------------------------------------- cross-attention


@contextmanager
def _static(
    denoiser: Any,
    layers: Sequence[TextLayer],
    chosen: Sequence[int],
    words: Sequence[Words],
    state: Injection,
) -> Iterator[None]:
    reader = _Reader(denoiser, words, state)
    with ExitStack() as undo:
        for index in sorted(set(chosen)):
            layer = layers[index]
            for name in layer.parts:
                linear = denoiser.get_submodule(name)
                undo.enter_context(_wrapped(linear, reader.projection(layer, name, linear)))
            if layer.mask is not None:
                attention = denoiser.get_submodule(layer.name)
                undo.callback(
                    attention.register_forward_pre_hook(
                        reader.mask(layer.mask), with_kwargs=True
                    ).remove
                )
        undo.enter_context(_wrapped(denoiser, reader.forward))
        yield


class _Reader:
    """Has projections read the other words, and keeps what does not change between passes."""

    def __init__(self, denoiser: Any, words: Sequence[Words], state: Injection) -> None:
        self._denoiser, self._words, self._rows = denoiser, words, _Rows(words, state)
        self._original = denoiser.forward
        self._signature = inspect.signature(self._original)
        self._states = torch.empty(0)  # of the pass under way
        self._here: dict[int, int] = {}  # row → number of the words, in the pass under way
        self._names: set[str] = set()  # of the projections
        self._silent: set[str] = set()  # those that have not run in the pass under way
        self._texts: Tensor | None = None  # what is read, as layers take it, by number of the words
        self._last: tuple[_Same, dict[int, int], Tensor] | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The denoiser's forward."""
        states = kwargs.get("encoder_hidden_states")
        if states is None:
            states = self._signature.bind(*args, **kwargs).arguments["encoder_hidden_states"]
        self._states, self._here = states, self._rows.find(states)
        self._silent = set(self._names) if self._here else set()
        try:
            result = self._original(*args, **kwargs)
        finally:
            self._here = {}
        if self._silent:
            raise LayerError(
                f"{sorted(self._silent)[0]} (and {len(self._silent) - 1} more) did not run in a "
                "pass, so they read no other words; unfuse the projections and load adapters "
                "before the call"
            )
        return result

    def projection(self, layer: TextLayer, name: str, linear: Any) -> Callable[..., Tensor]:
        """The forward of one of the layer's projections.

        A plain linear layer projects anew only where its input or weights are new; adapters,
        offloading, gradients and autocast decide more, and there every pass projects.
        """
        original = linear.forward
        plain = type(linear) is torch.nn.Linear and "forward" not in vars(linear)
        kept: tuple[_Same, Tensor] | None = None
        self._names.add(name)

        def forward(states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            nonlocal kept
            if not self._here:
                projected: Tensor = original(states, *args, **kwargs)
                return projected
            self._silent.discard(name)
            read = self._read(layer, states)
            if not plain or torch.is_grad_enabled() or torch.is_autocast_enabled(read.device.type):
                projected = original(read, *args, **kwargs)
                return projected
            if kept is None or not kept[0].holds(read, linear.weight, linear.bias, kept[1]):
                output = original(read)
                kept = _Same(read, linear.weight, linear.bias, output), output
            return kept[1]

        return forward

    def _read(self, layer: TextLayer, states: Tensor) -> Tensor:
        """States (R, T, D) at a projection of the layer, with the other words in their rows."""
        if self._last is not None and self._last[1] is self._here and self._last[0].holds(states):
            return self._last[2]
        if self._texts is None:
            given = torch.stack([word.given for word in self._words]).to(self._states)
            self._texts = families.of_denoiser(self._denoiser).read_text(self._denoiser, given)
        assert self._texts is not None
        family = families.of_denoiser(self._denoiser)
        texts = family.read_layer(self._denoiser, layer, self._texts)
        read = states.clone()
        read[list(self._here)] = texts[list(self._here.values())].to(states)
        self._last = _Same(states), self._here, read
        return read

    def mask(self, name: str) -> Callable[[Any, Any, dict[str, Any]], Any]:
        """The forward pre-hook of an attention whose argument of this name masks the text."""

        def hook(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
            old = kwargs.get(name)
            if not self._here or old is None:
                return None
            new = old.clone()
            for row, number in self._here.items():
                counts = self._words[number].mask
                assert counts is not None, "a masked text has a mask"
                new[row] = (1 - counts.to(old)) * _DROPPED
            return args, {**kwargs, name: new}

        return hook


# ---------------------------------------------------------------------------- joint attention


@contextmanager
def _carried(
    denoiser: Any,
    layers: Sequence[TextLayer],
    chosen: Sequence[int],
    words: Sequence[Words],
    state: Injection,
) -> Iterator[None]:
    carrier = _Carrier(denoiser, layers, chosen, words, state)
    with ExitStack() as undo:
        for layer in layers:
            attention = denoiser.get_submodule(layer.name)
            undo.callback(attention.register_forward_pre_hook(carrier.enter(layer)).remove)
            undo.callback(attention.register_forward_hook(carrier.leave).remove)
        if not carrier.text_first:
            block = denoiser.get_submodule(layers[max(chosen)].name.rpartition(".")[0])
            undo.callback(block.register_forward_hook(carrier.drop).remove)
        undo.enter_context(_wrapped(denoiser, carrier.forward))
        yield


class _Carrier(TorchFunctionMode):
    """Carries the other text while it is the innermost mode; of its own thread alone."""

    def __init__(
        self,
        denoiser: Any,
        layers: Sequence[TextLayer],
        chosen: Sequence[int],
        words: Sequence[Words],
        state: Injection,
    ) -> None:
        super().__init__()
        self.text_first = bool(families.of_denoiser(denoiser).TEXT_FIRST)  # type: ignore[attr-defined]
        self._original = denoiser.forward
        self._signature = inspect.signature(self._original)
        self._rows, self._words = _Rows(words, state), words
        self._chosen, self._last = frozenset(chosen), max(chosen)
        self._tokens = 0  # of one text, while another is carried; else 0
        self._layer: TextLayer | None = None  # whose attention is under way
        self._calls = 0

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The denoiser's forward with the other text after its own."""
        call = self._signature.bind(*args, **kwargs)
        states = call.arguments["encoder_hidden_states"]
        found = self._rows.find(states)
        if not found:
            return self._original(*args, **kwargs)
        others = states.clone()
        for row, number in found.items():
            others[row] = self._words[number].given.to(states)
        call.arguments["encoder_hidden_states"] = torch.cat([states, others], 1)
        if "txt_ids" in call.arguments:
            places = call.arguments["txt_ids"]
            call.arguments["txt_ids"] = torch.cat([places, places], -2)
        self._tokens = states.shape[1]
        try:
            with self:
                return self._original(*call.args, **call.kwargs)
        finally:
            self._tokens = 0

    def enter(self, layer: TextLayer) -> Callable[[Any, Any], None]:
        """The forward pre-hook of the layer's attention."""

        def hook(_module: Any, _args: Any) -> None:
            if self._tokens:
                self._layer, self._calls = layer, 0

        return hook

    def leave(self, _module: Any, _args: Any, _output: Any) -> None:
        """The forward hook of every joint attention."""
        layer, self._layer = self._layer, None
        if layer is not None and self._calls != 1:
            raise LayerError(
                f"the attention {layer.name} calls scaled_dot_product_attention {self._calls} "
                "times, so it cannot carry another text; give the denoiser its usual processors"
            )

    def drop(self, _module: Any, _args: Any, output: tuple[Tensor | None, Tensor]) -> Any:
        """The forward hook of the last chosen layer's block: the other text ends here."""
        text, picture = output
        if not self._tokens or text is None:
            return output
        tokens, self._tokens = self._tokens, 0
        return text[:, :tokens], picture

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Every function of torch passes here."""
        if self._layer is not None and func is functional.scaled_dot_product_attention:
            self._calls += 1
            return self._attend(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        """Attention of (R, heads, picture + own text + other text, d)."""
        if options.get("attn_mask") is not None:
            raise LayerError("an attention with a mask cannot carry another text")
        assert self._layer is not None
        patched = self._layer.index in self._chosen
        tokens, length = self._tokens, key.shape[-2]
        picture = slice(2 * tokens, length) if self.text_first else slice(0, length - 2 * tokens)
        first = 0 if self.text_first else length - 2 * tokens
        own, other = slice(first, first + tokens), slice(first + tokens, first + 2 * tokens)

        def parts(states: Tensor, *which: slice) -> Tensor:
            return torch.cat([states[..., part, :] for part in which], -2)

        def attend(queries: Tensor, text: slice) -> Tensor:
            keys, values = parts(key, picture, text), parts(value, picture, text)
            found: Tensor = functional.scaled_dot_product_attention(
                queries, keys, values, **options
            )
            return found

        layer, self._layer = self._layer, None  # the calls below are none of the denoiser's
        queries = parts(query, picture, own)
        seen = attend(queries, other if patched else own)
        carried = attend(query[..., other, :], other)
        self._layer = layer
        count = length - 2 * tokens
        shown, read = seen[..., :count, :], seen[..., count:, :]
        order = [read, carried, shown] if self.text_first else [shown, read, carried]
        return torch.cat(order, -2)
