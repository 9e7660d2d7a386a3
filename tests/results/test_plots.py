"""Figures and sentences: every document gives a drawable figure and says only what is so."""

import json
from typing import Any

import plotly.graph_objects as go
import pytest

from tests.documents import DOCUMENTS, document
from textloc.reading.metrics import ocr_precision_recall_f1
from textloc.results import plots
from textloc.results.sentences import describe

FIGURES = [plots.effect_figure, plots.heatmap_figure, plots.sets_figure]


def annotations(figure: go.Figure) -> list[str]:
    return [annotation.text for annotation in figure.layout.annotations]


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("draw", FIGURES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_document_draws(name: str, draw: Any, theme: plots.ThemeName) -> None:
    figure = draw(DOCUMENTS[name], theme)
    layout = json.loads(figure.to_json())["layout"]
    assert layout["paper_bgcolor" if "paper_bgcolor" in layout else "template"]
    look = layout["template"]["layout"]
    assert look["paper_bgcolor"] == plots.THEMES[theme].background
    assert look["xaxis"]["fixedrange"] is look["yaxis"]["fixedrange"] is True
    assert layout["xaxis"]["title"]["text"]
    assert layout["height"] <= 900
    assert layout["uirevision"] == DOCUMENTS[name]["id"]


# ---------------------------------------------------------------------------- effect


@pytest.mark.parametrize(("name", "count"), [("tiny", 11), ("if", 22), ("sd3", 24), ("sdxl", 70)])
def test_a_click_gives_the_layer(name: str, count: int) -> None:
    bars = plots.effect_figure(DOCUMENTS[name]).data[0]
    assert list(bars.customdata) == list(range(count))
    assert list(bars.y) == [e["scores"]["effect"] for e in DOCUMENTS[name]["layers"]]
    assert plots.effect_figure(DOCUMENTS[name]).layout.hovermode == "x"


def test_error_bars_end_at_the_interval() -> None:
    doc = document(11)
    doc["layers"][3]["scores"].update(effect_low=None, effect_high=None)
    bars = plots.effect_figure(doc).data[0]
    low = [value - below for value, below in zip(bars.y, bars.error_y.arrayminus, strict=True)]
    assert low[9] == pytest.approx(doc["layers"][9]["scores"]["effect_low"])
    assert (bars.error_y.array[3], bars.error_y.arrayminus[3]) == (0, 0)


def test_selected_layers_stand_out_without_colour() -> None:
    figure = plots.effect_figure(DOCUMENTS["tiny"])
    edges = figure.data[0].marker.line.color
    assert [edge == plots.THEMES["light"].ink for edge in edges] == [7 <= i <= 9 for i in range(11)]
    assert "<b>7–9</b>" in annotations(figure)
    hues = figure.data[0].marker.color
    assert hues[7] == plots.THEMES["light"].blocks[2] != hues[6]


def test_selected_layers_far_apart_are_named_apart() -> None:
    doc = document(70)
    doc["selected"] = [3, 4, 6, 40]
    texts = annotations(plots.effect_figure(doc))
    assert "<b>3–4, 6</b>" in texts
    assert "<b>40</b>" in texts


def test_blocks_are_named_from_the_dotted_names() -> None:
    texts = annotations(plots.effect_figure(DOCUMENTS["tiny"]))
    assert texts[-5:] == ["down 1", "down 2", "mid", "up 0", "up 1"]
    assert annotations(plots.effect_figure(DOCUMENTS["if"]))[-7:-3] == ["down 1", "2", "3", "mid"]
    assert "transformer blocks" in annotations(plots.effect_figure(DOCUMENTS["sd3"]))


def test_hover_says_floor_ceiling_and_what_was_read() -> None:
    doc = document(11)
    doc["layers"][7]["read"][0]["text"] = "<script>"
    doc["layers"][7]["read"][1]["text"] = " "
    hover = plots.effect_figure(doc).data[0].hovertext[7]
    assert "<b>Layer 7</b> · selected" in hover
    assert f"no patch {doc['floor']:.2f}, all layers 1.00" in hover
    assert "read “&lt;script&gt;”" in hover
    assert "read nothing" in hover


def test_unfinished_layers_are_empty_slots() -> None:
    doc = document(11, finished=4)
    figure = plots.effect_figure(doc)
    assert list(figure.data[0].customdata) == [0, 1, 2, 3]
    assert list(figure.layout.xaxis.range) == [-0.6, 10.6]
    assert "not run yet" in annotations(figure)
    (shade,) = [s for s in figure.layout.shapes if s.fillcolor == plots.THEMES["light"].empty]
    assert (shade.x0, shade.x1) == (3.5, 10.5)


def test_layers_finish_in_any_order_and_may_be_a_subset() -> None:
    doc = document(70)
    doc["request"]["layers"] = [3, 9, 56, 57]
    doc["layers"] = [doc["layers"][i] for i in (57, 3, 56)]
    figure = plots.effect_figure(doc)
    assert list(figure.data[0].customdata) == [3, 56, 57]
    assert list(figure.data[0].x) == ["Layer 3", "Layer 56", "Layer 57"]
    assert list(figure.layout.xaxis.ticktext) == ["3", "9", "56", "57"]
    heat = plots.heatmap_figure(doc).data[0]
    assert [cell[0] for cell in heat.customdata[0]] == [None, None, 3, 9, 56, 57, None, "all"]
    assert heat.z[0][3] is None
    assert "of the 4 tried" in describe(doc)


@pytest.mark.parametrize("name", ["first", "nothing yet", "no effect"])
def test_without_an_effect_the_bars_are_the_bare_score(name: str) -> None:
    figure = plots.effect_figure(DOCUMENTS[name])
    layers = DOCUMENTS[name]["layers"]
    assert list(figure.data[0].y or ()) == [e["scores"]["ocr_f1_target"] for e in layers]
    assert "OCR F1" in figure.layout.yaxis.title.text
    assert ("no effect" in figure.layout.yaxis.title.text) == (name == "no effect")
    effect = plots.effect_figure(DOCUMENTS["tiny"]).layout.yaxis.title.text
    assert effect == "Effect of this layer alone"


@pytest.mark.parametrize("value", [-40.0, 3.0, 250.0])
def test_effects_beyond_the_scale_stay_in_view(value: float) -> None:
    doc = document(11)
    doc["layers"][2]["scores"].update(effect=value, effect_low=value - 1, effect_high=value + 1)
    axis = plots.effect_figure(doc).layout.yaxis
    assert axis.range[0] < value - 1 < value + 1 < axis.range[1]
    assert len(axis.tickvals) <= 16


# ---------------------------------------------------------------------------- heat map


def test_heat_map_holds_the_score_of_every_reading() -> None:
    doc = DOCUMENTS["sd3"]
    heat = plots.heatmap_figure(doc).data[0]
    rows = [(pair, seed) for pair in range(4) for seed in (0, 1)]
    for line, data, row in zip(heat.z, heat.customdata, rows, strict=True):
        assert len(heat.x) == len(line) + 1 == 24 + 4 + 1
        assert [tuple(cell[1:]) for cell in data] == [row] * len(line)
        word = doc["request"]["pairs"][row[0]]["target_text"]
        for value, (layer, *_) in zip(line, data, strict=True):
            if isinstance(layer, int):
                reads = {(r["pair"], r["seed"]): r["text"] for r in doc["layers"][layer]["read"]}
                assert value == ocr_precision_recall_f1(reads[row], word).f1
    assert [line[-1] for line in heat.z] == [1.0] * 8
    assert [line[1] for line in heat.z] == [None] * 8


def test_heat_map_of_a_partial_document_has_holes() -> None:
    doc = DOCUMENTS["first"]
    heat = plots.heatmap_figure(doc).data[0]
    assert [value is None for value in heat.z[0]] == [False, True, False, *[True] * 12]


def test_heat_map_of_many_pairs_names_some_rows() -> None:
    doc = document(6, words=[(f"OLD{i}", f"NEW{i}") for i in range(60)], seeds=(0,))
    axis = plots.heatmap_figure(doc).layout.yaxis
    assert len(axis.tickvals) <= 26
    assert axis.ticktext[1] == f"NEW{int(axis.tickvals[1])} "


# ---------------------------------------------------------------------------- sets


def test_sets_show_the_curve_and_the_random_sets() -> None:
    doc = DOCUMENTS["sdxl"]
    figure = plots.sets_figure(doc)
    assert list(figure.layout.xaxis.ticktext) == ["0", "1", "2", "3", "70"]
    by_name = {trace.name: trace for trace in figure.data}
    curve = by_name["words: OCR F1 to target"]
    assert list(curve.y) == [e["scores"]["ocr_f1_target"] for e in doc["sets"]]
    assert list(curve.customdata) == ["none", "57", "56–57", "55–57", "0–69"]
    random = by_name["random layers: OCR F1 to target"]
    assert list(random.y) == [e["scores"]["ocr_f1_target"] for e in doc["controls"]]
    assert all(abs(x - 3) < 0.3 for x in random.x)
    assert len({trace.marker.symbol for trace in figure.data}) == 5
    assert "<b>selected</b>" in annotations(figure)
    assert annotations(plots.sets_figure(DOCUMENTS["partial"])) == ["measured after the layers"]
