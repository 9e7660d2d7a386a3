"""What a job keeps of its finished calls, readings and shares, and finds again (`results.cache`).

1. A *cell* is one call of the pipeline with all its rows: what a row comes to depends a little on
   the rows beside it, so it is found only for the same batch. Its name is the hash of all that
   decides it: the runs with their patches, the sampling, and what the model is `made_by`.
2. How many rows a call has is kept too. Memory that is free today does not change how a job that
   was begun yesterday is cut into calls.
3. A *reading* cell is what an engine read in the pictures of a call, named by their pixels; one of
   *shares* is those of a prompt pair and seed.
4. Where something is found, the seconds that it took then count as if they were spent now.
5. Of a `cluster.Remote` model calls, their readings, and shares are made by workers, some of them
   before it is their turn; they are kept when they come. Their seconds count as if they were spent
   here one after the other.

Nothing is kept of a model that is not identified (`made_by`), or of a run whose control is not
plain data.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from textloc.checkpoints.loading import Model
from textloc.errors import Cancelled
from textloc.jobs.cluster import Remote, Task, Workers
from textloc.jobs.made_by import made_by, read_by
from textloc.jobs.worker import Made, Reads
from textloc.patching import generation
from textloc.patching.attribution import Shares, StepShares, shares_stream
from textloc.patching.generation import Call, Chunk, Coming
from textloc.patching.hooks import Patching
from textloc.patching.inversion import followed
from textloc.patching.tokens import Token
from textloc.reading import ocr
from textloc.reading.ocr import Box, Reading
from textloc.results import cache
from textloc.results.cache import Cache, Shelf
from textloc.runs import Run, Sampling

_MODES = ("1", "L", "LA", "RGB", "RGBA")
"""Pictures that a PNG holds as they are."""
_AHEAD = 4
"""Cells a worker that are begun and not taken yet, at most."""
_READINGS = Shelf("readings", "(readings)")


@dataclass(frozen=True)
class Asked:
    """What will be read of the pictures of calls.

    engine: as `ocr.describe` says it. options: of `ocr.read`. times: how often a run's picture is
    among those that are read together.
    """

    engine: Mapping[str, str]
    options: Mapping[str, Any]
    times: Callable[[Run], int]


class _NotPlain(Exception):
    """Something that is no plain data."""


def _plain(value: Any) -> Any:
    """Frozen data as JSON: of a dataclass its name and the fields that decide whether two are
    equal."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        said = {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.compare}
        return {"class": f"{kind.__module__}.{kind.__qualname__}", **said}
    raise _NotPlain


def _hash(value: Any) -> str:
    """SHA-256 of the one JSON text of plain data."""
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Keeping:
    """What one job keeps, and has found.

    found: pictures (those that the job counts), or shares of pairs, that were not made again.
    seconds: what was found took when it was made.
    """

    found: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)
    _cache: Cache | None = field(default_factory=cache.opened, init=False)
    _models: list[tuple[Model, str | None]] = field(default_factory=list, init=False)
    _read: dict[str, tuple[float, list[Reading]]] = field(default_factory=dict, init=False)

    def clock(self) -> float:
        """Seconds since some time, those counted that what was found once took."""
        return time.perf_counter() + self.seconds

    def generate(
        self,
        model: Model,
        runs: Sequence[Run],
        sampling: Sampling,
        *,
        reads: Asked | None = None,
        **options: Any,
    ) -> Iterator[Chunk]:
        """`generation.generate`, of which finished calls are found again. reads: what `read` will
        be asked for of each call, for workers to do at once."""
        keeper = self._keeper(model, runs, sampling, options)
        if not isinstance(model, Remote):
            yield from generation.generate(model, runs, sampling, keeper=keeper, **options)
            return
        with _Ahead(self, model.workers, options.get("cancelled", lambda: False)) as ahead:
            maker = _Maker(ahead, keeper, sampling, reads, options.get("share", True))
            yield from generation.generate(
                model, runs, sampling, keeper=keeper, maker=maker, **options
            )

    def read(self, pictures: Sequence[Image.Image], engine: str, **options: Any) -> list[Reading]:
        """`ocr.read`, of which readings are found again."""
        if not pictures or (self._cache is None and not self._read):
            return ocr.read(pictures, engine, **options)
        name = _read_name(pictures, ocr.describe(engine), options)
        kept = self._read.pop(name, None)
        if kept is None and self._cache is not None:
            kept = self._cache.get(_READINGS, name, _readings)
        if kept is not None:
            seconds, found = kept
            self.seconds += seconds
            return found
        began = time.perf_counter()
        found = ocr.read(pictures, engine, **options)
        if self._cache is not None:
            self._cache.put(_READINGS, name, _said_of(found, time.perf_counter() - began), {})
        return found

    def read_elsewhere(
        self, pictures: Sequence[Image.Image], asked: Reads, readings: list[Reading], seconds: float
    ) -> None:
        """Readings that a worker has made, for `read`."""
        name = _read_name(pictures, asked.engine, asked.options)
        self._read[name] = seconds, readings
        if self._cache is not None:
            self._cache.put(_READINGS, name, _said_of(readings, seconds), {})

    def shares(
        self,
        model: Model,
        pairs: Sequence[tuple[Run, Run]],
        *,
        sampling: Sampling,
        cancelled: Callable[[], bool] = lambda: False,
        **options: Any,
    ) -> Iterator[tuple[int, Shares]]:
        """`attribution.shares_stream` of runs (source, target), each yield with the number of its
        pair; shares that are found, or that workers make, come at once."""
        by, shelf = self._made_by(model), _shelf(model)
        held = self._cache if by is not None else None
        ahead = _Ahead(self, model.workers, cancelled) if isinstance(model, Remote) else None

        def name(pair: tuple[Run, Run]) -> str:
            asked = {"source": pair[0], "target": pair[1], "sampling": sampling, "options": options}
            return _hash({"kind": "shares", "by": by, **asked})

        def keep(pair: tuple[Run, Run], made: tuple[float, Shares]) -> None:
            if held is not None:
                held.put(shelf, name(pair), *_packed_shares(*made))

        def begin(pair: tuple[Run, Run], *, first: bool = False) -> None:
            assert ahead is not None
            arrived = partial(keep, pair)
            ahead.begin(pair, "shares", *pair, sampling, options, arrived=arrived, first=first)

        coming = enumerate(pairs)
        with ahead or nullcontext():
            for number, pair in enumerate(pairs):
                if cancelled():
                    raise Cancelled("stopped; what was finished before is kept")
                kept = None
                if held is not None and (ahead is None or pair not in ahead.tasks):
                    kept = held.get(shelf, name(pair), partial(_shares, *pair))
                while ahead is not None and ahead.room and (other := next(coming, None)):
                    if other[0] >= number and not (held and held.holds(shelf, name(other[1]))):
                        begin(other[1])
                if kept is not None:
                    seconds, found = kept
                    self.seconds += seconds
                    self.found += 1
                    yield number, found
                elif ahead is not None:
                    if pair not in ahead.tasks:
                        begin(pair, first=True)
                    seconds, found = ahead.take(pair)
                    self.seconds += seconds
                    yield number, found
                else:
                    spent, began, last = 0.0, time.perf_counter(), None
                    for last in shares_stream(
                        model, *pair, sampling=sampling, cancelled=cancelled, **options
                    ):
                        spent = time.perf_counter() - began
                        yield number, last
                    if last is not None:
                        keep(pair, (spent, last))

    # -- whose it is -----------------------------------------------------------------------

    def _made_by(self, model: Model) -> str | None:
        """Hash of what a model's pictures are made by, as it was when this job saw it first."""
        for known, by in self._models:
            if known is model:
                return by
        said = None
        if self._cache is not None:
            said = model.workers.facts.made_by if isinstance(model, Remote) else made_by(model)
        by = None if said is None else _hash(said)
        self._models.append((model, by))
        return by

    def _keeper(
        self, model: Model, runs: Sequence[Run], sampling: Sampling, options: Mapping[str, Any]
    ) -> _Keeper | None:
        by = self._made_by(model)
        if self._cache is None or by is None:
            return None
        decides = {"by": by, "sampling": sampling, "share": options.get("share", True)}
        cut = {name: options.get(name) for name in ("lean", "max_rows")}
        try:
            rows = _hash({"kind": "rows", **decides, **cut, "runs": list(runs)})
        except _NotPlain:
            return None
        return _Keeper(self, self._cache, _shelf(model), decides, rows)


def _shelf(model: Model) -> Shelf:
    label = model.name if model.lora is None else f"{model.name} with {model.lora.name}"
    return Shelf(hashlib.sha256(model.digest.encode()).hexdigest()[:16], label)


# -- calls ----------------------------------------------------------------------------------


@dataclass
class _Keeper:
    """A `generation.Keeper`. decides: what decides every call beside its rows. asked: the name
    under which the rows of a call are kept."""

    keeping: Keeping
    cache: Cache
    shelf: Shelf
    decides: Mapping[str, Any]
    asked: str

    def rows(self, measured: Callable[[], int]) -> int:
        kept = self.cache.get(self.shelf, self.asked, lambda said, _: int(said["rows"]))
        if kept is not None:
            return kept
        rows = measured()
        self.cache.put(self.shelf, self.asked, {"rows": rows}, {})
        return rows

    def _name(self, batch: Sequence[Run], wanted: Collection[Run]) -> str:
        places = [place for place, run in enumerate(batch) if run in wanted]
        return _hash({"kind": "call", **self.decides, "runs": list(batch), "wanted": places})

    def holds(self, batch: Sequence[Run], wanted: Collection[Run]) -> bool:
        """Whether that call is kept, which may not be whole."""
        return self.cache.holds(self.shelf, self._name(batch, wanted))

    def find(self, batch: Sequence[Run], wanted: Collection[Run]) -> Call | None:
        kept = self.cache.get(self.shelf, self._name(batch, wanted), partial(_call, batch))
        if kept is None:
            return None
        call, corrections = kept
        for control, values in zip(followed(batch), corrections, strict=True):
            control.corrections[:] = values
        self.keeping.seconds += call.seconds
        return call

    def keep(self, batch: Sequence[Run], wanted: Collection[Run], call: Call) -> None:
        images = None
        if call.images is not None:
            images = {batch.index(run): image for run, image in call.images.items()}
            if any(image.mode not in _MODES for image in images.values()):
                return
        said = {
            "images": None if images is None else list(images),
            "patching": asdict(call.patching),
            "seconds": call.seconds,
            "decoded": call.decoded,
            "corrections": [control.corrections for control in followed(batch)],
        }
        members = {f"{place}.png": _png(image) for place, image in (images or {}).items()}
        self.cache.put(self.shelf, self._name(batch, wanted), said, members)


def _call(
    batch: Sequence[Run], said: Mapping[str, Any], members: Mapping[str, bytes]
) -> tuple[Call, list[list[float]]]:
    """A call that was kept, and the corrections of the pictures that it followed."""
    images = None
    if said["images"] is not None:
        images = {batch[place]: _picture(members[f"{place}.png"]) for place in said["images"]}
    call = Call(images, Patching(**said["patching"]), float(said["seconds"]), int(said["decoded"]))
    corrections = said["corrections"]
    if len(corrections) != len(followed(batch)):
        raise ValueError("it followed other pictures")
    return call, corrections


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _picture(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        image.load()
        plain = Image.new(image.mode, image.size)  # as the pipeline gives it: of no file
        plain.paste(image)
        return plain


# -- by workers -----------------------------------------------------------------------------


@dataclass
class _Ahead:
    """Cells that workers make, some before it is their turn; what is left at the end of the block
    is forgotten. tasks: those begun and not taken yet."""

    keeping: Keeping
    workers: Workers
    cancelled: Callable[[], bool]
    tasks: dict[Hashable, Task] = field(default_factory=dict)

    def __enter__(self) -> _Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()

    @property
    def room(self) -> bool:
        """Whether another cell should be begun, so that no worker waits for one; not where many are
        done that wait for their turn, and take memory."""
        return not self.workers.full and len(self.tasks) < _AHEAD * self.workers.count

    def begin(self, key: Hashable, method: str, *arguments: Any, **options: Any) -> None:
        """Have a cell made (`Workers.begin`)."""
        self.tasks[key] = self.workers.begin(method, *arguments, **options)

    def take(self, key: Hashable) -> Any:
        """What a cell came to. The time that passes meanwhile does not count: what the worker took
        does."""
        began = time.perf_counter()
        found = self.workers.wait(self.tasks[key], self.cancelled)
        self.keeping.seconds -= time.perf_counter() - began
        del self.tasks[key]
        return found

    def forget(self) -> None:
        """Leave out what has not begun yet."""
        self.workers.forget(list(self.tasks.values()))
        self.tasks.clear()


@dataclass
class _Maker:
    """A `generation.Maker`."""

    ahead: _Ahead
    keeper: _Keeper | None
    sampling: Sampling
    asked: Asked | None
    share: bool

    def fits(self, rows: int) -> bool:
        return self.ahead.workers.fits(rows, self.sampling)

    def begin(self, calls: Iterator[Coming]) -> None:
        while self.ahead.room and (call := next(calls, None)) is not None:
            there = self.keeper is not None and self.keeper.holds(call.batch, call.wanted)
            if not there and not self.begun(call.batch):
                self._begin(call)

    def begun(self, batch: tuple[Run, ...]) -> bool:
        return batch in self.ahead.tasks

    def call(self, batch: tuple[Run, ...], wanted: frozenset[Run], decoded: int) -> Call:
        if not self.begun(batch):
            self._begin(Coming(batch, wanted, wanted), decoded, first=True)
        made: Made = self.ahead.take(batch)
        self.ahead.keeping.seconds += made.seconds
        if made.images is None:
            self.ahead.forget()  # what comes then is cut anew
        return _taken(batch, made)

    def _begin(self, call: Coming, decoded: int | None = None, first: bool = False) -> None:
        places = [place for place, run in enumerate(call.batch) if run in call.wanted]
        reads = None
        if self.asked is not None:
            times = self.asked.times
            again = [
                n for n in places if call.batch[n] in call.new for _ in range(times(call.batch[n]))
            ]
            if again:
                reads = Reads(self.asked.engine, self.asked.options, tuple(again))
        most = len(call.batch) if decoded is None else decoded
        self.ahead.begin(
            call.batch,
            "call",
            *(call.batch, places, self.sampling, most, self.share, reads),
            arrived=partial(self._arrived, call, reads),
            first=first,
        )

    def _arrived(self, asked: Coming, reads: Reads | None, made: Made) -> None:
        if made.images is None:
            return
        if self.keeper is not None:
            self.keeper.keep(asked.batch, asked.wanted, _taken(asked.batch, made))
        if made.readings is not None and reads is not None:
            pictures = [made.images[place] for place in reads.places]
            self.ahead.keeping.read_elsewhere(pictures, reads, made.readings, made.read_s)


def _taken(batch: Sequence[Run], made: Made) -> Call:
    """A call that a worker has made; notes the corrections of the pictures that it followed."""
    for control, values in zip(followed(batch), made.corrections, strict=True):
        control.corrections[:] = values
    images = None
    if made.images is not None:
        images = {batch[place]: image for place, image in made.images.items()}
    return Call(images, made.patching, made.seconds, made.decoded)


# -- readings and shares ---------------------------------------------------------------------


def _read_name(
    pictures: Sequence[Image.Image], engine: Mapping[str, str], options: Mapping[str, Any]
) -> str:
    digests = [
        hashlib.sha256(f"{one.mode} {one.size} ".encode() + one.tobytes()).hexdigest()
        for one in pictures
    ]
    asked = {"engine": engine, "options": options, "pictures": digests}
    return _hash({"kind": "readings", "by": read_by(), **asked})


def _said_of(readings: Sequence[Reading], seconds: float) -> dict[str, Any]:
    every = [
        {
            "text": one.text,
            "boxes": [
                {"text": b.text, "score": float(b.score), "polygon": b.polygon} for b in one.boxes
            ],
        }
        for one in readings
    ]
    return {"seconds": seconds, "readings": every}


def _readings(said: Mapping[str, Any], _members: object) -> tuple[float, list[Reading]]:
    found = []
    for one in said["readings"]:
        boxes = (
            Box(b["text"], b["score"], tuple((x, y) for x, y in b["polygon"])) for b in one["boxes"]
        )
        found.append(Reading(one["text"], tuple(boxes)))
    return float(said["seconds"]), found


def _packed_shares(seconds: float, shares: Shares) -> tuple[dict[str, Any], dict[str, bytes]]:
    members, steps = {}, []
    for number, step in enumerate(shares.steps):
        for layer, values in enumerate(step.layers):
            file = io.BytesIO()
            np.save(file, values, allow_pickle=False)
            members[f"{number}-{layer}.npy"] = file.getvalue()
        said = {name: getattr(step, name) for name in ("step", "points", "path", "gap", "change")}
        steps.append(said | {"reached": step.reached, "layers": len(step.layers)})
    said = {name: getattr(shares, name) for name in ("row_passes", "recorded_rows", "checkpointed")}
    tokens = [asdict(token) for token in shares.tokens]
    return {"seconds": seconds, "steps": steps, "tokens": tokens, "said": said}, members


def _shares(
    source: Run, target: Run, said: Mapping[str, Any], members: Mapping[str, bytes]
) -> tuple[float, Shares]:
    steps = []
    for number, step in enumerate(said["steps"]):
        layers = tuple(
            np.load(io.BytesIO(members[f"{number}-{layer}.npy"]), allow_pickle=False)
            for layer in range(step["layers"])
        )
        told: dict[str, Any] = {name: tuple(step[name]) for name in ("points", "path")}
        told |= {name: step[name] for name in ("step", "gap", "change", "reached")}
        steps.append(StepShares(layers=layers, **told))
    tokens = tuple(Token(**one) for one in said["tokens"])
    return float(said["seconds"]), Shares(source, target, tuple(steps), tokens, **said["said"])
