"""Measures of an edited picture beside its source: are the words the target's, is the rest kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from textloc.prompts import Pair
from textloc.reading import metrics
from textloc.reading.ocr import Reading, text_mask

MARGIN = 1 / 32
"""Text boxes are widened by this share of the longer side: OCR boxes cut close."""

_RESAMPLES = 1000
_SIDES = ("target", "source")
_WHOLE = ("mse", "ssim", "psnr")
SCORES = (
    *("ocr_f1_target", "ocr_f1_source", "exact_target", "exact_source", "levenshtein_target"),
    *(f"{name}{where}" for where in ("", "_outside_text") for name in _WHOLE),
)
"""Names of the scores of `means`. Legacy ones, as the paper's release computes them, are called
`mse_legacy`, `psnr_legacy`, `ocr_f1_target_legacy` and `ocr_f1_source_legacy`."""


def compare(
    pair: Pair, edit: Image.Image, read: Reading, source: Image.Image, read_source: Reading
) -> dict[str, float | None]:
    """The measures of one edited picture.

    Returns:
        For `target` and `source`: precision_*, recall_* and ocr_f1_* (in [0, 1]) of what is read to
        the text, the same with `_legacy`, and exact_* (0 or 1); levenshtein_target; mse (0 to
        65,025), ssim (at most 1), psnr (dB; None for equal pictures) to the source picture, and the
        same `_outside_text`, None where text covers all; mse_legacy and psnr_legacy.
    """
    values: dict[str, float | None] = {}
    for side, wanted in zip(_SIDES, (pair.target_text, pair.source_text), strict=True):
        for legacy, ending in ((False, ""), (True, "_legacy")):
            score = metrics.ocr_precision_recall_f1(read.text, wanted, legacy=legacy)
            for name, value in score._asdict().items():
                key = "ocr_f1" if name == "f1" else name
                values[f"{key}_{side}{ending}"] = value
        values[f"exact_{side}"] = float(metrics.exact_match(read.text, wanted))
    folded = metrics.fold(read.text), metrics.fold(pair.target_text)
    values["levenshtein_target"] = float(metrics.levenshtein(*folded))
    margin = math.ceil(MARGIN * max(source.size))
    masks = [text_mask(reading, source.size, margin) for reading in (read, read_source)]
    outside = ~(masks[0] | masks[1])
    one, other = np.asarray(edit.convert("RGB")), np.asarray(source.convert("RGB"))
    for name, measure in _PICTURE.items():
        values[name] = _finite(measure(one, other, None))
        inner = measure(one, other, outside) if outside.any() else None
        values[f"{name}_outside_text"] = _finite(inner)
    values["mse_legacy"] = metrics.mse(one, other, legacy=True)
    values["psnr_legacy"] = _finite(metrics.psnr(one, other, legacy=True))
    return values


_PICTURE: dict[str, Callable[[Any, Any, Any], float]] = {
    "mse": metrics.mse,
    "ssim": metrics.ssim,
    "psnr": metrics.psnr,
}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def means(
    rows: Sequence[Mapping[str, float | None]], pairs: Sequence[int]
) -> dict[str, list[float | None]]:
    """Means of `compare` with 95 % bootstrap intervals: `[mean, low, high]` by name of the score.

    OCR F1 is that of mean precision and mean recall (paper). Intervals are over pairs (`pairs`
    names the pair of each row), or over pictures where there is one pair; None where there is none.
    """
    groups = list(pairs) if len(set(pairs)) > 1 else list(range(len(rows)))
    found: dict[str, list[float | None]] = {}
    for side in _SIDES:
        for ending in ("", "_legacy"):
            both = [
                [row[f"precision_{side}{ending}"], row[f"recall_{side}{ending}"]] for row in rows
            ]
            found[f"ocr_f1_{side}{ending}"] = _interval(both, groups, _f1)
    for name in (*SCORES, "mse_legacy", "psnr_legacy"):
        if name not in found:
            known = [(row[name], g) for row, g in zip(rows, groups, strict=True)]
            given = [(value, g) for value, g in known if value is not None]
            found[name] = _interval([value for value, _ in given], [g for _, g in given], None)
    return found


def _interval(
    values: Sequence[Any], groups: Sequence[int], statistic: Callable[[Any], Any] | None
) -> list[float | None]:
    if not values:
        return [None, None, None]
    return list(metrics.bootstrap_interval(values, groups, _RESAMPLES, statistic=statistic))


def _f1(means: Any) -> Any:
    """Harmonic mean of (..., 2) mean precisions and recalls."""
    precision, recall = means[..., 0], means[..., 1]
    total = np.where(precision + recall > 0, precision + recall, 1.0)
    return 2 * precision * recall / total


def reproduction(
    picture: Image.Image, made: Image.Image, corrections: Sequence[float]
) -> dict[str, Any]:
    """How well one's own picture came out of the call that followed it: mse, psnr (None for equal)
    and ssim, and the median of the steps' `corrections` (`inversion.FromPicture`)."""
    one, other = np.asarray(made.convert("RGB")), np.asarray(picture.convert("RGB"))
    found: dict[str, Any] = {k: _finite(f(one, other, None)) for k, f in _PICTURE.items()}
    found["correction"] = float(np.median(corrections)) if len(corrections) else None
    return found
