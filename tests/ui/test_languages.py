"""The page's languages: which one is asked for, and what a catalog holds."""

from __future__ import annotations

import re

import pytest

from textloc.ui import languages

OTHERS = [code for code in languages.NAMES if code != "en"]


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("", {}, "en"),
        ("", {"accept-language": "pl-PL,pl;q=0.9,en;q=0.8"}, "pl"),
        ("", {"accept-language": "en;q=0.5,ja;q=0.9"}, "ja"),
        ("", {"accept-language": "de,fr;q=0.9"}, "en"),
        ("lang=ja", {"accept-language": "pl"}, "ja"),
        ("lang=xx", {"accept-language": "pl"}, "pl"),
        ("", {"cookie": f"a=b; {languages.COOKIE}=pl", "accept-language": "ja"}, "pl"),
        ("lang=<script>", {"cookie": "\x00;;=", "accept-language": ";q=x,,;"}, "en"),
    ],
)
def test_the_language_asked_for(query: str, headers: dict[str, str], code: str) -> None:
    assert languages.asked(query, headers) == code


def test_catalogs_say_the_same_texts() -> None:
    assert len({frozenset(languages.catalog(code)) for code in OTHERS}) == 1


@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_names_only_gaps_that_are_there(code: str) -> None:
    for text, said in languages.catalog(code).items():
        forms = [said] if isinstance(said, str) else list(said.values())
        for form in forms:
            named = {int(number) for number in re.findall(r"\{(\d)(?::t)?\}", form)}
            assert named <= set(range(text.count("{}"))), text


@pytest.mark.parametrize("code", OTHERS)
def test_a_script_is_its_engine_with_its_catalog(code: str) -> None:
    assert f'("{code}", {{' in languages.script(code)
