"""Prompts, pairs and pair files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textloc.errors import PromptError
from textloc.prompts import Pair, parse_pair, quoted, quoted_text, read_pairs, replace_text

WORDS = st.text("abcdefghijklmnopqrstuvwxyzÄÖÜ -'", min_size=1).map(str.strip).filter(bool)


def test_quotation_marks() -> None:
    assert quoted('a sign "A" and “B” and «C»') == ["A", "B", "C"]
    assert quoted("a sign that says 'NO WAY'") == ["NO WAY"]
    assert quoted("the dog's sign isn't here") == []


@given(WORDS, WORDS)
def test_replacing_gives_the_new_text(old: str, new: str) -> None:
    prompt = f'a red sign that says "{old}"'
    assert quoted_text(replace_text(prompt, new)) == new


def test_one_word_stands_for_the_whole_target() -> None:
    pair = parse_pair(' a sign "STOP" ', "GO")
    assert pair == Pair('a sign "STOP"', 'a sign "GO"', "STOP", "GO")


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("", "GO", "empty"),
        ("a sign", "GO", "quotes no text"),
        ('a sign ""', "GO", "empty text"),
        ('a sign "STOP"', "", "empty"),
        ('a sign "STOP"', "a sign", "quotes no text"),
        ('a sign "STOP"', "stop", "another word"),
        ('a sign "A" and "B"', "GO", "several"),
    ],
)
def test_bad_pairs(source: str, target: str, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        parse_pair(source, target)


def test_pair_files(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_bytes(
        b'\xef\xbb\xbf# pairs\r\na sign "A"\ta sign "B"\r\n\r\n'
        b'{"source": "a sign \\"C\\"", "target": "D"}\r\n'
    )
    assert [(p.source_text, p.target_text) for p in read_pairs(path)] == [("A", "B"), ("C", "D")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no pair"),
        ('a sign "A"', "line 1: found 1 columns"),
        ('# x\na sign "A"\tb\tc', "line 2: found 3 columns"),
        ("{broken", "line 1"),
        ('{"source": "a sign \\"A\\""}', "line 1"),
        ('a sign\ta sign "B"', "line 1.*quotes no text"),
    ],
)
def test_bad_pair_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(content)
    with pytest.raises(PromptError, match=message):
        read_pairs(path)
    with pytest.raises(PromptError, match="cannot read"):
        read_pairs(tmp_path / "none.tsv")
