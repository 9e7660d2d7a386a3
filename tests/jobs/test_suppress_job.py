"""Suppressing toxic words, with harmless ones in their place and OCR that says what it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import tiny_pipelines
from textloc import cli, suppress
from textloc.bench import guard as bench_guard
from textloc.bench import toxic
from textloc.checkpoints.loading import Model, Spelling
from textloc.errors import LayerError, PromptError, ToxicityError
from textloc.jobs import guard
from textloc.patching.generation import generate
from textloc.reading import ocr
from textloc.reading.ocr import Reading
from textloc.runs import Patch, Run

BAD, GOOD, CLEAN = 'a red sign "STOP"', 'a red sign "LOVE"', 'a green mug "HOP"'
KEEP: dict[str, Any] = {"words": ["stop"], "replacements": {"stop": "LOVE"}}


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_pipelines.precise(tiny_pipelines.sd())


def reads(monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
    """Have OCR read these texts, one a picture; the last one ever after."""
    said = list(texts)

    def read(images: list[Any], _engine: str, **_options: Any) -> list[Reading]:
        return [Reading(said.pop(0) if len(said) > 1 else said[0], ()) for _ in images]

    monkeypatch.setattr(ocr, "read", read)


def picture(model: Model, run: Run) -> np.ndarray:
    for chunk in generate(model, [run], model.defaults, lean=True):
        if run in chunk.images:
            return np.asarray(chunk.images[run], np.float64)
    raise AssertionError


def test_toxic_prompts_are_patched_and_clean_ones_are_not(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads(monkeypatch, "LOVE")
    event = suppress(model, [BAD, CLEAN], layers="0-1", seeds=(0, 1), **KEEP)
    document = event.document
    assert document["complete"]
    assert [asked["toxic"] for asked in document["prompts"]] == [True, False]
    assert document["prompts"][0]["prompt"] == 'a red sign "S***"'
    assert document["prompts"][0]["benign"] == GOOD
    assert document["prompts"][0]["findings"][0]["text"] == "S***"
    assert len(event.images) == 4
    assert document["unguarded"] is None
    patched = Run(BAD, 1).patched(Patch((0, 1), Run(GOOD, 1)))
    assert np.abs(picture(model, patched) - np.asarray(event.images["p0-s1-guarded"])).max() <= 1
    clean = picture(model, Run(CLEAN, 0))
    assert np.abs(clean - np.asarray(event.images["p1-s0-guarded"])).max() <= 1


def test_methods_are_measured_beside_the_unguarded_picture(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads(monkeypatch, "LOVE", "STOP")
    event = suppress(
        model, BAD, layers="all", methods=["negative-prompt", "prompt-swap"], reveal=True, **KEEP
    )
    document = event.document
    assert document["prompts"][0]["prompt"] == BAD
    guarded, plain = document["guarded"], document["unguarded"]
    assert guarded["pictures"][0]["toxic"] == 0
    assert guarded["scores"]["ssim"][0] < 1
    assert plain["scores"]["toxic"][0] == 1
    assert plain["scores"]["ssim"][0] == 1
    assert [method["name"] for method in document["methods"]] == ["negative-prompt", "prompt-swap"]
    text = toxic.table(document)
    assert "Localized patching" in text
    assert "Unguarded" in text
    json.dumps(document)


@pytest.mark.parametrize(
    ("fallback", "texts", "fell", "pictures"),
    [
        ("refuse", ("STOP",), "refuse", 0),
        ("prompt-swap", ("STOP", "LOVE"), "prompt-swap", 1),
        ("more-layers", ("STOP", "LOVE"), "more-layers", 1),
        ("more-layers", ("STOP", "STOP", "LOVE"), "prompt-swap", 1),
        ("more-layers", ("STOP",), "refuse", 0),
        ("refuse", ("LOVE",), None, 1),
    ],
)
def test_the_check_falls_back(
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
    fallback: Any,
    texts: tuple[str, ...],
    fell: str | None,
    pictures: int,
) -> None:
    reads(monkeypatch, *texts)
    event = suppress(model, BAD, layers="0", check=True, fallback=fallback, **KEEP)
    told = event.document["guarded"]["pictures"][0]
    assert told["fallback"] == fell
    assert len(event.images) == pictures
    assert (told["image"] is None) == (pictures == 0)


def test_bad_input_is_told(model: Model) -> None:
    for options, error, message in (
        ({"methods": ["hope"]}, PromptError, "no method 'hope'"),
        ({"fallback": "hope"}, PromptError, "no fallback 'hope'"),
        ({"detector": "hope"}, ToxicityError, "no detector 'hope'"),
        ({"seeds": ()}, PromptError, "one or more different seeds"),
        ({"layers": "99"}, LayerError, "no text layer 99"),
    ):
        with pytest.raises(error, match=message):
            suppress(model, BAD, **{"layers": "0", **options})
    with pytest.raises(LayerError, match="not known here"):
        suppress(model, BAD)


def test_words_of_the_bench_are_those_that_can_be_spelled(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    speller = replace(model, spelling=Spelling("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 2, 6))
    assert toxic.spelled(speller, ["stop", "extraordinary", "a b", "LOVE", "x"]) == [0, 3]
    reads(monkeypatch, "LOVE")
    document = toxic.measure(speller, ["stop", "é", "halt"], ["love", "tree", "moon"], [0])
    assert document["list"] == {"words": 3, "spelled": 2, "found": 0.0, "toxic": 0.0}
    assert document["clean"] == {"prompts": 2, "flagged": 0}
    assert "2 of 3 words" in toxic.table(document)
    with pytest.raises(PromptError, match="one for each"):
        toxic.measure(speller, ["stop"], [], [0])
    with pytest.raises(PromptError, match="can spell none"):
        toxic.measure(speller, ["é"], ["love"], [0])


def test_harmless_words_that_a_method_changes(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Methods that are always on draw every word; the others where something is found."""
    from textloc.baselines.steering import Steering
    from textloc.bench import harmless

    always = Steering((0,), ((BAD, GOOD),))
    prompts = [CLEAN, 'a red sign "DAMN"', 'a mug "TEA"']
    reads(monkeypatch, "HOP")
    found = harmless.measure(model, prompts, [0], methods=["prompt-swap"], rivals={"new": always})
    assert (found["prompts"], found["flagged"], found["read"]) == (3, 1, 1)
    assert {name: share[0] for name, share in found["changed"].items()} == dict.fromkeys(
        ("guarded", "prompt-swap", "new"), 0.0
    )
    reads(monkeypatch, "nothing")
    with pytest.raises(PromptError, match="no plain picture reads"):
        harmless.measure(model, [CLEAN], [0])


def test_the_share_of_harmless_words_is_over_those_that_read_plainly() -> None:
    from textloc.bench import harmless

    def picture(prompt: int, read: str) -> dict[str, Any]:
        return {"prompt": prompt, "seed": 0, "read": read}

    texts, kept = ["HOP", "TEA", "CAT"], {(0, 0), (2, 0)}
    drawn = [picture(0, "HOP"), picture(1, "x"), picture(2, "x")]
    assert harmless._changed(drawn, texts, kept)[0] == 0.5
    assert harmless._changed([], texts, kept)[0] == 0.0  # nothing drawn anew: the plain pictures
    assert harmless._changed(drawn[:1], texts, kept)[2] < 1.0


def test_a_guard_is_timed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    within = guard._Job._called

    def listen(job: guard._Job, own: Any, args: Any, asked: dict[str, Any]) -> Any:
        told.extend(asked["prompt"])
        return within(job, own, args, asked)

    monkeypatch.setattr(guard._Job, "_called", listen)
    report = bench_guard.measure(model, [0], repeats=2)
    assert len(set(told)) == len(told) == 3  # a prompt that no guard has seen in every round
    assert set(report["ways"]) == {"unguarded", "guard", "benign row"}
    assert "unguarded" in bench_guard.table(report)
    with pytest.raises(PromptError, match="at least two"):
        bench_guard.measure(model, [0], repeats=1)


def test_the_command(
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from textloc.checkpoints import loading

    monkeypatch.setattr(loading, "load", lambda *_args, **_options: model)
    reads(monkeypatch, "LOVE")
    words = tmp_path / "words.txt"
    words.write_text("stop\n", encoding="utf-8")
    command = ["suppress", "--prompt", BAD, "--prompt", CLEAN, "--words", str(words)]
    command += ["--replacement", "LOVE", "--layers", "0", "--out", str(tmp_path / "out")]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "STOP" not in said
    assert 'a red sign "S***"' in said
    assert "clean, generated as it is" in said
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
    assert cli.main([*command, "--json", "-", "--compare", "prompt-swap"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert Path(document["guarded"]["pictures"][0]["image"]).is_file()
    assert document["schema"] == "textloc.suppress/1"
    assert cli.main([*command, "--words", str(tmp_path / "none.txt")]) == 2
    assert "cannot be read" in capsys.readouterr().err
