"""Prompts, pairs and pair files."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textloc.errors import PromptError
from textloc.prompts import (
    Pair,
    parse_pair,
    quotations,
    quoted,
    quoted_text,
    read_pairs,
    replace_text,
    straightened,
)
from textloc.toxicity import rendered

MARKS = [
    *('""', "“”", "„“", "„”", "””", "«»", "»«", "»»", "‹›", "›‹", "「」", "『』", "｢｣", "＂＂"),
    *('“"', '"”', "''", "‘’", "‚‘", "‘'", "❝❞", "〝〟"),
]

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


@pytest.mark.parametrize("text", ["BIG LOVE", "hope ♥", "LOVE\nYOU", "see you at noon"])
def test_a_few_words_that_are_no_prompt_are_the_text(text: str) -> None:
    pair = parse_pair('a red sign that says "STOP"', text)
    assert pair.target_text == text
    for prompt in ("a red sign that says LOVE", "a book", "a letter with five words more"):
        with pytest.raises(PromptError, match="quotes no text"):
            parse_pair('a red sign that says "STOP"', prompt)


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


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        *((f"a sign {opened}STOP{closed}", ["STOP"]) for opened, closed in MARKS),
        ('a 5" nail and a sign that says "STOP"', ["STOP"]),
        ('"ROUTE 66" and "66"', ["ROUTE 66", "66"]),
        ('a board "5" NAILS"', ['5" NAILS']),
        ('"CLEARANCE 12\' 6""', ["CLEARANCE 12' 6\""]),
        ("it's 5' 6\" tall and says 'UP'", ["UP"]),
        ("'DON'T PANIC'", ["DON'T PANIC"]),
        ("‘DON’T PANIC’ and ‘GO’", ["DON’T PANIC", "GO"]),
        ("'DRIVERS' LOUNGE'", ["DRIVERS' LOUNGE"]),
        ("rock 'n' roll … \"LOVE\"", ["LOVE"]),
        ("'tis a sign 'GO' of the '90s", ["GO"]),
        ("a sign that says 'N'", ["N"]),
        ("the dogs' bowl and the cats' bowl", []),
        ("“He said ‘GO’ now”", ["He said ‘GO’ now"]),
    ],
)
def test_every_reader_reads_the_same(prompt: str, texts: list[str]) -> None:
    assert quoted(prompt) == texts
    assert [found.text for found in quotations(prompt)] == texts
    assert [prompt[start:stop] for start, stop in rendered(prompt)] == texts


@given(st.text("a5 'n's\"“”‘’„«»「」″′", max_size=40))
def test_any_marks_are_read(prompt: str) -> None:
    found = quotations(prompt)
    for one, other in pairwise(found):
        assert one.stop <= other.start
    for one in found:
        start, stop = one.inner
        assert prompt[start:stop].strip() == one.text


def test_a_text_that_the_scores_take_for_the_same_is_no_pair() -> None:
    with pytest.raises(PromptError, match="another word"):
        parse_pair('a sign "STOP"', 'a sign "Stop!"')
    assert parse_pair('a sign "!!"', 'a sign "??"').target_text == "??"


@pytest.mark.parametrize(
    ("prompt", "straight"),
    [
        ("a mug that says “TEA”", 'a mug that says "TEA"'),
        ("„BROT“ and 'MILK' on a sign", '"BROT" and "MILK" on a sign'),
        ("a sign «STOP», rock 'n' roll", "a sign \"STOP\", rock 'n' roll"),
        ('a mug that says "TEA"', 'a mug that says "TEA"'),
        ('he says “a 5" nail”', 'he says “a 5" nail”'),
        ("nothing is quoted, don't", "nothing is quoted, don't"),
    ],
)
def test_quotation_marks_are_straightened(prompt: str, straight: str) -> None:
    assert straightened(prompt) == straight
    assert quoted(straightened(prompt)) == quoted(prompt)
