"""What all jobs share: the event, what is asked of a call, and how pictures are made and kept.

A job is a plan (named runs, in order), what it decides between its rounds, and the body of its
document. `Job` does the rest: it generates runs through the pipeline's own call, reads the
pictures, keeps both by key and on disk (`keeping`), counts what it costs, and tells of it after
each call.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, ClassVar

from PIL import Image

from textloc.checkpoints.loading import Model
from textloc.errors import LayerError, PromptError
from textloc.jobs.cluster import environment
from textloc.jobs.keeping import Asked, Keeping
from textloc.pictures import reference
from textloc.prompts import Pair
from textloc.reading import ocr
from textloc.reading.ocr import Reading
from textloc.results.gallery import Gallery
from textloc.results.identity import request_id
from textloc.results.result import Result
from textloc.runs import Run, Sampling


@dataclass(frozen=True, repr=False)
class Event(Result):
    """How a job stands: a `Result` that is complete as far as it goes.

    done, total: pictures finished and expected; `total` may grow. message: what is being done.
    found: how many were kept from before (`keeping`).
    """

    done: int = 0
    total: int = 0
    message: str = ""
    found: int = 0


def check_seeds(seeds: Sequence[int]) -> None:
    """Check the seeds of a job.

    Raises:
        PromptError: none, a negative one, or one twice.
    """
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds)
    if not seeds or not whole or len(set(seeds)) != len(seeds):
        raise PromptError("give one or more different seeds, whole numbers such as 0,1")
    if min(seeds) < 0 or max(seeds) >= 2**63:
        raise PromptError("seeds are 0 or greater, and less than 2 to the power of 63")


def check_asked(pairs: Sequence[Pair], seeds: Sequence[int], again: bool = False) -> None:
    """Check what can be checked before a checkpoint is loaded; `again`: whether a pair may be there
    twice, as for two pictures.

    Raises:
        PromptError: no pair, one pair twice, no seed, a negative seed, or one seed twice.
    """
    if not pairs:
        raise PromptError("give at least one prompt pair")
    first: dict[tuple[str, str], int] = {}
    for number, pair in enumerate(pairs, 1):
        before = first.setdefault((pair.source, pair.target), number)
        if before != number and not again:
            raise PromptError(
                f"pair {number} is pair {before} again ({pair.source} → {pair.target}) and would "
                "count twice; give every pair once"
            )
    check_seeds(seeds)


def check_methods(methods: Sequence[str], known: Mapping[str, Any]) -> tuple[str, ...]:
    """The methods asked for, each once.

    Raises:
        PromptError: one is not in `known`.
    """
    methods = (methods,) if isinstance(methods, str) else methods
    if tuple(methods) == ("all",):
        return tuple(known)
    if unknown := [name for name in methods if name not in known]:
        raise PromptError(f"there is no method {unknown[0]!r}; there are {', '.join(known)}")
    return tuple(dict.fromkeys(methods))


def asked_sampling(
    model: Model,
    steps: int | None,
    guidance: float | None,
    start_step: int = 0,
    image: Image.Image | None = None,
    mask: Image.Image | None = None,
    strength: float | None = None,
) -> Sampling:
    """The checkpoint's usual call with these steps and guidance, None leaving its own, and a
    picture that it is given beside every prompt, with a mask and strength (`pictures.reference`).

    Raises:
        LayerError: no step, or a start step that does not lie in 0 to the number of steps.
        PromptError: a picture, mask or strength where the pipeline takes none, or none where it
            needs one.
    """
    usual = model.defaults
    sampling = replace(
        usual,
        steps=usual.steps if steps is None else steps,
        guidance=usual.guidance if guidance is None else guidance,
    )
    for name, value in (("number of steps", sampling.steps), ("start step", start_step)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise LayerError(f"the {name} {value!r} is no whole number; give one such as 20")
    most = model.pipe.scheduler.config.get("num_train_timesteps", 1000)
    if not 1 <= sampling.steps <= most:
        raise LayerError(f"{sampling.steps} denoising steps are not within 1 to {most}")
    scale = sampling.guidance
    if not isinstance(scale, Real) or isinstance(scale, bool) or not math.isfinite(scale):
        raise LayerError(f"the guidance {scale!r} is no number; give one such as 5.0")
    if not isinstance(scale, int | float):  # one of NumPy's
        sampling = replace(sampling, guidance=float(scale))
    if not 0 <= start_step <= sampling.steps:
        raise LayerError(
            f"start step {start_step} does not lie in 0 to {sampling.steps} denoising steps"
        )
    if image is None and (mask is not None or strength is not None):
        raise PromptError("a mask and a strength are for a picture: give one, or leave them out")
    for name, given in (("picture", image), ("mask", mask)):
        if given is not None and not isinstance(given, Image.Image):
            raise PromptError(f"the {name} is a PIL image, such as PIL.Image.open('mine.png')")
    if image is not None:
        sampling = replace(sampling, reference=reference(image, sampling, mask, strength))
        model.family.arguments(model.pipe, [Run("")], sampling)  # raises where it takes none
    return sampling


def checked(model: Model, pairs: Sequence[Pair], sampling: Sampling) -> list[Pair]:
    """The pairs as the checkpoint is given them (`Model.taken`), every prompt checked
    (`Model.check_prompt`).

    Raises:
        PromptError: one is too long for the checkpoint, or it cannot spell it.
    """
    taken = [
        replace(pair, source=model.taken(pair.source), target=model.taken(pair.target))
        for pair in pairs
    ]
    for pair in taken:
        model.check_prompt(pair.source, sampling)
        model.check_prompt(pair.target, sampling)
    return taken


@dataclass(kw_only=True)
class Job(ABC):
    """One job in progress. Pictures are named by their keys, `p<pair>-s<seed>-<label>`.

    model, sampling: of every call. engine: of OCR, None for a job that reads nothing. seeds: of
    the noise. load_s: seconds that loading took. chunk_rows: rows a call at most. on_step: called
    with (steps done, steps) within each call. cancelled: asked between steps; True stops with
    `Cancelled`.
    """

    SCHEMA: ClassVar[str]
    NAME: ClassVar[str]
    """What the request calls the job."""
    LEAN: ClassVar[bool] = True
    """Whether runs that only give their text are left out of the pictures."""

    model: Model
    sampling: Sampling
    engine: str | None
    seeds: tuple[int, ...]
    load_s: float = 0.0
    chunk_rows: int | None = None
    on_step: Callable[[int, int], None] | None = None
    cancelled: Callable[[], bool] = lambda: False

    began: float = field(default_factory=time.perf_counter, init=False)
    keeping: Keeping = field(default_factory=Keeping, init=False)
    images: Gallery = field(default_factory=Gallery, init=False)
    readings: dict[str, Reading] = field(default_factory=dict, init=False)
    costs: dict[str, dict[str, float]] = field(default_factory=dict, init=False)
    message: str = field(default="", init=False)
    total: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        seconds = ("load_s", "generate_s", "read_s", "total_s")
        self.timing: dict[str, float] = dict.fromkeys((*seconds, "rows", "denoiser_rows"), 0)
        self.timing["load_s"] = self.load_s
        reader = None if self.engine is None else ocr.describe(self.engine)
        self.environment = environment(self.model, reader)

    # -- what a job says of itself ---------------------------------------------------------

    @abstractmethod
    def plan(self) -> Iterator[Event]:
        """The work, in order; yields what `generate` yields."""

    @abstractmethod
    def request(self) -> dict[str, Any]:
        """What was asked beside the sampling, canonically."""

    @abstractmethod
    def body(self, complete: bool) -> dict[str, Any]:
        """What the document says beside its head, as far as the job goes."""

    def shown(self) -> Mapping[str, Any]:
        """The pictures that an event holds."""
        return self.images.snapshot()

    # -- the work --------------------------------------------------------------------------

    def run(self) -> Iterator[Event]:
        """The whole job; the last event is complete."""
        yield from self.plan()
        self.timing["total_s"] = self.load_s + self.keeping.clock() - self.began
        self.message = "done"
        yield self.event(complete=True)

    def places(self, count: int) -> list[tuple[int, int]]:
        """(pair or prompt, seed) of every picture of one kind, for `count` pairs or prompts."""
        return [(place, seed) for place in range(count) for seed in self.seeds]

    def generate(
        self, what: str, runs: Mapping[str, Run], model: Model | None = None
    ) -> Iterator[Event]:
        """Generate and read the pictures that are not there yet; an event after each call.

        what: the part of the job that they are part of, by which costs are counted. model: that of
        these runs, where it is not the job's.
        """
        missing = {key: run for key, run in runs.items() if key not in self.images}
        self.total = max(self.total, len(self.images) + len(missing))
        keys: dict[Run, list[str]] = {}
        for key, run in missing.items():
            keys.setdefault(run, []).append(key)
        caseless = self.model.spelling is not None
        assert self.engine is not None
        asked = Asked(
            ocr.describe(self.engine), {"capitals": caseless}, lambda run: len(keys.get(run, ()))
        )
        cost = self.costs.setdefault(what, {"images": 0, "seconds": 0.0, "denoiser_rows": 0})
        for chunk in self.keeping.generate(
            model or self.model,
            list(keys),
            self.sampling,
            reads=asked,
            lean=self.LEAN,
            max_rows=self.chunk_rows,
            on_step=self.on_step,
            cancelled=self.cancelled,
        ):
            new = {key: image for run, image in chunk.images.items() for key in keys.get(run, ())}
            self.keeping.found += len(new) if chunk.kept else 0
            cost["images"] += len(chunk.images)
            cost["seconds"] += chunk.seconds
            cost["denoiser_rows"] += chunk.patching.rows
            self.timing["generate_s"] += chunk.seconds
            self.timing["rows"] += len(chunk.images)
            self.timing["denoiser_rows"] += chunk.patching.rows
            began = self.keeping.clock()
            found = self.keeping.read(list(new.values()), self.engine, capitals=caseless)
            self.timing["read_s"] += self.keeping.clock() - began
            self.images.update(new)
            self.readings.update(dict(zip(new, found, strict=True)))
            yield self.event(complete=False)

    # -- the document ----------------------------------------------------------------------

    def event(self, complete: bool) -> Event:
        """How the job stands."""
        return self.told(complete, len(self.images))

    def told(self, complete: bool, done: int) -> Event:
        """The event at which so much is done."""
        how = (done, self.total, self.message, self.keeping.found)
        return Event(self.document(complete), self.shown(), *how)

    def asked(self) -> dict[str, Any]:
        """What was asked, canonically: its hash is the result's identity."""
        return {
            "job": self.NAME,
            "checkpoint": self.model.identity,
            "seeds": list(self.seeds),
            "steps": self.sampling.steps,
            "guidance": float(self.sampling.guidance),
            "height": self.sampling.height,
            "width": self.sampling.width,
            **(
                {} if self.sampling.reference is None else {"image": self.sampling.reference.digest}
            ),
            **({} if self.engine is None else {"ocr": ocr.describe(self.engine)}),
            "dtype": self.model.dtype,
            **self.request(),
        }

    def document(self, complete: bool) -> dict[str, Any]:
        """The result so far: the head that all jobs share, and the body of this one."""
        request = self.asked()
        return {
            "schema": self.SCHEMA,
            "id": request_id(request),
            "complete": complete,
            "request": request,
            "checkpoint": {
                **request["checkpoint"],
                "pipeline": type(self.model.pipe).__name__,
                "denoiser": type(self.model.denoiser).__name__,
                "parameters": self.model.parameters,
                "text_layers": len(self.model.layers),
                "scheduler": type(self.model.pipe.scheduler).__name__,
                **self.model.switched_off,
            },
            "environment": self.environment,
            **self.body(complete),
            "costs": {name: dict(cost) for name, cost in self.costs.items()},
            "timing": dict(self.timing),
        }
