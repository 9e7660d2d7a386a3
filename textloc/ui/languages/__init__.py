"""The page in other languages: a catalog a language, `pl.json`, and `translate.js` that says it.

The page is written in English. A catalog gives each of its texts, as it stands in the page, in
another language; `translate.js` puts them in place in the browser, so that no tab knows of it. To
add a language, add its catalog: `tests/browser/test_languages.py` says what it lacks.

In a catalog `{}` is a gap that holds a number or a word (`"{} steps"`); the translation names gaps
by their number, `{0}`, or `{0:t}` where what stands there is to be translated too. An object in
place of a text gives plural forms by their CLDR names (`one`, `few`, `many`, `other`).
"""

import json
from collections.abc import Mapping
from functools import cache
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs

_HERE = Path(__file__).parent

COOKIE = "textloc-language"
"""Keeps the language that `?lang=` asked for while one stays."""

NAMES = {"en": "English", "pl": "Polski", "ja": "日本語"}
"""Languages of the page, each by its own name; English needs no catalog."""


@cache
def script(language: str) -> str:
    """The JavaScript that says the page in a language of `NAMES` other than English."""
    engine = (_HERE / "translate.js").read_text(encoding="utf-8").strip()
    return f"{engine}({json.dumps(language)}, {json.dumps(catalog(language), ensure_ascii=False)});"


@cache
def catalog(language: str) -> dict[str, str | dict[str, str]]:
    """English texts and what stands for them."""
    found: dict[str, str | dict[str, str]] = json.loads(
        (_HERE / f"{language}.json").read_text(encoding="utf-8")
    )
    return found


def asked(query: str, headers: Mapping[str, str]) -> str:
    """The language of a request: that of `?lang=`, else the cookie's, else the first one that the
    browser accepts; English where none of them is here."""
    named = parse_qs(query).get("lang", [])
    try:
        kept = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        kept = None
    wanted = [
        *named,
        *([kept.value] if kept else []),
        *_accepted(headers.get("accept-language", "")),
    ]
    return next((code for each in wanted if (code := each[:2].lower()) in NAMES), "en")


def _accepted(header: str) -> list[str]:
    """Language tags of an `Accept-Language` header, the most wanted first."""
    weighed = []
    for part in header[:200].split(","):
        tag, _, weight = part.strip().partition(";q=")
        try:
            weighed.append((float(weight or 1), tag))
        except ValueError:
            continue
    return [tag for _, tag in sorted(weighed, key=lambda pair: -pair[0])]
