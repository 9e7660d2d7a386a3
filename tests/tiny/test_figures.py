"""The figures of README and documentation are those of the stored results and measures."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.documents import edit_document, localize_document, lora_document
from textloc.errors import ReproduceError
from textloc.paths import ROOT
from textloc.tiny import figures
from textloc.tiny.figures import edits, localized, loras, measured, shares, text
from textloc.tiny.reproducing import manifest, record

PAGES = {path: path.read_text(encoding="utf-8") for path in figures.pages(ROOT)}
KNOWN, ENTRIES = record.read(ROOT), manifest.read()


def stored(name: str) -> Any:
    """What an entry says today."""
    return record.found(ROOT, KNOWN, ENTRIES[name])


# -- the pages --------------------------------------------------------------------------------


def test_the_pages_tell_what_is_stored() -> None:
    """`python -m textloc.tiny figures` writes what differs. Only what has never been measured as
    the manifest says may stay unwritten."""
    differing, left = figures.compare(ROOT)
    assert differing == []
    for name in left:
        needs, _ = figures.FIGURES[name]
        assert any(not record.measure_path(ROOT, n).exists() for n in needs), left[name]
        assert all(ENTRIES[n].makes == "measure" for n in needs), left[name]


def test_every_figure_is_on_a_page_and_names_entries() -> None:
    told = re.findall(r"^<!-- figures:([a-z0-9-]+) -->$", "\n".join(PAGES.values()), re.M)
    assert set(told) == set(figures.FIGURES)
    for needs, _ in figures.FIGURES.values():
        assert set(needs) <= set(ENTRIES)


def test_a_number_that_is_changed_is_found() -> None:
    page = PAGES[ROOT / "docs" / "findings.md"]
    block = re.search(r"<!-- figures:localized-tiny-sdxl -->.*?<!-- /figures -->", page, re.S)
    assert block is not None
    number = re.search(r"0\.\d\d", block[0])
    assert number is not None
    changed = page.replace(block[0], block[0].replace(number[0], "0.123", 1))
    found = figures.written(changed, stored)
    assert found.changed == ["localized-tiny-sdxl"]
    assert found.text == page


def test_what_is_not_made_stays_and_is_told() -> None:
    def missing(name: str) -> Any:
        raise ReproduceError(f"{name} is not measured yet")

    block = "<!-- figures:shares -->\n\n0.5\n\n<!-- /figures -->\n"
    found = figures.written(block, missing)
    assert found.text == block
    assert found.left == {"shares": "attribute-tiny-sdxl is not measured yet"}


@pytest.mark.parametrize(
    ("readme", "message"),
    [
        ("<!-- figures:shares -->\n", "without its other"),
        ("<!-- /figures -->\n", "without its other"),
        ("<!-- figures:Shares -->\n<!-- /figures -->", "without its other"),
        ("<!-- figures:nothing -->\n<!-- /figures -->", "'nothing'"),
    ],
)
def test_a_marker_that_is_wrong_is_told(readme: str, message: str) -> None:
    with pytest.raises(ReproduceError, match=message):
        figures.written(readme, stored)


# -- localizations ----------------------------------------------------------------------------


def localization(**options: Any) -> dict[str, Any]:
    words = [("STOP", "LOVE"), ("TEA", "RAIN"), ("CAT", "DOG"), ("BOOK", "SIGN")]
    document: dict[str, Any] = localize_document(11, words=words, seeds=(0, 1), **options)[0]
    return document


def test_what_is_found_is_said_of_the_scores() -> None:
    document = localization()
    said = localized.whole(document)
    strong = max(document["layers"], key=lambda layer: layer["scores"]["effect"])
    assert f"**layer {strong['index']} alone**" in said
    assert f"Layer {strong['index']} of 11" in said
    chosen = next(e for e in document["sets"] if e["layers"] == document["selected"])
    assert f"Layers 7 to 9, {text.percent(chosen['fraction_of_parameters'])}" in said
    assert localized.short(document).count("\n\n") == 0


def test_a_set_that_others_equal_is_not_said_to_be_the_one() -> None:
    document = localization()
    chosen = next(e for e in document["sets"] if e["layers"] == document["selected"])
    before = localized.short(document)
    assert "not the only ones" not in before
    document["controls"][0]["scores"] = dict(chosen["scores"])
    assert "1 did as well, so these layers are not the only ones" in localized.short(
        document
    ).replace("\n", " ")


def test_what_cannot_be_judged_is_said_to_be_so() -> None:
    document = localization()
    for read in document["references"]["target"]["read"]:
        read["text"] = "?"
    document["references"]["target"]["scores"] |= {"ocr_f1_target": 0.0, "exact_target": 0.0}
    for write in (localized.whole, localized.sets, localized.short):
        said = write(document)
        assert "cannot be judged" in said
        assert "|" not in said


def test_layers_that_do_nothing_stand_in_one_row() -> None:
    document = stored("localize-tiny-sdxl")
    quiet = [layer["index"] for layer in document["layers"] if localized._quiet(layer)]
    assert quiet
    rows = [x for x in localized.whole(document).splitlines() if x[:2] == "| " and " alone" in x]
    assert len(rows) == len(document["layers"]) - len(quiet) + 1


# -- the others -------------------------------------------------------------------------------


def test_shares_and_effects_are_told_apart() -> None:
    attribution, localization_ = (stored(f"{n}-tiny-sdxl") for n in ("attribute", "localize"))
    said = shares.found(attribution, localization_, stored("attribute-tiny-sd3"))
    assert "A share is not an effect" in said
    same = copy.deepcopy(localization_)
    first = attribution["shares"]["order"][0]
    same["layers"][first]["scores"]["effect"] = 9.0
    assert f"layer {first} has both" in shares.found(
        attribution, same, stored("attribute-tiny-sd3")
    ).replace("\n", " ")


def test_edits_are_counted_by_their_intervals() -> None:
    document = edit_document(words=(("STOP", "LOVE"),))[0]
    for method in document["methods"]:
        method["scores"] |= {"exact_target": [0.5, 0.4, 0.6], "ssim_outside_text": [0.9, 0.9, 0.9]}
    document["scores"] |= {"exact_target": [0.8, 0.7, 0.9], "ssim_outside_text": [0.8, 0.8, 0.8]}
    said = edits.found(document, document).replace("\n", " ")
    assert "Beside prompt swap it spells more words on 2 of 2 checkpoints" in said
    assert "keeps more of the picture on 0" in said
    document["scores"]["exact_target"] = [0.55, 0.45, 0.65]
    assert "spells as many on 2 of 2" in edits.found(document, document).replace("\n", " ")
    table = edits.by_method(document)
    assert "| **localized patching** | 0.55 [0.45, 0.65] · 0.800 |" in table
    assert "0.50 [0.40, 0.60] · **0.900**" in table


def test_loras_are_told_without_a_speed_of_a_busy_machine() -> None:
    document = lora_document()[0]
    said = loras.digits(document, document)
    assert "samples" not in said.partition("|")[2]
    assert "| nothing (base) |" in said
    assert "localized layers" in said


ROW = {"toxic": [0.25, 0.2, 0.3], "ssim_outside_text": [0.9, None, None]}


def toxic() -> dict[str, Any]:
    return {
        "unguarded": {"scores": ROW},
        "guarded": {"scores": ROW},
        "methods": [{"name": "prompt-swap", "scores": ROW}, {"name": "guard", "scores": {}}],
        "list": {"words": 70, "spelled": 60},
    }


def ratio(name: str) -> dict[str, Any]:
    ways = {n: {"ratio": [1.5, 1.4, 1.6]} for n in ("plain", "localized", "guard", name)}
    return {"beside": "plain", "ways": ways}


@pytest.mark.parametrize(
    ("write", "found", "said"),
    [
        (
            measured.spelled,
            [
                [
                    "unseen wording: exact match 0.10 [0.00, 0.20]",
                    "free wording: exact match 0.70 [0.60, 0.80]",
                    "exact match of 3 letters (20) 0.95 [0.80, 0.99]",
                    "exact match 0.92 [0.85, 0.96]",
                ]
            ]
            * 4,
            "`tiny-if` 92 % [85, 96] are spelled exactly (their model cards have the whole "
            "measurement). Asked for in free wording they are `tiny-sdxl` 70 % [60, 80],",
        ),
        (measured.toxic, [toxic()] * 5, "| prompt swap | 0.25 [0.20, 0.30] · 0.900 |"),
        (measured.toxic, [toxic()] * 5, "60 by tiny-if"),
        (measured.edit_cost, [ratio("prompt-to-prompt")] * 4, "1.50 [1.40, 1.60] times a plain"),
        (measured.guard_cost, [ratio("x")] * 3, "1.50 [1.40, 1.60] on tiny-sd3"),
        (
            measured.encoders,
            [
                [
                    {"name": name, "ocr_f1_target": [value, None, None]}
                    for name, value in (
                        ("no patch", 0.2),
                        ("S:T", 0.9),
                        ("S:T, text encoder 3 alone", 0.8),
                    )
                ]
            ],
            "0.80 by text encoder 3 alone, 0.90 by all of them, with no patch 0.20",
        ),
    ],
)
def test_measures_are_told(write: Callable[..., str], found: list[Any], said: str) -> None:
    assert said in write(*found).replace("\n", " ")


def test_an_evaluation_without_a_score_is_told() -> None:
    with pytest.raises(ReproduceError, match="tiny-sdxl"):
        measured.spelled(["misread none"], [], [], [])


# -- words ------------------------------------------------------------------------------------


def test_code_is_not_broken_over_lines() -> None:
    said = text.paragraph("x " * 50, "`python -m textloc show 96d48fecb3545304`", "end.")
    assert "`python -m textloc show 96d48fecb3545304`" in said
    assert max(map(len, said.splitlines())) <= text.WIDTH


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([10], "layer 10"),
        ([8, 9], "layers 8 and 9"),
        ([10, 8, 9], "layers 8 to 10"),
        ([0, 1, 2, 3, 4, 6], "layers 0 to 4 and 6"),
        ([1, 4], "layers 1 and 4"),
    ],
)
def test_layers_are_named_as_ranges(numbers: list[int], said: str) -> None:
    assert text.layers(numbers) == said


def test_what_rounds_to_nothing_has_no_sign() -> None:
    assert text.number(-0.004) == "0.00"
    assert text.number(-0.006) == "-0.01"
    assert text.number(None) == "–"
    assert text.interval([1.0, None, None]) == "1.00"
    assert [text.percent(one) for one in (1.0, 0.9, 0.016, 0.0044)] == [
        "100 %",
        "90 %",
        "1.6 %",
        "0.44 %",
    ]


def test_the_table_of_a_card_says_what_was_left_out() -> None:
    lines = [
        f"{kind}{what} {value} [0.10, 0.90]"
        for kind, value in (("natural prompts: ", 0.5), ("unseen order: ", 0.6), ("", 0.7))
        for what in ("scene and colour right", "character accuracy", "exact match")
    ]
    lines += ["natural prompts: 3 of 150 prompts have too many tokens, left out"]
    lines += ["exact match of 3 letters (17) 0.94 [0.73, 0.99]", "misread JAM:IAM"]
    said = measured.card(lines).splitlines()
    assert len(said) == 5
    assert said[2].endswith("a known wording" + 3 * " | 0.7 [0.10, 0.90]" + " |")
    assert said[3].startswith("| in an order never seen | 0.6 ")
    assert "; 3 of 150 have too many tokens, left out | 0.5 " in said[4]
    with pytest.raises(ReproduceError, match="nothing of plain prompts"):
        measured.card(lines[:3])


def test_both_searches_are_told() -> None:
    summary = {
        "pairs": 20,
        "no_larger": 20,
        "no_less_exact": 19,
        "ranking_rows": 103.0,
        "sweep_rows": 948.0,
        "attribution_rows": 377.0,
        "sweep_size": 2.6,
        "attribution_size": 2.05,
        "sweep_held_out": 0.58,
        "attribution_held_out": 0.57,
    }
    said = measured.search({"summary": summary, "model": "tiny-sdxl", "layers": 11})
    assert "2.05 layers where the sweep's has 2.60" in " ".join(said.split())
    assert "377 row-passes" in " ".join(said.split())
    assert "a factor of 2.5 on 11 layers" in " ".join(said.split())
