"""Sentences: every document is told, and no more than is so."""

import pytest

from tests.documents import DOCUMENTS, WORDS, document, edit_document
from textloc.reading.metrics import exact_match
from textloc.results.sentences import describe, describe_compare, describe_edit, parted, told


def test_a_found_set_is_told_with_its_counts() -> None:
    assert describe(DOCUMENTS["tiny"]) == (
        "Layers 7, 8 and 9 of 11 write the words (1.4 % of the parameters). With only them "
        "patched, 4 of 4 pictures read LOVE; with no patch 0, with all 11 layers patched 4."
    )
    text = describe(DOCUMENTS["sdxl"])
    assert text.startswith("Layers 55, 56 and 57 of 70 write the words (0.21 %")
    assert "8 of 8 pictures read the target" in text


def test_layers_for_use_are_told_where_the_set_falls_short() -> None:
    found = DOCUMENTS["tiny"]
    grown = {**found, "selection": {**found["selection"], "used": [6, 7, 8, 9]}}
    assert describe(grown) == (
        f"{describe(found)} On all pairs together they fall short of 90 %, so edits, guards and "
        "training use layers 6, 7, 8 and 9, which do not."
    )


def test_an_edit_is_told_with_its_start_step() -> None:
    edited, _ = edit_document()
    text = describe_edit(edited)
    assert "patched from step 7 of 20 (tₛ = 13)" in text
    assert "came back" not in text
    own, _ = edit_document(own=True)
    assert "Your picture came back with SSIM 0.99" in describe_edit(own)


def test_counts_come_from_the_pairs_reported_on() -> None:
    doc = document(24, words=WORDS)
    doc["selection"] |= {"chosen_on": [0, 2], "reported_on": [1, 3], "split": True}
    entry = next(e for e in doc["sets"] if e["layers"] == doc["selected"])
    entry["read"][2]["text"] = "GARDN"
    assert "3 of 4 pictures read the target (pairs not used to choose)" in describe(doc)


def test_weak_words_are_told_as_a_score() -> None:
    doc = document(11)
    entry = next(e for e in doc["sets"] if e["layers"] == doc["selected"])
    for read in entry["read"]:
        read["text"] = "LOVF"
    entry["scores"]["ocr_f1_target"] = 0.75
    text = describe(doc)
    assert "Layers 7, 8 and 9 of 11 have the strongest effect on the words" in text
    assert (
        "OCR F1 to the target is 0.75; with no patch 0.25, with all 11 layers patched 1.00" in text
    )


def test_random_layers_that_do_as_well_are_told() -> None:
    doc = document(11)
    doc["controls"][0]["scores"]["ocr_f1_target"] = 1.0
    assert "random layers, as many, did as well" in describe(doc)


def test_words_there_without_a_patch_are_no_finding() -> None:
    doc = document(11)
    for read in doc["sets"][0]["read"]:
        read["text"] = "LOVE"
    text = describe(doc)
    assert "write the words" not in text
    assert "with no patch 2" in text


def test_one_layer_and_all_layers() -> None:
    doc = document(11, seeds=(0,))
    doc["selected"] = [9]
    entry = next(e for e in doc["sets"] if e["layers"] == [9])
    entry["read"][0]["text"], entry["scores"]["ocr_f1_target"] = "love!", 1.0
    text = describe(doc)
    assert text.startswith("Layer 9 of 11 writes the words")
    assert "With only it patched, 1 of 1 picture reads LOVE" in text
    doc["selected"] = list(range(11))
    assert describe(doc).startswith("It takes all 11 layers to write the words")


def test_nothing_found_is_told() -> None:
    assert describe(DOCUMENTS["no effect"]) == (
        "No layer can be named: patching all 11 brought the words no closer to the target "
        "(OCR F1 0.25; with no patch 0.25)."
    )
    doc = document(11)
    doc |= {"selected": [], "controls": []}
    doc["selection"]["reached"] = False
    doc["sets"] = [doc["sets"][0], doc["sets"][2], doc["sets"][-1]]
    doc["sets"][1]["scores"]["effect"] = 0.62
    assert describe(doc) == (
        "No small set of layers reached 90 % of the effect of all 11: the best, layers 8 and 9, "
        "had 62 %."
    )
    doc["sets"][1]["scores"]["effect"] = -0.1
    assert describe(doc).endswith("of all 11: none had any.")
    doc["sets"] = []
    assert describe(doc).endswith("of all 11.")


def test_partial_documents_promise_nothing() -> None:
    doc = document(11, finished=10)
    assert "10 of 11 layers measured so far; the strongest is layer" in describe(doc)
    assert " % of the effect of all" in describe(doc)
    assert "OCR F1 to the target 0." in describe(DOCUMENTS["first"])
    assert describe(DOCUMENTS["nothing yet"]) == "None of 70 layers is measured yet."
    doc = document(11, finished=3)
    for layer in doc["layers"]:
        layer["scores"]["effect"] = -0.1
    assert describe(doc).endswith("none has brought the words closer to the target.")


def test_what_was_stopped_says_so_first() -> None:
    partial = document() | {"complete": False, "stopped": True}
    first, rest = parted(told(partial))
    assert first == "Stopped before its end."
    assert "layers measured so far" in rest


@pytest.mark.parametrize("name", DOCUMENTS)
def test_headlines_are_short_plain_sentences(name: str) -> None:
    text = describe(DOCUMENTS[name])
    assert text.endswith(".")
    assert len(text) < 260
    assert "None" not in text.removeprefix("None of")
    assert "nan" not in text


def test_the_example_is_what_it_says() -> None:
    doc = DOCUMENTS["tiny"]
    assert all(exact_match(read["text"], "LOVE") for read in doc["references"]["all"]["read"])
    assert not any(exact_match(r["text"], "LOVE") for r in doc["references"]["source"]["read"])


def test_layers_that_differ_between_two_results_are_counted_in_grammar() -> None:
    def said(*apart: int) -> str:
        layers = [{"index": number, "apart": number in apart} for number in range(11)]
        return describe_compare({"layers": layers, "rank_correlation": None})

    assert said() == "None of the 11 layers differs by more than the intervals."
    assert said(10) == "1 of 11 layers differs by more than the intervals: layer 10."
    assert said(9, 10).startswith("2 of 11 layers differ by more than the intervals: layers 9")
