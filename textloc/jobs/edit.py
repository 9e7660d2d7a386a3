"""Edit the words of a picture: patch the localized layers with the target prompt (paper, 4.2).

1. Generate the source pictures, or take a picture of one's own, which is followed (`inversion`).
2. Where the start step is to be found, look by bisection for the latest from which the words still
   change: before it the edit *is* the source picture, so the later, the more of it stays.
3. Generate the edits: the source's runs with the text keys and values of the chosen layers taken
   from the target's run.
4. Make the same edit by the methods asked for (`baselines`), on the same seeds.
5. Read everything by OCR and compare it with the source pictures.

Partial results are yielded after every call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from textloc.baselines import BASELINES
from textloc.errors import LayerError, PromptError
from textloc.jobs import edit_measures
from textloc.jobs.localize import Event, asked_sampling, check_asked, check_prompts
from textloc.layers import check_layers
from textloc.models import checkpoints
from textloc.models.checkpoints import Model
from textloc.patching import inversion
from textloc.patching.generation import generate
from textloc.pictures import fit
from textloc.prompts import Pair
from textloc.reading import ocr
from textloc.reading.ocr import Reading
from textloc.results import provenance
from textloc.results.identity import request_id
from textloc.runs import Patch, Run, Sampling

SCHEMA = "textloc.edit/1"
LOCALIZED = "localized"
"""Name of the method that is not a baseline: patching the localized layers."""

SHARE = 0.9
"""A start step changes the words if it has this share of what step 0 changes: of the words that are
exactly the target's, and of the OCR F1 to the target above that of the source pictures. (As in
`localize`: F1 alone takes a word with most of its letters for written, and few pictures by exact
words alone are a matter of chance.)"""

PROBES = 12
"""Pictures by which the start step is looked for, at most."""


def edit_stream(
    model: str | Path | Model,
    pairs: Sequence[Pair],
    layers: Sequence[int],
    *,
    layers_from: str = "given",
    start_step: int | None = None,
    seeds: Sequence[int] = (0,),
    methods: Sequence[str] = (),
    pictures: Sequence[Image.Image] | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    ocr: str = "auto",
    on_step: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Change the words of pictures.

    Args:
        model: known name, folder, Hub name, or a loaded `Model`.
        pairs: source and target prompts (`prompts.parse_pair`).
        layers: text layers to patch.
        layers_from: where they come from, for the record.
        start_step: patch from this denoising step on, from 0; None looks for the latest that still
            changes the words.
        seeds: noise seeds; each pair is edited with each.
        methods: names of `baselines.BASELINES` to compare with.
        pictures: one's own, one a pair, which the source prompt describes; cut to the call's shape.
        steps, guidance: None takes the checkpoint's usual call.
        ocr: engine, or `auto`.
        on_step: called with (steps done, steps) within each call.
        cancelled: asked between steps; True stops with `Cancelled`.

    Yields:
        An event after each call; the last has `document["complete"]` true.

    Raises:
        PromptError, LayerError, CheckpointError, OCRError, OutOfMemoryError, Cancelled.
    """
    check_asked(pairs, seeds)
    if unknown := [name for name in methods if name not in BASELINES]:
        raise PromptError(f"there is no method {unknown[0]!r}; there are {', '.join(BASELINES)}")
    if pictures is not None and len(pictures) != len(pairs):
        raise PromptError(
            f"there are {len(pictures)} pictures and {len(pairs)} prompt pairs; give one a pair"
        )
    began = time.perf_counter()
    loaded = checkpoints.load(model)
    sampling = asked_sampling(loaded, steps, guidance, start_step or 0)
    chosen = tuple(sorted(set(layers)))
    check_layers(chosen, len(loaded.layers))
    if not chosen:
        raise LayerError("give at least one layer to patch")
    check_prompts(loaded, pairs, sampling)
    own = tuple(fit(picture, sampling) for picture in pictures or ())
    job = _Edit(
        loaded,
        tuple(pairs),
        chosen,
        layers_from,
        start_step,
        tuple(seeds),
        tuple(dict.fromkeys(methods)),
        own,
        sampling,
        ocr,
    )
    job.timing["load_s"] = time.perf_counter() - began
    return job.run(on_step, cancelled)


@dataclass
class _Edit:
    """One job in progress. Pictures are named by their keys in the stored result."""

    model: Model
    pairs: tuple[Pair, ...]
    layers: tuple[int, ...]
    layers_from: str
    asked_start: int | None
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    pictures: tuple[Image.Image, ...]
    sampling: Sampling
    engine: str
    began: float = field(default_factory=time.perf_counter)
    images: dict[str, Image.Image] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)
    start_step: int | None = None
    curve: dict[int, list[str]] = field(default_factory=dict)
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    message: str = ""
    total: int = 0

    def __post_init__(self) -> None:
        self.timing = dict.fromkeys(("load_s", "generate_s", "read_s", "total_s"), 0.0)
        self._environment = provenance.describe(self.model.device, ocr.describe(self.engine))
        self._on_step: Callable[[int, int], None] | None = None
        self._cancelled: Callable[[], bool] = lambda: False
        self._measured: dict[str, dict[str, float | None]] = {}
        self._sources = {
            (pair, seed): self._source_run(pair, seed)
            for pair in range(len(self.pairs))
            for seed in self.seeds
        }

    # -- the order of the work -------------------------------------------------------------

    def run(
        self, on_step: Callable[[int, int], None] | None, cancelled: Callable[[], bool]
    ) -> Iterator[Event]:
        self._on_step, self._cancelled = on_step, cancelled
        places = [(pair, seed) for pair in range(len(self.pairs)) for seed in self.seeds]
        self.message = "generating the source pictures"
        sources = {self._key(*p, "source"): self._sources[p] for p in places}
        yield from self._generate("source", sources)
        if self.asked_start is None:
            self.message = "looking for the latest start step"
            yield from self._find_start(places[:: -(-len(places) // PROBES)])
        else:
            self.start_step = self.asked_start
        self.message = "editing"
        assert self.start_step is not None
        yield from self._patched(self.start_step, places, LOCALIZED)
        for name in self.methods:
            self.message = f"the same by {BASELINES[name].TITLE.lower()}"
            yield from self._generate(
                name, {self._key(*p, name): self._other(name, *p) for p in places}
            )
        self.timing["total_s"] = self.timing["load_s"] + time.perf_counter() - self.began
        self.message = "done"
        yield self._event(complete=True)

    def _find_start(self, places: Sequence[tuple[int, int]]) -> Iterator[Event]:
        """Bisection: step 0 changes the words, and after the last step nothing changes."""

        def score(name: str, keys: Sequence[str]) -> float:
            found = edit_measures.means([self._measure(key) for key in keys], range(len(keys)))[
                name
            ]
            return found[0] or 0.0

        def changed(start: int) -> dict[str, float]:
            exact = score("exact_target", self.curve[start])
            return {"exact": exact, "f1": score("ocr_f1_target", self.curve[start]) - floor}

        floor = score("ocr_f1_target", [self._key(*place, "source") for place in places])
        yield from self._probe(0, places)
        low, high = 0, self.sampling.steps
        least = {name: SHARE * value for name, value in changed(0).items()}
        while high - low > 1 and least["exact"] > 0:
            middle = (low + high) // 2
            yield from self._probe(middle, places)
            enough = all(value >= least[name] for name, value in changed(middle).items())
            low, high = (middle, high) if enough else (low, middle)
        self.start_step = low

    def _probe(self, start: int, places: Sequence[tuple[int, int]]) -> Iterator[Event]:
        yield from self._patched(start, places, "start")
        self.curve[start] = [self._key(*place, _label(start)) for place in places]

    def _patched(self, start: int, places: Sequence[tuple[int, int]], what: str) -> Iterator[Event]:
        runs = {}
        for place in places:
            donor = self._other("prompt-swap", *place)
            patch = Patch(self.layers, donor, start=start)
            runs[self._key(*place, _label(start))] = self._sources[place].patched(patch)
        yield from self._generate(what, runs)

    # -- runs and pictures -----------------------------------------------------------------

    def _key(self, pair: int, seed: int, label: str) -> str:
        return f"p{pair}-s{seed}-{label}"

    def _source_run(self, pair: int, seed: int) -> Run:
        source = Run(self.pairs[pair].source, seed)
        if not self.pictures:
            return source
        return inversion.follow(self.pictures[pair], source, self.sampling)

    def _followed(self, pair: int, seed: int) -> inversion.FromPicture:
        control = self._sources[pair, seed].control
        assert isinstance(control, inversion.FromPicture)
        return control

    def _other(self, name: str, pair: int, seed: int) -> Run:
        """The run of a method beside the source."""
        read = self.readings[self._key(pair, seed, "source")]
        size = self.images[self._key(pair, seed, "source")].size
        return BASELINES[name].run(self._sources[pair, seed], self.pairs[pair].target, read, size)

    def _generate(self, what: str, runs: Mapping[str, Run]) -> Iterator[Event]:
        """Generate and read the pictures that are not there yet; `what` they are part of."""
        missing = {key: run for key, run in runs.items() if key not in self.images}
        self.total += len(missing)
        keys: dict[Run, list[str]] = {}
        for key, run in missing.items():
            keys.setdefault(run, []).append(key)
        cost = self.costs.setdefault(what, {"images": 0, "seconds": 0.0, "denoiser_rows": 0})
        for chunk in generate(
            self.model,
            list(keys),
            self.sampling,
            lean=True,
            on_step=self._on_step,
            cancelled=self._cancelled,
        ):
            new = {key: image for run, image in chunk.images.items() for key in keys[run]}
            cost["images"] += len(chunk.images)
            cost["seconds"] += chunk.seconds
            cost["denoiser_rows"] += chunk.patching.rows
            self.timing["generate_s"] += chunk.seconds
            began = time.perf_counter()
            readings = ocr.read(list(new.values()), self.engine)
            self.timing["read_s"] += time.perf_counter() - began
            self.images.update(new)
            self.readings.update(dict(zip(new, readings, strict=True)))
            yield self._event(complete=False)

    def _measure(self, key: str) -> dict[str, float | None]:
        if key not in self._measured:
            pair, seed, _ = key.split("-", 2)
            source = f"{pair}-{seed}-source"
            self._measured[key] = edit_measures.compare(
                self.pairs[int(pair[1:])],
                self.images[key],
                self.readings[key],
                self.images[source],
                self.readings[source],
            )
        return self._measured[key]

    # -- the document ----------------------------------------------------------------------

    def _event(self, complete: bool) -> Event:
        count = len(self.images)
        return Event(self._document(complete), dict(self.images), count, self.total, self.message)

    def _request(self) -> dict[str, Any]:
        """What was asked, canonically: its hash is the result's identity."""
        return {
            "job": "edit",
            "checkpoint": self.model.identity,
            "pairs": [vars(pair) for pair in self.pairs],
            "pictures": [
                self._followed(pair, self.seeds[0]).digest for pair in range(len(self.pictures))
            ],
            "layers": list(self.layers),
            "start_step": self.asked_start,
            "seeds": list(self.seeds),
            "methods": list(self.methods),
            "steps": self.sampling.steps,
            "guidance": float(self.sampling.guidance),
            "height": self.sampling.height,
            "width": self.sampling.width,
            "ocr": ocr.describe(self.engine),
            "dtype": self.model.dtype,
        }

    def _document(self, complete: bool) -> dict[str, Any]:
        request = self._request()
        weights = self.model.kv_parameters(self.layers)
        start = self.start_step
        return {
            "schema": SCHEMA,
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
            "environment": self._environment,
            "layers": list(self.layers),
            "layers_from": self.layers_from,
            "kv_parameters": weights,
            "fraction_of_parameters": weights / self.model.parameters,
            "start_step": start,
            "curve": [self._point(step) for step in sorted(self.curve)],
            "sources": [
                {"pair": pair, "seed": seed, "read": self.readings[key].text, "image": key}
                for pair, seed, key in self._places("source")
            ],
            "edits": [] if start is None else self._edits(_label(start)),
            "methods": [self._method(name) for name in self.methods],
            "scores": None if start is None else self._scores(_label(start)),
            "costs": {name: dict(cost) for name, cost in self.costs.items()},
            "inversions": self._inversions(),
            "timing": dict(self.timing),
        }

    def _inversions(self) -> list[dict[str, Any]]:
        """How well one's own pictures are reproduced."""
        found = []
        for pair, seed, key in self._places("source") if self.pictures else ():
            corrections = self._followed(pair, seed).corrections
            measured = edit_measures.reproduction(
                self.pictures[pair], self.images[key], corrections
            )
            found.append(
                {"pair": pair, "seed": seed, **measured, "poor": inversion.poor(corrections)}
            )
        return found

    def _places(self, label: str) -> list[tuple[int, int, str]]:
        every = [(p, s, self._key(p, s, label)) for p in range(len(self.pairs)) for s in self.seeds]
        return [place for place in every if place[2] in self.images]

    def _edits(self, label: str) -> list[dict[str, Any]]:
        return [
            {
                "pair": pair,
                "seed": seed,
                "read_source": self.readings[self._key(pair, seed, "source")].text,
                "read_edit": self.readings[key].text,
                "source": self._key(pair, seed, "source"),
                "image": key,
                **self._measure(key),
            }
            for pair, seed, key in self._places(label)
        ]

    def _scores(self, label: str) -> dict[str, list[float | None]] | None:
        places = self._places(label)
        rows = [self._measure(key) for _, _, key in places]
        return edit_measures.means(rows, [pair for pair, _, _ in places]) if rows else None

    def _method(self, name: str) -> dict[str, Any]:
        about = BASELINES[name]
        return {
            "name": name,
            "title": about.TITLE,
            "paper": about.PAPER,
            "edits": self._edits(name),
            "scores": self._scores(name),
        }

    def _point(self, start: int) -> dict[str, Any]:
        keys = self.curve[start]
        rows = [self._measure(key) for key in keys]
        return {
            "start_step": start,
            "scores": edit_measures.means(rows, [int(key.split("-")[0][1:]) for key in keys]),
            "edits": [{"read_edit": self.readings[key].text, "image": key} for key in keys],
        }


def _label(start: int) -> str:
    return f"start{start:02d}"
