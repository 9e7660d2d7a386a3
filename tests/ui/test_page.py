"""What the page is made of, without a browser."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.documents import Document, Images, edit_document, localize_document
from textloc.errors import CheckpointError, LayerError, PromptError, TextlocError
from textloc.paths import ROOT
from textloc.results import store
from textloc.results.inlined import Pictures
from textloc.ui import fields, models, page, stored
from textloc.ui.letters import differences, marked, spoken
from textloc.ui.localize import order, picks, replay
from textloc.ui.serving import plotlyjs
from textloc.ui.serving.plotly_first import EarlyScript


def view_of(document: Document, images: Images, in_store: bool = False) -> stored.View:
    return stored.View(document, Pictures(images.__getitem__), in_store)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.RESULTS_VARIABLE, str(tmp_path / "results"))
    return tmp_path / "results"


# ---------------------------------------------------------------------------- the page


def run_python(code: str, results: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        cwd=ROOT,
        env={"PATH": "", "TEXTLOC_RESULTS": str(results), "HOME": str(results)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_builds_shows_results_and_foresees_without_torch(results: Path) -> None:
    document, images = localize_document()
    store.save(document, images)
    code = """
import sys, app
heavy = {"torch", "diffusers", "transformers", "onnxruntime", "rapidocr", "plotly.graph_objects"}
print(sorted(heavy & set(sys.modules)))
from textloc.ui.localize import replay
from textloc.ui import stored
view, problem = stored.opening(None)
replay.effect_figure(view.document), replay.sets_figure(view.document)
replay.headline(view.document), replay.table(view.document), replay.panel(view, "all", 0, 0)
print(sorted(heavy & set(sys.modules)))
import gradio as gr
from textloc.ui.localize.tab import LocalizeTab
with gr.Blocks() as page:
    tab = LocalizeTab(page)
print(tab.foresee("tiny-sdxl", 'a red sign that says "STOP"', "MOON", "0", 20, 3.0, 0, ""))
print("torch" in sys.modules)
"""
    before, after, foreseen, torch = run_python(code, results).splitlines()
    assert before == "[]"
    assert after == "['plotly.graph_objects']"
    assert "first run tells" in foreseen
    assert torch == "False"


@pytest.mark.slow
def test_gradio_writes_nothing_beside_the_modules(results: Path) -> None:
    run_python("import app", results)
    assert not list((ROOT / "textloc" / "ui").glob("*.pyi"))


# ---------------------------------------------------------------------------- opening


def test_opens_with_the_default(results: Path) -> None:
    document, images = localize_document()
    store.save(document, images)
    view, problem = stored.opening(None)
    assert view is not None
    assert view.document["id"] == document["id"]
    assert view.stored
    assert problem == ""


def test_opens_what_is_asked_for(results: Path) -> None:
    usual, other = localize_document(), localize_document(words=(("CAT", "DOG"),))
    for document, images in (usual, other):
        store.save(document, images)
    (results / "index.json").write_text(json.dumps({"textloc.localize": usual[0]["id"]}))
    view, problem = stored.opening(other[0]["id"])
    assert view is not None
    assert view.document["id"] == other[0]["id"]
    assert problem == ""


@pytest.mark.parametrize("asked", ["x", "../../etc/passwd", "0" * 16, "A" * 16])
def test_a_bad_link_opens_the_default_and_says_so(results: Path, asked: str) -> None:
    document, images = localize_document()
    store.save(document, images)
    view, problem = stored.opening(asked)
    assert view is not None
    assert view.document["id"] == document["id"]
    assert "cannot be opened" in problem
    assert "shown instead" in problem


def test_opens_empty_where_nothing_is_stored(results: Path) -> None:
    assert stored.opening(None) == (None, "")
    view, problem = stored.opening("0" * 16)
    assert view is None
    assert "no stored result" in problem


def test_the_link_of_an_edit_is_told_apart(results: Path) -> None:
    (usual, pictures), (edit, images) = localize_document(), edit_document()
    store.save(usual, pictures)
    store.save(edit, images)
    assert stored.asked_kind(edit["id"]) == stored.EDIT
    assert stored.asked_kind(usual["id"]) == stored.LOCALIZE
    assert [stored.asked_kind(asked) for asked in (None, "", "x", "0" * 16)] == [""] * 4
    for kind, shown in ((stored.LOCALIZE, usual), (stored.EDIT, edit)):
        for asked in (None, edit["id"]):
            view, problem = stored.opening(asked, kind)
            assert view is not None
            assert view.document["id"] == shown["id"]
            assert problem == ""


def test_a_damaged_result_is_listed_quietly(results: Path) -> None:
    document, images = localize_document()
    folder = store.save(document, images)
    (results / ("0" * 16)).mkdir()
    (results / ("0" * 16) / "result.json").write_text("<b>")
    summaries = store.listing()
    assert stored.listed(summaries) == [("STOP → LOVE · example-11", folder.name)]
    note = stored.damaged(summaries)
    assert "1 stored result is damaged" in note
    assert "<b>" not in note
    assert stored.damaged([]) == ""


# ---------------------------------------------------------------------------- picks


def test_the_selected_set_is_shown_first() -> None:
    document, _ = localize_document()
    assert picks.usual_pick(document) == "set-7_8_9"
    names = {pick: name for name, pick in picks.choices(document)}
    assert names["set-7_8_9"] == "Layers 7–9 (selected)"
    assert names["layer-9"] == "Layer 9 (selected)"
    assert names["layer-0"] == "Layer 0"
    assert names["all"] == "All layers"
    assert any(name.endswith("(random)") for name in names.values())


def test_without_a_selection_the_strongest_layer_is_shown() -> None:
    document, _ = localize_document(finished=9)
    strongest = max(document["layers"], key=lambda layer: layer["scores"]["effect"])
    assert picks.usual_pick(document) == f"layer-{strongest['index']}"
    nothing, _ = localize_document(finished=0, references=())
    assert picks.usual_pick(nothing) == ""
    assert picks.choices(nothing) == []


def test_a_selection_of_all_layers_is_the_pick_of_all() -> None:
    document, _ = localize_document()
    document["selected"] = list(range(11))
    assert picks.usual_pick(document) == "all"


def test_a_set_of_all_layers_that_were_tried_can_be_picked() -> None:
    document, _ = localize_document()
    document["request"]["layers"] = [7, 8, 9]
    document["layers"] = [layer for layer in document["layers"] if layer["index"] in (7, 8, 9)]
    assert picks.usual_pick(document) == "set-7_8_9"
    assert picks.picked_layers(document, "all") == list(range(11))


@pytest.mark.parametrize(
    ("custom", "pick"),
    [
        (9, "layer-9"),
        (9.0, "layer-9"),
        ("7–9", "set-7_8_9"),
        ("9", "layer-9"),
        ("0–10", "all"),
        ("layer-3", "layer-3"),
        ("all", "all"),
        ("none", None),
        (99, None),
        ("<script>", None),
        (None, None),
        ([1], None),
    ],
)
def test_a_click_becomes_a_pick(custom: object, pick: str | None) -> None:
    document, _ = localize_document()
    assert picks.pick_of_click(document, custom) == pick


# ---------------------------------------------------------------------------- what is shown


@pytest.mark.parametrize(
    ("custom", "cell"),
    [
        ([9, 0, 1], ("layer-9", 0, 1)),
        (["all", 0, 0], ("all", 0, 0)),
        ([None, 0, 0], None),
        ([9, 1, 0], None),
        ([9, 0, 5], None),
        ([99, 0, 0], None),
        ([9, "0", 0], None),
        ([9], None),
        (9, None),
    ],
)
def test_a_click_in_the_map_becomes_a_cell(custom: object, cell: object) -> None:
    document, _ = localize_document(seeds=(0, 1))
    assert picks.cell_of_click(document, custom) == cell


def test_the_headline_says_what_was_found_and_asked() -> None:
    document, _ = localize_document()
    text = replay.headline(document)
    assert re.search(r"<h1[^>]*>Layers 7, 8 and 9 of 11 write the words", text)
    assert "STOP" in text
    assert "rapidocr 3.10.0" in text


def test_a_panel_shows_three_pictures_with_what_was_read() -> None:
    document, images = localize_document(size=64)
    text = replay.panel(view_of(document, images), "layer-2", 0, 1)
    assert text.count("<img") == 3
    assert text.count("data:image/png;base64,") == 3
    assert text.count("tl-pixels") == 3
    assert "down_blocks.<wbr>2." in text
    assert "43,008" in text
    assert "<mark" in text
    assert "the picture reads LOVE" in text


def test_a_panel_of_a_partial_document_says_what_is_not_made() -> None:
    document, images = localize_document(finished=2, references=("source",))
    text = replay.panel(view_of(document, images), "layer-1", 0, 0)
    assert text.count("<img") == 2
    assert "not made" in text
    assert "appear here" in replay.panel(view_of(document, images), "", 0, 0)


def test_what_is_sent_ahead_is_what_the_panel_shows() -> None:
    document, images = localize_document()
    view = view_of(document, images)
    ahead = replay.looks(view, 0, 1)
    assert ahead is not None
    assert list(ahead["looks"]) == list(picks.entries(document))
    for pick, (picture, scores) in ahead["looks"].items():
        panel = replay.panel(view, pick, 0, 1)
        assert picture in panel
        assert scores in panel
    assert ahead["order"] == [f"layer-{number}" for number in range(11)]
    assert ahead["hold"] == "set-7_8_9"


def test_pictures_of_many_layers_are_sent_ahead_smaller() -> None:
    document, images = localize_document(70, seeds=(0,), size=600)
    view = view_of(document, images)
    ahead = replay.looks(view, 0, 0)
    assert ahead is not None
    assert sum(map(len, map(str, ahead["looks"].values()))) < 3_000_000
    nothing: dict[str, Any] = {"layers": [], "sets": [], "references": {}, "controls": []}
    assert replay.looks(view_of({**document, **nothing, "selected": []}, images), 0, 0) is None


def test_the_strip_says_of_what_is_sent_ahead() -> None:
    """Pictures of one result are never shown beside another's, which a run brings first."""
    document, images = localize_document()
    view = view_of(document, images)
    for pair, seed in ((0, 0), (0, 1)):
        ahead = replay.looks(view, pair, seed)
        assert ahead is not None
        assert f'data-of="{ahead["of"]}"' in replay.strip(view, pair, seed)
    other, images = localize_document(words=(("CAT", "DOG"),), finished=3)
    assert f'data-of="{ahead["of"]}"' not in replay.strip(view_of(other, images), 0, 1)


def test_large_pictures_are_sent_smaller() -> None:
    large = Image.new("RGB", (1024, 768), "red")
    pictures = Pictures({"large": large}.__getitem__)
    found = pictures.address("large", 96)
    assert found is not None
    address, pixels = found
    assert address.startswith("data:image/jpeg;base64,")
    assert not pixels
    assert len(address) < 4000
    assert large.size == (1024, 768)
    assert pictures.address("none") is None


def test_the_strip_has_a_button_for_each_picture() -> None:
    document, images = localize_document()
    text = replay.strip(view_of(document, images), 0, 0)
    assert text.count("<button") == len(picks.entries(document))
    assert 'aria-label="Layer 9 (selected), reads' in text
    assert replay.strip(view_of(document, {}), 0, 0) == ""


def test_the_table_has_every_layer_and_the_references() -> None:
    document, _ = localize_document(70)
    text = replay.table(document)
    assert text.count("<tr") == 1 + 70 + 3
    assert text.count('scope="row"') == 73
    assert "<caption>" in text


@pytest.mark.parametrize("finished", [None, 0, 4])
@pytest.mark.parametrize("n_layers", [11, 70])
def test_figures_are_plain_json_for_both_themes(n_layers: int, finished: int | None) -> None:
    document, _ = localize_document(n_layers, finished=finished)
    figure = json.loads(json.dumps(replay.effect_figure(document), allow_nan=False))
    assert {"light", "dark", "config", "label"} <= set(figure)
    assert len(figure["light"]["data"][0]["customdata"]) == len(document["layers"])
    assert (replay.sets_figure(document) is None) == (finished is not None)


def test_nothing_from_outside_is_html() -> None:
    evil = '<img src=x onerror="alert(1)">'
    document, images = localize_document(words=((evil, evil + "!"),))
    for layer in document["layers"]:
        layer["name"] = f"up_blocks.0.{evil}"
    view = view_of(document, images)
    texts = [replay.headline(document), replay.table(document), replay.strip(view, 0, 0)]
    texts += [replay.panel(view, pick, 0, 0) for pick in picks.entries(document)]
    for text in texts:
        assert "<img src=x" not in text
        assert 'onerror="alert' not in text


def test_the_share_bar_has_a_link_only_for_what_is_stored() -> None:
    document, images = localize_document()
    assert stored.share(view_of(document, images))["id"] == ""
    value = stored.share(view_of(document, images, in_store=True))
    assert value["id"] == document["id"]
    assert json.loads(value["json"])["id"] == document["id"]
    assert value["csv"].startswith("layer,name")


@pytest.mark.parametrize(
    ("read", "wanted", "kinds"),
    [
        ("LOVE", "love", "same same same same"),
        ("LOWE", "LOVE", "same same other same"),
        ("LOE", "LOVE", "same same missing same"),
        ("LLOVE", "LOVE", "other same same same same"),
        ("", "OK", "missing missing"),
        ("STOP", "LOVE", "other other other other"),
    ],
)
def test_letters_that_differ_are_marked(read: str, wanted: str, kinds: str) -> None:
    found = differences(read, wanted)
    assert sorted(kind for kind, _ in found) == sorted(kinds.split())
    assert "".join(letter for kind, letter in found if kind != "missing") == read


def test_letters_are_told_to_screen_readers() -> None:
    assert spoken("LOVE", "love") == "LOVE, as wanted"
    assert spoken(" ", "LOVE") == "nothing was read; wanted was LOVE"
    assert '<mark class="tl-other" aria-hidden="true">&lt;</mark>' in marked("<", "A")


# ---------------------------------------------------------------------------- the form

GOOD = {
    "model": "tiny-sdxl",
    "source": 'a red sign that says "STOP"',
    "target": "LOVE",
    "seeds": "0,1",
    "steps": 20,
    "guidance": 3.0,
    "start_step": 0,
    "layers": "",
}


def read(**fields: Any) -> order.LocalizeOrder:
    return order.read(**(GOOD | fields))


def test_the_form_becomes_an_order() -> None:
    found = read(steps=None, guidance=None, layers=" 7-9 ")
    assert found.pair.target == 'a red sign that says "LOVE"'
    assert found.seeds == (0, 1)
    assert found.steps is None
    assert found.layers == "7-9"
    assert read().layers is None
    assert read(seeds="").seeds == (0,)
    assert read(model="owner/model").model == "owner/model"


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"source": ""}, PromptError, "empty"),
        ({"source": "a red sign"}, PromptError, "quotes no text"),
        ({"source": 'a sign that says ""'}, PromptError, "empty text"),
        ({"target": ""}, PromptError, "empty"),
        ({"target": "stop"}, PromptError, "both prompts ask for"),
        ({"model": ""}, CheckpointError, "no model is chosen"),
        ({"model": None}, CheckpointError, "no model is chosen"),
        ({"model": "nonesuch"}, CheckpointError, "no checkpoint 'nonesuch'"),
        ({"seeds": "a"}, PromptError, "seeds"),
        ({"seeds": "1,1"}, PromptError, "seeds"),
        ({"seeds": ",".join(map(str, range(17)))}, PromptError, "too many"),
        ({"steps": 0}, LayerError, "number of steps"),
        ({"steps": 2.5}, LayerError, "whole number"),
        ({"start_step": 21}, LayerError, "start step 21"),
        ({"guidance": -1}, PromptError, "guidance"),
        ({"layers": "a-b"}, LayerError, "cannot read the layers"),
        ({"layers": "9-7"}, LayerError, "backwards"),
    ],
)
def test_bad_input_is_refused_before_the_queue(
    fields: dict[str, Any], error: type[TextlocError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(**fields)


def test_known_checkpoints_are_offered_with_their_usual_call() -> None:
    names = [name for _, name in models.offered()]
    assert "tiny-sdxl" in names
    assert fields.usual("tiny-sdxl") == (20, 3.0)
    assert fields.usual("owner/model") == (None, None)


# ---------------------------------------------------------------------------- Plotly.js


def test_the_bundle_of_this_plotly_is_made_lighter() -> None:
    data, small = plotlyjs.script()
    text = data.decode()
    assert text.startswith("/**\n* plotly.js v")
    assert text.endswith("window.Plotly=Plotly;\n")
    assert len(re.findall(r"\.register\(\[(?:[\w$]+\(\),){2}[\w$]+\(\)\]\)", text)) == 1
    assert len(small) < len(data) / 2


@pytest.mark.parametrize(
    "bundle", ["", "window.Plotly = {}", '"use strict";var Plotly=(()=>{})();']
)
def test_an_unknown_bundle_stays_as_it_is(bundle: str) -> None:
    assert plotlyjs.lighter(bundle) is None


async def _home(_request: Any) -> HTMLResponse:
    return HTMLResponse("<html><head><title>x</title></head><body></body></html>")


def test_the_page_starts_plotly_early_and_serves_it() -> None:
    app = EarlyScript(Starlette(routes=[Route("/", _home), Route("/other", _home)]))
    client = TestClient(app)
    page = client.get("/?r=1")
    tag = re.search(r'<script async data-plotly src="([^"]+)"></script></head>', page.text)
    assert tag is not None
    assert int(page.headers["content-length"]) == len(page.content)
    script = client.get(f"/{tag[1]}")
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["content-encoding"] == "gzip"
    assert "immutable" in script.headers["cache-control"]
    assert script.content == plotlyjs.script()[0]
    plain = client.get(f"/{tag[1]}", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == script.content
    assert "data-plotly" not in client.get("/other").text
    assert client.get("/gradio_api/textloc/nonesuch").status_code == 404


# ---------------------------------------------------------------------------- serving


def test_server_side_rendering_is_off_unless_the_call_asks_for_it(
    results: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A Space sets the variable; the HTML of its page has to pass here for a link's preview."""
    from textloc.ui import page
    from textloc.ui.endpoints.register import Page

    given: list[dict[str, Any]] = []
    monkeypatch.setattr(Page, "launch", lambda _page, **options: given.append(options))
    monkeypatch.setattr(page.warming, "start", lambda _jobs: None)
    monkeypatch.setattr(page.tools, "serving", lambda *_: {})
    monkeypatch.setenv("GRADIO_SSR_MODE", "true")
    made = Page()
    page.launch(made, prevent_thread_lock=True)
    assert given[0]["ssr_mode"] is False
    assert "server-side rendering is off" in caplog.text
    caplog.clear()
    page.launch(made, prevent_thread_lock=True, ssr_mode=True)
    assert given[1]["ssr_mode"] is True
    assert not caplog.text


def test_a_page_that_cannot_make_something_ready_goes_on(
    results: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from textloc.ui import warming

    done: list[str] = []
    monkeypatch.setattr(warming.plotlyjs, "script", lambda: 1 / 0)
    monkeypatch.setattr(warming.tour, "make_ready", lambda: done.append("tour"))
    monkeypatch.setattr(warming.cards, "listed", lambda _: done.append("cards"))
    warming.start([]).join(30)
    assert done == ["tour", "cards"]
    assert "could not make something ready" in caplog.text


def test_the_html_is_made_once_for_an_address(results: Path) -> None:
    made: list[str] = []

    def html(request: Any) -> HTMLResponse:
        made.append(str(request.url))
        return HTMLResponse(f"<html><head></head><body>{request.url.hostname}</body></html>")

    client = TestClient(EarlyScript(Starlette(routes=[Route("/", html)])))
    first = client.get("/")
    assert client.get("/?r=x").text == first.text
    assert len(made) == 1
    assert "pl.js" in client.get("/?lang=pl").text  # what differs is put in each time
    client.cookies.clear()
    assert "pl.js" not in client.get("/").text
    assert "there" in client.get("/", headers={"host": "there"}).text
    client.get("/", headers={"x-forwarded-proto": "https"})
    assert len(made) == 3
    for _ in range(2):
        client.get("/?page=other")
        client.get("/?x=1&d%65ep_link=y")
    assert len(made) == 7
    assert client.head("/").status_code == 200
    assert len(made) == 7


def test_a_request_to_end_lets_the_page_send_what_waits() -> None:
    def served() -> None:
        with page._ended():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit):
        served()
    assert signal.getsignal(signal.SIGTERM) is before
