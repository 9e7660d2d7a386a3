"""The tour and its quiz, without a browser."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.documents import edit_document, localize_document
from textloc.paths import ROOT
from textloc.results import store
from textloc.results.inlined import Pictures
from textloc.ui import stored
from textloc.ui.learn import examples, quiz, tour
from textloc.ui.learn.examples import Example, example_of
from textloc.ui.learn.steps import steps, usual_edit
from textloc.ui.stored import View


def view_of(document: dict[str, Any], images: dict[str, Any]) -> View:
    return View(document, Pictures(images.__getitem__), stored=True)


def example(**options: Any) -> Example:
    found = example_of(view_of(*localize_document(**options)))
    assert found is not None
    return found


def single(index: int = 9, **options: Any) -> Example:
    """One layer writes the word; no other does anything."""
    document, images = localize_document(**options)
    entry = next(e for e in document["sets"] if e["layers"] == document["selected"])
    document["sets"] = [e for e in document["sets"] if e["layers"] != [index]]
    entry["layers"] = document["selected"] = [index]
    source, target = (
        document["request"]["pairs"][0][f"{side}_text"] for side in ("source", "target")
    )
    for layer in document["layers"]:
        writes = layer["index"] == index
        layer["scores"]["effect"] = float(writes)
        for read in layer["read"]:
            read["text"] = target if writes else source
    found = example_of(view_of(document, images))
    assert found is not None
    return found


def text_of(html: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)))


# ---------------------------------------------------------------------------- which result


def test_a_clear_result_is_an_example() -> None:
    found = example()
    assert found.selected == (7, 8, 9)
    assert found.total == 11
    assert found.shown == list(range(11))
    assert (found.pair, found.seed) == (0, 0)


def test_of_many_layers_the_set_and_some_others_are_shown() -> None:
    found = example(n_layers=70)
    assert len(found.shown) == examples.MOST_SHOWN
    assert set(found.selected) <= set(found.shown)
    assert found.shown == sorted(set(found.shown))
    assert min(found.shown) < 10
    told = text_of(steps(found, None)[2].html())
    assert "12 of the 70 are shown" in told


def test_the_first_place_that_reads_right_is_shown() -> None:
    document, images = localize_document(words=(("BOOK", "RAIN"), ("MUG", "TEA")), seeds=(3, 4))
    entry = next(e for e in document["sets"] if e["layers"] == document["selected"])
    first = entry["read"][0]
    first["text"] = "R4IN"
    found = example_of(view_of(document, images))
    assert found is not None
    place = (found.pair, found.seed)
    assert place == (entry["read"][1]["pair"], entry["read"][1]["seed"])
    assert place != (first["pair"], first["seed"])


def _unread(document: dict[str, Any]) -> None:
    for read in document["references"]["target"]["read"]:
        read["text"] = "LQVE"


def _no_selection(document: dict[str, Any]) -> None:
    document["selected"] = []


def _not_reached(document: dict[str, Any]) -> None:
    document["selection"]["reached"] = False


def _all_layers(document: dict[str, Any]) -> None:
    document["selected"] = list(range(11))


def _not_alone(document: dict[str, Any]) -> None:
    document["layers"] = document["layers"][:8]


def _rivals(document: dict[str, Any]) -> None:
    for control in document["controls"]:
        control["scores"]["ocr_f1_target"] = 1.0


@pytest.mark.parametrize(
    "spoil", [_unread, _no_selection, _not_reached, _all_layers, _not_alone, _rivals]
)
def test_an_unclear_result_is_no_example(spoil: Any) -> None:
    document, images = localize_document()
    spoil(document)
    assert example_of(view_of(document, images)) is None


@pytest.mark.parametrize("options", [{"finished": 4}, {"works": False}])
def test_what_shows_nothing_is_no_example(options: dict[str, Any]) -> None:
    assert example_of(view_of(*localize_document(**options))) is None
    assert example_of(view_of(*edit_document())) is None


def test_the_result_that_the_page_opens_with_is_taken(results: Path) -> None:
    (usual, pictures), (other, images) = localize_document(), localize_document(words=(("A", "B"),))
    store.save(usual, pictures)
    store.save(other, images)
    (results / "index.json").write_text(json.dumps({stored.LOCALIZE: usual["id"]}))
    found = examples.usual()
    assert found is not None
    assert found.document["id"] == usual["id"]
    asked = examples.usual(other["id"])
    assert asked is not None
    assert asked.document["id"] == other["id"]
    for odd in ("x", "0" * 16, "../../etc", ""):
        fallback = examples.usual(odd)
        assert fallback is not None
        assert fallback.document["id"] == usual["id"]


def test_an_unclear_default_gives_way_to_the_clearest(results: Path) -> None:
    bad, bad_images = localize_document(works=False)
    good, images = localize_document(words=(("BOOK", "RAIN"),))
    store.save(bad, bad_images)
    assert examples.usual() is None
    store.save(good, images)
    (results / "index.json").write_text(json.dumps({stored.LOCALIZE: bad["id"]}))
    found = examples.usual(bad["id"])
    assert found is not None
    assert found.document["id"] == good["id"]


def test_another_question_is_of_the_same_checkpoint_with_other_layers() -> None:
    store_of_the_project = ROOT / "cached_results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(store.RESULTS_VARIABLE, str(store_of_the_project))
        first = examples.usual()
        assert first is not None
        other = examples.another(first)
    assert other is not None
    assert other.document["checkpoint"]["digest"] == first.document["checkpoint"]["digest"]
    assert other.selected != first.selected
    assert other.words["target_text"] != first.words["target_text"]


# ---------------------------------------------------------------------------- what is said


@pytest.mark.parametrize(
    ("found", "layers"), [(single(9), "Layer 9 reaches 1.00"), (example(), "Layers 7–9 together")]
)
def test_the_steps_say_what_the_result_holds(found: Example, layers: str) -> None:
    told = [text_of(step.html()) for step in steps(found, None)]
    assert len(told) == 5
    assert 'a red sign that says " STOP "' in told[0]
    assert 'a red sign that says " LOVE "' in told[0]
    assert "seed 0" in told[0]
    assert "example-11 has 11 text layers" in told[1]
    assert "20 steps" in told[1]
    assert layers in told[3]
    share = 100 * found.document["fraction_of_parameters"]
    assert f"{share:.2g} % of the parameters" in told[3]
    assert "Before" in told[4]
    assert all(len(step.text) < 260 for step in steps(found, None))


def test_other_words_and_numbers_make_another_tour() -> None:
    told = text_of("".join(s.html() for s in steps(example(words=(("TEA", "RAIN"),)), None)))
    assert "STOP" not in told
    assert "LOVE" not in told
    assert "RAIN" in told


def test_each_layer_can_be_patched_and_the_set_together() -> None:
    figure = steps(example(), None)[2].figure
    assert re.findall(r'<button [^>]*data-choice="(\w+)"', figure) == [*map(str, range(11)), "set"]
    assert re.findall(r'data-shown="(\w*)"', figure) == ["", *map(str, range(11)), "set"]
    assert 'data-layers="7 8 9"' in figure
    assert 'data-choice="set"' not in steps(single(), None)[2].figure


def test_the_map_has_a_bar_for_each_layer_and_says_it_in_words() -> None:
    found = single(9)
    figure = steps(found, None)[3].figure
    assert figure.count('tl-beam"') == 11
    assert figure.count("tl-column tl-target") == 1
    assert "layer 9 1.00" in figure
    document = found.document
    document["layers"][0]["scores"]["effect"] = -0.4  # type: ignore[index]
    document["layers"][9]["scores"]["effect"] = 1.7  # type: ignore[index]
    heights = re.findall(r"--effect:([\d.-]+)", steps(found, None)[3].figure)
    assert all(0 <= float(height) <= 1 for height in heights)
    assert "1.70" in steps(found, None)[3].figure


def test_the_use_shows_a_stored_edit(results: Path) -> None:
    edit, images = edit_document()
    view = view_of(edit, images)
    told = steps(example(), view)[4].figure
    assert "edit:" in told
    assert "patched" in text_of(told)
    value = tour.value(example(), view)
    assert any(name.startswith("edit:") for name in value["pictures"])


def test_an_edit_of_another_checkpoint_is_not_shown(results: Path) -> None:
    edit, images = edit_document()
    edit["checkpoint"]["digest"] = "sha256:other"
    store.save(edit, images)
    assert usual_edit(example()) is None


# ---------------------------------------------------------------------------- the quiz


def test_the_quiz_knows_the_layers_of_one() -> None:
    figure = quiz.question(single(9)).figure
    right = re.findall(r'data-guess="(\d+)" data-right="1"', figure)
    assert right == ["9"]
    assert 'data-quiz="1"' in figure
    assert "Yes, layer 9 wrote LOVE alone: its effect is" in figure
    assert "No. With layer 2 patched, the picture still reads STOP." in figure


def test_the_quiz_asks_for_all_layers_of_a_set() -> None:
    found = example()
    asked = quiz.question(found)
    right = re.findall(r'data-guess="(\d+)" data-right="1"', asked.figure)
    assert right == ["7", "8", "9"]
    assert "which layers" in asked.title
    read = found.read(found.layer(8))["text"]
    assert f"Yes, layer 8 is one of 3. Patched alone, the picture reads {read}." in asked.figure
    assert "Together they wrote LOVE" in asked.figure


def test_a_layer_that_garbles_the_word_is_not_said_to_leave_it() -> None:
    found = single(9)
    found.layer(2)["read"][0]["text"] = "S7P"  # type: ignore[index]
    figure = quiz.question(found).figure
    assert "With layer 2 patched, the picture reads S7P." in figure
    found.layer(3)["read"][0]["text"] = ""  # type: ignore[index]
    assert "the picture reads nothing" in quiz.question(found).figure


# ---------------------------------------------------------------------------- what is sent


def test_each_picture_is_sent_once() -> None:
    value = tour.value(example(size=64), None)
    named = set(re.findall(r'data-picture="([^"]+)"', value["html"]))
    assert named == set(value["pictures"])
    assert "data:image" not in value["html"]
    assert all(address.startswith("data:image/png") for address, _ in value["pictures"].values())
    json.dumps(value)


def test_large_pictures_are_sent_small() -> None:
    value = tour.value(example(size=512), None)
    assert all(address.startswith("data:image/jpeg") for address, _ in value["pictures"].values())
    assert sum(len(address) for address, _ in value["pictures"].values()) < 200_000


def test_nothing_from_outside_is_html() -> None:
    evil = '<img src=x onerror="alert(1)">'
    found = single(9, words=((f"{evil}A", f"{evil}B"),))
    for value in (tour.value(found, None), tour.further(found)):
        assert "<img src=x" not in value["html"]
        assert 'onerror="alert' not in value["html"]


@pytest.mark.slow
def test_the_tour_needs_no_torch() -> None:
    code = (
        "import sys\nfrom textloc.ui.learn import examples, tour\n"
        "from textloc.ui.learn.steps import usual_edit\n"
        "found = examples.usual()\nassert found\ntour.value(found, usual_edit(found))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
