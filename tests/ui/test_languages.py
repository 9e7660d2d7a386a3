"""The page's languages: which one is asked for, and what a catalog holds."""

from __future__ import annotations

import ast
import re

import pytest

from textloc.paths import ROOT
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


def parts_of(message: str) -> list[str]:
    """What `translate.js` looks up of a message: sentences, then what semicolons part."""
    return re.split(r"(?<=[.?!]) (?=[A-Z])", message)


def raised(module: str) -> list[str]:
    """Messages of the errors that a module raises, with `{}` where something is filled in."""
    found = []
    for node in ast.walk(ast.parse((ROOT / "textloc" / f"{module}.py").read_text())):
        if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args):
            continue
        match node.exc.args[0]:
            case ast.Constant(value=str(text)):
                found.append(text)
            case ast.JoinedStr(values=values):
                pieces = [v.value if isinstance(v, ast.Constant) else "{}" for v in values]
                found.append("".join(map(str, pieces)))
    return found


# What a form, a link or the gallery refuses before anything is loaded.
FORMS = (
    "ui/fields",
    "ui/limits",
    "ui/models",
    "ui/edit/order",
    "ui/finetune/order",
    "ui/localize/order",
    "ui/suppress/order",
    "ui/gallery/comparison",
    "ui/gallery/imports",
    "ui/gallery/tab",
    "results/compare",
    "results/unlisted",
    "results/upload",
)


@pytest.mark.parametrize("module", FORMS)
def test_what_the_forms_refuse_is_translated(module: str) -> None:
    known = languages.catalog("pl")
    messages = raised(module)
    assert messages
    for message in messages:
        for part in parts_of(message):
            # a last gap is a half sentence that is looked up by itself
            assert part in known or part.removesuffix("{}") in known, part
