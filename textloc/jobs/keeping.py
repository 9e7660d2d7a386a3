"""What a job keeps of its finished calls, readings and shares, and finds again (`results.cache`).

1. A *cell* is one call of the pipeline with all its rows: what a row comes to depends a little on
   the rows beside it, so it is found only for the same batch. Its name is the hash of all that
   decides it: the runs with their patches, the sampling, and what the model is `made_by`.
2. How many rows a call has is kept too. Memory that is free today does not change how a job that
   was begun yesterday is cut into calls.
3. A *reading* cell is what an engine read in the pictures of a call, named by their pixels; one of
   *shares* is those of a prompt pair and seed.
4. Where something is found, the seconds that it took then count as if they were spent now.

Nothing is kept of a model that is not identified (`made_by`), or of a run whose control is not
plain data.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from textloc.checkpoints.loading import Model
from textloc.errors import Cancelled
from textloc.jobs.made_by import made_by, read_by
from textloc.patching import generation
from textloc.patching.attribution import Shares, StepShares, shares_stream
from textloc.patching.generation import Call, Chunk
from textloc.patching.hooks import Patching
from textloc.patching.inversion import FromPicture
from textloc.patching.tokens import Token
from textloc.reading import ocr
from textloc.reading.ocr import Box, Reading
from textloc.results import cache
from textloc.results.cache import Cache, Shelf
from textloc.runs import Run, Sampling

_MODES = ("1", "L", "LA", "RGB", "RGBA")
"""Pictures that a PNG holds as they are."""
_READINGS = Shelf("readings", "(readings)")


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

    def clock(self) -> float:
        """Seconds since some time, those counted that what was found once took."""
        return time.perf_counter() + self.seconds

    def generate(
        self, model: Model, runs: Sequence[Run], sampling: Sampling, **options: Any
    ) -> Iterator[Chunk]:
        """`generation.generate`, of which finished calls are found again."""
        keeper = self._keeper(model, runs, sampling, options)
        return generation.generate(model, runs, sampling, keeper=keeper, **options)

    def read(self, pictures: Sequence[Image.Image], engine: str, **options: Any) -> list[Reading]:
        """`ocr.read`, of which readings are found again."""
        if self._cache is None or not pictures:
            return ocr.read(pictures, engine, **options)
        digests = [
            hashlib.sha256(f"{one.mode} {one.size} ".encode() + one.tobytes()).hexdigest()
            for one in pictures
        ]
        asked = {"engine": ocr.describe(engine), "options": options, "pictures": digests}
        name = _hash({"kind": "readings", "by": read_by(), **asked})
        kept = self._cache.get(_READINGS, name, _readings)
        if kept is not None:
            seconds, found = kept
            self.seconds += seconds
            return found
        began = time.perf_counter()
        found = ocr.read(pictures, engine, **options)
        self._cache.put(_READINGS, name, _said_of(found, time.perf_counter() - began), {})
        return found

    def shares(
        self,
        model: Model,
        source: Run,
        target: Run,
        *,
        sampling: Sampling,
        cancelled: Callable[[], bool] = lambda: False,
        **options: Any,
    ) -> Iterator[Shares]:
        """`attribution.shares_stream`; shares that are found come at once."""
        by = self._made_by(model)
        if self._cache is None or by is None:
            yield from shares_stream(
                model, source, target, sampling=sampling, cancelled=cancelled, **options
            )
            return
        asked = {"source": source, "target": target, "sampling": sampling, "options": options}
        shelf, name = _shelf(model), _hash({"kind": "shares", "by": by, **asked})
        kept = self._cache.get(shelf, name, partial(_shares, source, target))
        if kept is not None:
            if cancelled():
                raise Cancelled("stopped; what was finished before is kept")
            seconds, found = kept
            self.seconds += seconds
            self.found += 1
            yield found
            return
        spent, began, last = 0.0, time.perf_counter(), None
        for last in shares_stream(
            model, source, target, sampling=sampling, cancelled=cancelled, **options
        ):
            spent = time.perf_counter() - began
            yield last
        if last is not None:
            self._cache.put(shelf, name, *_packed_shares(last, spent))

    # -- whose it is -----------------------------------------------------------------------

    def _made_by(self, model: Model) -> str | None:
        """Hash of what a model's pictures are made by, as it was when this job saw it first."""
        for known, by in self._models:
            if known is model:
                return by
        said = None if self._cache is None else made_by(model)
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

    def find(self, batch: Sequence[Run], wanted: Collection[Run]) -> Call | None:
        kept = self.cache.get(self.shelf, self._name(batch, wanted), partial(_call, batch))
        if kept is None:
            return None
        call, corrections = kept
        for control, values in zip(_followed(batch), corrections, strict=True):
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
            "corrections": [control.corrections for control in _followed(batch)],
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
    if len(corrections) != len(_followed(batch)):
        raise ValueError("it followed other pictures")
    return call, corrections


def _followed(batch: Sequence[Run]) -> list[FromPicture]:
    """The pictures that rows of a call follow, each once; the call notes its corrections there."""
    controls = [run.control for run in batch if isinstance(run.control, FromPicture)]
    return list(dict.fromkeys(controls))


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


# -- readings and shares ---------------------------------------------------------------------


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


def _packed_shares(shares: Shares, seconds: float) -> tuple[dict[str, Any], dict[str, bytes]]:
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
