"""Patching: rows of one batch take text keys and values from each other.

`patched()` is a `with` block around one call of the pipeline; leaving it gives the model back bit
for bit. No other module installs hooks, but for the baselines `prompt_to_prompt` and
`safe_latent_diffusion`.

1. The denoiser's batch is read as (pass, row): N rows for N runs, repeated for each guidance pass.
2. A hook on the key and value projections of each text layer replaces the projected text tokens of
   a patched row by those of its donor's row (activation patching, paper section 3). It acts before
   head normalisation and rotary embedding and re-implements no attention. Where the attention masks
   text tokens, the mask goes with them. Channels beside the layers are patched at their module.
3. Rows that are still equal (same prompt, same seed, no different patch so far) are computed once
   and repeated: a wrapper round the denoiser's forward narrows the batch on the way in and widens
   it on the way out, so the scheduler always sees every row.
4. A row that is wanted only for its text is not computed where nothing but its prompt decides what
   is taken from it (cross-attention): its text states go through the patched layers' projections.
5. After every pass each text layer must have run exactly once; otherwise an error is raised, for a
   silent layer would give a wrong picture without a sign.

Steps are the scheduler's: passes at the same of its times belong to one step. A scheduler that
looks at a time twice (PNDM, Heun) therefore counts both looks as one step, and one that looks
between its steps (KDPM2) counts more steps than were asked for. Without a scheduler the times that
the denoiser is given tell steps apart; in bfloat16 close ones are equal.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from textloc.checkpoints import families
from textloc.checkpoints.families import check_not_compiled, text_channels
from textloc.checkpoints.families.common import attentions
from textloc.errors import LayerError, NoWayError
from textloc.layers import Place, TextChannel, TextLayer, check_layers
from textloc.replacing import replaced
from textloc.runs import Patch, Run


@dataclass
class Patching:
    """What a `patched()` block has done so far.

    step: denoising step in progress, from 0 (-1 before the first). passes: denoiser calls.
    rows: batch rows computed, guidance passes counted; rows_unshared: those it would have been
    without computing equal rows once.
    """

    step: int = -1
    passes: int = 0
    rows: int = 0
    rows_unshared: int = 0


@contextmanager
def patched(
    denoiser: Any,
    layers: Sequence[TextLayer],
    runs: Sequence[Run],
    share: bool = True,
    before_step: Callable[[int], None] = lambda _step: None,
    wanted: Collection[Run] | None = None,
    before_pass: Callable[[int, dict[str, Any]], None] = lambda _step, _arguments: None,
    scheduler: Any = None,
) -> Iterator[Patching]:
    """Apply the patches of `runs` while the block lasts.

    The denoiser must be called with a batch of `len(runs)` rows in that order, once or repeated
    for guidance passes. Every donor must be one of the runs.

    Args:
        denoiser: U-Net or transformer, not compiled.
        layers: all its text layers (`families.text_layers`).
        runs: one a row.
        share: compute rows that are still equal once.
        before_step: called with each denoising step, from 0, before its first pass.
        wanted: the runs whose pictures are wanted, None for all. Rows that come out of the others
            mean nothing.
        before_pass: called with the step and the denoiser's arguments by name (all rows) before
            each of its passes. An exception that it raises ends the call.
        scheduler: that of the pipeline, whose steps are counted; None tells steps apart by the
            times that the denoiser is given.

    Yields:
        What the block is doing; read it afterwards for the row counts.

    Raises:
        LayerError: an unknown layer, head or channel, tokens beyond the prompt's, some heads of
            a layer that masks the two texts differently, a donor that is not a row, a compiled
            denoiser, a denoiser that is patched already, a batch of another size, or a layer that
            stays silent.
    """
    check_not_compiled(denoiser)
    if isinstance(getattr(denoiser.forward, "__self__", None), _Patcher):
        raise LayerError("the denoiser is patched already; leave the other patched() block first")
    channels = text_channels(denoiser)
    for run in runs:
        for patch in run.patches:
            _check_patch(patch, layers, channels, runs)
    ragged = families.of_denoiser(denoiser).RAGGED
    rows = _Rows(tuple(runs), _aside(layers, runs, wanted), share, ragged)
    patcher = _Patcher(denoiser, layers, channels, rows, before_step, before_pass, scheduler)
    layer_of = {layer.name: layer for layer in layers}
    with ExitStack() as undo:
        for layer in layers:
            for name in layer.parts:
                projection = denoiser.get_submodule(name)
                undo.callback(projection.register_forward_hook(patcher.hook(layer, name)).remove)
            if layer.mask is not None or layer.rotary is not None:
                attention = denoiser.get_submodule(layer.name)
                beside = attention.register_forward_pre_hook(
                    patcher.beside(layer), with_kwargs=True
                )
                undo.callback(beside.remove)
        for channel in channels:
            if channel.argument is None:
                module = denoiser.get_submodule(channel.module)
                undo.callback(module.register_forward_hook(patcher.channel(channel)).remove)
                continue
            for name, module in attentions(denoiser, channel.module):
                hook = patcher.argument(channel, layer_of.get(name))
                undo.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        if scheduler is not None:
            undo.enter_context(patcher.counting(scheduler))
        undo.enter_context(replaced(denoiser, "forward", patcher.forward))
        yield patcher.state


@contextmanager
def decoding(autoencoder: Any, runs: Sequence[Run], wanted: Collection[Run]) -> Iterator[None]:
    """Decode only the pictures of the `wanted` runs while the block lasts.

    The autoencoder's `decode` must be called with a batch of `len(runs)` rows in that order. What
    it gives for the others means nothing.
    """
    kept = [row for row, run in enumerate(runs) if run in wanted]
    if len(kept) == len(runs):
        yield
        return
    original = autoencoder.decode
    place = {row: number for number, row in enumerate(kept)}
    narrow = _Picker(kept, 1, len(runs))
    widen = _Picker([place.get(row, 0) for row in range(len(runs))], 1, len(kept))

    def decode(code: Tensor, *args: Any, **kwargs: Any) -> Any:
        return _map(original(narrow(code), *args, **kwargs), widen)

    with replaced(autoencoder, "decode", decode):
        yield


def _check_patch(
    patch: Patch,
    layers: Sequence[TextLayer],
    channels: Sequence[TextChannel],
    runs: Sequence[Run],
) -> None:
    check_layers(patch.layers, len(layers))
    known = [channel.name for channel in channels]
    for name in patch.channels:
        if name not in known:
            there = f"it has {', '.join(known)}" if known else "it has none"
            raise LayerError(f"this model has no text channel {name!r} beside its layers; {there}")
    if patch.donor not in runs:
        raise LayerError("a patch takes from a run that is not a row of this batch; add its donor")
    highest = max(patch.heads or (0,))
    for index in patch.layers:
        heads = layers[index].heads
        if highest >= heads:
            raise LayerError(
                f"layer {index} has {heads} heads, numbered 0 to {heads - 1}; the patch names "
                f"{highest}"
            )


@dataclass(frozen=True)
class _Move:
    """Row `row` takes what `patch` says from row `donor`, both counted among the kept rows, after
    which come those aside. ragged: texts of other guidance passes may be shorter."""

    row: int
    donor: int
    patch: Patch
    ragged: bool


@dataclass(frozen=True)
class _Plan:
    """What is computed in one step.

    kept: the rows to compute, one of each kind. result: for every row, which of the kept rows
    holds its result. moves: by layer index and channel name, in the order of the patches.
    """

    kept: tuple[int, ...]
    result: tuple[int, ...]
    moves: dict[int | str, tuple[_Move, ...]]


def _aside(
    layers: Sequence[TextLayer], runs: Sequence[Run], wanted: Collection[Run] | None
) -> tuple[int, ...]:
    """The rows that need not be computed: unwanted ones that give but static text."""
    if wanted is None:
        return ()
    computed = set(wanted)
    for run in wanted:
        for patch in run.patches:
            chosen = [layers[index] for index in patch.layers]
            if patch.channels or not all(la.static and la.mask is None for la in chosen):
                computed.add(patch.donor)
    controls = [run.control for run in computed if run.control is not None]
    computed.update(control.leader for control in controls if control.leader is not None)
    return tuple(row for row, run in enumerate(runs) if run not in computed)


@dataclass(frozen=True)
class _Rows:
    """The runs of a batch. aside: rows that give their text only. share: compute rows that are
    still equal once. ragged: texts of other guidance passes may be shorter."""

    runs: tuple[Run, ...]
    aside: tuple[int, ...]
    share: bool
    ragged: bool

    def plan(self, step: int) -> _Plan:
        """Which rows differ at `step`, and what they take from whom.

        A row's latents are decided by its plain run and by the patches that have begun.
        """
        kinds: dict[Any, int] = {}  # what decides a row's latents -> place among the kept rows
        kept: list[int] = []
        place: dict[int, int] = {}
        for row, run in enumerate(self.runs):
            if row in self.aside:
                continue
            begun = tuple(patch for patch in run.patches if patch.start <= step)
            kind = (run.plain, begun) if self.share else row
            if kind not in kinds:
                kinds[kind] = len(kept)
                kept.append(row)
            place[row] = kinds[kind]
        givers = place | {row: len(kept) + i for i, row in enumerate(self.aside)}
        moves: dict[int | str, list[_Move]] = {}
        for number, row in enumerate(kept):
            for patch in self.runs[row].patches:
                if patch.active(step):
                    donor = givers[self.runs.index(patch.donor)]
                    move = _Move(number, donor, patch, self.ragged)
                    places: tuple[int | str, ...] = (*patch.layers, *patch.channels)
                    for where in places:
                        moves.setdefault(where, []).append(move)
        result = tuple(place.get(row, 0) for row in range(len(self.runs)))
        return _Plan(tuple(kept), result, {k: tuple(v) for k, v in moves.items()})


class _Patcher:
    """The denoiser's forward and its hooks while one `patched()` block lasts."""

    def __init__(
        self,
        denoiser: Any,
        layers: Sequence[TextLayer],
        channels: Sequence[TextChannel],
        rows: _Rows,
        before_step: Callable[[int], None],
        before_pass: Callable[[int, dict[str, Any]], None],
        scheduler: Any,
    ) -> None:
        self.state = Patching()
        self._scheduler, self._looks = scheduler, 0  # times that it has looked at
        self._denoiser, self._family = denoiser, families.of_denoiser(denoiser)
        self._layers = layers
        self._original = denoiser.forward
        self._signature = inspect.signature(self._original)
        self._expected = [name for layer in layers for name in layer.parts]
        self._expected += [channel.module for channel in channels if channel.argument is None]
        self._rows = rows
        self._before_step, self._before_pass = before_step, before_pass
        self._tokens = 0
        self._places: Tensor | None = None  # of the text among a row's tokens, (pass * row, T)
        self._aside: Tensor | None = None  # text states of the rows aside, (pass * row, T, D)
        self._aside_read = False  # whether they are as the layers take them
        self._time: float | None = None
        self._plan = rows.plan(0)
        self._fired: Counter[str] = Counter()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The denoiser's forward on the rows that differ, for all rows."""
        call = self._signature.bind(*args, **kwargs)
        self._enter_step(call.arguments[self._family.TIME])
        passes = self._count_passes(call)
        self._family.mend(call.arguments)
        self._before_pass(self.state.step, call.arguments)
        kept, count = len(self._plan.kept), len(self._rows.runs)
        self.state.passes += 1
        self.state.rows += passes * kept
        self.state.rows_unshared += passes * count
        self._fired.clear()
        if self._rows.aside and self._plan.moves:
            texts = call.arguments[self._family.TEXT]
            self._aside = _Picker(self._rows.aside, passes, count)(texts)
            self._aside_read = False  # not before the denoiser's own weights are there (offloading)
        if kept != count:
            narrow = _Picker(self._plan.kept, passes, count)
            _map_arguments(self._family, call.arguments, narrow)
        if self._plan.moves:
            self._look(call.arguments)
        output = self._original(*call.args, **call.kwargs)
        if kept != count:
            widen = _Picker(self._plan.result, passes, kept)
            output = _map_output(self._family, output, widen)
        _check_fired(self._expected, self._fired)
        return output

    def _look(self, arguments: dict[str, Any]) -> None:
        """Find out where the text of mixed layers is, in a pass with these arguments."""
        kinds = {place for layer in self._layers for place in (layer.place, layer.mask_place)}
        if "first" in kinds or "last" in kinds:
            self._tokens = self._family.tokens(self._denoiser, arguments)
        if "rows" in kinds:
            self._places = self._family.places(self._denoiser, arguments)

    def _where(self, place: Place, total: int) -> slice | Tensor:
        """The text among `total` tokens: a slice, or (pass, row, T)."""
        if place == "first":
            return slice(0, self._tokens)
        if place == "last":
            return slice(total - self._tokens, total)
        if place == "rows":
            assert self._places is not None
            places: Tensor = self._places.unflatten(0, (-1, len(self._plan.kept)))
            return places
        return slice(0, total)

    def hook(self, layer: TextLayer, name: str) -> Callable[[Any, Any, Tensor], Tensor]:
        """The forward hook of the layer's projection `name`."""
        parts = layer.parts[name]

        def hook(module: Any, _args: Any, projected: Tensor) -> Tensor:
            self._fired[name] += 1
            plan = self._plan
            if layer.index not in plan.moves:
                return projected
            moves = plan.moves[layer.index]
            # (pass, row, T, feature)
            old = projected.unflatten(0, (-1, len(plan.kept)))
            given = old
            if any(move.donor >= len(plan.kept) for move in moves):
                aside = module.forward(self._normed(layer)).unflatten(0, (len(old), -1))
                given = torch.cat([old, aside], 1)
            where = self._where(layer.place, old.shape[2])
            new = old.clone()
            by_head = any(move.patch.heads is not None for move in moves)
            for part in parts:
                pair = new, given
                if part is not None:
                    pair = new[..., slice(*part)], given[..., slice(*part)]
                if by_head:
                    pair = tuple(one.unflatten(-1, (layer.heads, -1)) for one in pair)
                _move(*pair, moves, where)
            moved: Tensor = new.flatten(0, 1)
            return moved

        return hook

    def _normed(self, layer: TextLayer) -> Tensor:
        """The text states of the rows aside as the layer's projections read them."""
        assert self._aside is not None
        if not self._aside_read:
            self._aside = self._family.read_text(self._denoiser, self._aside)
            self._aside_read = True
        normed: Tensor = self._family.read_layer(self._denoiser, layer, self._aside)
        return normed

    def beside(self, layer: TextLayer) -> Callable[[Any, Any, dict[str, Any]], Any]:
        """The forward pre-hook of the layer's attention module, which moves what goes with the text
        keys: which of them count, and where they stand."""
        attention = self._denoiser.get_submodule(layer.name)
        names = tuple(inspect.signature(attention.forward).parameters)

        def hook(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
            plan = self._plan
            if layer.index not in plan.moves:
                return None
            moves, rows = plan.moves[layer.index], len(plan.kept)
            named = dict(zip(names, args, strict=False)) | kwargs
            mask = named.get(str(layer.mask))
            if mask is None:  # all texts are as long
                return None
            where = self._where(layer.mask_place, mask.shape[-1])
            moved = {str(layer.mask): _move_mask(mask, moves, layer, rows, where)}
            if layer.rotary is not None:
                counts = _counted(mask)
                moved[layer.rotary] = _map(
                    named[layer.rotary],
                    lambda turns: _move_turns(turns, counts, moves, rows, where),
                )
            return (), named | moved

        return hook

    def channel(self, channel: TextChannel) -> Callable[[Any, Any, Tensor], Tensor]:
        """The forward hook of the channel's module."""

        def hook(_module: Any, _args: Any, states: Tensor) -> Tensor:
            self._fired[channel.module] += 1
            moves = self._plan.moves.get(channel.name)
            if moves is None:
                return states
            old = states.unflatten(0, (-1, len(self._plan.kept)))  # (pass, row, ...)
            new = old.clone()
            for move in moves:
                new[:, move.row] = old[:, move.donor]
            moved: Tensor = new.flatten(0, 1)
            return moved

        return hook

    def argument(
        self, channel: TextChannel, layer: TextLayer | None
    ) -> Callable[[Any, Any, dict[str, Any]], Any]:
        """The forward pre-hook of a module with the channel's argument; `layer` is the text layer
        that it is, if it is one."""
        name = str(channel.argument)

        def hook(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
            moves = self._plan.moves.get(channel.name)
            if moves is None:
                return None
            rows = len(self._plan.kept)

            def move(turns: Tensor) -> Tensor:
                old = turns.unflatten(0, (-1, rows))
                new, total = old.clone(), old.shape[2]
                where = slice(0, 0) if layer is None else self._where(layer.place, total)
                for one in moves:
                    for number in range(len(old)):
                        to, fro = (_others(where, number, r, total) for r in (one.row, one.donor))
                        new[number, one.row, to] = old[number, one.donor, fro]
                moved: Tensor = new.flatten(0, 1)
                return moved

            return args, {**kwargs, name: _map(kwargs[name], move)}

        return hook

    @contextmanager
    def counting(self, scheduler: Any) -> Iterator[None]:
        """Count the scheduler's steps while the block lasts."""
        original = scheduler.step

        @wraps(original)  # pipelines look at the signature before they pass a noise generator
        def step(*args: Any, **kwargs: Any) -> Any:
            self._looks += 1
            return original(*args, **kwargs)

        with replaced(scheduler, "step", step):
            yield

    def _enter_step(self, timestep: Any) -> None:
        if self._scheduler is not None:  # in half precision its times are equal before they are
            times = self._scheduler.timesteps
            timestep = times[min(self._looks, len(times) - 1)]
        time = float(torch.as_tensor(timestep).flatten()[0])
        if time != self._time:  # guidance passes of one step share its time
            self._time = time
            self.state.step += 1
            self._plan = self._rows.plan(self.state.step)
            self._before_step(self.state.step)

    def _count_passes(self, call: inspect.BoundArguments) -> int:
        batch = len(next(iter(call.arguments.values())))
        count = len(self._rows.runs)
        passes, rest = divmod(batch, count)
        if rest:
            raise LayerError(
                f"the denoiser was called with {batch} rows, which is no multiple of the "
                f"{count} runs; call the pipeline with exactly these runs"
            )
        return passes


def _check_fired(expected: Sequence[str], fired: Counter[str]) -> None:
    wrong = [name for name in expected if fired[name] != 1]
    if wrong:
        raise LayerError(
            f"the text projection {wrong[0]} (and {len(wrong) - 1} more) did not run exactly "
            "once in this pass; is the attention fused, replaced or compiled? Undo that first"
        )


def _move(new: Tensor, given: Tensor, moves: Sequence[_Move], where: slice | Tensor) -> None:
    """Put the donors' keys or values in place, in `new` (pass, row, token, feature), or (pass, row,
    token, head, d) where patches name heads; text stands at `where`. `given` is what was there
    before, with the rows aside after it."""
    for move in moves:
        heads = move.patch.heads
        for number in _passes(new, where):
            to, fro = _tokens(where, number, move)
            own, donor = new[number, move.row, to], given[number, move.donor, fro]
            if heads is None:
                own.copy_(donor)
            else:
                own[..., list(heads), :] = donor[..., list(heads), :]  # of one pass or of all
            if isinstance(where, Tensor):
                new[number, move.row, to] = own  # no view


def _move_mask(
    mask: Tensor, moves: Sequence[_Move], layer: TextLayer, rows: int, where: slice | Tensor
) -> Tensor:
    """The mask of text tokens (pass * row, ..., token) with the donors' put in place.

    Where it has queries too (pass * row, 1, query, key), those of the picture see what the donor's
    picture sees, and those of a row's own text what they saw: that is not moved.
    """
    old = mask.unflatten(0, (-1, rows))
    new = old.clone()
    full = old.ndim == 5 and old.shape[-2] > 1
    for move in moves:
        for number in range(len(old)):
            to, fro = _tokens(where, number, move)
            own, donor = new[number, move.row], old[number, move.donor, ..., fro]
            if full:
                own_picture, picture = (
                    _others(where, number, row, old.shape[-1]) for row in (move.row, move.donor)
                )
                own, donor = own[:, own_picture], donor[:, picture]  # (1, query, token)
            if move.patch.heads is not None and not torch.equal(own[..., to], donor):
                raise LayerError(
                    f"layer {layer.index} masks the two texts differently, and a mask has no "
                    "heads; patch all heads, or take texts of as many tokens"
                )
            own[..., to] = donor  # a view, but where there are queries
            if full:
                new[number, move.row][:, own_picture] = own
    moved: Tensor = new.flatten(0, 1)
    return moved


def _move_turns(
    turns: Tensor, counts: Tensor, moves: Sequence[_Move], rows: int, where: slice | Tensor
) -> Tensor:
    """Where tokens stand (pass * row, token, ...), with the donors' put in place where their tokens
    count (pass * row, token): texts stand alike as far as both go."""
    old, there = turns.unflatten(0, (-1, rows)), counts.unflatten(0, (-1, rows))
    new = old.clone()
    for move in moves:
        for number in range(len(old)):
            to, fro = _tokens(where, number, move)
            own, chosen = new[number, move.row, to], there[number, move.donor, fro]
            own[chosen] = old[number, move.donor, fro][chosen]
            new[number, move.row, to] = own
    moved: Tensor = new.flatten(0, 1)
    return moved


def _passes(states: Tensor, where: slice | Tensor) -> Iterable[Any]:
    """The guidance passes, all at once where their texts stand alike."""
    return range(len(states)) if isinstance(where, Tensor) else (slice(None),)


def _tokens(where: slice | Tensor, number: Any, move: _Move) -> tuple[Any, Any]:
    """Places of the tokens that are moved in guidance pass `number`: the row's and the donor's."""
    if isinstance(where, Tensor):
        start, stop = _range(move, where.shape[-1])
        return where[number, move.row, start:stop], where[number, move.donor, start:stop]
    start, stop = _range(move, where.stop - where.start)
    same = slice(where.start + start, where.start + stop)
    return same, same


def _others(where: slice | Tensor, number: int, row: int, total: int) -> Tensor:
    """The tokens of `total` that are no text."""
    text = where if isinstance(where, slice) else where[number, row].cpu()
    picture = torch.ones(total, dtype=torch.bool)
    picture[text] = False
    return picture.nonzero().flatten()


def _counted(mask: Tensor) -> Tensor:
    """Which tokens count (row, token), by a mask that is 1 or true, or added and 0, for them."""
    flat = mask if mask.ndim == 2 else mask[:, 0, -1]
    if flat.dtype is torch.bool:
        return flat
    return flat == 0 if bool((flat < 0).any()) else flat > 0


def _range(move: _Move, length: int) -> tuple[int, int]:
    """The tokens that the patch takes, of a text of `length`."""
    start, stop = move.patch.tokens or (0, length)
    if stop > length and not move.ragged:
        raise LayerError(
            f"a patch takes the tokens {start} to {stop}, and the text has {length}; stop is "
            "exclusive"
        )
    return min(start, length), min(stop, length)


class _Picker:
    """Takes `rows` of each pass from tensors of pass * count rows; other tensors it leaves."""

    def __init__(self, rows: Sequence[int], passes: int, count: int) -> None:
        self._rows, self._passes, self._count = list(rows), passes, count

    def __call__(self, value: Tensor) -> Tensor:
        if value.ndim == 0 or len(value) != self._passes * self._count:
            return value
        split = value.unflatten(0, (self._passes, self._count))
        picked: Tensor = split[:, self._rows].flatten(0, 1)
        return picked

    def listed(self, value: Any) -> Any:
        """The same of nested values in which lists have one item a row."""
        if isinstance(value, list) and len(value) == self._passes * self._count:
            starts = range(0, len(value), self._count)
            return [value[start + row] for start in starts for row in self._rows]
        if isinstance(value, dict):  # the outputs of diffusers
            return type(value)(**{name: self.listed(item) for name, item in value.items()})
        return tuple(map(self.listed, value)) if isinstance(value, tuple) else value


def _map_arguments(family: families.Family, arguments: dict[str, Any], narrow: _Picker) -> None:
    """The forward's arguments with the rows picked, in place."""
    for name, value in arguments.items():
        if name in family.LISTS:
            arguments[name] = narrow.listed(value)
        elif name in family.SECOND:
            arguments[name] = _map(value, lambda v: narrow(v.transpose(0, 1)).transpose(0, 1))
        elif name not in family.SHARED:
            arguments[name] = _map(value, narrow)


def _map_output(family: families.Family, output: Any, narrow: _Picker) -> Any:
    return narrow.listed(output) if family.LISTS else _map(output, narrow)


def add_rows(
    family: families.Family, arguments: dict[str, Any], rows: Sequence[int], count: int
) -> None:
    """Put copies of some rows after all `count` of a forward's arguments, in place."""
    _map_arguments(family, arguments, _Picker([*range(count), *rows], 1, count))


def first_rows(family: families.Family, output: Any, count: int, batch: int) -> Any:
    """The first `count` of the `batch` rows of what a forward gave."""
    return _map_output(family, output, _Picker(range(count), 1, batch))


def _map(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`change` applied to every tensor in nested arguments or outputs."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        mapped = {k: _map(v, change) for k, v in value.items()}
        return mapped if type(value) is dict else type(value)(**mapped)
    if isinstance(value, (list, tuple)):
        return type(value)(_map(v, change) for v in value)
    return value


# -- between two texts ----------------------------------------------------------------------


@contextmanager
def blended(denoiser: Any, layers: Sequence[TextLayer]) -> Iterator[Blend]:
    """Text keys and values between those of a row and of another, while the block lasts.

    Args:
        denoiser: U-Net or transformer, not compiled.
        layers: all its text layers (`architectures.text_layers`).

    Yields:
        What is put in place; until it has factors, nothing.

    Raises:
        LayerError: as `patched`. NoWayError: a denoiser whose texts have no common places; while
        the block lasts, two texts of other lengths where these decide where the tokens stand.
    """
    check_not_compiled(denoiser)
    _check_blendable(denoiser, layers)
    if isinstance(getattr(denoiser.forward, "__self__", None), (_Patcher, Blend)):
        raise LayerError("the denoiser is patched already; leave the other patched() block first")
    blend = Blend(denoiser, layers)
    with ExitStack() as undo:
        for layer in layers:
            for name in layer.parts:
                projection = denoiser.get_submodule(name)
                undo.callback(projection.register_forward_hook(blend._hook(layer, name)).remove)
            if layer.mask is not None or layer.rotary is not None:
                attention = denoiser.get_submodule(layer.name)
                beside = blend._mask if layer.mask_place == "all" else blend._alike
                hook = attention.register_forward_pre_hook(beside(layer), with_kwargs=True)
                undo.callback(hook.remove)
        undo.enter_context(replaced(denoiser, "forward", blend.forward))
        yield blend


def _check_blendable(denoiser: Any, layers: Sequence[TextLayer]) -> None:
    """Check that two texts can have the same places in every layer."""
    if any(layer.place == "rows" for layer in layers):
        raise NoWayError(
            f"{type(denoiser).__name__} gives every text places of its own, so there is no way "
            "from one to the other along which to take gradients; use `--search sweep`"
        )


class Blend:
    """How far text keys and values are on the way from a row's own to those that were kept.

    keep: a row of the next pass whose text keys, values and masks are kept; None for none.
    factors: by layer, (rows, T, heads) in float32, 0 for the row's own and 1 for what was kept;
    None leaves everything as it is. Both in between are exact at 0 and 1. A text token that counts
    in one of the two texts only has the weight `factor` (or 1 - `factor`) in the attention: the
    logarithm of it is added to the attention to it. Where a model's mask has no heads (Qwen-Image),
    that weight is the mean over heads. Where the mask is of the picture's tokens as well, or tokens
    are told where they stand, both texts must have as many tokens.
    """

    def __init__(self, denoiser: Any, layers: Sequence[TextLayer]) -> None:
        self.keep: int | None = None
        self.factors: Sequence[Tensor] | None = None
        self.tokens = 0
        """Text tokens of the pass under way or the last one."""
        self._dtype = torch.float32
        self._original = denoiser.forward
        self._signature = inspect.signature(self._original)
        self._denoiser, self._family = denoiser, families.of_denoiser(denoiser)
        self._expected = [name for layer in layers for name in layer.parts]
        self._kept: dict[str, Tensor] = {}  # projection -> (T, head * d)
        self._masks: dict[int, Any] = {}  # layer -> (..., T), or all that must be alike
        self._fired: Counter[str] = Counter()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The denoiser's forward. Gradient checkpoints run parts of it again later; the factors
        must then be those of the pass."""
        call = self._signature.bind(*args, **kwargs)
        self.tokens = self._family.tokens(self._denoiser, call.arguments)
        texts = call.arguments[self._family.TEXT]
        self._dtype = (texts[0] if isinstance(texts, list) else texts).dtype
        self._fired.clear()
        output = self._original(*args, **kwargs)
        _check_fired(self._expected, self._fired)
        self.keep = None
        return output

    def silence(self, layers: Sequence[TextLayer]) -> None:
        """Put zeros in the place of the kept values, so that a token with the factor 1 adds nothing
        to what these layers read; where the row's own text was kept, that is all that changes."""
        for layer in layers:
            kept = self._kept[layer.value]
            silent = kept.clone() if layer.value_part else torch.zeros_like(kept)
            if layer.value_part is not None:
                silent[..., slice(*layer.value_part)] = 0
            self._kept[layer.value] = silent

    def _hook(self, layer: TextLayer, name: str) -> Callable[[Any, Any, Tensor], Tensor | None]:
        parts = layer.parts[name]

        def hook(_module: Any, _args: Any, projected: Tensor) -> Tensor | None:
            self._fired[name] += 1
            tokens = self.tokens if layer.mixed else projected.shape[1]
            first = projected.shape[1] - tokens if layer.place == "last" else 0
            text = projected[:, first : first + tokens]
            if self.keep is not None:
                self._kept[name] = text[self.keep].detach().clone()
            if self.factors is None:
                return None
            if self._kept[name].shape[0] != text.shape[1]:
                raise self._other_places()
            factor = self.factors[layer.index][..., None]  # (row, T, head, 1)
            between = text
            for part in parts:
                features = slice(None) if part is None else slice(*part)
                moved = self._between(text, self._kept[name], features, layer.heads, factor)
                between = moved if part is None else _replaced(between, features, moved)
            if not layer.mixed:
                return between
            sides = (projected[:, :first], between, projected[:, first + tokens :])
            return torch.cat([side for side in sides if side.shape[1]], 1)

        return hook

    def _alike(self, layer: TextLayer) -> Callable[[Any, Any, dict[str, Any]], None]:
        """The forward pre-hook of an attention whose mask, and where its tokens stand, must be the
        same for both texts."""
        attention = self._denoiser.get_submodule(layer.name)
        names = tuple(inspect.signature(attention.forward).parameters)

        def hook(_module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            named = dict(zip(names, args, strict=False)) | kwargs
            told = [named.get(str(name)) for name in (layer.mask, layer.rotary)]
            if self.keep is not None:
                self._masks[layer.index] = _map(told, lambda one: one[[self.keep]].clone())
            if self.factors is not None and not _same(self._masks[layer.index], told):
                raise self._other_places()

        return hook

    def _other_places(self) -> NoWayError:
        return NoWayError(
            f"{type(self._denoiser).__name__} gives texts of other lengths other places, so there "
            "is no way between them along which to take gradients; take words of as many tokens, "
            "or use `--search sweep`"
        )

    @staticmethod
    def _between(text: Tensor, kept: Tensor, features: slice, heads: int, factor: Tensor) -> Tensor:
        """Text keys or values (row, T, head * d) on the way to those that were kept."""
        wide = torch.promote_types(text.dtype, torch.float32)
        own = text[..., features].unflatten(-1, (heads, -1)).to(wide)  # (row, T, head, d)
        given = kept[..., features].unflatten(-1, (heads, -1)).to(wide)
        moved = torch.lerp(own, given.expand_as(own), factor.to(wide))
        return moved.flatten(-2).to(text.dtype)

    def _mask(self, layer: TextLayer) -> Callable[[Any, Any, dict[str, Any]], Any]:
        def hook(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
            mask = kwargs.get(str(layer.mask))
            if self.keep is not None:
                self._masks[layer.index] = None if mask is None else mask[self.keep].clone()
            if self.factors is None or mask is None:
                return None
            kept = self._masks[layer.index]
            assert kept is not None
            if torch.equal(kept.expand_as(mask), mask):
                return None
            factor = self.factors[layer.index]  # (row, T, head)
            between = _between_masks(mask, kept, factor).to(self._dtype)
            return args, {**kwargs, str(layer.mask): between}

        return hook


def _same(kept: Any, told: Any) -> bool:
    """Whether nested tensors of several rows are, each row, those that were kept of one."""
    if isinstance(kept, Tensor):
        alike = isinstance(told, Tensor) and kept.shape[1:] == told.shape[1:]
        return alike and bool((kept == told).all())
    if isinstance(kept, (list, tuple)):
        return len(kept) == len(told) and all(map(_same, kept, told))
    return bool(kept == told)


def _replaced(states: Tensor, features: slice, new: Tensor) -> Tensor:
    """The states with some of their features replaced, without writing to them."""
    return torch.cat([states[..., : features.start], new, states[..., features.stop :]], -1)


def _between_masks(own: Tensor, given: Tensor, factor: Tensor) -> Tensor:
    """What is added to the attention to text tokens, between two masks.

    Args:
        own: (row, T), true for a token that counts, or (row, 1, T), 0 for one that counts and very
            negative for others. given: one row of the same. factor: (row, T, head).

    Returns:
        (row, T), or (row * head, 1, T) as diffusers takes it.
    """
    flags = own.ndim == 2
    # diffusers adds the flags of picture tokens, 1, to their attention; a shift of all is none
    shift = 1.0 if flags else 0.0
    weight = factor.mean(-1) if flags else factor.movedim(-1, 1)  # (row, T) or (row, head, T)
    counts = own.bool() if flags else own > _MASKED / 2
    counted = given.bool() if flags else given > _MASKED / 2
    share = torch.lerp(counts.to(weight), counted.expand_as(counts).to(weight), weight)
    added = share.clamp_min(torch.finfo(torch.float32).tiny).log()
    added = torch.where(share > 0, added, _MASKED) + shift
    return added if flags else added.flatten(0, 1)[:, None]


_MASKED = -10_000.0
"""What diffusers adds to the attention to a text token that does not count."""


@contextmanager
def leaves_watched(denoiser: Any, see: Callable[[str, Any, Tensor], None]) -> Iterator[None]:
    """Show what each module without parts is given and gives, while the block lasts.

    Args:
        denoiser: a model. see: called with the module's name, its positional arguments and its
            output, where that is a tensor.
    """

    def hook(name: str) -> Callable[[Any, Any, Any], None]:
        def look(_module: Any, args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                see(name, args, output)

        return look

    with ExitStack() as undo:
        for name, module in denoiser.named_modules():
            if not module._modules:
                undo.callback(module.register_forward_hook(hook(name)).remove)
        yield
