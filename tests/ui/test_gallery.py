"""The gallery without a browser: cards, whose a result is, imports, comparisons."""

import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from tests.documents import edit_document, localize_document, lora_document
from textloc.errors import StoreError
from textloc.paths import ROOT, SHIPPED_RESULTS
from textloc.results import export, places, removal, store
from textloc.ui import own, page, stored
from textloc.ui.gallery import cards, comparison, imports
from textloc.ui.gallery.tab import GallerySession, GalleryTab
from textloc.ui.serving import files

HOSTILE = "<img src=x onerror=alert(1)>\"'"


@pytest.fixture
def ids(results: Path) -> dict[str, str]:
    made = {
        "love": localize_document(),
        "tea": localize_document(words=(("MUG", "TEA"),)),
        "edit": edit_document(),
        "edit2": edit_document(words=(("CAT", "DOG"),)),
        "lora": lora_document(),
    }
    for document, images in made.values():
        store.save(document, images)
    return {name: str(document["id"]) for name, (document, _) in made.items()}


@pytest.fixture(scope="module")
def tab() -> GalleryTab:
    """The tab of the page as it is."""
    found: list[GalleryTab] = []
    before = GalleryTab.__init__

    def kept(self: GalleryTab, *args: Any) -> None:
        before(self, *args)
        found.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GalleryTab, "__init__", kept)
        page.build()
    return found[0]


def event(**data: Any) -> gr.EventData:
    return gr.EventData(None, data)


def told(update: Any) -> str:
    return str(update)


# ---------------------------------------------------------------------------- cards


def test_a_card_says_what_was_asked_and_found(ids: dict[str, str]) -> None:
    found = {card.id: card for card in cards.listed(store.listing())}
    assert set(found) == set(ids.values())
    love, edit = found[ids["love"]], found[ids["edit"]]
    assert (love.title, love.model) == ("STOP → LOVE", "example-11")
    assert love.found.startswith("Layers 7, 8 and 9 of 11")
    assert [one.title for one in love.pictures] == [
        *("Source prompt", "Layers 7–9 patched", "Target prompt")
    ]
    assert [(one.read, one.wanted) for one in love.pictures][::2] == [
        *(("STOP", "STOP"), ("LOVE", "LOVE"))
    ]
    assert [one.title for one in edit.pictures] == ["Source", "Edit"]
    text = cards.html(love)
    assert 'alt="Target prompt: the picture reads LOVE"' in text
    assert f'href="?r={love.id}"' in text
    assert f'src="gradio_api/textloc/{love.id}/{love.pictures[0].key}.small.png"' in text


def test_a_card_of_what_lies_elsewhere_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [localize_document(), edit_document(), lora_document()]
    monkeypatch.setenv("TEXTLOC_RESULTS", (tmp_path / "store").as_uri())
    for machine in ("one", "two"):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / machine))
        if machine == "one":
            for document, images in made:
                store.save(document, images)
            assert places.send() == ""
    here = store.roots()[0]
    found = cards.listed(store.listing(here))
    assert {(card.id, card.pictures) for card in found} == {(d["id"], ()) for d, _ in made}
    assert not list(here.glob("*/result.json"))
    assert all(card.title and card.model and cards.html(card) for card in found)
    store.load(made[0][0]["id"])
    opened = {card.id: card for card in cards.listed(store.listing(here))}
    assert len(opened[made[0][0]["id"]].pictures) == 3


def test_every_shipped_result_has_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.RESULTS_VARIABLE, str(SHIPPED_RESULTS))
    summaries = store.listing()
    found = cards.listed(summaries)
    assert {card.id for card in found} == {one.id for one in summaries if not one.damaged}
    shares = [card for card in found if card.kind == stored.ATTRIBUTE]
    assert shares
    assert all(f"Share of each of {len(card.shares)} layers" in cards.html(card) for card in shares)
    value = cards.value(found, {})
    assert ["shares", "Shares"] in value["jobs"]
    assert "tiny-sd3" in value["models"]
    assert "COFFEE" in value["words"]


def test_signs_of_html_in_a_result_are_text(results: Path) -> None:
    document, images = localize_document(words=((HOSTILE, "LOVE"),))
    store.save(document, images)
    value = cards.value(cards.listed(store.listing()), {})
    assert "<img src=x" not in value["cards"]
    assert "&lt;img src=x onerror=alert(1)&gt;&quot;&#x27; → LOVE" in value["cards"]


def test_another_visit_opens_no_result(ids: dict[str, str], monkeypatch: Any) -> None:
    before = cards.value(cards.listed(store.listing()), {})

    def refuse(*_: Any) -> None:
        raise AssertionError("opened again")

    monkeypatch.setattr(store, "load", refuse)
    assert cards.value(cards.listed(store.listing()), {}) == before


@pytest.mark.slow
def test_a_visit_with_300_results_is_cheap(results: Path) -> None:
    document, images = localize_document()
    folder = store.save(document, images)
    for number in range(300):
        request = {**document["request"], "number": number}
        other = {**document, "request": request, "id": store.request_id(request)}
        copied = results / other["id"]
        shutil.copytree(folder, copied)
        pictures = {
            path.stem: store.Stored({}, copied).image(path.stem)
            for path in (copied / "images").iterdir()
        }
        other["digest"] = store.digest(other, pictures)
        (copied / "result.json").write_text(json.dumps(other))
    assert len(cards.listed(store.listing())) == 301
    began = time.process_time()
    for _ in range(10):
        value = cards.value(cards.listed(store.listing()), {})
    spent = (time.process_time() - began) / 10
    print(f"{1000 * spent:.1f} ms a visit, {len(value['cards']) // 1024} KB")
    assert spent < 0.1


def test_the_gallery_needs_no_torch(ids: dict[str, str], results: Path) -> None:
    code = """
import sys
from textloc.results import store
from textloc.ui.gallery import cards, comparison
from textloc.ui import stored
cards.value(cards.listed(store.listing()), {})
found = [s.id for s in store.listing() if s.kind == "textloc.localize"]
comparison.beside(*(stored.stored_view(one) for one in found))
print(sorted({"torch", "diffusers", "transformers"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env={**os.environ, "TEXTLOC_RESULTS": str(results)},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------------------- pictures


def test_pictures_are_served_one_by_one(ids: dict[str, str]) -> None:
    good = files._answer(partial(files._small, ids["love"], "p0-s0-source"))
    assert good.status_code == 200
    assert bytes(good.body).startswith(b"\x89PNG")
    for result, key in (
        ("0" * 16, "p0-s0-source"),
        (ids["love"], "p9-s9-none"),
        (ids["love"], "x"),
    ):
        assert files._answer(partial(files._small, result, key)).status_code == 404
    for path in ("..%2f", "../..", "p0-s0-source/../../result"):
        assert files._SMALL.fullmatch(f"/gradio_api/textloc/{ids['love']}/{path}.small.png") is None


# ---------------------------------------------------------------------------- comparing


def test_two_localizations_side_by_side(ids: dict[str, str]) -> None:
    text, figure = comparison.beside(*(stored.stored_view(ids[n]) for n in ("love", "tea")))
    assert text.count('class="tl-side"') == 2
    assert "Layer 9, selected in first and second" in text
    assert "of the 11 layers" in text or "of 11 layers" in text
    assert figure is not None
    assert len(figure["light"]["data"]) == 2


def test_layers_of_what_cannot_be_judged_are_not_compared(ids: dict[str, str]) -> None:
    clear = stored.stored_view(ids["love"])
    document = json.loads(json.dumps(clear.document))
    source = document["references"]["source"]
    for read in source["read"]:
        read["text"] = "XQ"
    source["scores"] |= {"exact_source": 0.0, "ocr_f1_source": 0.0}
    text, figure = comparison.beside(clear, stored.View(document, clear.pictures, False))
    assert "Of the second one: This cannot be judged" in text
    assert "apart" not in text
    assert figure is None


def test_two_edits_and_two_trainings_side_by_side(ids: dict[str, str]) -> None:
    text, figure = comparison.beside(*(stored.stored_view(ids[n]) for n in ("edit", "edit2")))
    assert "They edit different prompts." in text
    assert "Kept outside the text (SSIM)" in text
    assert figure is None
    lora = stored.stored_view(ids["lora"])
    text, _ = comparison.beside(lora, stored.View(lora.document, lora.pictures, False))
    assert "read exactly" in text


def test_shares_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.RESULTS_VARIABLE, str(SHIPPED_RESULTS))
    views = [stored.stored_view(i) for i in ("357c6e8bcd0972b3", "b636bb13954f6107")]
    text, _ = comparison.beside(*views)
    assert "Layer 9" in text
    for view in views:
        assert f"{view.document['shares']['by_layer'][9][0]:.2f} (" in text
    with pytest.raises(StoreError, match="one job"):
        comparison.beside(views[0], stored.stored_view("27fade395573bb2d"))


def test_what_cannot_be_compared_is_told(ids: dict[str, str], tab: GalleryTab) -> None:
    for first, second in (
        (ids["love"], ids["edit"]),
        (ids["love"],) * 2,
        ("x", None),
        (0, "../.."),
    ):
        shown = tab.compare(GallerySession(), event(first=first, second=second))
        assert 'role="alert"' in told(shown[0])


# ---------------------------------------------------------------------------- deleting


def test_who_made_a_result_deletes_it_once(ids: dict[str, str], tab: GalleryTab) -> None:
    receipt = own.claim(ids["love"])
    kept = tab.delete(GallerySession(), event(ref=ids["love"], receipt="another"))
    assert "not deleted" in told(kept[0])
    assert store.load(ids["love"])
    assert tab.delete(GallerySession(), event(ref=ids["love"], receipt=receipt))[0] == ""
    with pytest.raises(StoreError, match="no stored result"):
        store.load(ids["love"])
    assert "not deleted" in told(
        tab.delete(GallerySession(), event(ref=ids["love"], receipt=receipt))[0]
    )


def test_what_somebody_else_asked_for_too_stays(ids: dict[str, str], tab: GalleryTab) -> None:
    receipt = own.claim(ids["love"])
    own.share(ids["love"])
    assert "not deleted" in told(
        tab.delete(GallerySession(), event(ref=ids["love"], receipt=receipt))[0]
    )
    assert store.load(ids["love"])


@pytest.mark.parametrize("ref", [None, "", "../../x", "imported-", "imported-../..", "0" * 16])
def test_nothing_else_can_be_deleted(ids: dict[str, str], tab: GalleryTab, ref: Any) -> None:
    before = sorted(path for path in store.roots()[0].rglob("*"))
    for receipt in (None, "", "x" * 9999, "\ud800"):
        tab.delete(GallerySession(), event(ref=ref, receipt=receipt))
    assert sorted(path for path in store.roots()[0].rglob("*")) == before


def test_only_the_folder_that_is_written_to_loses_results(
    ids: dict[str, str], results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    monkeypatch.setenv(store.RESULTS_VARIABLE, f"{tmp_path / 'own'}{os.pathsep}{results}")
    with pytest.raises(StoreError, match="gone already"):
        removal.delete(ids["love"])
    (tmp_path / "own" / ids["love"]).symlink_to(results / ids["love"])
    with pytest.raises(StoreError, match="gone already"):
        removal.delete(ids["love"])
    assert store.load(ids["love"], results)


# ---------------------------------------------------------------------------- importing


def elsewhere(tmp_path: Path, kind: str, document: Any = None) -> Path:
    """A file with a result that is stored in another place."""
    made, images = localize_document(words=(("HERE", "THERE"),))
    store.save(made, images, tmp_path / "elsewhere")
    if kind == "zip":
        return export.export_zip(made["id"], tmp_path / "a.zip", tmp_path / "elsewhere")
    file = tmp_path / "a.json"
    file.write_text(json.dumps(document or made), encoding="utf-8")
    return file


@pytest.mark.parametrize("kind", ["zip", "json"])
def test_an_import_is_seen_by_its_visitor_alone(
    ids: dict[str, str], tab: GalleryTab, tmp_path: Path, kind: str
) -> None:
    file, session = elsewhere(tmp_path, kind), GallerySession()
    _, notice, value, _ = tab.take(session, str(file))
    assert notice == ""
    assert "only you see it" in value["cards"]
    assert ("data:image/png" in value["cards"]) == (kind == "zip")
    assert not file.exists()
    assert "HERE" not in tab.listed(GallerySession())[0]["cards"]
    assert len(store.listing()) == len(ids)
    job = tab.jobs[stored.LOCALIZE]
    (result,) = session.imported
    shown = job.session.value.__class__()
    opened = tab.open(job, session, shown, event(ref=f"imported-{result}"))
    assert opened[0] == ""
    assert shown.view is session.imported[result]
    assert not shown.view.stored
    assert "gone" in told(
        tab.open(job, GallerySession(), shown, event(ref=f"imported-{result}"))[0]
    )
    tab.delete(session, event(ref=f"imported-{result}"))
    assert session.imported == {}


def test_what_is_stored_here_is_not_imported_twice(
    ids: dict[str, str], tab: GalleryTab, tmp_path: Path
) -> None:
    session = GallerySession()
    for file in (export.export_zip(ids["edit"], tmp_path / "x.zip"), tmp_path / "x.json"):
        if file.suffix == ".json":
            view = stored.stored_view(ids["edit"])
            file.write_text(stored.share(view)["json"], encoding="utf-8")
        assert "stored here already" in told(tab.take(session, str(file))[1])
    assert session.imported == {}


def test_the_json_of_shares_is_that_which_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.RESULTS_VARIABLE, str(SHIPPED_RESULTS))
    saved = stored.share(stored.stored_view("357c6e8bcd0972b3"))
    assert json.loads(saved["json"]) == store.load("357c6e8bcd0972b3").document
    assert len(saved["csv"].splitlines()) == 12


@pytest.mark.slow
def test_an_older_import_makes_room(tab: GalleryTab, ids: Any, tmp_path: Path) -> None:
    session = GallerySession()
    for number in range(imports.MOST + 1):
        document, _ = localize_document(words=(("A", f"B{number}"),))
        file = tmp_path / "n.json"
        file.write_text(json.dumps(document))
        tab.take(session, str(file))
    assert len(session.imported) == imports.MOST
    assert next(iter(session.imported)) == document["id"]


@pytest.mark.parametrize(
    ("where", "what"),
    [
        (("layers", 0, "index"), "9"),
        (("layers", 0, "scores"), {}),
        (("layers",), [[]]),
        (("references", "source", "read"), None),
        (("request", "pairs"), []),
        (("request", "seeds"), "0"),
        (("checkpoint", "parameters"), "many"),
        (("sets", 0, "layers"), None),
        (("selected",), [99]),
    ],
)
def test_a_document_of_another_shape_is_refused(
    ids: dict[str, str], tab: GalleryTab, tmp_path: Path, where: Any, what: Any
) -> None:
    document = json.loads(json.dumps(localize_document(words=(("HERE", "THERE"),))[0]))
    place = document
    for name in where[:-1]:
        place = place[name]
    place[where[-1]] = what
    document["id"] = store.request_id(document["request"])
    session = GallerySession()
    _, notice, *_ = tab.take(session, str(elsewhere(tmp_path, "json", document)))
    if notice == "":  # still of a shape that can be shown: then it is, without a fault
        (view,) = session.imported.values()
        tab.jobs[stored.LOCALIZE].try_view(view)
    else:
        assert 'role="alert"' in told(notice)
        assert session.imported == {}


def test_words_of_an_import_are_text_everywhere(
    ids: dict[str, str], tab: GalleryTab, tmp_path: Path
) -> None:
    document, _ = localize_document(words=((HOSTILE, HOSTILE[::-1] + "b"),), seeds=(0, 1))
    session = GallerySession()
    tab.take(session, str(elsewhere(tmp_path, "json", document)))
    (view,) = session.imported.values()
    job = tab.jobs[stored.LOCALIZE]
    shown = job.session.value.__class__()
    headline, *_, panel = job.open_view(shown, view)[1 : 1 + len(job._first)]
    table = job._draw_further(shown)[job._further.index(job.table)]
    listed = tab.listed(GallerySession(session.imported))[0]["cards"]
    assert "&lt;img src=x" in listed
    for drawn in (listed, headline, panel, told(table.value)):
        assert "<img src=x" not in drawn
    text, _ = comparison.beside(view, stored.stored_view(ids["love"]))
    assert "<img src=x" not in text
