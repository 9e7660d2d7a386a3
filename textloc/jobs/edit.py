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

import operator
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from textloc.baselines import BASELINES
from textloc.checkpoints import loading
from textloc.checkpoints.latents import check_steps
from textloc.checkpoints.loading import Model
from textloc.errors import LayerError, PromptError
from textloc.jobs import comparing, edit_measures
from textloc.jobs.job import (
    Event,
    Job,
    asked_sampling,
    check_asked,
    check_methods,
    checked,
)
from textloc.layers import check_layers
from textloc.patching import inversion
from textloc.pictures import fit
from textloc.prompts import Pair
from textloc.runs import Patch, Run

SCHEMA = "textloc.edit/1"
LOCALIZED = "localized"
"""Name of the method that is not a baseline: patching the localized layers."""

SHARE = 0.9
"""A start step changes the words if it has this share of what step 0 changes: of the words that are
exactly the target's, and of the OCR F1 to the target above that of the source pictures, each for
words as long as those before and for others. (As in `localize`: F1 alone takes a word with most of
its letters for written, and few pictures by exact words alone are a matter of chance.)"""

PROBES = 48
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
    check_asked(pairs, seeds, again=pictures is not None)
    asked = check_methods(methods, BASELINES)
    if pictures is not None and len(pictures) != len(pairs):
        raise PromptError(
            f"there are {len(pictures)} pictures and {len(pairs)} prompt pairs; give one a pair"
        )
    began = time.perf_counter()
    loaded = loading.load(model)
    sampling = asked_sampling(loaded, steps, guidance, start_step or 0)
    chosen = tuple(sorted(set(layers)))
    check_layers(chosen, len(loaded.layers))
    if not chosen:
        raise LayerError("give at least one layer to patch")
    pairs = checked(loaded, pairs, sampling)
    if pictures:
        check_steps(loaded.pipe.scheduler, sampling.steps)
    own = tuple(fit(picture, sampling) for picture in pictures or ())
    return _Edit(
        model=loaded,
        sampling=sampling,
        engine=ocr,
        seeds=tuple(seeds),
        load_s=time.perf_counter() - began,
        on_step=on_step,
        cancelled=cancelled,
        pairs=tuple(pairs),
        layers=chosen,
        layers_from=layers_from,
        asked_start=start_step,
        methods=asked,
        pictures=own,
        given=tuple(pictures or ()),
    ).run()


@dataclass(kw_only=True)
class _Edit(Job):
    """One edit in progress."""

    SCHEMA = SCHEMA
    NAME = "edit"

    pairs: tuple[Pair, ...]
    layers: tuple[int, ...]
    layers_from: str
    asked_start: int | None
    methods: tuple[str, ...]
    pictures: tuple[Image.Image, ...]
    given: tuple[Image.Image, ...]
    start_step: int | None = None
    start_found: bool | None = None
    curve: dict[int, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._measured: dict[str, dict[str, float | None]] = {}
        self.errors = comparing.refused(
            {name: BASELINES[name] for name in self.methods}, self.model, self.sampling
        )
        self._means: dict[tuple[str, ...], dict[str, list[float | None]]] = {}
        self._sources = {place: self._source_run(*place) for place in self.places(len(self.pairs))}

    # -- the order of the work -------------------------------------------------------------

    def plan(self) -> Iterator[Event]:
        places = self.places(len(self.pairs))
        self.message = "generating the source pictures"
        sources = {self._key(*place, "source"): self._sources[place] for place in places}
        yield from self.generate("source", sources)
        if self.asked_start is None:
            self.message = "looking for the latest start step"
            yield from self._find_start(places[:: -(-len(places) // PROBES)])
        else:
            self.start_step = self.asked_start
        self.message = "editing"
        assert self.start_step is not None
        yield from self._patched(self.start_step, places, LOCALIZED)
        yield from comparing.compared(
            self,
            {name: BASELINES[name] for name in self.methods},
            self.errors,
            lambda name: {self._key(*place, name): self._other(name, *place) for place in places},
        )

    def _find_start(self, places: Sequence[tuple[int, int]]) -> Iterator[Event]:
        """Bisection: step 0 changes the words, and after the last step nothing changes. Words as
        long as those before and longer or shorter ones must each keep their share, for where the
        letters stand is settled before what they are."""
        kinds: dict[bool, list[tuple[int, int]]] = {}
        for place in places:
            kinds.setdefault(self.pairs[place[0]].one_length, []).append(place)

        def score(name: str, keys: Sequence[str]) -> float:
            rows = [self._measure(key) for key in keys]
            return edit_measures.means(rows, range(len(keys)))[name][0] or 0.0

        def changed(start: int) -> list[float]:
            """Of each kind the share of exact words, and of each the F1 above the source's."""
            keys = [[self._key(*place, _label(start)) for place in some] for some in kinds.values()]
            above = zip(keys, floors, strict=True)
            return [
                *(score("exact_target", some) for some in keys),
                *(score("ocr_f1_target", some) - floor for some, floor in above),
            ]

        floors = [
            score("ocr_f1_target", [self._key(*place, "source") for place in some])
            for some in kinds.values()
        ]
        yield from self._probe(0, places)
        low, high = 0, self.sampling.steps
        whole = changed(0)
        found = any(value > 0 for value in whole[: len(kinds)])
        least = [SHARE * value for value in whole]
        while high - low > 1 and found:
            middle = (low + high) // 2
            yield from self._probe(middle, places)
            enough = all(map(operator.ge, changed(middle), least))
            low, high = (middle, high) if enough else (low, middle)
        self.start_step, self.start_found = low, found

    def _probe(self, start: int, places: Sequence[tuple[int, int]]) -> Iterator[Event]:
        yield from self._patched(start, places, "start")
        self.curve[start] = [self._key(*place, _label(start)) for place in places]

    def _patched(self, start: int, places: Sequence[tuple[int, int]], what: str) -> Iterator[Event]:
        runs = {}
        for place in places:
            donor = self._other("prompt-swap", *place)
            patch = Patch(self.layers, donor, start=start)
            runs[self._key(*place, _label(start))] = self._sources[place].patched(patch)
        yield from self.generate(what, runs)

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

    def request(self) -> dict[str, Any]:
        followed = range(len(self.pictures))
        return {
            "pairs": [vars(pair) for pair in self.pairs],
            "pictures": [self._followed(pair, self.seeds[0]).digest for pair in followed],
            "layers": list(self.layers),
            "start_step": self.asked_start,
            "methods": list(self.methods),
        }

    def body(self, complete: bool) -> dict[str, Any]:
        weights = self.model.kv_parameters(self.layers)
        start = self.start_step
        return {
            "layers": list(self.layers),
            "layers_from": self.layers_from,
            "kv_parameters": weights,
            "fraction_of_parameters": weights / self.model.parameters,
            "start_step": start,
            "start_found": self.start_found,
            "curve": [self._point(step) for step in sorted(self.curve)],
            "sources": [
                {"pair": pair, "seed": seed, "read": self.readings[key].text, "image": key}
                for pair, seed, key in self._made("source")
            ],
            "edits": [] if start is None else self._edits(_label(start)),
            "methods": [self._method(name) for name in self.methods],
            "scores": None if start is None else self._scores(_label(start)),
            "inversions": self._inversions(),
        }

    def _inversions(self) -> list[dict[str, Any]]:
        """How well one's own pictures are reproduced."""
        found = []
        for pair, seed, key in self._made("source") if self.pictures else ():
            corrections = self._followed(pair, seed).corrections
            made = self.images[key]  # larger than the call's own where there is a second stage
            call = replace(self.sampling, height=made.height, width=made.width)
            picture = fit(self.given[pair], call)
            measured = edit_measures.reproduction(picture, made, corrections)
            found.append(
                {"pair": pair, "seed": seed, **measured, "poor": inversion.poor(corrections)}
            )
        return found

    def _made(self, label: str) -> list[tuple[int, int, str]]:
        """(pair, seed, key) of the pictures with this label that are there."""
        every = [(*place, self._key(*place, label)) for place in self.places(len(self.pairs))]
        return [one for one in every if one[2] in self.images]

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
            for pair, seed, key in self._made(label)
        ]

    def _scores(self, label: str) -> dict[str, list[float | None]] | None:
        keys = [key for _, _, key in self._made(label)]
        return self._mean(keys) if keys else None

    def _mean(self, keys: Sequence[str]) -> dict[str, list[float | None]]:
        """Means over pictures, looked for again only where pictures came."""
        if (named := tuple(keys)) not in self._means:
            rows = [self._measure(key) for key in keys]
            pairs = [int(key.split("-")[0][1:]) for key in keys]
            self._means[named] = edit_measures.means(rows, pairs)
        return self._means[named]

    def _method(self, name: str) -> dict[str, Any]:
        about = BASELINES[name]
        return {
            "name": name,
            "title": about.TITLE,
            "paper": about.PAPER,
            "edits": self._edits(name),
            "scores": self._scores(name),
            "error": self.errors.get(name),
        }

    def _point(self, start: int) -> dict[str, Any]:
        keys = self.curve[start]
        return {
            "start_step": start,
            "scores": self._mean(keys),
            "edits": [{"read_edit": self.readings[key].text, "image": key} for key in keys],
        }


def _label(start: int) -> str:
    return f"start{start:02d}"
