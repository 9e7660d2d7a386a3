"""How well words are found, on lists of which a half was not looked at meanwhile."""

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.toxicity.words import SHARED, plain
from textloc.toxicity import find, find_in_prompt, is_toxic

HERE = Path(__file__).parent


def _lines(name: str) -> list[str]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _held(text: str) -> bool:
    """Whether a text of our lists was not looked at while the detector was written."""
    return hashlib.sha1(text.encode()).digest()[-1] % 2 == 1


def _asked(text: str) -> bool:
    return bool(find_in_prompt('a photo of a sign that says "{}"'.format(text.replace('"', "''"))))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared lists are not here")
def test_on_the_lists_given() -> None:
    toxic = (SHARED / "toxic_words.txt").read_text(encoding="utf-8").split("\n")
    benign = (SHARED / "train_non_tox.txt").read_text(encoding="utf-8").split("\n")
    toxic, benign = ([w.strip() for w in words if w.strip()] for words in (toxic, benign))
    recall = sum(map(is_toxic, toxic)) / len(toxic)
    wrong = sum(map(is_toxic, benign)) / len(benign)
    print(f"recall {recall:.3f}, false positives {wrong:.3f}")
    assert recall >= 0.98
    assert wrong <= 0.01


def test_hard_harmless_texts() -> None:
    held = [text for text in _lines("harmless.txt") if _held(text)]
    share = sum(map(_asked, held)) / len(held)
    print(f"{share:.3f} of {len(held)} flagged")
    assert share <= 0.08  # 0.35 by the first detector


@pytest.mark.parametrize("name", ["harmless_second.tsv", "harmless_third.tsv"])
def test_hard_harmless_texts_of_other_authors(name: str) -> None:
    """400 of eleven kinds and 683 of thirteen, by two who did not know the detector. Nothing
    was fitted to them until names and phrases that a third reported came into the lists."""
    lines = [line.partition("\t") for line in _lines(name)]
    flagged = Counter(kind for kind, _, text in lines if _asked(text))
    share = sum(flagged.values()) / len(lines)
    print(f"{share:.3f} of {len(lines)} flagged: {dict(flagged)}")
    assert share <= 0.05


def test_prompts_of_an_author_who_did_not_know_it() -> None:
    asked, found = Counter[str](), Counter[str]()
    for line in _lines("fourth.tsv"):
        kind, _, text = line.partition("\t")
        asked[kind] += 1
        said = plain(text) if kind.startswith("toxic") else text
        found[kind] += bool(find_in_prompt(said)) if kind.endswith("prompt") else _asked(said)
    shares = {kind: found[kind] / count for kind, count in asked.items()}
    print(shares)
    assert shares["toxic prompt"] >= 0.93
    assert max(shares["hard"], shares["hard prompt"]) <= 0.05
    assert max(shares["ordinary"], shares["natural prompt"]) <= 0.005


def test_less_strict_finds_no_more() -> None:
    """What is found at `slurs` is found at `usual`, and that at `strict`."""
    texts = [*_lines("harmless.txt"), *map(plain, _lines("insulting.txt"))]
    for name in ("harmless_second.tsv", "harmless_third.tsv"):
        texts += [line.partition("\t")[2] for line in _lines(name)]
    for text in texts:
        slurs, usual, strict = (
            {(one.start, one.stop) for one in find(text, strictness=name)}
            for name in ("slurs", "usual", "strict")
        )
        assert slurs <= usual <= strict, text


def test_ordinary_signs() -> None:
    texts: list[str] = []
    words: list[str] = []
    for line in _lines("signs.txt"):
        if line.startswith("= "):
            words = line[2:].split()
        else:
            texts += [line.format(word) for word in words] if "{}" in line else [line]
    share = sum(map(_asked, texts)) / len(texts)
    print(f"{share:.4f} of {len(texts)} flagged")
    assert len(texts) > 900
    assert share <= 0.005


def test_insulting_texts() -> None:
    held = [plain(text) for text in _lines("insulting.txt")]
    held = [text for text in held if _held(text)]
    share = sum(map(_asked, held)) / len(held)
    print(f"{share:.3f} of {len(held)} found")
    assert share >= 0.95  # 0.92 by the detector of before


SWAPS = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7", "g": "9", "b": "8"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared lists are not here")
@pytest.mark.parametrize(
    ("disguise", "least"),
    [
        (str, 0.97),
        (lambda word: word.lower().translate(str.maketrans(SWAPS)), 0.93),
        (" ".join, 0.93),
        ("\u200b".join, 0.93),
        ("\u2060".join, 0.93),
        ("\u3164".join, 0.93),
    ],
)
def test_disguises_of_the_held_half(disguise: Callable[[str], str], least: float) -> None:
    toxic = (SHARED / "toxic_words.txt").read_text(encoding="utf-8").split("\n")
    held = [word.strip() for word in toxic if word.strip() and _held(word.strip().lower())]
    assert len(held) == 183
    assert sum(is_toxic(disguise(word)) for word in held) / len(held) >= least
