"""The gallery in a real browser."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.serving import MARKS, Served, ask, done, expect
from tests.documents import localize_document
from textloc.results import export, store

pytestmark = MARKS
CARDS = "#gallery li.tl-item:visible"


def gallery(visit: Any, served: Served, more: str = "", **options: Any) -> Any:
    return visit(f"{served.address}?tab=gallery{more}", wait_for="li.tl-item:visible", **options)


def card(page: Any, result: str) -> Any:
    return page.locator(f"[data-ref='{result}']")


def test_all_results_are_there_and_are_found(
    served: Served, ids: dict[str, str], visit: Any
) -> None:
    page = gallery(visit, served)
    expect(page.locator(CARDS)).to_have_count(5)
    expect(page.locator("#gallery [data-count]")).to_have_text("5 results")
    expect(page.locator("#gallery-damaged")).to_contain_text("1 stored result is damaged")
    usual = card(page, ids["usual"])
    expect(usual.locator("h3")).to_contain_text("STOP → LOVE")
    expect(usual.locator("img")).to_have_count(3)
    alt = usual.locator("img").nth(2).get_attribute("alt")
    assert alt == "Target prompt: the picture reads LOVE"
    page.wait_for_function(
        "[...document.querySelectorAll('.tl-item img')].some(i => i.naturalWidth)"
    )
    page.locator("#gallery [name=job]").select_option("edit")
    expect(page.locator(CARDS)).to_have_count(1)
    expect(page).to_have_url(re.compile("tab=gallery&job=edit"))
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(CARDS)).to_have_count(5)
    page.locator("#gallery [name=word]").fill("rain")
    expect(page.locator(CARDS)).to_have_count(1)
    page.get_by_role("button", name="Clear").click()
    page.locator("#gallery [name=q]").fill("writes numbers")
    expect(page.locator(CARDS)).to_have_count(1)
    page.locator("#gallery [name=q]").fill("nothing says this")
    expect(page.locator("#gallery [data-count]")).to_have_text("0 of 5 results")


def test_the_address_keeps_what_is_looked_for(
    served: Served, ids: dict[str, str], visit: Any
) -> None:
    page = gallery(visit, served, "&job=localize&q=book&model=none")
    expect(page.locator(CARDS)).to_have_count(1)
    expect(page.locator("#gallery [name=q]")).to_have_value("book")
    page.get_by_role("tab", name="Localize").click()
    page.get_by_role("tab", name="Gallery").click()
    expect(page).to_have_url(re.compile("tab=gallery&q=book&job=localize$"))
    expect(page.locator(CARDS)).to_have_count(1)


@pytest.mark.parametrize(
    ("name", "headline", "text"),
    [
        ("pairs", "#headline", "BOOK"),
        ("edit", "#edit-headline", "STOP"),
        ("lora", "#lora-headline", "writes numbers best"),
    ],
)
def test_a_card_opens_its_result_in_its_tab(
    served: Served, ids: dict[str, str], visit: Any, name: str, headline: str, text: str
) -> None:
    page = gallery(visit, served)
    card(page, ids[name]).click(position={"x": 20, "y": 40})
    expect(page.locator(headline)).to_be_visible()
    expect(page.locator(headline)).to_contain_text(text)
    expect(page).to_have_url(f"{served.address}?r={ids[name]}")
    page.go_back()
    expect(page.locator("li.tl-item:visible").first).to_be_visible()


def test_the_keyboard_opens_and_chooses(served: Served, ids: dict[str, str], visit: Any) -> None:
    page = gallery(visit, served)
    for name in ("usual", "pairs"):
        card(page, ids[name]).locator("[data-choose]").focus()
        page.keyboard.press("Space")
    expect(card(page, ids["edit"]).locator("[data-choose]")).to_be_disabled()
    page.locator("#gallery [data-compare]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#gallery-beside h2")).to_be_focused()
    expect(page.locator("#gallery-beside .tl-side")).to_have_count(2)
    expect(page.locator("#gallery-beside tbody tr")).to_have_count(11)
    expect(page.locator("#gallery-figure [data-ready]")).to_be_visible()
    address = page.url
    assert f"compare={ids['usual']}%2C{ids['pairs']}" in address
    page.get_by_role("button", name="Close the comparison").click()
    expect(page.locator("#gallery-beside h2")).to_be_hidden()
    expect(page).to_have_url(f"{served.address}?tab=gallery")
    page.goto(address)
    expect(page.locator("#gallery-beside .tl-side")).to_have_count(2)
    page.get_by_role("link", name=re.compile("BOOK")).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#headline")).to_contain_text("BOOK")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(served: Served, ids: dict[str, str], visit: Any, scheme: str) -> None:
    compared = f"&compare={ids['usual']},{ids['pairs']}&__theme={scheme}"
    page = gallery(visit, served, compared, viewport={"width": 360, "height": 780})
    page.locator("#gallery-figure [data-ready]").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_figure_is_saved_as_png(served: Served, ids: dict[str, str], visit: Any) -> None:
    page = visit(served.address)
    with page.expect_download() as found:
        page.locator("#effect .tl-png").click()
    assert found.value.suggested_filename == "textloc-effect.png"
    data = Path(found.value.path()).read_bytes()
    assert data.startswith(b"\x89PNG")
    assert int.from_bytes(data[16:20], "big") == 2 * page.locator("#effect .tl-plot").evaluate(
        "e => e.clientWidth"
    )


def test_a_file_is_imported_for_this_visitor_alone(
    served: Served, ids: dict[str, str], visit: Any, tmp_path: Path
) -> None:
    hostile = "<img src=x onerror=document.title='run'>"
    document, images = localize_document(words=((hostile, "THERE"),))
    store.save(document, images, tmp_path / "there")
    file = export.export_zip(document["id"], tmp_path / "x.zip", tmp_path / "there")
    page = gallery(visit, served)
    page.locator(".tl-import input[type=file]").set_input_files(file)
    own = card(page, f"imported-{document['id']}")
    expect(own).to_contain_text("only you see it")
    expect(own.locator("h3")).to_contain_text(hostile)
    own.locator("[data-open]").click()
    expect(page.locator("#panel img")).to_have_count(3)
    expect(page.locator("#headline")).to_contain_text(hostile)
    expect(page.locator("#share [role=status]")).to_contain_text("is not stored")
    assert page.title() != "run"
    other = gallery(visit, served)
    expect(other.locator(CARDS)).to_have_count(5)
    page.get_by_role("tab", name="Gallery").click()
    own.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    expect(own).to_have_count(0)


def test_a_file_that_is_no_result_is_told(served: Served, visit: Any, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"schema": "<script>"}))
    page = gallery(visit, served)
    page.locator(".tl-import input[type=file]").set_input_files(file)
    expect(page.locator("#gallery-notice [role=alert]")).to_contain_text("which no textloc writes")
    expect(page.locator(CARDS)).to_have_count(5)


def test_who_made_a_result_can_delete_it_and_nobody_else(live: Served, visit: Any) -> None:
    page = visit(live.address)
    ask(page, "FISH")
    done(page)
    expect(page).to_have_url(re.compile(r"\?r="))
    result = page.url.partition("?r=")[2]
    other = gallery(visit, live)
    expect(card(other, result)).to_be_visible()
    expect(card(other, result).get_by_role("button", name="Delete")).to_be_hidden()
    page.get_by_role("tab", name="Gallery").click()
    expect(page.locator("#gallery [data-delete]:visible")).to_have_count(1)
    delete = card(page, result).get_by_role("button", name="Delete")
    delete.click()
    expect(page.get_by_role("dialog")).to_contain_text("cannot be undone")
    page.keyboard.press("Escape")
    assert (live.results / result).is_dir()
    delete.click()
    page.get_by_role("button", name="Delete it").click()
    expect(card(page, result)).to_have_count(0)
    assert not (live.results / result).exists()
    card(other, result).locator("a").click()
    expect(other.locator("#gallery-notice [role=alert]")).to_contain_text("no stored result")
