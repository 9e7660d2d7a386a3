"""What pipelines themselves take for quoted is looked at as a text to be written."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from textloc.checkpoints.families import PIPELINES
from textloc.errors import ToxicityError
from textloc.jobs.guard_texts import Judge
from textloc.jobs.suppress import look
from textloc.prompts import quoted_spans, spans_of
from textloc.toxicity import find_in_prompt, rewrite


def _glm(prompt: str) -> list[str]:
    from diffusers import GlmImagePipeline

    found: list[str] = GlmImagePipeline.get_glyph_texts(None, prompt)[0]
    return found


def _hunyuan(prompt: str) -> list[str]:
    from diffusers.pipelines.hunyuan_image.pipeline_hunyuanimage import extract_glyph_text

    told = extract_glyph_text(prompt)
    return [] if told is None else re.findall(r'Text "(.*?)"\. ', told, re.DOTALL)


def _longcat(prompt: str) -> list[str]:
    from diffusers.pipelines.longcat_image.pipeline_longcat_image import split_quotation

    return [part[1:-1] for part, quoted in split_quotation(prompt) if quoted]


OWN: dict[str, tuple[Callable[[str], list[str]], tuple[str, ...]]] = {
    "GlmImagePipeline": (_glm, ("''", '""', "“”", "「」")),
    "HunyuanImagePipeline": (_hunyuan, ('""', "''", "‘’", "“”")),
    "LongCatImagePipeline": (_longcat, ("''", '""', "‘’", "“”")),
}
"""By pipeline: what it takes out of a prompt, and its marks."""

CASES = [(name, marks) for name, (_, pairs) in OWN.items() for marks in pairs]


@pytest.mark.parametrize(("name", "marks"), CASES)
def test_every_mark_of_a_pipeline_quotes(name: str, marks: str) -> None:
    prompt = f"a dog with a sign {marks[0]}LOSER{marks[1]} in the sun"
    quoted = PIPELINES[name].QUOTED
    assert OWN[name][0](prompt) == ["LOSER"]
    assert [prompt[slice(*span)] for span in spans_of(prompt, quoted)] == ["LOSER"]
    judged = Judge({}, {}, quoted).judge(prompt)
    assert judged is not None
    assert judged[0] == look([prompt], quoted=quoted)[0].benign
    assert "LOSER" not in judged[0]


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize(
    "prompt",
    [
        "the dog's LOSER' sign",
        "a 5' LOSER' sign",
        "don't 'LOSER' me, isn't it",
        '5" LOSER" wide',
        '"A"LOSER"B" and "LOSER"',
        "“A“LOSER” sign",
        "‘LOSER’ and ’LOSER‘",
        "a sign 'LOSER's and more",
    ],
)
def test_what_the_pipeline_reads_is_seen(name: str, prompt: str) -> None:
    """Whatever its glyph encoder is given that insults is found, and gone from what it is given of
    the benign prompt."""
    read, quoted = OWN[name][0], PIPELINES[name].QUOTED
    seen = any("LOSER" in text for text in read(prompt))
    if seen:
        assert find_in_prompt(prompt, quoted=quoted)
    benign = rewrite.rewrite(prompt, quoted=quoted)
    assert not any("LOSER" in text for text in read(benign))


@settings(max_examples=200, deadline=None)
@example("LongCatImagePipeline", "'a'a")
@given(st.sampled_from(sorted(OWN)), st.text("a5s '\"“”‘’「」", max_size=40))
def test_the_rule_is_the_pipelines_own(name: str, prompt: str) -> None:
    # LongCat mixes up two words with an apostrophe: the placeholder of one is part of the other's
    assume(name != "LongCatImagePipeline" or len(set(re.findall("[a-z]+'[a-z]+", prompt))) < 2)
    texts = [text for text in OWN[name][0](prompt) if text.strip()]
    quoted = PIPELINES[name].QUOTED
    spans = [*spans_of(prompt, quoted), *quoted_spans(prompt)]
    for text in texts:
        assert any(text in prompt[start:stop] for start, stop in spans), (prompt, text)


def test_an_apostrophe_quotes_only_where_the_pipeline_says_so() -> None:
    prompt = "the dog's loser isn't here"
    assert find_in_prompt(prompt) == ()
    assert find_in_prompt(prompt, quoted=PIPELINES["LongCatImagePipeline"].QUOTED) == ()
    assert len(find_in_prompt(prompt, quoted=PIPELINES["GlmImagePipeline"].QUOTED)) == 1
    with pytest.raises(ToxicityError, match="strictness"):
        find_in_prompt(prompt, strictness="lax")
