"""Pictures of prompts that ask for toxic words, without these words (paper, section 4.3).

1. Look for toxic words in every prompt and make a benign prompt of each that has any.
2. Generate: a clean prompt as it is; of a toxic one the run whose localized layers read the benign
   prompt, from the same noise. In joint attention the benign run goes along as a row of its own.
3. Where asked for, read the pictures by OCR; where a toxic word still reads, fall back.
4. Where asked for, generate the toxic prompt as it is and by other methods (`baselines`), and
   measure everything beside it.

Toxic words are masked in what is told, unless they are to be revealed, and nothing is stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from textloc import toxicity
from textloc.baselines import SUPPRESSING, Baseline
from textloc.checkpoints import loading
from textloc.checkpoints.loading import Model
from textloc.errors import PromptError
from textloc.jobs import comparing, edit_measures
from textloc.jobs.job import Event, Job, asked_sampling, check_methods, check_seeds
from textloc.layers import check_layers
from textloc.prompts import Pair
from textloc.reading import metrics
from textloc.reading.ocr import Reading
from textloc.runs import Patch, Run
from textloc.toxicity import rewrite

SCHEMA = "textloc.suppress/1"
PLAIN, GUARDED = "unguarded", "guarded"

Fallback = Literal["refuse", "prompt-swap", "more-layers"]
FALLBACKS: tuple[Fallback, ...] = ("refuse", "prompt-swap", "more-layers")
"""What is done where a toxic word still reads."""


@dataclass(frozen=True)
class Asked:
    """One prompt. findings: what is toxic in it, nothing for a clean one. benign: what is read in
    its place, the prompt itself for a clean one."""

    prompt: str
    benign: str
    findings: tuple[toxicity.Finding, ...]

    @property
    def pair(self) -> Pair:
        """Toxic and benign text as source and target, to measure by."""
        texts = []
        for prompt in (self.prompt, self.benign):
            spans = toxicity.rendered(prompt)
            texts.append(" ".join(prompt[start:stop] for start, stop in spans) or prompt)
        return Pair(self.prompt, self.benign, *texts)


def look(
    prompts: Sequence[str],
    replacements: Mapping[str, str] | None = None,
    model: rewrite.Model | None = None,
    quoted: Sequence[str] = (),
    **detect: Any,
) -> list[Asked]:
    """Look for toxic words in prompts and rewrite them.

    Args:
        prompts: of pictures. replacements, model: as `toxicity.rewrite.benign`. quoted: as
            `toxicity.find_in_prompt`. detect: options of `toxicity.find`.

    Raises:
        ToxicityError: a prompt that cannot be rewritten, or an unusable detector.
    """
    found = []
    for prompt in prompts:
        findings = toxicity.find_in_prompt(prompt, quoted=quoted, **detect)
        benign = prompt
        if findings:
            benign = rewrite.rewrite(
                *(prompt, findings),
                replacements=replacements,
                model=model,
                quoted=quoted,
                **detect,
            )
        found.append(Asked(prompt, benign, findings))
    return found


def suppress_stream(
    model: str | Path | Model,
    prompts: Sequence[str],
    layers: Sequence[int],
    *,
    layers_from: str = "given",
    replacements: Mapping[str, str] | None = None,
    words: Sequence[str] = (),
    allowed: Sequence[str] = (),
    detector: str = "lexicon",
    languages: Sequence[str] | None = None,
    strictness: str = "usual",
    seeds: Sequence[int] = (0,),
    start_step: int = 0,
    check: bool = False,
    fallback: Fallback = "refuse",
    unguarded: bool = False,
    methods: Sequence[str] = (),
    rivals: Mapping[str, Baseline] | None = None,
    reveal: bool = False,
    steps: int | None = None,
    guidance: float | None = None,
    ocr: str = "auto",
    on_step: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Generate prompts without the toxic words that they ask for.

    Args:
        model: known name, folder, Hub name, or a loaded `Model`.
        prompts: clean ones come out as without a guard.
        layers: text layers that read the benign prompt. layers_from: where they come from.
        replacements: toxic text → what is written in its place.
        words, allowed, detector, languages, strictness: what counts as toxic (`toxicity.find`).
        seeds: of the noise; each prompt is generated with each.
        start_step: the benign prompt is read from this denoising step on, from 0.
        check: read what comes out; where a toxic word still reads, do `fallback` with it:
            `refuse` withholds the picture, `more-layers` patches all layers and swaps the prompt
            if that fails, `prompt-swap` generates the benign prompt.
        unguarded: also generate the prompts as they are, and measure beside that.
        methods: names of `baselines.SUPPRESSING` to compare with; they need `unguarded`.
        rivals: more methods to compare with, by names of their own; those that are `always` on
            generate clean prompts, too.
        reveal: whether toxic words stand in the document as they are.
        steps, guidance: None takes the checkpoint's usual call.
        ocr: engine, or `auto`.
        on_step, cancelled: as `localize.localize_stream`.

    Yields:
        An event after each call; the last has `document["complete"]` true.

    Raises:
        PromptError, LayerError, CheckpointError, OCRError, ToxicityError, OutOfMemoryError,
        Cancelled.
    """
    if not prompts:
        raise PromptError("give at least one prompt")
    check_seeds(seeds)
    compared = check_methods(methods, SUPPRESSING)
    if fallback not in FALLBACKS:
        raise PromptError(f"there is no fallback {fallback!r}; there are {', '.join(FALLBACKS)}")
    detect: dict[str, Any] = {
        "detector": detector,
        "words": toxicity.several(words),
        "allowed": toxicity.several(allowed),
        "languages": None if languages is None else toxicity.several(languages),
        "strictness": strictness,
    }
    toxicity.find("", **detect)  # what cannot be asked for is told of before anything is loaded
    began = time.perf_counter()
    loaded = loading.load(model)
    prompts = [loaded.taken(prompt) for prompt in prompts]
    asked = look(prompts, replacements, quoted=loaded.family.QUOTED, **detect)
    check_layers(layers, len(loaded.layers))
    sampling = asked_sampling(loaded, steps, guidance, start_step)
    return _Suppress(
        model=loaded,
        sampling=sampling,
        engine=ocr,
        seeds=tuple(seeds),
        load_s=time.perf_counter() - began,
        on_step=on_step,
        cancelled=cancelled,
        prompts=tuple(asked),
        layers=tuple(sorted(set(layers))),
        layers_from=layers_from,
        start_step=start_step,
        fallback=fallback if check else None,
        unguarded=unguarded or bool(methods) or bool(rivals),
        methods={**{name: SUPPRESSING[name] for name in compared}, **(rivals or {})},
        detect=detect,
        reveal=reveal,
    ).run()


@dataclass(kw_only=True)
class _Suppress(Job):
    """One suppression in progress. Pictures are named `p<prompt>-s<seed>-<method>`."""

    SCHEMA = SCHEMA
    NAME = "suppress"

    prompts: tuple[Asked, ...]
    layers: tuple[int, ...]
    layers_from: str
    start_step: int
    fallback: Fallback | None
    unguarded: bool
    methods: dict[str, Baseline]
    detect: dict[str, Any]
    reveal: bool
    fallbacks: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.errors = comparing.refused(self.methods, self.model, self.sampling)

    def plan(self) -> Iterator[Event]:
        places = self.places(len(self.prompts))
        self.message = "generating"
        guarded = {_key(*place, GUARDED): self._guarded(*place, self.layers) for place in places}
        yield from self.generate(GUARDED, guarded)
        if self.fallback is not None:
            self.message = "falling back where a toxic word still reads"
            yield from self._fall_back([place for place in places if self._toxic(*place)])
        if self.unguarded:
            self.message = "generating the prompts as they are"
            plain = {_key(*place, PLAIN): self._plain(*place) for place in places}
            yield from self.generate(PLAIN, plain)
        yield from comparing.compared(
            self,
            self.methods,
            self.errors,
            lambda name: {
                _key(*place, name): self._other(name, *place)
                for place in places
                if self._toxic(*place) or getattr(self.methods[name], "always", False)
            },
        )

    # -- runs ------------------------------------------------------------------------------

    def _toxic(self, place: int, _seed: int) -> bool:
        return bool(self.prompts[place].findings)

    def _plain(self, place: int, seed: int) -> Run:
        return Run(self.prompts[place].prompt, seed)

    def _guarded(self, place: int, seed: int, layers: Sequence[int]) -> Run:
        plain, asked = self._plain(place, seed), self.prompts[place]
        if not asked.findings:
            return plain
        donor = Run(asked.benign, seed)
        if self.model.upscaler is not None:
            plain = replace(plain, enlarged_by=asked.benign)
        return plain.patched(Patch(tuple(layers), donor, start=self.start_step))

    def _other(self, name: str, place: int, seed: int) -> Run:
        key = _key(place, seed, GUARDED)
        size = self.images[key].size
        benign = self.prompts[place].benign
        return self.methods[name].run(self._plain(place, seed), benign, self.readings[key], size)

    def _fall_back(self, places: Sequence[tuple[int, int]]) -> Iterator[Event]:
        """Generate what still reads toxic again, or withhold it."""
        every = tuple(range(len(self.model.layers)))
        kinds: dict[str, Callable[[int, int], Run]] = {}
        if self.fallback == "more-layers":
            kinds["more-layers"] = lambda p, s: self._guarded(p, s, every)
        if self.fallback != "refuse":
            kinds["prompt-swap"] = lambda p, s: Run(self.prompts[p].benign, s)
        left = [place for place in places if self._still_reads(_key(*place, GUARDED), place[0])]
        for name, make in kinds.items():
            for place in left:
                self.images.pop(_key(*place, GUARDED))
                self.fallbacks[_key(*place, GUARDED)] = name
            yield from self.generate(name, {_key(*place, GUARDED): make(*place) for place in left})
            left = [place for place in left if self._still_reads(_key(*place, GUARDED), place[0])]
        for place in left:
            self.refused.add(_key(*place, GUARDED))
            self.fallbacks[_key(*place, GUARDED)] = "refuse"

    def _still_reads(self, key: str, place: int) -> bool:
        text, asked = self.readings[key].text, self.prompts[place]
        return toxicity.is_toxic(text, **self.detect) or any(
            toxicity.same(text, finding.text, asked.pair.target_text) for finding in asked.findings
        )

    # -- what is told ----------------------------------------------------------------------

    def shown(self) -> Mapping[str, Image.Image]:
        return self.images.snapshot().without(self.refused)

    def _told(self, text: str, findings: Sequence[toxicity.Finding] | None = None) -> str:
        return text if self.reveal else toxicity.masked(text, findings, **self.detect)

    def request(self) -> dict[str, Any]:
        return {
            "prompts": [self._told(asked.prompt, asked.findings) for asked in self.prompts],
            "layers": list(self.layers),
            "start_step": self.start_step,
            "detector": self.detect["detector"],
            "strictness": self.detect["strictness"],
            "fallback": self.fallback,
            "methods": list(self.methods),
        }

    def body(self, complete: bool) -> dict[str, Any]:
        methods = []
        for name, about in self.methods.items():
            told = {"name": name, "title": about.TITLE, "paper": about.PAPER}
            error = self.errors.get(name)
            made = self._pictures(name, complete and error is None)
            methods.append({**told, **made, "error": error})
        return {
            "layers": list(self.layers),
            "layers_from": self.layers_from,
            "prompts": [
                {
                    "prompt": self._told(asked.prompt, asked.findings),
                    "benign": asked.benign,
                    "toxic": bool(asked.findings),
                    "findings": [
                        {
                            "start": one.start,
                            "stop": one.stop,
                            "text": one.text if self.reveal else toxicity.veiled(one.text),
                            "reason": one.reason,
                            "score": one.score,
                            "detector": one.detector,
                            "severity": one.severity,
                        }
                        for one in asked.findings
                    ],
                }
                for asked in self.prompts
            ],
            "guarded": self._pictures(GUARDED, complete),
            "unguarded": self._pictures(PLAIN, complete) if self.unguarded else None,
            "methods": methods,
        }

    def _pictures(self, name: str, complete: bool) -> dict[str, Any]:
        """The pictures of a method with their measures; at the end the means over toxic prompts."""
        pictures, rows, places = [], [], []
        for place in range(len(self.prompts)):
            for seed in self.seeds:
                key = _key(place, seed, name)
                if key not in self.images:
                    continue
                withheld = key in self.refused
                values = {"toxic": 0.0} if withheld else self._measure(key, place, seed)
                pictures.append(
                    {
                        "prompt": place,
                        "seed": seed,
                        "read": self._told(self.readings[key].text),
                        "fallback": self.fallbacks.get(key),
                        "image": None if withheld else key,
                        **values,
                    }
                )
                if self.prompts[place].findings:
                    rows.append(values)
                    places.append(place)
        scores = mean_scores(rows, places) if complete else None
        return {"pictures": pictures, "scores": scores}

    def _measure(self, key: str, place: int, seed: int) -> dict[str, Any]:
        plain = _key(place, seed, PLAIN)
        beside = (self.images[plain], self.readings[plain]) if plain in self.images else None
        made = (self.images[key], self.readings[key])
        return measured(self.prompts[place], made, beside, **self.detect)


def measured(
    asked: Asked,
    made: tuple[Image.Image, Reading],
    beside: tuple[Image.Image, Reading] | None = None,
    **detect: Any,
) -> dict[str, Any]:
    """The measures of one picture and what is read in it.

    Returns:
        `toxic` (0 or 1: whether what is read is), `window_levenshtein` (to the toxic text, of the
        likest part of what is read), and `edit_measures.compare` with the unguarded picture
        `beside`.
    """
    image, read = made
    found: dict[str, Any] = {
        "toxic": float(toxicity.is_toxic(read.text, **detect)),
        "window_levenshtein": float(
            metrics.best_window_levenshtein(read.text, asked.pair.source_text)
        ),
    }
    if beside is not None:
        found |= edit_measures.compare(asked.pair, image, read, *beside)
    return found


def mean_scores(
    rows: Sequence[dict[str, Any]], places: Sequence[int]
) -> dict[str, list[float | None]] | None:
    """Means of `measured` with 95 % bootstrap intervals, `[mean, low, high]`, over prompts, whose
    numbers `places` are; over pictures where there is one prompt. A picture that was withheld has
    `toxic` 0 alone: no word of it is seen, and no picture; `withheld` is the share of those."""
    if not rows:
        return None
    groups = list(places) if len(set(places)) > 1 else list(range(len(rows)))
    shown = [(row, g) for row, g in zip(rows, groups, strict=True) if "window_levenshtein" in row]
    found: dict[str, list[float | None]] = {
        "toxic": _interval([row["toxic"] for row in rows], groups),
        "withheld": _interval([float("window_levenshtein" not in row) for row in rows], groups),
        "window_levenshtein": _interval(
            [row["window_levenshtein"] for row, _ in shown], [g for _, g in shown]
        ),
    }
    if all("ssim" in row for row, _ in shown):
        found |= edit_measures.means([row for row, _ in shown], [g for _, g in shown])
    return found


def _interval(values: Sequence[float], groups: Sequence[int]) -> list[float | None]:
    return list(metrics.bootstrap_interval(values, groups, 1000)) if values else [None] * 3


def _key(place: int, seed: int, name: str) -> str:
    return f"p{place}-s{seed}-{name}"
