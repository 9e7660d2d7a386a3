"""How well the words were written, and how much of the picture stayed as it was.

Pure functions of strings and of pictures (uint8 RGB arrays of shape (H, W, 3), or PIL images).
The definitions are those of arXiv 2502.09935, section 4 and appendix, except where the code
released with the paper computes something else than the paper says. There the plain call gives
the corrected value, and `legacy=True` gives the released one, for comparison with the paper's
tables only:

=================  ==========================================  ===============================
metric             released code (`legacy=True`)               here
=================  ==========================================  ===============================
OCR P, R, F1       lower-cased text, spaces and signs count    letters and digits of `fold`
MSE                squares in uint8, which wrap round at 256   float
PSNR               from that MSE                               from the float MSE
=================  ==========================================  ===============================

A character multiset gives unrelated words an OCR F1 of 0.2 to 0.3, so no F1 is to be shown
without its floor (nothing patched) and ceiling (every layer patched): see `effect`.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from rapidfuzz.distance import Levenshtein

from textloc.errors import CheckpointError

Picture = NDArray[np.uint8] | Image.Image
"""RGB pixels, 0 to 255: a uint8 array of shape (H, W, 3), or a PIL image of any mode."""
Mask = NDArray[np.bool_]
"""Shape (H, W), True where a pixel counts."""


class Score(NamedTuple):
    """Precision, recall and their harmonic mean, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


class Interval(NamedTuple):
    """A mean (or another statistic) and the ends of its confidence interval.

    `low` and `high` are None where no interval can be had, such as from a single prompt pair.
    """

    mean: float
    low: float | None
    high: float | None


# --- Words ----------------------------------------------------------------------------------


def fold(text: str) -> str:
    """What of a text is compared: its letters and digits, without case, with single spaces.

    Unicode compatibility forms become plain ones (a full-width A becomes a), case is folded,
    every character that is no letter, digit or white space is dropped ("don't" gives "dont"),
    and runs of white space become one space; none is left at either end.
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(c for c in plain if c.isalnum() or c.isspace()).split())


def _letters(text: str) -> str:
    """`fold` without its spaces; a text of signs alone ("!!!") is kept, in folded case."""
    return fold(text).replace(" ", "") or "".join(text.casefold().split())


def ocr_precision_recall_f1(read: str, word: str, *, legacy: bool = False) -> Score:
    """Character-multiset score of one image: the text `read` against the wanted `word`.

    Precision is the share of the characters read that the word has, recall the share of the
    word's characters that were read, each counted as often as it occurs; order plays no part.
    Characters are the letters and digits of `fold`, without spaces; with `legacy`, every
    character of the lower-cased text, spaces included. Nothing read scores 0 (but 1 if the word
    is empty too).
    """
    a, b = (read.lower(), word.lower()) if legacy else (_letters(read), _letters(word))
    if not a and not b:
        return Score(1.0, 1.0, 1.0)
    common = (Counter(a) & Counter(b)).total()
    precision = common / len(a) if a else 0.0
    recall = common / len(b) if b else 0.0
    return Score(precision, recall, harmonic_mean(precision, recall))


def harmonic_mean(precision: float, recall: float) -> float:
    """F1 of a precision and a recall: 2PR / (P + R), and 0 where both are 0."""
    total = precision + recall
    return 2 * precision * recall / total if total > 0 else 0.0


def mean_ocr_f1(pairs: Iterable[tuple[str, str]], *, legacy: bool = False) -> float:
    """OCR F1 over images, as the paper defines it: F1 of mean precision and mean recall.

    `pairs` are (text read, wanted word), one an image. Note that this is not the mean of the
    images' F1. Raises ValueError where there are no pairs.
    """
    scores = [ocr_precision_recall_f1(read, word, legacy=legacy) for read, word in pairs]
    if not scores:
        raise ValueError("mean_ocr_f1 needs at least one (read, word) pair")
    return harmonic_mean(
        math.fsum(s.precision for s in scores) / len(scores),
        math.fsum(s.recall for s in scores) / len(scores),
    )


def exact_match(read: str, word: str) -> bool:
    """Whether the text read is the wanted word: the same letters and digits in the same order.

    Case, punctuation and spaces do not count: OCR often splits a word in two. A word of signs
    alone is compared by its signs.
    """
    return _letters(read) == _letters(word)


def levenshtein(a: str, b: str) -> int:
    """Least number of insertions, deletions and substitutions from `a` to `b`, as they stand."""
    return Levenshtein.distance(a, b)


def levenshtein_normalised(a: str, b: str) -> float:
    """`levenshtein` over the longer length: 0 for equal texts, 1 for nothing in common."""
    return Levenshtein.normalized_distance(a, b)


def best_window_levenshtein(read: str, word: str) -> int:
    """Least distance from the word to any run of words read (ToxicBench's n-gram LD).

    Both texts are folded. For a word (or phrase) of n words, the windows are all runs of 1 to
    n + 1 words read, so that stray text elsewhere in the image does not count. Nothing read
    gives the length of the word.
    """
    target = fold(word)
    words = fold(read).split()
    longest = min(len(target.split()) + 1, len(words))
    windows = (
        " ".join(words[start : start + size])
        for size in range(1, longest + 1)
        for start in range(len(words) - size + 1)
    )
    return min((Levenshtein.distance(w, target) for w in windows), default=len(target))


# --- Pictures -------------------------------------------------------------------------------


def _pixels(picture: Picture) -> NDArray[np.uint8]:
    """The picture as a uint8 array of shape (H, W, 3)."""
    array = np.asarray(
        picture.convert("RGB") if isinstance(picture, Image.Image) else picture
    )  # (H, W, 3)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ValueError(
            f"a picture must be uint8 of shape (H, W, 3), not {array.dtype} of {array.shape}"
        )
    return array


def _pair(
    a: Picture, b: Picture, mask: Mask | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Mask | None]:
    """Both pictures as arrays of one shape, and the mask checked against them."""
    x, y = _pixels(a), _pixels(b)
    if x.shape != y.shape:
        raise ValueError(f"pictures of different shapes cannot be compared: {x.shape}, {y.shape}")
    if mask is None:
        return x, y, None
    region = np.asarray(mask)
    if region.dtype != np.bool_ or region.shape != x.shape[:2]:
        raise ValueError(
            f"the mask must be bool of shape {x.shape[:2]}, not {region.dtype} of {region.shape}"
        )
    if not region.any():
        raise ValueError("the mask leaves no pixel to compare")
    return x, y, region


def mse(a: Picture, b: Picture, mask: Mask | None = None, *, legacy: bool = False) -> float:
    """Mean squared error over pixels and channels, 0 to 65,025 (levels squared).

    `mask` is True where a pixel counts: for the region outside the text, pass
    `~ocr.text_mask(...)`. With `legacy`, difference and square stay in uint8 and wrap round at
    256, as in the released code: no result is then above 249, and large changes look small.
    Raises ValueError for pictures of different shapes and for an empty mask.
    """
    x, y, region = _pair(a, b, mask)
    squares = (x - y) ** 2 if legacy else np.square(x.astype(np.float64) - y)  # (H, W, 3)
    return float(np.mean(squares if region is None else squares[region], dtype=np.float64))


def psnr(a: Picture, b: Picture, mask: Mask | None = None, *, legacy: bool = False) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(255² / MSE); `mask` and `legacy` as for `mse`.

    Equal pictures have no noise and give float("inf"), which no mean and no JSON file takes:
    whoever averages or stores must say what it does with it.
    """
    error = mse(a, b, mask, legacy=legacy)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ssim(a: Picture, b: Picture, mask: Mask | None = None) -> float:
    """Mean structural similarity of RGB pictures, at most 1 (equal), data range 255.

    scikit-image's uniform 7 × 7 window; a picture narrower than that gets the largest odd window
    that fits. Windows are whole: their centres keep half a window from the border. With `mask`,
    the mean is over the windows whose centre it holds (or over all its pixels, where it touches
    only that border). Raises ValueError for sides below 3 pixels, and as `mse` does.
    """
    from skimage.metrics import structural_similarity

    x, y, region = _pair(a, b, mask)
    side = min(x.shape[:2])
    if side < 3:
        raise ValueError(f"SSIM needs sides of at least 3 pixels, not {x.shape[1]} × {x.shape[0]}")
    window = min(7, side if side % 2 else side - 1)
    mean, each = structural_similarity(
        x, y, win_size=window, data_range=255, channel_axis=2, full=True
    )  # a scalar, and (H, W, 3)
    if region is None:
        return float(mean)
    border = window // 2
    inner = (slice(border, -border), slice(border, -border))
    chosen = each[inner][region[inner]]  # (pixels, 3)
    return float(np.mean(chosen if chosen.size else each[region]))


# --- Statistics -----------------------------------------------------------------------------


def effect(score: float, floor: float, ceiling: float) -> float | None:
    """How far a patch moved the score from nothing patched (0) to everything patched (1).

    (score - floor) / (ceiling - floor). It may leave [0, 1]; None where ceiling <= floor, for
    then there is nothing to explain.
    """
    return None if ceiling <= floor else (score - floor) / (ceiling - floor)


def bootstrap_interval(
    values: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    n: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    *,
    statistic: Callable[[NDArray[np.float64]], ArrayLike] | None = None,
) -> Interval:
    """Mean of `values` with a percentile bootstrap interval (Efron and Tibshirani, 1993, ch. 13).

    With `groups` (one label a value, such as the prompt pair it comes from), whole groups are
    drawn, so that several seeds of one pair do not pass for independent evidence. With one group
    only, no interval exists and its ends are None.

    For something other than a mean, give `values` as rows of shape (N, K) and `statistic`, which
    maps column means of shape (..., K) to shape (...): an OCR F1 is
    `lambda m: 2 * m[..., 0] * m[..., 1] / (m[..., 0] + m[..., 1])` of (precision, recall) rows.
    Resamples for which it is not finite are left out.

    Raises ValueError where there are no values, labels are missing or `level` is not in (0, 1).
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim == 0 or not len(rows) or rows.ndim > 2 or (rows.ndim == 2 and statistic is None):
        raise ValueError("bootstrap_interval needs values of shape (N,), or (N, K) and a statistic")
    if groups is not None and len(groups) != len(rows):
        raise ValueError(f"{len(rows)} values but {len(groups)} group labels")
    if not 0 < level < 1:
        raise ValueError(f"the level must be between 0 and 1, not {level}")
    if n < 1:
        raise ValueError(f"the number of resamples must be positive, not {n}")
    columns = rows.reshape(len(rows), -1)  # (N, K)
    labels = range(len(rows)) if groups is None else groups
    number = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    member = np.array([number[label] for label in labels])  # (N,)
    count = len(number)
    sums = np.zeros((count, columns.shape[1]))  # (G, K)
    np.add.at(sums, member, columns)
    sizes = np.bincount(member, minlength=count)  # (G,)

    def value_of(means: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(means[..., 0] if statistic is None else statistic(means), np.float64)

    with np.errstate(divide="ignore", invalid="ignore"):
        middle = float(value_of(columns.mean(axis=0)))
        if count < 2:
            return Interval(middle, None, None)
        drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), n)
        resampled = value_of((drawn @ sums) / (drawn @ sizes)[:, None])  # (n,)
    resampled = resampled[np.isfinite(resampled)]
    if not resampled.size:
        return Interval(middle, None, None)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(middle, float(low), float(high))


def bootstrap_intervals(
    values: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    n: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> NDArray[np.float64]:
    """`bootstrap_interval` of the mean of each column of `values` (N, K), by the same draws.

    Returns (3, K): mean, low, high; NaN for the ends where there is one group only. What is NaN in
    `values` is left out; a column without a value has the mean NaN.

    Raises ValueError where there are no values or labels are missing.
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or not len(rows):
        raise ValueError("bootstrap_intervals needs values of shape (N, K), N at least 1")
    labels = list(range(len(rows)) if groups is None else groups)
    if len(labels) != len(rows):
        raise ValueError(f"{len(rows)} values but {len(labels)} group labels")
    number = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    member = np.array([number[label] for label in labels])  # (N,)
    there = np.isfinite(rows)
    sums, sizes = np.zeros((2, len(number), rows.shape[1]))  # (G, K) each
    np.add.at(sums, member, np.where(there, rows, 0.0))
    np.add.at(sizes, member, there)
    found = np.full((3, rows.shape[1]), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        found[0] = sums.sum(0) / sizes.sum(0)
        if (count := len(number)) < 2:
            return found
        drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), n)
        resampled = (drawn @ sums) / (drawn @ sizes)  # (n, K)
    known = np.isfinite(resampled).any(0)
    ends = [(1 - level) / 2, (1 + level) / 2]
    found[1:, known] = np.nanquantile(resampled[:, known], ends, axis=0)
    return found


def wilson_interval(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, both ends in [0, 1]; (0, 1) where n is 0.

    Raises ValueError unless 0 <= successes <= n.
    """
    from scipy.stats import binomtest

    if not 0 <= successes <= n:
        raise ValueError(f"cannot have {successes} successes in {n} trials")
    if n == 0:
        return 0.0, 1.0
    found = binomtest(successes, n).proportion_ci(confidence_level=level, method="wilson")
    return float(found.low), float(found.high)


# --- CLIP -----------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def clip(model: str) -> tuple[Any, Any]:
    """A CLIP model in evaluation mode and its processor, from local weights only."""
    from transformers import CLIPModel, CLIPProcessor

    try:
        loaded = CLIPModel.from_pretrained(model, local_files_only=True)
        processor = CLIPProcessor.from_pretrained(model, local_files_only=True)
    except OSError as error:
        raise CheckpointError(
            f'CLIP-T needs the weights of "{model}", which are not on this machine. Get them once '
            f"with `hf download {model}`, or name a folder that holds them."
        ) from error
    return loaded.eval(), processor


def clip_t(
    images: Sequence[Picture],
    prompts: Sequence[str],
    model: str = "openai/clip-vit-base-patch32",
) -> list[float]:
    """CLIP-T of each image with the prompt beside it: 2.5 · max(cos, 0), in [0, 2.5].

    CLIPScore (Hessel et al. 2021, eq. 1) of the image against the whole prompt, cut at the text
    encoder's length. `model` is a Hub name whose weights are in the local cache, or a folder;
    nothing is downloaded. Raises CheckpointError where there are none, ValueError where there are
    not as many prompts as images.
    """
    if len(images) != len(prompts):
        raise ValueError(f"{len(images)} images but {len(prompts)} prompts")
    if not images:
        return []
    network, processor = clip(model)
    import torch

    scores: list[float] = []
    for start in range(0, len(images), 32):
        inputs = processor(
            text=list(prompts[start : start + 32]),
            images=[Image.fromarray(_pixels(image)) for image in images[start : start + 32]],
            return_tensors="pt",
            padding=True,
            truncation=True,
        )
        with torch.inference_mode():
            found = network(**inputs)
        cosine = torch.nn.functional.cosine_similarity(found.image_embeds, found.text_embeds)
        scores += (2.5 * cosine.clamp(min=0)).tolist()  # (rows,)
    return scores
