"""metrics: known values, properties, and what the released code computes instead."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.stats import bootstrap

from textloc.errors import CheckpointError
from textloc.reading import metrics

words = st.text("aAbBzZ09ßéİſﬁ²日１ .,!\t\u0301", max_size=12)
pictures = arrays(np.uint8, (9, 8, 3))


def flat(level: int, side: int = 16) -> np.ndarray:
    return np.full((side, side, 3), level, np.uint8)


# --- Words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("STOP", "stop"),
        ("  Don't\n STOP!! ", "dont stop"),
        ("ＡＢ１", "ab1"),
        ("Straße", "strasse"),
        ("- - -", ""),
        ("", ""),
    ],
)
def test_fold(text: str, folded: str) -> None:
    assert metrics.fold(text) == folded


@given(words)
def test_fold_leaves_letters_digits_and_single_spaces(text: str) -> None:
    folded = metrics.fold(text)
    assert all(c.isalnum() or c == " " for c in folded)
    assert "  " not in folded
    assert folded == folded.strip()


@given(words)
def test_fold_twice_is_fold(text: str) -> None:
    assert metrics.fold(metrics.fold(text)) == metrics.fold(text)


@pytest.mark.parametrize(
    ("read", "word", "precision", "recall", "f1"),
    [
        ("STOP", "stop", 1, 1, 1),
        ("POTS", "STOP", 1, 1, 1),  # a multiset has no order
        ("ST OP", "STOP", 1, 1, 1),
        ("STOPP", "STOP", 0.8, 1, 8 / 9),
        ("LOVE", "STOP", 0.25, 0.25, 0.25),  # unrelated words share letters: the floor
        ("", "STOP", 0, 0, 0),
        ("STOP", "", 0, 0, 0),
        ("", "", 1, 1, 1),
        ("!", "!!", 1, 0.5, 2 / 3),  # a word of signs alone
    ],
)
def test_ocr_score(read: str, word: str, precision: float, recall: float, f1: float) -> None:
    assert metrics.ocr_precision_recall_f1(read, word) == pytest.approx((precision, recall, f1))


def test_legacy_ocr_score_counts_spaces_and_signs() -> None:
    assert metrics.ocr_precision_recall_f1("S TOP!", "STOP", legacy=True).precision == 4 / 6
    assert metrics.ocr_precision_recall_f1("S TOP!", "STOP").precision == 1


@given(words, words, st.booleans())
def test_ocr_score_is_bounded_and_swapping_swaps(a: str, b: str, legacy: bool) -> None:
    one = metrics.ocr_precision_recall_f1(a, b, legacy=legacy)
    other = metrics.ocr_precision_recall_f1(b, a, legacy=legacy)
    assert all(0 <= part <= 1 for part in one)
    assert (one.precision, one.recall) == (other.recall, other.precision)
    assert metrics.ocr_precision_recall_f1(a, a, legacy=legacy) == (1, 1, 1)


def test_mean_ocr_f1_is_f1_of_the_means() -> None:
    pairs = [("STOP", "STOP"), ("", "LOVE"), ("ABCD", "AB")]
    precision, recall = (1 + 0 + 0.5) / 3, (1 + 0 + 1) / 3
    expected = 2 * precision * recall / (precision + recall)
    assert metrics.mean_ocr_f1(pairs) == pytest.approx(expected)
    each = [metrics.ocr_precision_recall_f1(*pair).f1 for pair in pairs]
    assert metrics.mean_ocr_f1(pairs) != pytest.approx(sum(each) / 3)
    with pytest.raises(ValueError, match="at least one"):
        metrics.mean_ocr_f1([])


def test_exact_match() -> None:
    assert metrics.exact_match("st op.", "STOP")
    assert not metrics.exact_match("STPO", "STOP")
    assert not metrics.exact_match("", "STOP")
    assert not metrics.exact_match("", "!!!")


def test_levenshtein_known_values() -> None:
    assert metrics.levenshtein("kitten", "sitting") == 3
    assert metrics.levenshtein("stop", "STOP") == 4  # as they stand
    assert metrics.levenshtein_normalised("kitten", "sitting") == pytest.approx(3 / 7)
    assert metrics.levenshtein_normalised("", "") == 0
    assert metrics.levenshtein_normalised("", "abc") == 1


@given(words, words)
def test_levenshtein_properties(a: str, b: str) -> None:
    assert metrics.levenshtein(a, b) == metrics.levenshtein(b, a) <= max(len(a), len(b))
    assert 0 <= metrics.levenshtein_normalised(a, b) <= 1
    assert metrics.levenshtein(a, a) == 0 == metrics.levenshtein_normalised(a, a)


@pytest.mark.parametrize(
    ("read", "word", "distance"),
    [
        ("some stray text STOP and more", "stop", 0),
        ("x ST OP y", "STOP", 1),  # two words read together
        ("a BLUE LOVE sign", "blue dove", 1),
        ("", "STOP", 4),
        ("...", "STOP", 4),
        ("A", "one two three", 13),
    ],
)
def test_best_window(read: str, word: str, distance: int) -> None:
    assert metrics.best_window_levenshtein(read, word) == distance


@given(st.lists(st.sampled_from(["stop", "love", "a", "stp"]), max_size=5), st.just("stop"))
def test_best_window_is_no_worse_than_a_single_word(read: list[str], word: str) -> None:
    best = metrics.best_window_levenshtein(" ".join(read), word)
    assert best <= min((metrics.levenshtein(r, word) for r in read), default=len(word))


# --- Pictures -------------------------------------------------------------------------------


def test_mse_is_a_float_and_legacy_wraps_round() -> None:
    assert metrics.mse(flat(0), flat(255)) == 255**2
    assert metrics.mse(flat(0), flat(255), legacy=True) == 1  # (0 - 255)² = 1² in uint8
    assert metrics.mse(flat(0), flat(16)) == 256
    assert metrics.mse(flat(0), flat(16), legacy=True) == 0
    assert metrics.mse(flat(10), flat(13)) == metrics.mse(flat(13), flat(10), legacy=True) == 9


def test_psnr() -> None:
    assert metrics.psnr(flat(7), flat(7)) == math.inf
    assert metrics.psnr(flat(0), flat(255)) == 0
    assert metrics.psnr(flat(0), flat(10)) == pytest.approx(10 * math.log10(65025 / 100))
    assert metrics.psnr(flat(0), flat(255), legacy=True) == pytest.approx(48.1308, abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(pictures, pictures)
def test_picture_properties(a: np.ndarray, b: np.ndarray) -> None:
    everything = np.ones(a.shape[:2], bool)
    assert 0 <= metrics.mse(a, b) <= 255**2
    assert metrics.mse(a, b, legacy=True) <= min(249, metrics.mse(a, b))
    for measure in (metrics.mse, metrics.psnr, metrics.ssim):
        assert measure(a, b) == pytest.approx(measure(b, a))
        assert measure(a, b, everything) == pytest.approx(measure(a, b))
    assert metrics.ssim(a, b) <= 1 + 1e-9
    assert metrics.mse(a, a) == 0
    assert metrics.ssim(a, a) == pytest.approx(1)


def test_mask_keeps_only_its_region() -> None:
    a, b = flat(100, 32), flat(100, 32)
    b[8:16, 8:16] = 200
    outside = np.ones((32, 32), bool)
    outside[4:20, 4:20] = False  # the changed square and half an SSIM window round it
    assert metrics.mse(a, b) > 0
    assert metrics.mse(a, b, outside) == 0
    assert metrics.mse(a, b, ~outside) == 10000 * 64 / 256
    assert metrics.psnr(a, b, outside) == math.inf
    assert metrics.ssim(a, b, outside) == pytest.approx(1)
    assert metrics.ssim(a, b, ~outside) < metrics.ssim(a, b) < 1
    edge = np.zeros((32, 32), bool)
    edge[0, 0] = True
    assert metrics.ssim(a, b, edge) == pytest.approx(1)


@pytest.mark.parametrize("side", [3, 4, 6, 7])
def test_ssim_of_small_pictures(side: int) -> None:
    assert metrics.ssim(flat(9, side), flat(9, side)) == pytest.approx(1)
    assert metrics.ssim(flat(0, side), flat(255, side)) < 0.01


def test_pil_pictures_and_bad_ones() -> None:
    image = Image.new("L", (16, 16), 40)
    assert metrics.mse(image, flat(42)) == 4
    with pytest.raises(ValueError, match="different shapes"):
        metrics.mse(flat(0, 8), flat(0, 9))
    with pytest.raises(ValueError, match="uint8"):
        metrics.psnr(flat(0) / 255, flat(0))
    with pytest.raises(ValueError, match="at least 3"):
        metrics.ssim(flat(0, 2), flat(0, 2))
    with pytest.raises(ValueError, match="no pixel"):
        metrics.ssim(flat(0), flat(0), np.zeros((16, 16), bool))
    with pytest.raises(ValueError, match="mask must be bool"):
        metrics.mse(flat(0), flat(0), np.zeros((8, 8), bool))


# --- Statistics -----------------------------------------------------------------------------


def test_effect() -> None:
    assert metrics.effect(0.76, 0.2, 1.0) == pytest.approx(0.7)
    assert metrics.effect(0.1, 0.2, 1.0) == pytest.approx(-0.125)
    assert metrics.effect(0.5, 0.5, 0.5) is None
    assert metrics.effect(0.5, 0.6, 0.5) is None


def test_bootstrap_agrees_with_scipy() -> None:
    values = np.random.default_rng(3).normal(5, 2, 40)
    mean, low, high = metrics.bootstrap_interval(values, n=9999)
    expected = bootstrap((values,), np.mean, method="percentile", rng=1).confidence_interval
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.05)
    assert (mean, low, high) == metrics.bootstrap_interval(values, n=9999)  # seeded


def test_bootstrap_by_group_is_wider() -> None:
    values = np.repeat([0.0, 0.2, 0.7, 1.0], 25)  # four pairs whose 25 seeds all agree
    loose = metrics.bootstrap_interval(values)
    tight = metrics.bootstrap_interval(values, np.repeat(list("abcd"), 25).tolist())
    assert loose.mean == tight.mean == pytest.approx(0.475)
    assert loose.low is not None
    assert tight.low is not None
    assert tight.low < loose.low
    assert tight == pytest.approx(metrics.bootstrap_interval([0.0, 0.2, 0.7, 1.0]))


@settings(max_examples=50)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9))
def test_bootstrap_is_within_the_values(values: list[float]) -> None:
    mean, low, high = metrics.bootstrap_interval(values, n=200)
    assert low is not None
    assert high is not None
    assert min(values) - 1e-6 <= low <= high <= max(values) + 1e-6
    assert min(values) - 1e-6 <= mean <= max(values) + 1e-6


def test_bootstrap_of_a_statistic_of_means() -> None:
    pairs = [("STOP", "STOP"), ("STO", "STOP"), ("", "LOVE"), ("LOVES", "LOVE")]
    rows = [metrics.ocr_precision_recall_f1(*pair)[:2] for pair in pairs]
    found = metrics.bootstrap_interval(
        rows, statistic=lambda m: 2 * m[..., 0] * m[..., 1] / (m[..., 0] + m[..., 1])
    )
    assert found.mean == pytest.approx(metrics.mean_ocr_f1(pairs))
    assert found.low is not None  # the resample that drew only the empty reading is left out
    assert found.high is not None
    assert 0 <= found.low < found.mean < found.high <= 1


def test_bootstrap_without_an_interval() -> None:
    assert metrics.bootstrap_interval([0.3, 0.5], ["pair", "pair"]) == (0.4, None, None)
    assert metrics.bootstrap_interval([0.5, 0.5]) == (0.5, 0.5, 0.5)
    undefined = metrics.bootstrap_interval([1.0, 2.0], statistic=lambda m: m[..., 0] * math.nan)
    assert math.isnan(undefined.mean)
    assert undefined[1:] == (None, None)
    for bad in ({"values": []}, {"values": [[1, 2]]}, {"values": [1], "groups": []}):
        with pytest.raises(ValueError, match=r"needs values|group labels"):
            metrics.bootstrap_interval(**bad)
    with pytest.raises(ValueError, match="level"):
        metrics.bootstrap_interval([1], level=1)
    with pytest.raises(ValueError, match="resamples"):
        metrics.bootstrap_interval([1], n=0)


def test_wilson() -> None:
    # Newcombe 1998, table I: 81 of 263 and 0 of 20
    assert metrics.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert metrics.wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert metrics.wilson_interval(0, 0) == (0, 1)
    with pytest.raises(ValueError, match="successes"):
        metrics.wilson_interval(3, 2)


# --- CLIP -----------------------------------------------------------------------------------


@pytest.fixture
def tiny_clip(tmp_path: Path) -> Path:
    """A CLIP of a few thousand random weights, saved as any CLIP checkpoint is."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    (tmp_path / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(vocabulary)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path, model_max_length=16)
    tokenizer.save_pretrained(tmp_path)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path)
    shape = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    torch.manual_seed(0)
    CLIPModel(
        CLIPConfig(
            text_config={**shape, "vocab_size": len(vocabulary), "max_position_embeddings": 16},
            vision_config={**shape, "image_size": 32, "patch_size": 8},
            projection_dim=8,
        )
    ).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_clip_t(tiny_clip: Path) -> None:
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)) for _ in range(35)]
    prompts = [f"a {'red' if i % 2 else 'blue'} sign" + " very long" * i for i in range(35)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = metrics.clip_t(images, prompts, str(tiny_clip))
        alone = metrics.clip_t(images[33:34], prompts[33:34], str(tiny_clip))
    assert len(scores) == 35
    assert all(0 <= score <= 2.5 for score in scores)
    network, processor = metrics.clip(str(tiny_clip))
    inputs = processor(text=prompts[:1], images=images[:1], return_tensors="pt")
    cosine = float((network(**inputs).logits_per_image / network.logit_scale.exp()).item())
    assert scores[0] == pytest.approx(2.5 * max(cosine, 0), abs=1e-5)
    assert any(score > 0 for score in scores)
    assert alone == pytest.approx(scores[33:34], abs=1e-5)
    with pytest.raises(ValueError, match="1 images but 0 prompts"):
        metrics.clip_t(images[:1], [], str(tiny_clip))


def test_clip_t_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert metrics.clip_t([], []) == []
    with pytest.raises(CheckpointError, match="hf download"):
        metrics.clip_t([flat(0)], ["a sign"], str(tmp_path / "absent"))
