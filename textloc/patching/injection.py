"""Other words in some text layers, in any call of a denoiser, without a row of their own.

`hooks` needs the other prompt as a row of the batch. Here the batch stays as it is: its rows are
known by their text states, and at the chosen layers they read the states of other words instead.

1. Cross-attention: the text states come from the prompt alone, so what the layers read is what they
   would read of the other prompt. Their projections get the other states in the place of the row's.
2. Joint attention: a text's states change from block to block with the picture. The other text goes
   along as more text tokens of the same row (*carried*): it reads the row's picture and itself, the
   picture reads it in the chosen layers and its own text in all others. Exact would be a row of its
   own, with the other prompt's picture; carried, it costs only text tokens, and up to the last
   chosen layer alone where tokens have no positions (SD3). Its keys and values hardly change from
   step to step, so it need not come along every time (`every`).
3. Joint attention whose texts are masked, have places of their own or come as lists (Qwen-Image,
   Z-Image): the other text is given a row beside each row that reads it (`_Beside`), with that
   row's picture and time, in every pass; its keys and values, and what masks and places them, go
   into the chosen layers as `hooks` moves them, and nothing else of it comes out. It costs a row.
4. Every pass accounts for every row: by its content it is a text that is known, to be exchanged or
   left as it is, or (`strict`) an error. While a denoiser is `watched`, it runs in the `injected`
   blocks of the thread that entered them and nowhere else.

Leaving a block gives the denoiser back bit for bit. Blocks of one denoiser, in whichever threads,
take turns.
"""

from __future__ import annotations

import hashlib
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from textloc.checkpoints import families
from textloc.checkpoints.families import check_not_compiled
from textloc.errors import GuardError, LayerError
from textloc.layers import TextLayer, check_layers
from textloc.patching.hooks import add_rows, first_rows, patched
from textloc.patching.standing_in import own_class, standing_in
from textloc.runs import Patch, Run

_DROPPED = -10_000.0  # what diffusers adds to the attention to a text token that is masked


@dataclass(frozen=True, eq=False)
class Words:
    """A text that rows may have, and what is read in its place.

    own: its states (T, D) as the denoiser gets them. given: those that are read, None to leave the
    row as it is; as many tokens, but where texts come as lists. mask: (T,) of `given`, 1 for a
    token that counts; None where all do or texts are not masked.
    negative: a text to stay away from, which only the rows that guidance subtracts may have.
    """

    own: Tensor
    given: Tensor | None = None
    mask: Tensor | None = None
    negative: bool = False


class Injection:
    """What an `injected` block has done: `seen` are the numbers of the words found in a batch,
    `passes` the denoiser's."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.passes = 0


@contextmanager
def injected(
    denoiser: Any,
    layers: Sequence[TextLayer],
    chosen: Sequence[int],
    words: Sequence[Words],
    strict: bool = False,
    every: int = 1,
) -> Iterator[Injection]:
    """While the block lasts, rows whose text is one of `words` read other text at some layers.

    Args:
        denoiser: U-Net or transformer, not compiled.
        layers: all its text layers (`families.text_layers`).
        chosen: indices of those that read the other text.
        words: texts of rows and what is read instead. May be filled as long as the block lasts.
        strict: refuse a pass with a row whose text is none of them; else such rows stay as they
            are.
        every: where the other text is carried, it is on every so many passes with the same
            rows; between, the layers read the keys and values that it had last. 1 is nearest to a
            row of its own.

    Yields:
        Which of the words were there; look at it after the call.

    Raises:
        LayerError: no or an unknown layer, a compiled denoiser, layers of a kind that cannot carry
        another text, two texts of unequal length, or cross-attention that runs without its
        projections. GuardError: a row of an unknown text, a negative text where a prompt belongs,
        or a block within a block.
    """
    check_injectable(denoiser, layers)
    check_layers(chosen, len(layers))
    if not chosen:
        raise LayerError("name at least one layer that reads the other words")
    state = Injection()
    family = families.of_denoiser(denoiser)
    rows = _Rows(words, state, strict, listed=family.TEXT in family.LISTS)
    reader: _Reader | _Carrier | _Beside
    with _gate(denoiser) as gate, gate.turn():
        if all(layer.static for layer in layers):
            reader = _Reader(denoiser, family, layers, chosen, rows)
        elif family.BESIDE:
            reader = _Beside(denoiser, family, layers, chosen, rows)
        else:
            reader = _Carrier(denoiser, family, layers, chosen, rows, every)
        with reader.hooked():
            gate.reader = reader
            try:
                yield state
            finally:
                gate.reader = None


@contextmanager
def watched(denoiser: Any) -> Iterator[tuple[TextLayer, ...]]:
    """While the block lasts, the denoiser runs in `injected` blocks alone.

    A pass outside of one, in another thread than its own, or past the denoiser's own call raises
    GuardError.

    Yields:
        The denoiser's text layers.

    Raises:
        CheckpointError, LayerError: as `families.text_layers` and `check_injectable`.
    """
    with _gate(denoiser) as gate:
        with gate.lock:
            if not gate.layers:
                layers = families.text_layers(denoiser)
                check_injectable(denoiser, layers)
                gate.layers = layers
            names = [layer.name for layer in gate.layers]
            handles = [
                denoiser.get_submodule(name).register_forward_pre_hook(gate.check_within)
                for name in names
            ]
            gate.watchers += 1
        try:
            yield gate.layers
        finally:
            with gate.lock:  # calls of other threads end before it is over
                gate.watchers -= 1
                for handle in handles:
                    handle.remove()


def check_injectable(denoiser: Any, layers: Sequence[TextLayer]) -> None:
    """Check that the text layers of a denoiser can read other words.

    Raises:
        LayerError: it is compiled, or its layers cannot carry another text. GuardError: it reads
        its text by a second argument as well.
    """
    check_not_compiled(denoiser)
    more = [
        name
        for name in inspect.signature(own_class(denoiser).forward).parameters
        if name.startswith("encoder_hidden_states")
        and name.removeprefix("encoder_hidden_states") not in ("", "_mask", "_image", "_img")
    ]
    if more:
        raise GuardError(
            f"{type(denoiser).__name__} reads its text by {more[0]} too, past the guarded layers"
        )
    if all(layer.static for layer in layers):
        if any(layer.mask for layer in layers) and not families.of_denoiser(denoiser).MASK_ADDED:
            raise LayerError(
                f"{type(denoiser).__name__} masks its text in a way that other words cannot take "
                "along; run the other prompt beside it (`textloc.suppress`)"
            )
        return
    family = families.of_denoiser(denoiser)
    if not (family.BESIDE or hasattr(family, "TEXT_FIRST")):
        raise LayerError(
            f"{type(denoiser).__name__} cannot carry a second text beside its own; run the other "
            "prompt beside it (`textloc.suppress`)"
        )


# ---------------------------------------------------------------------------- who may run it


class _Way(Protocol):
    """How a pass reads other words."""

    def run(self, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The pass."""


@dataclass(eq=False)
class _Gate:
    """A denoiser's calls, while it is watched or injected.

    users: blocks of either kind. watchers: `watched` blocks. reader: of the `injected` block whose
    turn it is, in the thread `thread`. inside: whether a pass of it is under way.
    """

    users: int = 0
    watchers: int = 0
    layers: tuple[TextLayer, ...] = ()
    lock: threading.RLock = field(default_factory=threading.RLock)
    reader: _Way | None = None
    thread: int | None = None
    inside: bool = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One `injected` block at a time."""
        with self.lock:
            if self.thread is not None:
                raise GuardError("a guarded call is made within another; call it when that is done")
            self.thread = threading.get_ident()
            try:
                yield
            finally:
                self.thread = None

    def passes(self, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The denoiser's call."""
        reader = self.reader
        if reader is None or self.thread != threading.get_ident():
            if not self.watchers:
                return forward(*args, **kwargs)
            raise GuardError(
                "the denoiser is guarded, and this call of it did not come through its guarded "
                "pipeline; guard every pipeline that shares it, and call those"
            )
        if self.inside:
            raise GuardError("the denoiser is called within a pass of its own")
        self.inside = True
        try:
            return reader.run(forward, args, kwargs)
        finally:
            self.inside = False

    def check_within(self, _module: Any, _args: Any) -> None:
        """The forward pre-hook of every attention that reads text."""
        if not (self.inside and self.thread == threading.get_ident()):
            raise GuardError(
                "a layer of a guarded denoiser is called past the denoiser's own call; call the "
                "guarded pipeline"
            )

    def __reduce_ex__(self, _protocol: Any) -> Any:
        """Hooks hold the gate, so copies of hooked modules come here."""
        raise GuardError(
            "a denoiser cannot be copied or pickled while it is guarded; do so before or after"
        )


_gates: dict[int, _Gate] = {}
_gates_lock = threading.RLock()


@contextmanager
def _gate(denoiser: Any) -> Iterator[_Gate]:
    """The gate of a denoiser."""

    def methods(original: type) -> dict[str, Any]:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            forward = partial(original.__call__, self)
            gate = _gates.get(id(self))
            return forward(*args, **kwargs) if gate is None else gate.passes(forward, args, kwargs)

        return {"__call__": call}

    with _gates_lock:
        gate = _gates.setdefault(id(denoiser), _Gate())
        gate.users += 1
    try:
        with standing_in(denoiser, methods):
            yield gate
    finally:
        with _gates_lock:
            gate.users -= 1
            if not gate.users:
                del _gates[id(denoiser)]


# ---------------------------------------------------------------------------- whose row is whose


class _Rows:
    """Finds the rows of a batch that hold one of the words."""

    def __init__(
        self, words: Sequence[Words], state: Injection, strict: bool, listed: bool = False
    ) -> None:
        """listed: texts are a list of (T, D), of any length each."""
        self.words, self.state, self._strict, self._listed = words, state, strict, listed
        self._numbers: dict[tuple[Any, ...], int] = {}  # by content
        self._read = 0  # of the words, how many are there
        self._dtype: torch.dtype | None = None
        self._last: tuple[Any, dict[int, int]] | None = None
        self._count: int | None = None  # rows of the first pass

    def find(self, states: Any) -> dict[int, int]:
        """Row → number of the words that are exchanged, for text states (R, T, D), or a list of
        (T, D) where they come so; the same dict while the states are the same.

        Raises:
            GuardError: a row of another text, where that is not allowed, or a negative text among
            the prompts.
        """
        known_form = (
            isinstance(states, list) and all(isinstance(row, Tensor) for row in states)
            if self._listed
            else isinstance(states, Tensor) and states.ndim == 3
        )
        if not known_form or not len(states):
            if self._strict:
                raise GuardError(
                    "the denoiser is given a text in a form that the guard does not know, so its "
                    "picture is withheld; use `textloc.suppress`"
                )
            return {}
        if self._count is None:
            self._count = len(states)
        known = self._read == len(self.words) and self._last is not None
        # by content: what is written through `.data`, torch counts for no tensor
        if known and self._last is not None and _equal(self._last[0], states):
            return self._last[1]
        self._learn(states[0].dtype)
        found, negatives = {}, []
        for row, key in enumerate(_contents(states)):
            number = self._numbers.get(key)
            if number is None:
                if self._strict:
                    raise GuardError(
                        f"row {row} of a denoiser's batch reads a text that is none of those that "
                        "this call encoded: its states were changed afterwards (by a callback?), "
                        "or made elsewhere. The guard cannot read it, so the picture is withheld; "
                        "give all text as prompts and leave its states alone"
                    )
                continue
            self.state.seen.add(number)
            if self.words[number].given is not None:
                found[row] = number
            elif self.words[number].negative:
                negatives.append(row)
        if negatives and (max(negatives) >= len(states) // 2 or len(states) != self._count):
            raise GuardError(
                "a negative prompt, which the guard does not change, stands in the place of a "
                "prompt, so the picture is withheld; give the denoiser negative and then prompted "
                "rows, as many of each"
            )
        self._last = _copy(states), found
        return found

    def _learn(self, dtype: torch.dtype) -> None:
        """Read the words that have come since, in the states' number format."""
        if self._dtype != dtype:
            self._numbers, self._read, self._dtype = {}, 0, dtype
        for number in range(self._read, len(self.words)):
            word = self.words[number]
            alike = word.given is None or self._listed or word.own.shape == word.given.shape
            if not alike:
                raise LayerError("the two texts are of unequal length in tokens; pad them alike")
            (key,) = _contents([word.own.to(dtype)])
            other = self._numbers.get(key)
            if other is None or _weight(word) > _weight(self.words[other]):
                self._numbers[key] = number
        self._read = len(self.words)


def _weight(word: Words) -> int:
    """Which of two words of one content counts: what is exchanged before what is kept aside."""
    return 2 if word.given is not None else int(word.negative)


def _copy(states: Any) -> Any:
    """A copy of text states, which nobody else writes to."""
    if isinstance(states, Tensor):
        return states.detach().clone()
    return [_copy(row) for row in states]


def _equal(one: Any, other: Any) -> bool:
    """Whether two tensors, or lists of them, are equal in form and content."""
    if not isinstance(one, Tensor):
        return len(one) == len(other) and all(map(_equal, one, other))
    alike = one.dtype == other.dtype and one.device == other.device
    return alike and one.shape == other.shape and torch.equal(one, other)


def _contents(rows: Iterable[Tensor]) -> list[tuple[Any, ...]]:
    """What tells each row from others: its form and a digest of its bytes."""

    def content(row: Tensor) -> bytes:
        return bytes(row.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes())

    return [(tuple(row.shape), hashlib.sha256(content(row)).digest()) for row in rows]


def _places(
    denoiser: Any, layers: Sequence[TextLayer], chosen: Sequence[int]
) -> dict[str, tuple[TextLayer, Any, str]]:
    """The projections of the chosen layers: the layer, the module that holds it, its name there."""
    found = {}
    for index in sorted(set(chosen)):
        for name in layers[index].parts:
            parent, _, own = name.rpartition(".")
            found[name] = layers[index], denoiser.get_submodule(parent), own
    return found


# ---------------------------------------------------------------------------- a row beside


class _Beside:
    """Runs the other text as a row beside each row that reads it."""

    def __init__(
        self,
        denoiser: Any,
        family: families.Family,
        layers: Sequence[TextLayer],
        chosen: Sequence[int],
        rows: _Rows,
    ) -> None:
        self._denoiser, self._layers, self._rows = denoiser, layers, rows
        self._family = family
        self._chosen = tuple(sorted(set(chosen)))
        self._signature = inspect.signature(own_class(denoiser).forward)

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Nothing stays between passes."""
        yield

    def run(self, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The denoiser's pass, the layers reading the other text."""
        call = self._signature.bind(self._denoiser, *args, **kwargs)
        states = call.arguments.get(self._family.TEXT)
        found = self._rows.find(states)
        self._rows.state.passes += 1
        if not found or states is None:
            return forward(*args, **kwargs)
        if call.arguments.get("kv_cache") is not None:
            raise GuardError(
                f"{type(self._denoiser).__name__} keeps its text's keys and values from step to "
                "step, past the guarded layers; call the pipeline with use_kv_cache=False"
            )
        count, batch = len(states), len(states) + len(found)
        add_rows(self._family, call.arguments, list(found), count)
        self._write(call.arguments, count, list(found.values()))
        runs = [Run(f"row {row}") for row in range(batch)]
        for beside, row in enumerate(found, count):
            runs[row] = runs[row].patched(Patch(self._chosen, runs[beside]))
        with patched(self._denoiser, self._layers, runs, share=False):
            output = forward(*call.args[1:], **call.kwargs)
        return first_rows(self._family, output, count, batch)

    def _write(self, arguments: dict[str, Any], count: int, numbers: Sequence[int]) -> None:
        """Put the other texts, and what masks them, into the rows from `count` on, in place."""
        states, name = arguments[self._family.TEXT], self._family.TEXT_MASK
        mask = None if name is None else arguments.get(name)
        words = [self._rows.words[number] for number in numbers]
        if name is not None and mask is None and any(word.mask is not None for word in words):
            mask = torch.ones(states.shape[:2], dtype=torch.long, device=states.device)
        for row, word in enumerate(words, count):
            assert word.given is not None, "what is found is exchanged"
            states[row] = word.given.to(states[row])
            if mask is not None:
                mask[row] = 1 if word.mask is None else word.mask.to(mask)
        if name is not None:
            arguments[name] = mask


# ---------------------------------------------------------------------------- cross-attention


class _Reader:
    """Has projections of cross-attention read the other words."""

    def __init__(
        self,
        denoiser: Any,
        family: families.Family,
        layers: Sequence[TextLayer],
        chosen: Sequence[int],
        rows: _Rows,
    ) -> None:
        self._denoiser, self._rows = denoiser, rows
        self._family = family
        self._signature = inspect.signature(own_class(denoiser).forward)
        self._places = _places(denoiser, layers, chosen)
        self._masked = [layers[index] for index in set(chosen) if layers[index].mask is not None]
        self._hooks: dict[str, tuple[Any, Any]] = {}  # projection → module, handle
        self._batch = 0  # rows of the pass under way
        self._here: dict[int, int] = {}  # row → number of the words, in the pass under way
        self._silent: set[str] = set()  # projections that have not run in the pass under way
        self._texts: Tensor | None = None  # what is read, one a row of `_here`
        self._taken: Tensor | None = None  # the same as layers take it
        self._last: tuple[Any, Tensor] | None = None  # states of a projection and what it reads

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """The hooks, while the block lasts."""
        with ExitStack() as undo:
            undo.callback(self._unhook)
            self._hook()
            for layer in self._masked:
                attention = self._denoiser.get_submodule(layer.name)
                hook = self._mask(str(layer.mask))
                handle = attention.register_forward_pre_hook(hook, with_kwargs=True)
                undo.callback(handle.remove)
            yield

    def _hook(self) -> None:
        """Hook the projections; anew those that an adapter has taken the place of."""
        for name, (layer, attention, own) in self._places.items():
            module = getattr(attention, own)
            if name in self._hooks:
                if self._hooks[name][0] is module:
                    continue
                self._hooks[name][1].remove()
            hook = self._projection(layer, name)
            handle = module.register_forward_pre_hook(hook, with_kwargs=True)
            self._hooks[name] = module, handle

    def _unhook(self) -> None:
        for _module, handle in self._hooks.values():
            handle.remove()

    def run(self, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The denoiser's pass."""
        states = kwargs.get("encoder_hidden_states")
        if states is None:
            call = self._signature.bind(self._denoiser, *args, **kwargs)
            states = call.arguments.get("encoder_hidden_states")
        here = self._rows.find(states)
        self._rows.state.passes += 1
        if not here:
            return forward(*args, **kwargs)
        self._hook()
        self._here, self._batch, self._silent = here, len(states), set(self._places)
        words = [self._rows.words[number].given for number in here.values()]
        self._texts = torch.stack([word for word in words if word is not None]).to(states)
        try:
            result = forward(*args, **kwargs)
        finally:
            self._here, self._texts, self._taken, self._last = {}, None, None, None
        if self._silent:
            raise LayerError(
                f"{sorted(self._silent)[0]} (and {len(self._silent) - 1} more) did not run in a "
                "pass, so they read no other words; unfuse the projections and give the denoiser "
                "its usual processors"
            )
        return result

    def _projection(self, layer: TextLayer, name: str) -> Callable[[Any, Any, Any], Any]:
        """The forward pre-hook of one of the projections of the layer's attention."""

        def hook(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
            if not self._here:
                return None
            self._silent.discard(name)
            return (self._read(layer, args[0]), *args[1:]), kwargs

        return hook

    def _read(self, layer: TextLayer, states: Tensor) -> Tensor:
        """States (R, T, D) at a projection of the layer, with the other words in their rows."""
        if self._last is not None and self._last[0] is states:
            return self._last[1]
        if len(states) != self._batch:
            raise LayerError(
                f"{layer.name} runs with {len(states)} of {self._batch} rows, so it is not known "
                "whose text it reads; run the denoiser with all rows"
            )
        if self._taken is None:
            self._taken = self._family.read_text(self._denoiser, self._texts)
        assert self._taken is not None
        read = states.clone()
        texts = self._family.read_layer(self._denoiser, layer, self._taken)
        read[list(self._here)] = texts.to(states)
        self._last = states, read
        return read

    def _mask(self, name: str) -> Callable[[Any, Any, dict[str, Any]], Any]:
        """The forward pre-hook of an attention whose argument of this name masks the text."""

        def hook(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
            old = kwargs.get(name)
            if not self._here or old is None:
                return None
            new = old.clone()
            for row, number in self._here.items():
                counts = self._rows.words[number].mask
                if counts is None:
                    raise GuardError(
                        f"the mask of the benign text is not known, and {name} masks the prompt's; "
                        "use `textloc.suppress`"
                    )
                kept = counts.to(old)
                new[row] = (1 - kept) * _DROPPED if old.is_floating_point() else kept
            return args, {**kwargs, name: new}

        return hook


# ---------------------------------------------------------------------------- joint attention


@dataclass
class _Kept:
    """Keys and values (row, T, D) of the other text, by projection, for these rows of the batch;
    age: passes since it was carried last, 0 where it is to be carried."""

    rows: tuple[int, ...] = ()
    projected: dict[str, Tensor] = field(default_factory=dict)
    age: int = 0


class _Carrier(TorchFunctionMode):
    """Carries the other text while it is the innermost mode; of its own thread alone."""

    def __init__(
        self,
        denoiser: Any,
        family: families.Family,
        layers: Sequence[TextLayer],
        chosen: Sequence[int],
        rows: _Rows,
        every: int,
    ) -> None:
        super().__init__()
        self._text_first = bool(family.TEXT_FIRST)  # type: ignore[attr-defined]
        self._denoiser, self._layers, self._rows = denoiser, layers, rows
        self._signature = inspect.signature(own_class(denoiser).forward)
        self._chosen, self._last = frozenset(chosen), max(chosen)
        self._tokens = 0  # of one text, while another is carried; else 0
        self._layer: TextLayer | None = None  # whose attention is under way
        self._calls = 0
        self._silent: set[int] = set()  # layers that have not run in the pass under way
        self._unread: set[str] = set()  # projections that have not given what was kept
        self._every = every
        self._places = _places(denoiser, layers, chosen) if every > 1 else {}
        self._hooks: dict[str, tuple[Any, Any]] = {}  # projection → module, handle
        self._kept: dict[tuple[Any, ...], _Kept] = {}  # by the rows
        self._now = _Kept()  # of the pass under way
        self._again = 0  # tokens of one text, while what was kept is read; else 0

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """The hooks, while the block lasts."""
        with ExitStack() as undo:
            undo.callback(lambda: [handle.remove() for _, handle in self._hooks.values()])
            self._hook()
            for layer in self._layers:
                attention = self._denoiser.get_submodule(layer.name)
                undo.callback(attention.register_forward_pre_hook(self.enter(layer)).remove)
                undo.callback(attention.register_forward_hook(self.leave).remove)
            if not self._text_first:
                name = self._layers[self._last].name.rpartition(".")[0]
                block = self._denoiser.get_submodule(name)
                undo.callback(block.register_forward_hook(self.drop).remove)
            yield

    def _hook(self) -> None:
        """Hook the projections; anew, and with nothing kept, those that were exchanged."""
        for name, (layer, attention, own) in self._places.items():
            module = getattr(attention, own)
            if name in self._hooks:
                if self._hooks[name][0] is module:
                    continue
                self._hooks[name][1].remove()
                self._kept.clear()
            hook = self.project(name, layer.parts[name])
            self._hooks[name] = module, module.register_forward_hook(hook)

    def run(self, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The denoiser's pass, the layers reading the other text."""
        call = self._signature.bind(self._denoiser, *args, **kwargs)
        states = call.arguments.get("encoder_hidden_states")
        found = self._rows.find(states)
        self._rows.state.passes += 1
        if not found or states is None:
            return forward(*args, **kwargs)
        self._hook()
        self._now = self._kept.setdefault((len(states), *found.items()), _Kept(tuple(found)))
        again = bool(self._now.age) and set(self._now.projected) == set(self._places)
        self._now.age = (self._now.age + 1) % self._every if again or not self._now.age else 1
        if not again:
            return self._carry(forward, call, states, found)
        self._again, self._unread = states.shape[1], set(self._places)
        try:
            result = forward(*args, **kwargs)
        finally:
            self._again = 0
        if self._unread:
            raise LayerError(
                f"{min(self._unread)} did not run in a pass, so it read no other words; change "
                "nothing of the denoiser while it is called"
            )
        return result

    def _carry(
        self, forward: Callable[..., Any], call: Any, states: Tensor, found: dict[int, int]
    ) -> Any:
        """The denoiser's pass with the other text after its own."""
        others = states.clone()
        for row, number in found.items():
            given = self._rows.words[number].given
            assert given is not None, "what is found is exchanged"
            others[row] = given.to(states)
        call.arguments["encoder_hidden_states"] = torch.cat([states, others], 1)
        if "txt_ids" in call.arguments:
            places = call.arguments["txt_ids"]
            call.arguments["txt_ids"] = torch.cat([places, places], -2)
        self._tokens, self._silent = states.shape[1], set(self._chosen)
        try:
            with self:
                result = forward(*call.args[1:], **call.kwargs)
        finally:
            self._tokens, self._layer = 0, None
        if self._silent and not call.arguments.get("skip_layers"):
            raise LayerError(
                f"layer {min(self._silent)} did not run in a pass, so it read no other words; run "
                "the denoiser with all its blocks"
            )
        return result

    def project(
        self, name: str, parts: Sequence[tuple[int, int] | None]
    ) -> Callable[[Any, Any, Tensor], Tensor | None]:
        """The forward hook of a chosen layer's projection: keep what it makes of the other text,
        or give what was kept, of the features that are keys or values. Text is first, also among
        picture tokens (FLUX)."""

        def hook(_module: Any, _args: Any, output: Tensor) -> Tensor | None:
            rows, tokens = list(self._now.rows), self._tokens
            if self._again:
                self._unread.discard(name)
                output = output.clone()
                kept = self._now.projected[name].to(output)
                for part in parts:
                    features = slice(None) if part is None else slice(*part)
                    output[rows, : self._again, features] = kept[..., features]
                return output
            if tokens:
                self._now.projected[name] = output[rows, tokens : 2 * tokens].clone()
            return None

        return hook

    def enter(self, layer: TextLayer) -> Callable[[Any, Any], None]:
        """The forward pre-hook of the layer's attention."""

        def hook(_module: Any, _args: Any) -> None:
            if self._tokens:
                self._layer, self._calls = layer, 0

        return hook

    def leave(self, _module: Any, _args: Any, _output: Any) -> None:
        """The forward hook of every joint attention."""
        layer, self._layer = self._layer, None
        if layer is not None:
            self._silent.discard(layer.index)
        if layer is not None and self._calls != 1:
            raise LayerError(
                f"the attention {layer.name} calls scaled_dot_product_attention {self._calls} "
                "times, so it cannot carry another text; give the denoiser its usual processors, "
                "and no picture beside the prompt"
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
        picture = slice(2 * tokens, length) if self._text_first else slice(0, length - 2 * tokens)
        first = 0 if self._text_first else length - 2 * tokens
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
        order = [read, carried, shown] if self._text_first else [shown, read, carried]
        return torch.cat(order, -2)
