"""LoRA on the localized layers beside LoRA on others: spelling, fidelity, variety, time.

The paper's figures 5, 7, 8 and 9, with controls that it lacks: every attention (what its release
calls all layers), every text layer, and as many other text layers as are localized, drawn anew
for each seed. All are trained on the same samples with the same noise for the same number of steps.
Everything is kept in one folder run by run, so an interrupted comparison goes on where it was.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from textloc.checkpoints.loading import Model
from textloc.checkpoints.loras import ABOUT
from textloc.errors import CheckpointError, PromptError
from textloc.files import new_folder
from textloc.finetuning import adapter, fidelity, progress
from textloc.finetuning.encoded import Filter
from textloc.finetuning.settings import Settings
from textloc.finetuning.training import Progress, Reports, drawn, finetune_stream
from textloc.prompts import quoted_text
from textloc.reading import metrics, ocr
from textloc.results import provenance
from textloc.results.store import request_id

SCHEMA = "textloc.lora/1"
VARIETY = "variety"
"""Group of prompts that fidelity and variety are measured on; the words of others are read."""

TITLES = {
    "base": "Base",
    "localized": "Localized layers",
    "text": "Every text layer",
    "attention": "Every attention",
    "random": "Other text layers",
}
SHOWN = 12
"""Prompts whose pictures are kept with the result."""

_EXAMINED = "examined-{:07d}"

_REFERENCE = 10_000  # first seed of the pictures of the base that others are compared with


@dataclass(frozen=True)
class Asked:
    """One prompt to draw. group: what is asked of it. text: what it asks to be written."""

    group: str
    prompt: str
    text: str


def read_prompts(path: Path) -> list[Asked]:
    """Prompts of a file: a group and a prompt a line, tab-separated; `#` begins a comment.

    Raises:
        PromptError: the file cannot be read, or a line is not so (with its number).
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"cannot read the prompts {path}: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        group, tab, prompt = line.partition("\t")
        try:
            if not tab:
                raise PromptError("a line is a group and a prompt, parted by a tab")
            found.append(Asked(group.strip(), prompt.strip(), quoted_text(prompt)))
        except PromptError as error:
            raise PromptError(f"{path}, line {number}: {error}") from error
    groups = {asked.group for asked in found}
    if VARIETY not in groups or len(groups) < 2:
        raise PromptError(f"{path} needs prompts to read and prompts of the group {VARIETY!r}")
    return found


def choices(model: Model, localized: Sequence[int], seeds: Sequence[int]) -> dict[str, Any]:
    """Layers by choice, one set a seed; those of `random` are not localized, where there are enough
    others. None is every attention."""
    every = range(len(model.layers))
    others = [layer for layer in every if layer not in localized]
    pool = others if len(others) >= len(localized) else list(every)
    drawn_sets = [tuple(sorted(random.Random(seed).sample(pool, len(localized)))) for seed in seeds]
    return {
        "localized": [tuple(localized)] * len(seeds),
        "text": [tuple(every)] * len(seeds),
        "attention": [None] * len(seeds),
        "random": drawn_sets,
    }


@dataclass
class Bench:
    """One comparison, in a folder.

    localized: layers. settings: what all runs share; their layers and seed are set here. prompts:
    of `read_prompts`. pictures: of each variety prompt. points: validations of a run.
    """

    model: Model
    place: str
    localized: tuple[int, ...]
    settings: Settings
    seeds: tuple[int, ...]
    prompts: list[Asked]
    out: Path
    which: Filter
    pictures: int = 2
    points: int = 3
    engine: str = "auto"
    only: tuple[str, ...] = tuple(TITLES)[1:]

    def run(self) -> Iterator[tuple[str, Progress]]:
        """Train and measure what is not there yet; yields (name of the run, how it stands)."""
        for name, layers, seed in self._runs():
            folder = self.out / f"{name}-{seed}"
            if (folder / ABOUT).is_file():
                continue
            asked = replace(self.settings, layers=layers, seed=seed)
            reports = Reports(
                every=max(1, asked.steps // 30),
                validate=max(1, asked.steps // self.points),
                engine=self.engine,
                tracker=None,
                examine=partial(self._examine, folder),
            )
            for now in finetune_stream(
                self.model,
                self.place,
                asked,
                folder,
                which=self.which,
                reports=reports,
                cache=self.out / "cache",
                resume=True,
            ):
                yield folder.name, now

    def _runs(self) -> Iterator[tuple[str, tuple[int, ...] | None, int]]:
        """Seed by seed, so that what is there of an interrupted comparison can be compared."""
        layers = choices(self.model, self.localized, self.seeds)
        for number, seed in enumerate(self.seeds):
            for name in self.only:
                yield name, layers[name][number], seed

    # -- measuring -------------------------------------------------------------------------

    def _examine(self, folder: Path, model: Model, step: int) -> dict[str, float]:
        """Draw all prompts, read the words, compare the variety with the base's; rows and pictures
        are kept in `examined-<step>`. An untrained LoRA changes nothing: step 0 of all runs is
        looked at once."""
        place = folder / _EXAMINED.format(step)
        known = None if step else next(self.out.glob(f"*/{place.name}"), None)
        with new_folder(place) as new:
            if known is None:
                self._look(new, model)
            else:
                shutil.copytree(known, new, dirs_exist_ok=True)
        found = json.loads((place / "rows.json").read_text(encoding="utf-8"))
        said = {
            f"exact {group}": value for group, value in _by_group(found["rows"], _exact).items()
        }
        return said | {name: float(np.mean(found[name])) for name in ("precision", "recall")}

    def _look(self, folder: Path, model: Model) -> None:
        """Draw and read everything once, into `rows.json` and pictures."""
        sampling = adapter.size(model.defaults, self.settings.resolution)
        worded = [one for one in self.prompts if one.group != VARIETY]
        pictures = drawn(model, [(n, one.prompt) for n, one in enumerate(worded)], sampling)
        read = [reading.text for reading in ocr.read(pictures, self.engine)]
        rows = [
            {"group": one.group, "prompt": one.prompt, "text": one.text, "read": said}
            for one, said in zip(worded, read, strict=True)
        ]
        reference = self._reference(model)
        generated, what = fidelity.features(self._varied(model, 0), model)
        inside = {
            "precision": fidelity.within(reference, generated),
            "recall": fidelity.within(generated, reference),
        }
        try:
            clip: list[float] | None = metrics.clip_t(pictures, [one.prompt for one in worded])
        except CheckpointError:
            clip = None
        found = {
            "rows": rows,
            "clip_t": clip,
            "features": what,
            **{name: [int(one) for one in value] for name, value in inside.items()},
        }
        (folder / "rows.json").write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
        for place in _shown(worded):
            pictures[place].save(folder / f"p{place}.png")

    def _varied(self, model: Model, first: int) -> list[Image.Image]:
        """The pictures of the variety prompts, with seeds from `first` on."""
        sampling = adapter.size(model.defaults, self.settings.resolution)
        prompts = [one.prompt for one in self.prompts if one.group == VARIETY]
        asked = [
            (first + number * self.pictures + again, prompt)
            for number, prompt in enumerate(prompts)
            for again in range(self.pictures)
        ]
        return drawn(model, asked, sampling)

    def _reference(self, model: Model) -> fidelity.Features:
        """Features of the base's pictures with other seeds, made once."""
        from textloc.checkpoints.loras import bare

        path = self.out / "reference.npy"
        if not path.is_file():
            with bare(model):
                found, _ = fidelity.features(self._varied(model, _REFERENCE), model)
            np.save(path, found)
        known: fidelity.Features = np.load(path)
        return known

    # -- the result ------------------------------------------------------------------------

    def result(self) -> tuple[dict[str, Any], dict[str, Image.Image]]:
        """The document of what is finished, and its pictures by key.

        Raises:
            PromptError: no run is.
        """
        model, images = self.model, dict[str, Image.Image]()
        groups = list(dict.fromkeys(one.group for one in self.prompts if one.group != VARIETY))
        runs: dict[str, list[dict[str, Any]]] = {}
        features = ""
        for name, layers, seed in self._runs():
            folder = self.out / f"{name}-{seed}"
            if not (folder / ABOUT).is_file():
                continue
            log = progress.read(folder)
            looks = sorted(folder.glob("examined-*"))
            examined = {
                int(look.name.partition("-")[2]): json.loads(
                    (look / "rows.json").read_text(encoding="utf-8")
                )
                for look in looks
            }
            points = [
                point
                | {
                    f"letters {group}": value
                    for group, value in _by_group(examined[point["step"]]["rows"], _near).items()
                }
                for point in log
                if point["kind"] == "validate" and point["step"] in examined
            ]
            ends = list(examined.values())
            for which, look, rows in (
                ("base", looks[0], ends[0]),
                (name, looks[-1], ends[-1]),
            ):
                if which == "base" and "base" in runs:
                    continue
                rows = dict(rows)
                features = rows.pop("features")
                if seed == self.seeds[0]:
                    for path in look.glob("p*.png"):
                        with Image.open(path) as opened:
                            images[f"{path.stem}-s0-{which}"] = opened.convert("RGB")
                runs.setdefault(which, []).append(
                    {
                        "seed": seed,
                        "layers": None if layers is None else list(layers),
                        "rows": rows,
                        "log": [] if which == "base" else log,
                        "points": [] if which == "base" else points,
                    }
                )
        if not runs:
            raise PromptError(f"no run in {self.out} is finished")
        request = {
            "job": "lora",
            "checkpoint": model.identity,
            "data": self.place,
            "settings": {
                k: v for k, v in self.settings.described().items() if k not in ("layers", "seed")
            },
            "localized": list(self.localized),
            "choices": [name for name in runs if name != "base"],
            "seeds": list(self.seeds),
            "prompts": [{"group": one.group, "prompt": one.prompt} for one in self.prompts],
            "pictures": self.pictures,
            "neighbours": fidelity.K,
            "ocr": ocr.describe(self.engine),
        }
        document = {
            "schema": SCHEMA,
            "id": request_id(request),
            "complete": True,
            "request": request,
            "checkpoint": {
                **model.identity,
                "parameters": model.parameters,
                "text_layers": len(model.layers),
                "dtype": model.dtype,
            },
            "environment": provenance.describe(model.device, ocr.describe(self.engine)),
            "features": features,
            "groups": groups,
            "layers": list(self.localized),
            "choices": [self._choice(name, found, groups) for name, found in runs.items()],
            "pictures": self._pictures(images),
        }
        return document, images

    def _choice(self, name: str, runs: list[dict[str, Any]], groups: list[str]) -> dict[str, Any]:
        """One choice over its runs: scores with 95 % intervals over prompts, curves, speed.

        exact: share read exactly. characters: 1 - normalised Levenshtein distance. ocr_f1: as the
        paper's.
        """
        rows = [row for run in runs for row in run["rows"]["rows"]]
        scores: dict[str, Any] = {}
        for group in groups:
            of_group = [row for row in rows if row["group"] == group]
            prompts = [row["prompt"] for row in of_group]
            exact = [_exact(row) for row in of_group]
            both = [
                metrics.ocr_precision_recall_f1(row["read"], row["text"])[:2] for row in of_group
            ]
            near = [_near(row) for row in of_group]
            scores[group] = {
                "characters": list(metrics.bootstrap_interval(near, prompts)),
                "exact": list(metrics.bootstrap_interval(exact, prompts)),
                "ocr_f1": list(metrics.bootstrap_interval(both, prompts, statistic=_f1)),
            }
        spread = {}
        for what in ("precision", "recall"):
            values = [value for run in runs for value in run["rows"][what]]
            places = [place for run in runs for place in range(len(run["rows"][what]))]
            spread[what] = list(metrics.bootstrap_interval(values, places))
        clip = [value for run in runs for value in run["rows"]["clip_t"] or []]
        trained = [line for run in runs for line in run["log"] if line["kind"] == "train"]
        return {
            "name": name,
            "title": TITLES[name],
            "layers": [run["layers"] for run in runs] if name != "base" else [],
            "parameters": self._parameters(runs[0]["layers"]) if name != "base" else 0,
            "scores": scores,
            **spread,
            "clip_t": float(np.mean(clip)) if clip else None,
            "samples_per_second": _median(trained, "samples_per_second"),
            "memory_gb": max((line["memory_gb"] for line in trained), default=None),
            "curves": [
                {"seed": run["seed"], "points": run["points"]} for run in runs if run["points"]
            ],
        }

    def _parameters(self, layers: list[int] | None) -> int:
        """Parameters of the LoRA on these layers: rank times the widths of each projection."""
        present = dict(self.model.denoiser.named_modules())
        names = adapter.modules(self.model, layers, self.settings.targets)
        return sum(
            self.settings.rank * (present[name].in_features + present[name].out_features)
            for name in names
        )

    def _pictures(self, images: dict[str, Image.Image]) -> list[dict[str, Any]]:
        """What is shown: a prompt with the key of each choice's picture."""
        worded = [one for one in self.prompts if one.group != VARIETY]
        return [
            {
                "group": worded[place].group,
                "prompt": worded[place].prompt,
                "by_choice": [
                    {"choice": name, "image": f"p{place}-s0-{name}"}
                    for name in TITLES
                    if f"p{place}-s0-{name}" in images
                ],
            }
            for place in _shown(worded)
        ]


def _shown(worded: Sequence[Asked]) -> list[int]:
    """Places of the prompts whose pictures are kept: the first of each group, as many of each."""
    groups = list(dict.fromkeys(one.group for one in worded))
    each = max(1, SHOWN // len(groups))
    return [
        place
        for group in groups
        for place in [n for n, one in enumerate(worded) if one.group == group][:each]
    ]


def _exact(row: Mapping[str, str]) -> float:
    """1 where it was read exactly, else 0."""
    return float(metrics.exact_match(row["read"], row["text"]))


def _near(row: Mapping[str, str]) -> float:
    """Letters right: 1 - normalised Levenshtein distance."""
    read, text = metrics.fold(row["read"]), metrics.fold(row["text"])
    return 1 - metrics.levenshtein_normalised(read, text)


def _by_group(
    rows: Sequence[Mapping[str, str]], score: Callable[[Mapping[str, str]], float]
) -> dict[str, float]:
    """Means of a score by group."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["group"], []).append(score(row))
    return {group: float(np.mean(values)) for group, values in found.items()}


def _f1(means: Any) -> Any:
    total = means.sum(-1)
    return 2 * means.prod(-1) / np.where(total > 0, total, 1.0)


def _median(lines: Sequence[dict[str, Any]], name: str) -> float | None:
    return float(np.median([line[name] for line in lines])) if lines else None


def table(document: dict[str, Any]) -> str:
    """The comparison for a terminal, with 95 % intervals over prompts (pictures, of variety)."""
    groups = document["groups"]
    request = document["request"]
    lines = [
        f"{request['checkpoint']['name']} on {request['data']}: {request['settings']['steps']} "
        f"steps of {request['settings']['batch']}, seeds {', '.join(map(str, request['seeds']))}",
        "",
        "  ".join(
            [f"{'LoRA on':18}", f"{'weights':>9}"]
            + [f"{group[:24]:>24}" for group in groups]
            + [f"{name:>17}" for name in ("precision", "recall")]
            + [f"{'CLIP-T':>7}", f"{'samples/s':>9}", f"{'GiB':>5}"]
        ),
    ]
    for choice in document["choices"]:
        cells = [
            f"{_cell(choice['scores'][group]['exact'])} · "
            f"{choice['scores'][group]['characters'][0]:.2f}"
            for group in groups
        ]
        cells += [_cell(choice[name]) for name in ("precision", "recall")]
        lines.append(
            "  ".join(
                [f"{choice['title']:18}", f"{choice['parameters']:>9,}"]
                + [f"{cell:>24}" for cell in cells[: len(groups)]]
                + [f"{cell:>17}" for cell in cells[len(groups) :]]
                + [
                    _number(choice["clip_t"], 7, 3),
                    _number(choice["samples_per_second"], 9, 1),
                    _number(choice["memory_gb"], 5, 1),
                ]
            )
        )
    return "\n".join(
        [
            *lines,
            "",
            "Words: share read exactly · letters right (1 - normalised Levenshtein distance).",
            "Precision (fidelity) and recall (variety): to the base's pictures with other seeds,",
            f"k = {request['neighbours']}; features: {document['features']}.",
        ]
    )


def _cell(value: Sequence[float | None]) -> str:
    mean, low, high = value
    if mean is None:
        return "–"
    return f"{mean:.2f}" if low is None else f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def _number(value: float | None, width: int, digits: int) -> str:
    return f"{'–':>{width}}" if value is None else f"{value:{width}.{digits}f}"
