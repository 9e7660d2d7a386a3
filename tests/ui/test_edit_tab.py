"""What the edit tab shows and asks for, without a browser."""

import io
import json
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.documents import Document, Images, edit_document
from textloc.baselines import BASELINES
from textloc.errors import CheckpointError, LayerError, PromptError, TextlocError
from textloc.results import export, store
from textloc.results.inlined import Pictures
from textloc.ui.edit import order, picks, replay
from textloc.ui.edit.tab import EditSession, EditTab
from textloc.ui.serving.files import ResultFiles
from textloc.ui.stored import View


def view_of(document: Document, images: Images) -> View:
    return View(document, Pictures(images.__getitem__), stored=False)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.RESULTS_VARIABLE, str(tmp_path / "results"))
    return tmp_path / "results"


# ---------------------------------------------------------------------------- picks


def test_ways_are_the_start_steps_and_the_methods() -> None:
    document, _ = edit_document()
    names = {pick: way.name for pick, way in picks.entries(document).items()}
    assert names == {
        "start-00": "Patched from step 0",
        "start-05": "Patched from step 5",
        "localized": "Localized patching, from step 7",
        "start-10": "Patched from step 10",
        "prompt-swap": "Prompt swap",
        "inpainting": "Inpainting",
    }
    assert picks.usual_pick(document) == "localized"


def test_an_edit_from_a_given_step_has_no_other_steps() -> None:
    document, _ = edit_document(start_step=3, methods=())
    assert picks.choices(document) == [("Localized patching, from step 3", "localized")]
    assert replay.starts_figure(document) is None


def test_a_growing_edit_shows_what_there_is() -> None:
    document, images = edit_document(made="sources")
    assert picks.usual_pick(document) == ""
    text = replay.panel(view_of(document, images), "", 0, 0)
    assert text.count("<img") == 1
    assert text.count("not made") == 2
    assert "No picture is edited yet" in replay.headline(document)
    assert replay.table(document) == ""
    document, images = edit_document(made="starts")
    assert picks.usual_pick(document) == "start-10"
    assert replay.panel(view_of(document, images), "start-10", 0, 0).count("<img") == 3
    assert replay.starts_figure(document) is not None
    document["sources"] = []
    assert "appear here" in replay.panel(view_of(document, images), "", 0, 0)


@pytest.mark.parametrize(
    ("custom", "pick"),
    [
        (7, "localized"),
        (5.0, "start-05"),
        (6, None),
        (True, None),
        ("inpainting", "inpainting"),
        ("<script>", None),
        (None, None),
        ([5], None),
    ],
)
def test_a_click_becomes_a_pick(custom: object, pick: str | None) -> None:
    assert picks.pick_of_click(edit_document()[0], custom) == pick


@pytest.mark.parametrize(
    ("start", "pick"), [(0, "start-00"), (6, "start-05"), (8, "localized"), (20, "start-10")]
)
def test_the_slider_goes_to_the_nearest_step_that_was_tried(start: int, pick: str) -> None:
    assert picks.nearest(edit_document()[0], start) == pick


# ---------------------------------------------------------------------------- what is shown


def test_a_panel_shows_source_edit_and_difference() -> None:
    document, images = edit_document()
    text = replay.panel(view_of(document, images), "localized", 0, 1)
    assert text.count("<img") == 3
    assert "the picture reads LOVE" in text
    assert "t<sub>s</sub> = 13" in text
    assert "Your picture" not in text
    text = replay.panel(view_of(document, images), "inpainting", 0, 1)
    assert "<b>Inpainting</b>" in text
    assert "Patched from" not in text


def test_a_picture_of_ones_own_is_called_so() -> None:
    document, images = edit_document(own=True)
    text = replay.panel(view_of(document, images), "localized", 0, 0)
    assert "<b>Your picture</b>" in text
    assert "SSIM 0.990" in text
    assert "do not trust" not in text
    document["inversions"][0]["poor"] = True
    assert "do not trust" in replay.panel(view_of(document, images), "localized", 0, 0)


def test_the_difference_is_black_where_nothing_changed() -> None:
    one, other = Image.new("RGB", (8, 8), "blue"), Image.new("RGB", (8, 8), "blue")
    other.putpixel((3, 4), (255, 0, 255))
    pictures = Pictures({"a": one, "b": other, "c": one.copy()}.__getitem__)
    same, changed = pictures.difference("a", "c"), pictures.difference("a", "b")
    assert same is not None
    assert changed is not None
    assert same != changed
    assert pictures.difference("a", "none") is None


def test_small_pictures_are_enlarged_for_the_slider() -> None:
    document, images = edit_document(size=64)
    both = replay.compared(view_of(document, images), "localized", 0, 0)
    assert both is not None
    assert [picture.size for picture in both] == [(512, 512)] * 2
    assert replay.compared(view_of(document, images), "", 0, 0) is None


def test_the_table_has_every_method_with_its_interval() -> None:
    document, _ = edit_document()
    text = replay.table(document)
    assert text.count("<tr") == 1 + 3
    assert 'data-pick="prompt-swap"' in text
    assert "<small>0.95–1.05</small>" in text
    assert "0.75" in text  # 1.5 seconds for two pictures


def test_the_figure_is_plain_json_for_both_themes() -> None:
    document, _ = edit_document()
    figure = json.loads(json.dumps(replay.starts_figure(document), allow_nan=False))
    assert figure["light"]["data"][0]["customdata"] == [0, 5, 7, 10]
    assert "say exactly the new words" in figure["label"]


def test_nothing_from_outside_is_html() -> None:
    evil = '<img src=x onerror="alert(1)">'
    document, images = edit_document(words=((evil, evil + "!"),), own=True)
    view = view_of(document, images)
    texts = [replay.headline(document), replay.table(document)]
    texts += [replay.panel(view, pick, 0, 0) for pick in picks.entries(document)]
    texts.append(replay.strip(view, 0, 0))
    for text in texts:
        assert "<img src=x" not in text
        assert 'onerror="alert' not in text


def test_an_edit_as_csv() -> None:
    document, _ = edit_document()
    head, *rows = export.to_csv(document).splitlines()
    assert head.startswith("method,start_step,seed,source,target,read_source,read_edit,")
    assert len(rows) == 3 * 2
    assert rows[0].startswith("localized,7,0,STOP,LOVE,STOP,LOVE,1.0,")
    assert rows[2].startswith("prompt-swap,,0,")


# ---------------------------------------------------------------------------- the form

GOOD = {
    "model": "tiny-sdxl",
    "source": 'a red sign that says "STOP"',
    "target": "LOVE",
    "picture": None,
    "seeds": "0,1",
    "methods": ["inpainting"],
    "start_step": "auto",
    "layers": "auto",
    "steps": 20,
    "guidance": 3.0,
}


def read(**fields: Any) -> order.EditOrder:
    return order.read(**(GOOD | fields))


def test_the_form_becomes_an_order(tmp_path: Path) -> None:
    found = read()
    assert found.pair.target == 'a red sign that says "LOVE"'
    assert (found.start_step, found.layers, found.methods) == (None, "auto", ("inpainting",))
    found = read(start_step=" 5 ", layers="7-9", seeds="", methods=None, steps=None)
    assert (found.start_step, found.layers, found.methods) == (5, "7-9", ())
    Image.new("RGB", (30, 20)).save(tmp_path / "own.png")
    own = read(picture=str(tmp_path / "own.png")).picture
    assert own is not None
    assert own.size == (30, 20)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"source": "a red sign"}, PromptError, "quotes no text"),
        ({"target": ""}, PromptError, "empty"),
        ({"target": "stop"}, PromptError, "both prompts ask for"),
        ({"model": "nonesuch"}, CheckpointError, "no checkpoint 'nonesuch'"),
        ({"seeds": "a"}, PromptError, "seeds"),
        ({"start_step": "late"}, PromptError, "a number or auto"),
        ({"start_step": "21"}, LayerError, "start step 21"),
        ({"start_step": "-1"}, LayerError, "start step -1"),
        ({"layers": "a-b"}, LayerError, "cannot read the layers"),
        ({"steps": 0}, LayerError, "number of steps"),
        ({"guidance": -1}, PromptError, "guidance"),
    ],
)
def test_bad_input_is_refused_before_the_queue(
    fields: dict[str, Any], error: type[TextlocError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(**fields)


def test_an_unreadable_upload_is_refused_before_the_queue(tmp_path: Path) -> None:
    (tmp_path / "own.png").write_text("no picture")
    with pytest.raises(PromptError, match=r"own\.png cannot be read as a picture"):
        read(picture=str(tmp_path / "own.png"))


def test_an_upload_is_shown_as_it_will_be_used_and_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.png"
    with gr.Blocks() as page, gr.Tab("Edit") as shown:
        tab = EditTab(page, shown)

    def look(width: int, height: int, model: str = "tiny-sdxl") -> str:
        Image.new("RGB", (width, height), "red").save(path)
        preview, trouble = tab.look_at_upload(model, str(path))
        assert trouble == ""
        return str(preview)

    assert "600 x 600 of its 800 x 600 pixels are kept" in look(800, 600)
    assert "kept" not in look(800, 600, "a model of one's own")
    assert "it has only 10 x 10 pixels" in look(10, 10)
    assert "cut out the part with the text first" in look(3000, 60)
    assert tab.look_at_upload("tiny-sdxl", None) == ["", ""]


def test_the_methods_offered_are_those_there_are() -> None:
    offered = {name: title for title, name in order.METHODS}
    assert offered == {name: method.TITLE for name, method in BASELINES.items()}


# ---------------------------------------------------------------------------- the tab


def tab() -> EditTab:
    with gr.Blocks() as page, gr.Tab() as place:
        made = EditTab(page, place)
    return made


def test_the_usual_edit_is_opened_once(results: Path) -> None:
    document, images = edit_document()
    store.save(document, images)
    shown, session = tab(), EditSession()
    assert shown.open_rest_once(session)[0] == gr.skip()
    assert shown.open_asked(session, None)[1] == gr.skip()  # type: ignore[arg-type]
    first = shown.open_usual(session, None)  # type: ignore[arg-type]
    assert "2 of 2 pictures say exactly the new words" in first[1]
    assert shown.open_rest_once(session)[0] != gr.skip()
    assert shown.open_usual(session, None)[1] == gr.skip()  # type: ignore[arg-type]
    assert shown.open_rest_once(session)[0] == gr.skip()


def test_without_a_stored_edit_the_form_is_there(results: Path) -> None:
    first = tab().open_usual(EditSession(), None)  # type: ignore[arg-type]
    assert "No result is stored here yet" in first[1]


def test_looking_elsewhere_keeps_the_pick(results: Path) -> None:
    document, images = edit_document(words=(("STOP", "LOVE"), ("CAT", "DOG")))
    shown, session = tab(), EditSession()
    session.show(view_of(document, images))
    assert shown.look(session, "inpainting")[0] == "inpainting"
    updates = shown.look_elsewhere(session, 1, 1)
    assert updates[0] == "inpainting"
    assert "OCR reads" in updates[5]
    assert shown.look_from(session, 9)[0] == "start-10"
    assert (session.pair, session.seed) == (1, 1)


@pytest.mark.parametrize("packed", [False, True])
def test_a_picture_of_a_result_is_served_as_png(results: Path, packed: bool) -> None:
    """Its address says so, whatever it is stored as."""
    document, images = edit_document()
    store.save(document, images, packed=packed)
    client = TestClient(ResultFiles(Starlette()))
    for key in list(images)[:2]:
        found = client.get(f"/gradio_api/textloc/{document['id']}/{key}.png")
        assert found.headers["content-type"] == "image/png"
        with Image.open(io.BytesIO(found.content), formats=["PNG"]) as picture:
            stored = store.load(document["id"]).image(key)
            assert picture.convert("RGB").tobytes() == stored.tobytes()
        small = client.get(f"/gradio_api/textloc/{document['id']}/{key}.small.png")
        assert small.status_code == 200


def test_a_result_is_served_as_an_archive(results: Path) -> None:
    document, images = edit_document()
    store.save(document, images)
    client = TestClient(ResultFiles(Starlette()))
    found = client.get(f"/gradio_api/textloc/{document['id']}.zip")
    assert found.headers["content-type"] == "application/zip"
    head = client.head(f"/gradio_api/textloc/{document['id']}.zip")
    assert head.status_code == 200
    assert head.headers["content-length"] == found.headers["content-length"]
    assert head.content == b""
    assert found.content.startswith(b"PK")
    missing = client.get(f"/gradio_api/textloc/{'0' * 16}.zip")
    assert missing.status_code == 404
    assert "no stored result" in missing.text
    assert client.get("/gradio_api/textloc/../../etc/passwd.zip").status_code == 404
