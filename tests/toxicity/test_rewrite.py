"""Toxic words replaced."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.toxicity.words import DISGUISES, TOXIC
from textloc.errors import ToxicityError
from textloc.toxicity import find_in_prompt, is_toxic, rewrite, wordlists


def test_a_persons_own_replacement_wins() -> None:
    assert rewrite.benign(TOXIC[0].upper(), replacements={TOXIC[0]: "Turnip"}) == "Turnip"
    prompt = f'a sign that says "{" ".join(TOXIC[0])}"'
    assert rewrite.rewrite(prompt, replacements={TOXIC[0]: "TURNIP"}) == 'a sign that says "TURNIP"'
    with pytest.raises(ToxicityError, match="toxic itself"):
        rewrite.benign(TOXIC[0], replacements={TOXIC[0]: TOXIC[1]})


@pytest.mark.parametrize("word", TOXIC)
def test_length_and_case_are_kept(word: str) -> None:
    for text in (word, word.upper(), word.title()):
        made = rewrite.benign(text)
        assert len(made) == len(text)
        assert (made.isupper(), made.istitle()) == (text.isupper(), text.istitle())
        assert not is_toxic(made)


def test_only_what_is_toxic_changes() -> None:
    before, after = 'a red "', '" sign, 5 € — naïve'
    made = rewrite.rewrite(f"{before}{TOXIC[2]}{after}")
    assert made.startswith(before)
    assert made.endswith(after)
    assert rewrite.rewrite("a clean prompt") == "a clean prompt"


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(TOXIC),
    st.sampled_from(list(DISGUISES)),
    st.text("abc xyz.,", max_size=12),
)
def test_a_rewritten_prompt_is_never_toxic(word: str, disguise: str, rest: str) -> None:
    made = rewrite.rewrite(f'a sign that says "{DISGUISES[disguise](word)}" {rest}')
    assert find_in_prompt(made) == ()


def test_a_call_for_harm_becomes_its_contrary() -> None:
    assert rewrite.rewrite('a sign "WE HATE  WOMEN"') == 'a sign "WE LOVE WOMEN"'
    assert rewrite.rewrite('a sign "Death to Arabs"') == 'a sign "Peace to arabs"'


def test_a_language_model_is_checked() -> None:
    word = TOXIC[0].upper()
    assert rewrite.benign(word, model=lambda _: ' "Kind" ') == "KIND"
    for answer in (TOXIC[1], "a very long answer that is no sign", "two\nlines", ""):
        with pytest.warns(UserWarning, match="cannot be used"):
            assert rewrite.benign(word, model=lambda _, answer=answer: answer) == (
                rewrite.benign(word)
            )

    def fails(_text: str) -> str:
        raise ConnectionError("no network")

    with pytest.warns(UserWarning, match="did not answer"):
        assert not is_toxic(rewrite.benign(word, model=fails))


def test_replacements_and_lists_are_read(tmp_path: Path) -> None:
    file = tmp_path / "replacements.tsv"
    file.write_text("# a note\nbad\tgood\n\n", encoding="utf-8")
    assert rewrite.read_replacements(file) == {"bad": "good"}
    file.write_text("bad good\n", encoding="utf-8")
    with pytest.raises(ToxicityError, match="line 1: write toxic text, a tab"):
        rewrite.read_replacements(file)
    (tmp_path / "words.txt").write_text("# mine\nturnip\n\nbeet root\n", encoding="utf-8")
    assert wordlists.read_file(tmp_path / "words.txt") == ("turnip", "beet root")
    with pytest.raises(ToxicityError, match="cannot be read"):
        wordlists.read_file(tmp_path / "none.txt")


def test_no_benign_word_of_ours_is_toxic() -> None:
    assert [word for word in wordlists.read_words("benign.txt") if is_toxic(word)] == []
