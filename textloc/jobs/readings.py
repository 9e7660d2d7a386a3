"""The pictures of a localization, what was read in them, and their scores.

Pictures have keys: `p0-s1-layer09` is pair 0 with seed 1 and layer 9 patched. A *set* is a tuple of
layers, `()` for none, or one of the references `source`, `target` and `all`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from textloc.prompts import Pair
from textloc.reading import metrics
from textloc.reading.ocr import Reading, text_mask
from textloc.runs import Patch, Run

Set = tuple[int, ...] | str
_RESAMPLES = 1000
_MARGIN = 8  # of the longer side, around the text: longer words grow beyond it


@dataclass
class Readings:
    """Pictures and readings so far.

    pairs, seeds: what is run. n_layers: text layers of the model. images, read: pictures and what
    was read in each, by key; they grow while the job goes on.
    """

    pairs: tuple[Pair, ...]
    seeds: tuple[int, ...]
    n_layers: int
    images: Mapping[str, Image.Image]
    read: Mapping[str, Reading]
    _scores_of: dict[str, dict[str, float]] = field(default_factory=dict)
    _effects: dict[tuple[str, ...], tuple[float | None, ...]] = field(default_factory=dict)

    def key(self, what: Set, pair: int, seed: int) -> str:
        """Image key; one picture has one key, whatever it is asked for as."""
        if isinstance(what, tuple):
            if not what:
                what = "source"
            elif len(what) == self.n_layers:
                what = "all"
            elif len(what) == 1:
                what = f"layer{what[0]:02d}"
            else:
                what = "set-" + "_".join(map(str, what))
        return f"p{pair}-s{seed}-{what}"

    def run(self, what: Set, pair: int, seed: int, start: int) -> Run:
        """What to generate for a set, patched from denoising step `start` on."""
        source, target = Run(self.pairs[pair].source, seed), Run(self.pairs[pair].target, seed)
        if what == "target":
            return target
        if what == "source" or not what:
            return source
        layers = tuple(range(self.n_layers)) if isinstance(what, str) else what
        return source.patched(Patch(layers, target, start=start))

    def _keys(self, what: Set, pairs: Sequence[int]) -> list[tuple[int, str]]:
        """(pair, image key) of every finished picture of a set."""
        found = [(p, s, self.key(what, p, s)) for p in pairs for s in self.seeds]
        return [(p, key) for p, _s, key in found if key in self.read]

    def _measured(self, pair: int, key: str) -> dict[str, float]:
        """Scores of one picture; those beside the source picture once that is there."""
        if key in self._scores_of:
            return self._scores_of[key]
        text, asked = self.read[key].text, self.pairs[pair]
        values: dict[str, float] = {}
        for side, wanted in (("target", asked.target_text), ("source", asked.source_text)):
            precision, recall, _ = metrics.ocr_precision_recall_f1(text, wanted)
            values |= {f"precision_{side}": precision, f"recall_{side}": recall}
            values[f"exact_{side}"] = float(metrics.exact_match(text, wanted))
        folded = metrics.fold(text), metrics.fold(asked.target_text)
        values["levenshtein_target"] = float(metrics.levenshtein(*folded))
        picture, seed, _ = key.split("-", 2)
        source = self.images.get(f"{picture}-{seed}-source")
        if source is not None:
            arrays = np.asarray(self.images[key]), np.asarray(source)
            values["mse_source"] = metrics.mse(*arrays)
            read = self.read[f"{picture}-{seed}-source"]
            near = text_mask(read, source.size, max(source.size) // _MARGIN)
            values["mse_near"] = metrics.mse(*arrays, near) if near.any() else values["mse_source"]
            values["ssim_source"] = metrics.ssim(*arrays)
            values["psnr_source"] = metrics.psnr(*arrays)
            self._scores_of[key] = values
        return values

    def _values(self, score: str, what: Set, pairs: Sequence[int]) -> list[float]:
        measured = [self._measured(pair, key) for pair, key in self._keys(what, pairs)]
        return [values[score] for values in measured if score in values]

    def _f1(self, side: str, what: Set, pairs: Sequence[int]) -> float:
        both = [self._values(f"{part}_{side}", what, pairs) for part in ("precision", "recall")]
        return _f1_of_means(np.array(both, dtype=float).T)

    def any(self, what: Set, pairs: Sequence[int]) -> bool:
        """Whether a picture of the set is finished."""
        return bool(self._keys(what, pairs))

    def f1(self, what: Set, pairs: Sequence[int]) -> float:
        """OCR F1 to the target text, of mean precision and mean recall (paper, section 3)."""
        return self._f1("target", what, pairs)

    def exact(self, what: Set, pairs: Sequence[int]) -> float:
        """Share of the pictures that read exactly the target text, 0 to 1."""
        return _mean(self._values("exact_target", what, pairs)) or 0.0

    def change(self, what: Set, pairs: Sequence[int]) -> float:
        """Mean squared difference from the source picture, 0 to 65025."""
        return _mean(self._values("mse_source", what, pairs)) or 0.0

    def change_near(self, what: Set, pairs: Sequence[int]) -> float:
        """The same where the source picture's text stands and close to it; everywhere where none
        is read there."""
        return _mean(self._values("mse_near", what, pairs)) or 0.0

    def _scores(self, what: Set, pairs: Sequence[int], effect: bool) -> dict[str, float | None]:
        """Means over pictures; OCR F1 is that of mean precision and mean recall (paper)."""

        def mean(score: str) -> float | None:
            return _mean(self._values(score, what, pairs))

        scores: dict[str, float | None] = {
            "ocr_f1_target": self._f1("target", what, pairs),
            "ocr_f1_source": self._f1("source", what, pairs),
            "exact_target": mean("exact_target"),
            "exact_source": mean("exact_source"),
            "levenshtein_target": mean("levenshtein_target"),
            "ssim_source": mean("ssim_source"),
            "mse_source": mean("mse_source"),
            "psnr_source": _finite_mean(self._values("psnr_source", what, pairs)),
        }
        if effect:
            value, low, high = self._effect(what, pairs)
            scores |= {"effect": value, "effect_low": low, "effect_high": high}
        return scores

    def _effect(self, what: Set, pairs: Sequence[int]) -> tuple[float | None, ...]:
        """Normalised effect with a 95 % bootstrap interval over pairs (over seeds for one pair)."""
        complete = [
            (p, s)
            for p in pairs
            for s in self.seeds
            if all(self.key(w, p, s) in self.read for w in (what, "source", "all"))
        ]
        if not complete:
            return None, None, None
        named = tuple(self.key(what, p, s) for p, s in complete)
        if named not in self._effects:  # the interval is looked for again where pictures came
            self._effects[named] = self._effect_of(what, complete)
        return self._effects[named]

    def _effect_of(
        self, what: Set, complete: Sequence[tuple[int, int]]
    ) -> tuple[float | None, ...]:
        """The same over these (pair, seed)."""
        references: tuple[Set, ...] = (what, "source", "all")
        measured = [[self._measured(p, self.key(w, p, s)) for w in references] for p, s in complete]
        table = np.array(
            [[(v["precision_target"], v["recall_target"]) for v in row] for row in measured]
        )  # (picture, which, precision and recall)
        names = [p for p, _ in complete]
        groups = names if len(set(names)) > 1 else [s for _, s in complete]
        found = metrics.bootstrap_interval(
            table.reshape(len(table), -1), groups, _RESAMPLES, statistic=_effect_of_means
        )
        return tuple(v if v is not None and np.isfinite(v) else None for v in found)

    def _reads(self, what: Set, pairs: Sequence[int]) -> list[dict[str, Any]]:
        return [
            {"pair": p, "seed": s, "text": self.read[key].text, "image": key}
            for p in pairs
            for s in self.seeds
            if (key := self.key(what, p, s)) in self.read
        ]

    def entry(self, what: Set, pairs: Sequence[int], effect: bool = True) -> dict[str, Any]:
        """What was read in each picture of the set, and the scores, with or without the effect."""
        return {"read": self._reads(what, pairs), "scores": self._scores(what, pairs, effect)}


def _f1_of_means(rows: Any) -> float:
    """F1 of mean precision and mean recall of (picture, 2); 0 where nothing was read."""
    if not len(rows):
        return 0.0
    precision, recall = rows.mean(0)
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _effect_of_means(means: Any) -> Any:
    """Effect of (…, 6) column means: precision and recall of the set, the floor, the ceiling.

    Not finite where the ceiling is no higher than the floor.
    """
    precision, recall = means[..., 0::2], means[..., 1::2]
    f1 = np.where(precision + recall > 0, 2 * precision * recall / (precision + recall), 0.0)
    score, floor, ceiling = (f1[..., i] for i in range(3))
    return np.where(ceiling > floor, (score - floor) / (ceiling - floor), np.nan)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _finite_mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if np.isfinite(value)]
    return _mean(finite)
