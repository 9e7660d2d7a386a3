"""The suppress tab without a browser. Harmless words stand for toxic ones."""

from __future__ import annotations

import re
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from tests.results.test_report import suppression
from textloc import toxicity
from textloc.baselines import SUPPRESSING
from textloc.errors import CheckpointError, LayerError, PromptError, ToxicityError
from textloc.jobs.suppress import FALLBACKS
from textloc.results.inlined import Pictures
from textloc.ui import stored
from textloc.ui.stored import View
from textloc.ui.suppress import order, replay
from textloc.ui.suppress.tab import SuppressSession, SuppressTab


def scores(toxic: float) -> dict[str, list[float]]:
    names = ("ocr_f1_source", "exact_source", "ssim_outside_text", "ssim", "psnr", "mse")
    return {name: [0.5, 0.4, 0.6] for name in names} | {"toxic": [toxic, toxic, toxic]}


def suppress_document(
    toxic: bool = True, withheld: bool = False, methods: bool = True
) -> dict[str, Any]:
    def pictures(name: str, read: str, bad: float) -> list[dict[str, Any]]:
        image = None if withheld and name == "guarded" else f"p0-s3-{name}"
        told = {"prompt": 0, "seed": 3, "read": read, "fallback": None, "image": image}
        return [{**told, "toxic": bad, "ssim": 0.9}]

    prompt, benign = 'a red sign "S***"', 'a red sign "LOVE"'
    finding = {"start": 12, "stop": 16, "text": "S***", "reason": "in your list", "score": 1.0}
    swap = {"name": "prompt-swap", "title": "Prompt swap", "paper": ""}
    return {
        "schema": "textloc.suppress/1",
        "id": "0" * 16,
        "complete": True,
        "request": {"checkpoint": {"name": "made-up"}, "seeds": [3], "steps": 20, "guidance": 3.0},
        "layers": [7, 8, 9],
        "prompts": [
            {
                "prompt": prompt if toxic else benign,
                "benign": benign,
                "toxic": toxic,
                "findings": [finding] * toxic,
            }
        ],
        "guarded": {"pictures": pictures("guarded", "LOVE", 0.0), "scores": scores(0.0)},
        "unguarded": {"pictures": pictures("unguarded", "S***", 1.0), "scores": scores(1.0)},
        "methods": [
            {**swap, "pictures": pictures("prompt-swap", "LOVE", 0.0), "scores": scores(0.0)}
        ]
        * methods,
        "costs": {"guarded": {"images": 1, "seconds": 0.5, "denoiser_rows": 20}},
    }


def view_of(document: dict[str, Any]) -> View:
    image = Image.new("RGB", (8, 8))
    return View(document, Pictures(lambda _key: image), stored=False)


def test_the_unguarded_picture_is_veiled() -> None:
    text = replay.panel(view_of(suppress_document()), "guarded", 3)
    assert text.index("tl-veil") < text.index("<b>Unguarded</b>")
    assert text.count("<img") == 2
    assert 'type="checkbox"' in text
    clean = replay.panel(view_of(suppress_document(toxic=False)), "guarded", 3)
    assert "tl-veil" not in clean


def test_a_withheld_picture_is_not_shown() -> None:
    document = suppress_document(withheld=True)
    text = replay.panel(view_of(document), "guarded", 3)
    assert "withheld" in text
    assert text.count("<img") == 1
    assert "1 is withheld" in replay.headline(document)


def test_what_was_done_is_said() -> None:
    text = replay.headline(suppress_document())
    assert "1 of 1 guarded pictures say nothing toxic" in text
    assert "Layers 7–9 read" in text
    assert "S***" in text
    assert "is clean" in replay.headline(suppress_document(toxic=False))
    table = replay.table(suppress_document())
    assert table.count("<tr") == 1 + 3
    assert "0.50" in table
    partial = suppress_document(methods=False)
    partial["unguarded"]["scores"] = partial["guarded"]["scores"] = None
    assert replay.table(partial) == ""
    assert replay.choices(partial) == [("Localized patching", "guarded")]


def test_a_guard_of_what_was_not_legible_makes_no_claim() -> None:
    document = suppress_document()
    document["unguarded"]["pictures"][0] |= {"read": "OCOBEE", "toxic": 0.0}
    text = replay.headline(document)
    assert "This cannot be judged" in text
    assert "say nothing toxic" not in text


def test_letters_of_the_guarded_picture_are_those_of_the_benign_word() -> None:
    document = suppress_document()
    assert "tl-wrong" not in replay.panel(view_of(document), "guarded", 3)
    document["guarded"]["pictures"][0]["read"] = "GEER"
    assert "LOVE" in replay.panel(view_of(document), "guarded", 3)


def test_prompts_are_looked_at_as_they_are_written() -> None:
    told, benign = replay.found('a sign "STOP"', words=("stop",))
    assert "S***" in told
    assert "severity: own" in told
    assert "STOP" not in told
    assert len(benign) == 4
    assert replay.found('a sign "LOVE"')[1] == ""
    assert "No toxic word is found" in replay.found('a sign "LOVE"')[0]
    assert replay.found("") == ("", "")
    assert "<b>x" not in replay.found('a sign "<b>x"', words=("<b>x",))[0]


def test_a_replacement_of_ones_own_is_what_is_shown() -> None:
    prompt = 'a sign that says "S H I T"'
    told, benign = replay.found(prompt)
    assert benign == "SHIP"  # of the word that is meant
    assert '→ <span translate="no">SHIP' in told
    told, _ = replay.found(prompt, " MOON ")
    assert '→ <span translate="no">MOON' in told
    assert "SHIP" not in told
    told, benign = replay.found(prompt, "CRAP")
    assert "toxic itself" in told
    assert benign == ""


def test_how_strict_and_in_which_languages_one_looks() -> None:
    loser, jerk = 'a sign that says "LOSER"', 'a sign that says "JERK CHICKEN"'
    assert "severity: insult" in replay.found(loser)[0]
    assert "No toxic word is found" in replay.found(loser, strictness="slurs")[0]
    assert "No toxic word is found" in replay.found(jerk)[0]
    assert "J***" in replay.found(jerk, strictness="strict")[0]
    polish = 'a sign that says "DUPA"'
    assert "No toxic word is found" in replay.found(polish)[0]
    assert "severity: vulgar" in replay.found(polish, languages=("polish",))[0]


def test_the_result_is_saved_as_one_file() -> None:
    document, images = suppression()
    view = View(document, Pictures(images.__getitem__), stored=False)
    text = replay.report_of(view)
    pictures = set(re.findall(r"data:image/png;base64,[\w+/=]+", text))
    assert len(pictures) == 5  # the withheld one is not there
    assert "LOSER" not in text
    csv = stored.share(view)["csv"]
    assert csv.splitlines()[0].startswith("method,prompt,benign")
    assert stored.share(view)["id"] == ""  # it has no link


GOOD: dict[str, Any] = {
    "model": "tiny-sdxl",
    "prompt": 'a red sign that says "STOP"',
    "replacement": "",
    "words": "stop, halt",
    "methods": ["prompt-swap"],
    "check": True,
    "fallback": "refuse",
    "seeds": "0",
    "layers": "auto",
    "steps": 20,
    "guidance": 3.0,
}


def test_the_form_becomes_an_order() -> None:
    found = order.read(**GOOD)
    assert found.words == ("stop", "halt")
    assert (found.fallback, found.replacement, found.methods) == ("refuse", None, ("prompt-swap",))
    assert order.read(**GOOD | {"check": False}).fallback is None
    assert (found.strictness, found.languages) == ("usual", None)
    asked = order.read(**GOOD | {"strictness": "strict", "languages": ["polish"]})
    assert (asked.strictness, asked.languages) == ("strict", ("polish",))
    assert not found.stored


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"prompt": " "}, PromptError, "the prompt is empty"),
        ({"model": "nonesuch"}, CheckpointError, "no checkpoint"),
        ({"seeds": "x"}, PromptError, "seeds"),
        ({"layers": "9-7"}, LayerError, "backwards"),
        ({"replacement": "halt"}, ToxicityError, "toxic itself"),
        ({"strictness": "most"}, ToxicityError, "no strictness"),
        ({"languages": ["klingon"]}, ToxicityError, "no list for"),
        ({"steps": 0}, LayerError, "number of steps"),
    ],
)
def test_bad_input_is_refused(fields: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        order.read(**GOOD | fields)


def test_what_is_offered_is_there() -> None:
    methods = {name: title for title, name in order.METHODS}
    assert methods == {name: method.TITLE for name, method in SUPPRESSING.items()}
    assert {name for _, name in order.FALLBACKS} == set(FALLBACKS)
    assert {name for _, name in order.STRICTNESS} == set(toxicity.STRICTNESS)


def test_nothing_of_the_tab_is_shared() -> None:
    with gr.Blocks(), gr.Tab() as place:
        tab = SuppressTab(place)
    assert not hasattr(tab, "share")
    session = SuppressSession()
    assert tab.look(session, "guarded", 3)[0] == gr.skip()
    session.show(view_of(suppress_document()))
    assert len(tab._draw(session)) == len(tab._first)
    assert len(tab.open_rest(session)) == len(tab._rest) == 5
