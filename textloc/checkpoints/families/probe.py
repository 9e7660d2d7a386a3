"""Text layers of a denoiser that no file describes, found by looking at what it does.

1. The pipeline is called with two prompts and the same noise; what the denoiser is given at its
   first step is kept, the rows of both prompts only.
2. It runs once more as it was, and once with other noise. A token of a projection's output *holds
   the picture* where it differs between the two noises, and *may hold text* where it does not.
3. Projections come in pairs of keys and values, or as one for both; blocks that are named alike are
   one group. The text of a group is what may hold text in its first block: all tokens, the first or
   the last of them. A group of as many tokens as text and picture have together, whose first block
   has mixed them already (one stream after two), is tried with the text first, then last. Attention
   that never sees the picture belongs to a text encoder and is left out.
4. Vectors that differ between the prompts and not between the noises (pooled states) are channels.
5. What was found must keep the invariants: all of it patched gives the target's prediction, none of
   it the source's, every layer runs once. Otherwise it is not used, and the error says what failed.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

from PIL import Image

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.errors import CheckpointError, LayerError
from textloc.layers import Place, TextChannel, TextLayer
from textloc.runs import Run, Sampling

PROMPTS = ('a red sign that says "AB"', 'tan mugs, "XYZ"')
"""Two prompts of other lengths."""

_PAIRS = (
    ("to_k", "to_v"),
    ("add_k_proj", "add_v_proj"),
    ("to_k_t", "to_v_t"),
    ("to_key", "to_value"),
    ("k_proj", "v_proj"),
    ("key", "value"),
    ("wk", "wv"),
)
"""How projections of keys and values are called."""

_FUSED = re.compile(r"(?:^|_)(q?kv)(?:_|$)")
"""A projection of keys and values in one, after queries or not."""

_ROUNDING = 1e-5

_COMPONENTS = ("transformer", "unet")

_SIDE = 256
"""Side in pixels of the call that is looked at, at most."""

_FOUND: WeakKeyDictionary[Any, Family] = WeakKeyDictionary()
"""Denoiser to what was found of it."""

log = logging.getLogger(__name__)


def found(denoiser: Any) -> Family | None:
    """What `of_pipeline` found of a denoiser; None where it has not looked."""
    return _FOUND.get(denoiser)


def of_pipeline(pipe: Any) -> Family:
    """The family of a pipeline that no file describes, by a call of one step.

    Raises:
        CheckpointError: its denoiser cannot be looked at. LayerError: what was found does not keep
        the invariants.
    """
    plain = Family()
    taken = common.taken(pipe)
    if "prompt" not in taken:
        raise CheckpointError(
            f"{type(pipe).__name__} takes no prompt; textloc reads prompts' words"
        )
    plain.GUIDANCE = "true_cfg_scale" if "true_cfg_scale" in taken else "guidance_scale"
    plain.ENCODERS = sum(name in taken for name in ("prompt", "prompt_2", "prompt_3"))
    given, name = captured(pipe, plain, _small(pipe))
    denoiser = getattr(pipe, name)
    family = probe(denoiser, given, name)
    family.GUIDANCE, family.ENCODERS = plain.GUIDANCE, plain.ENCODERS
    _FOUND[denoiser] = family
    log.warning(
        "%s has no file in textloc; its %d text layers were found by looking and keep the "
        "invariants",
        type(denoiser).__name__,
        len(family.find(denoiser)),
    )
    return family


def _small(pipe: Any) -> Sampling:
    """The call that is looked at."""
    denoiser = next((getattr(pipe, n) for n in _COMPONENTS if getattr(pipe, n, None)), None)
    sides = (None, None) if denoiser is None else common.native_size(pipe, denoiser)
    height, width = (min(side or _SIDE, _SIDE) for side in sides)
    return Sampling(steps=1, guidance=2.0, height=height, width=width)


@dataclass
class Seen:
    """What a module gave: by token, or once for a vector, whether it holds text and the picture."""

    text: Any
    picture: Any
    vector: bool


class Probed(Family):
    """A family that was found by looking.

    layers, passages: its text layers and channels. given: the arguments it was looked at with, one
    row. extra: tokens that its layers count as text beyond those of the text states.
    """

    def __init__(
        self,
        layers: Sequence[TextLayer],
        passages: Sequence[TextChannel],
        given: Mapping[str, Any],
        names: tuple[str, str, str],
        extra: int,
    ) -> None:
        self.DENOISER, self.TEXT, self.TIME = names
        self.RAGGED = True
        self.SHARED = tuple(n for n, v in given.items() if not _rows_of(v))
        self._layers, self._channels, self._given = list(layers), list(passages), dict(given)
        self._extra = extra

    def find(self, denoiser: Any) -> list[TextLayer]:
        """Those that were found."""
        return list(self._layers)

    def channels(self, denoiser: Any) -> list[TextChannel]:
        """Those that were found."""
        return list(self._channels)

    def tokens(self, denoiser: Any, arguments: dict[str, Any]) -> int:
        """Those of the text states, and what was counted beyond them."""
        return super().tokens(denoiser, arguments) + self._extra

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """What it was looked at with."""
        return dict(self._given)

    def negative(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """Empty ones where none is set."""
        return {"negative_prompt": [run.negative_prompt or "" for run in runs]}

    def prepare(self, pipe: Any) -> dict[str, str | None]:
        """Switch the safety checker off, where there is one."""
        return common.without_checker(pipe)

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """None: how long a text may be is not known."""
        return []

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """Not known.

        Raises:
            CheckpointError: always.
        """
        raise CheckpointError(
            f"how {type(pipe).__name__} packs its latents is not known, so a picture of your own "
            "cannot be followed; edit what it generates"
        )


def _rows_of(value: Any) -> bool:
    """Whether a captured argument has rows."""
    import torch

    return torch.is_tensor(value) and value.ndim > 0 and len(value) == 1


@dataclass
class _Group:
    """Projections of blocks that are named alike."""

    pairs: list[tuple[str, str, str]] = field(default_factory=list)  # attention, key, value
    place: Place | None = None
    tokens: int = 0
    total: int = 0


class _Enough(Exception):
    """The first step is seen."""


def captured(pipe: Any, family: Family, sampling: Sampling) -> tuple[dict[str, Any], str]:
    """What the denoiser is given at the first step of a call with `PROMPTS` and the same noise: the
    arguments by name, two rows, and the name of the component.

    Raises:
        CheckpointError: the pipeline has no denoiser of its own, or hands it no two rows that
            differ.
    """
    import torch

    name = next((n for n in _COMPONENTS if getattr(pipe, n, None) is not None), None)
    if name is None:
        raise CheckpointError(f"{type(pipe).__name__} has neither a transformer nor a U-Net")
    denoiser = getattr(pipe, name)
    signature = inspect.signature(denoiser.forward)
    found: list[dict[str, Any]] = []

    def see(_module: Any, args: Any, kwargs: Any) -> None:
        given = dict(signature.bind(*args, **kwargs).arguments)
        first = next(iter(given.values()))
        rows = len(first) if torch.is_tensor(first) else 0
        for row in range(0, rows - 1, 2):
            two = {n: _pick(v, row, rows) for n, v in given.items()}
            latents, *others = two.values()
            same = torch.equal(latents[0], latents[1])
            if same and any(_differs(value) for value in others):
                found.append(two)
                raise _Enough

    runs = [Run(prompt, 0) for prompt in PROMPTS]
    handle = denoiser.register_forward_pre_hook(see, with_kwargs=True)
    try:
        with torch.no_grad():
            pipe(
                **family.arguments(pipe, runs, sampling),
                generator=[torch.Generator("cpu").manual_seed(0) for _ in runs],
                output_type="latent",
            )
    except _Enough:
        pass
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{type(pipe).__name__} is not known, and a call of it with two prompts fails: "
            f"{(str(error).strip().splitlines() or [type(error).__name__])[0]}"
        ) from error
    finally:
        handle.remove()
    if not found:
        raise CheckpointError(
            f"{type(pipe).__name__} gives its denoiser no batch in which two prompts are rows of "
            "their own; it cannot be looked at"
        )
    return found[0], name


def _nested(value: Any, change: Callable[[Any], Any]) -> Any:
    """`change` applied to every tensor in nested arguments."""
    import torch

    if torch.is_tensor(value):
        return change(value)
    if isinstance(value, dict):
        return {name: _nested(item, change) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_nested(item, change) for item in value)
    return value


def _pick(value: Any, row: int, rows: int) -> Any:
    return _nested(value, lambda v: v[row : row + 2].clone() if v.ndim and len(v) == rows else v)


def _differs(value: Any) -> bool:
    """Whether an argument differs between the two rows."""
    import torch

    if isinstance(value, dict):
        return any(map(_differs, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_differs, value))
    two = torch.is_tensor(value) and value.ndim > 0 and len(value) == 2
    return two and not torch.equal(value[0], value[1])


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What the forward pass of a denoiser does not take, said in our words."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
        why = str(error).strip().splitlines()
        raise LayerError(
            f"{name} is not known, and it does not run on two prompts' rows alone "
            f"({why[0] if why else type(error).__name__}), so its text layers cannot be found by "
            "looking"
        ) from error


def look(
    denoiser: Any, given: Mapping[str, Any]
) -> tuple[dict[str, Seen], dict[str, dict[str, Any]]]:
    """What every module gave, in order of execution, and the named arguments of every attention."""
    import torch

    outputs: list[dict[str, Any]] = []
    attended: dict[str, dict[str, Any]] = {}
    first = next(iter(given))
    for arguments in (given, {**given, first: torch.randn_like(given[first]) + given[first]}):
        kept: dict[str, Any] = {}
        with ExitStack() as undo:
            for name, module in denoiser.named_modules():
                undo.callback(module.register_forward_hook(_keep(kept, name)).remove)
                if hasattr(module, "processor") or hasattr(module, "heads"):
                    hook = _note(attended, name, module)
                    undo.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
            with torch.no_grad():
                denoiser(**arguments)
        outputs.append(kept)
    seen = {}
    for name, states in outputs[0].items():
        other = outputs[1].get(name)
        if other is None or other.shape != states.shape or states.ndim not in (2, 3):
            continue
        seen[name] = Seen(
            text=_apart(states[0], states[1]),
            picture=_apart(states[0], other[0]),
            vector=states.ndim == 2,
        )
    return seen, attended


def _keep(kept: dict[str, Any], name: str) -> Callable[..., None]:
    import torch

    def hook(_module: Any, _args: Any, output: Any) -> None:
        if torch.is_tensor(output) and output.ndim and len(output) == 2:
            kept[name] = output.detach()

    return hook


def _note(attended: dict[str, dict[str, Any]], name: str, module: Any) -> Callable[..., None]:
    names = tuple(inspect.signature(module.forward).parameters)

    def hook(_module: Any, args: Any, kwargs: Any) -> None:
        attended[name] = dict(zip(names, args, strict=False)) | kwargs

    return hook


def _apart(one: Any, other: Any) -> Any:
    """By token (T,), or (1,) of a vector: whether the two differ by more than rounding."""
    states = (one.float() - other.float()).abs().reshape(one.shape[0] if one.ndim > 1 else 1, -1)
    return states.amax(1) > _ROUNDING * one.float().abs().amax().clamp_min(1e-6)


def _groups(denoiser: Any, seen: Mapping[str, Seen]) -> dict[str, _Group]:
    """Pairs of projections that ran, by what they are called."""
    groups: dict[str, _Group] = {}
    for name in seen:
        parent, _, leaf = name.rpartition(".")
        value = next((f"{parent}.{v}" for k, v in _PAIRS if k == leaf), None)
        if value is None and _FUSED.search(leaf):
            value = name
        if value is None or value not in seen:
            continue
        if not any(s.picture.any() for n, s in seen.items() if n.startswith(f"{parent}.")):
            continue  # it never sees the picture
        alike = re.sub(r"(?<=\.)\d+(?=\.)", "*", name)
        kind = f"{alike} {len(seen[name].text)} {denoiser.get_submodule(name).in_features}"
        groups.setdefault(kind, _Group()).pairs.append((parent, name, value))
    return groups


def _settle(group: _Group, seen: Mapping[str, Seen]) -> None:
    """Find the text of a group by its first block."""
    first = seen[group.pairs[0][1]]
    alone = ~first.picture
    group.total, group.tokens = len(alone), int(alone.sum())
    if first.vector or not any(bool(seen[key].text.any()) for _, key, _ in group.pairs):
        group.tokens = 0
    elif bool(alone.all()):
        group.place = "all"
    elif group.tokens and bool(alone[: group.tokens].all()):
        group.place = "first"
    elif group.tokens and bool(alone[-group.tokens :].all()):
        group.place = "last"


def probe(denoiser: Any, given: Mapping[str, Any], component: str = "transformer") -> Probed:
    """The family of a denoiser, by what it does with two prompts.

    Args:
        denoiser: of any class. given: its arguments by name, two rows of two prompts, with the same
            noise. component: its name in the pipeline.

    Raises:
        LayerError: no text layers were found, or what was found does not keep the invariants.
    """
    name = type(denoiser).__name__
    texts = sorted(
        (n for n, v in given.items() if _differs(v) and getattr(v, "ndim", 0) >= 2),
        key=lambda n: -given[n].ndim,
    )
    times = [n for n in given if n in ("t", "timestep", "timesteps") or n.startswith("timestep")]
    if not texts or not times:
        raise LayerError(
            f"{name} is not known, and its {'text' if not texts else 'time'} is not among its "
            "arguments as rows of a tensor, so its text layers cannot be found by looking"
        )
    with _told(name):
        seen, attended = look(denoiser, given)
    groups = _groups(denoiser, seen)
    for group in groups.values():
        _settle(group, seen)
    length = int(given[texts[0]].shape[1])
    settled = [g for g in groups.values() if g.place is not None]
    text = max((g.tokens for g in settled), default=length)
    pictures = {g.total for g in groups.values() if not g.tokens}
    mixed = [g for g in groups.values() if not g.tokens and g.total - text in pictures]
    channels = _vectors(seen, [g.pairs[0][1] for g in settled])
    failed = "no projection holds text"
    one = {
        n: _nested(v, lambda v: v[:1] if v.ndim and len(v) == 2 else v) for n, v in given.items()
    }
    names = (component, texts[0], times[0])
    for side in _sides(mixed, attended, text):
        for group in mixed:
            group.place = side
        layers = _layers(denoiser, [*settled, *mixed], attended, text, side)
        if not layers:
            break
        family = Probed(layers, channels, one, names, text - length)
        with _told(name):
            failed = check(denoiser, family, given)
        if not failed:
            return family
    raise LayerError(
        f"{name} is not known, and what looking at it found cannot be used: {failed}. Write a file "
        "in textloc/checkpoints/families/ that says where its text layers are"
    )


def _vectors(seen: Mapping[str, Seen], layers: Sequence[str]) -> list[TextChannel]:
    """The outermost modules that give a vector of the text and no picture, before any layer."""
    order = list(seen)  # a module is seen after its parts
    before = order[: min((order.index(key) for key in layers), default=0)]
    found: list[str] = []
    for name in sorted(before, key=lambda name: name.count(".")):
        one = seen[name]
        holds = one.vector and bool(one.text.any()) and not bool(one.picture.any())
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if holds and not inside and not re.search(r"\d", name):
            found.append(name)
    return [
        TextChannel("pooled" if not n else f"pooled-{n + 1}", name) for n, name in enumerate(found)
    ]


def _layers(
    denoiser: Any,
    groups: Sequence[_Group],
    attended: Mapping[str, dict[str, Any]],
    text: int,
    side: Place,
) -> list[TextLayer]:
    """The text layers of the groups whose place is settled."""

    layers = []
    for group in groups:
        if group.place is None:
            continue
        for parent, key, value in group.pairs:
            module = denoiser.get_submodule(parent)
            heads = int(getattr(module, "heads", getattr(module, "num_heads", 1)))
            linear = denoiser.get_submodule(key)
            parts: dict[str, Any] = {}
            if key == value:
                width = int(getattr(module, "inner_dim", linear.in_features))
                first = width if "qkv" in key.rpartition(".")[2] else 0
                parts = {
                    "key_part": (first, first + width),
                    "value_part": (first + width, first + 2 * width),
                }
            else:
                query = getattr(module, "to_q", None)
                if query is not None and linear.out_features < query.out_features:
                    heads = linear.out_features * heads // query.out_features
            mask = _mask_of(parent, attended)
            beside = attended[parent][mask] if mask is not None else None
            place = "all" if beside is None else _place_of(beside, text, group.place, side)
            layers.append(
                replace(
                    common.text_layer(
                        parent,
                        module,
                        key.rpartition(".")[2],
                        value.rpartition(".")[2],
                        static=False,
                        heads=heads,
                        place=group.place,
                        mask=mask,
                        mask_place=place,
                        **parts,
                    ),
                    index=-1,
                )
            )
    return layers


def _mask_of(parent: str, attended: Mapping[str, dict[str, Any]]) -> str | None:
    """The argument of an attention that says which tokens count."""
    import torch

    named = attended.get(parent, {})
    found = (n for n in named if "mask" in n or "valid" in n)
    return next((n for n in found if torch.is_tensor(named[n])), None)


def _sides(
    mixed: Sequence[_Group], attended: Mapping[str, dict[str, Any]], text: int
) -> tuple[Place, ...]:
    """Where the text of groups that have mixed it may stand, by their masks where they have any."""
    for group in mixed:
        parent = group.pairs[0][0]
        mask = _mask_of(parent, attended)
        if mask is not None:
            return _sides_of(attended[parent][mask], text)
    return ("last", "first")


def _sides_of(mask: Any, text: int) -> tuple[Place, ...]:
    """Where text may stand in a mask (row, ..., token), by where it differs between the prompts."""
    total = mask.shape[-1]
    rows = mask.reshape(2, -1, total)[:, -1]
    where = (rows[0] != rows[1]).nonzero().flatten().tolist()
    # padding at the end of a text is not missed, so the last tokens are tried first
    sides: list[Place] = []
    if not where or min(where) >= total - text:
        sides.append("last")
    if not where or max(where) < text:
        sides.append("first")
    return tuple(sides) or ("last", "first")


def _place_of(mask: Any, text: int, place: Place, side: Place) -> Place:
    """Where text stands in a mask of a layer whose own text stands at `place`."""
    if mask.shape[-1] == text:
        return "all"
    sides = _sides_of(mask, text)
    return place if place != "all" else side if side in sides else sides[0]


def check(denoiser: Any, family: Family, given: Mapping[str, Any]) -> str:
    """Which invariant does not hold of what was found; empty where all do."""
    import torch

    texts = given[family.TEXT]
    if texts.is_floating_point():  # what both prompts begin with must not pass for moved
        other = texts[1] + texts.std() * torch.randn_like(texts[1])
        given = {**given, family.TEXT: torch.stack([texts[0], other])}
    three = [0, 1, 0]  # source, target, source
    rows = {
        n: _nested(v, lambda v: v[three] if v.ndim and len(v) == 2 else v) for n, v in given.items()
    }
    layers = [replace(layer, index=n) for n, layer in enumerate(family.find(denoiser))]
    first = next(iter(rows))
    with torch.no_grad():
        plain = _prediction(denoiser(**rows))
        other = _prediction(denoiser(**rows | {first: rows[first].flip(-1) + 1}))
        fired, moved = _moved(denoiser, family, layers, rows)
    drawn = (other[0] != plain[0]).float()  # some give the text's tokens too
    plain, moved = plain * drawn, moved * drawn
    silent = [name for name, times in fired.items() if times != 1]
    if silent:
        return f"{silent[0]} (and {len(silent) - 1} more) did not run exactly once"
    scale = float(plain.abs().amax().clamp_min(1e-6))
    if float((plain[0] - plain[2]).abs().amax()) > 10 * _ROUNDING * scale:
        return "a row depends on its neighbours"
    if float((plain[0] - plain[1]).abs().amax()) <= 10 * _ROUNDING * scale:
        return "the prediction does not depend on the text"
    if float((moved[0] - plain[0]).abs().amax()) > 10 * _ROUNDING * scale:
        return "with nothing patched the prediction is not the source's"
    if float((moved[2] - plain[1]).abs().amax()) > 10 * _ROUNDING * scale:
        return "with all that was found patched the prediction is not the target's"
    return ""


def _prediction(output: Any) -> Any:
    return (output[0] if isinstance(output, tuple) else output.sample).float()


def _moved(
    denoiser: Any, family: Family, layers: Sequence[TextLayer], rows: Mapping[str, Any]
) -> tuple[dict[str, int], Any]:
    """How often each module ran, and the prediction with all text of the third row taken from the
    second."""
    fired: dict[str, int] = {}
    tokens = family.tokens(denoiser, dict(rows))

    def span(place: Place, total: int) -> slice:
        first = total - tokens if place == "last" else 0
        return slice(first, total if place in ("all", "last") else first + tokens)

    def project(layer: TextLayer, name: str) -> Callable[..., Any]:
        def hook(_module: Any, _args: Any, projected: Any) -> Any:
            fired[name] += 1
            new = projected.clone()
            where = span(layer.place, projected.shape[1])
            for part in layer.parts[name]:
                features = slice(None) if part is None else slice(*part)
                new[2, where, features] = projected[1, where, features]
            return new

        return hook

    def mask(layer: TextLayer) -> Callable[..., Any]:
        names = tuple(inspect.signature(denoiser.get_submodule(layer.name).forward).parameters)

        def hook(_module: Any, args: Any, kwargs: Any) -> Any:
            named = dict(zip(names, args, strict=False)) | kwargs
            old = named.get(str(layer.mask))
            if old is None:
                return None
            new = old.clone()
            where = span(layer.mask_place, old.shape[-1])
            new[2, ..., where] = old[1, ..., where]
            return (), named | {str(layer.mask): new}

        return hook

    def vector(channel: TextChannel) -> Callable[..., Any]:
        def hook(_module: Any, _args: Any, states: Any) -> Any:
            fired[channel.module] += 1
            new = states.clone()
            new[2] = states[1]
            return new

        return hook

    with ExitStack() as undo:
        for layer in layers:
            for name in layer.parts:
                fired[name] = 0
                hooked = denoiser.get_submodule(name)
                undo.callback(hooked.register_forward_hook(project(layer, name)).remove)
            if layer.mask is not None:
                attention = denoiser.get_submodule(layer.name)
                undo.callback(
                    attention.register_forward_pre_hook(mask(layer), with_kwargs=True).remove
                )
        for channel in family.channels(denoiser):
            fired[channel.module] = 0
            module = denoiser.get_submodule(channel.module)
            undo.callback(module.register_forward_hook(vector(channel)).remove)
        return fired, _prediction(denoiser(**rows))
