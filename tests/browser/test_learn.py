"""The tour in a real browser."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.browser.serving import MARKS, Served, expect
from textloc.paths import SHIPPED_RESULTS

pytestmark = MARKS

DIALOG = ".tl-tour"
TITLE = ".tl-tour .tl-step:not([hidden]) h2"
ASKED = "() => new URLSearchParams(location.search).get('learn')"


def begun(page: Any) -> Any:
    button = page.get_by_role("button", name="Learn", exact=True)
    expect(button).to_be_enabled()
    button.click()
    expect(page.locator(TITLE)).to_have_text("Two prompts, one word apart")
    return page


def test_arrow_keys_walk_and_escape_leaves(served: Served, visit: Any) -> None:
    page = begun(visit(served.address))
    expect(page.locator(TITLE)).to_be_focused()
    titles = [page.locator(TITLE).inner_text()]
    for key in ("ArrowRight", "PageDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
        titles.append(page.locator(TITLE).inner_text())
    assert len(set(titles)) == 5
    assert page.evaluate(ASKED) == "5"
    page.keyboard.press("ArrowLeft")
    assert page.locator(TITLE).inner_text() == titles[3]
    expect(page.locator(f"{DIALOG} > [role=status]")).to_contain_text("Step 4 of 5: Read the map")
    page.keyboard.press("Home")
    assert page.locator(TITLE).inner_text() == titles[0]
    page.keyboard.press("ArrowLeft")  # there is nothing before the first
    assert page.locator(TITLE).inner_text() == titles[0]
    page.keyboard.press("Escape")
    expect(page.locator(DIALOG)).to_be_hidden()
    expect(page.get_by_role("button", name="Learn", exact=True)).to_be_focused()
    assert page.url == served.address
    begun(page)  # at any time again


def test_a_step_has_a_link_and_history(served: Served, visit: Any) -> None:
    page = visit(f"{served.address}?learn=3", wait_for=TITLE)
    expect(page.locator(TITLE)).to_have_text("Let one layer read the other prompt")
    expect(page.locator("#share button").first).to_be_enabled()
    page.evaluate("window.same = true")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    assert page.evaluate(ASKED) is None
    page.go_back()
    expect(page.locator(TITLE)).to_have_text("Read the map")
    page.go_back()
    expect(page.locator(TITLE)).to_have_text("Let one layer read the other prompt")
    page.go_forward()
    expect(page.locator(TITLE)).to_have_text("Read the map")
    page.go_forward()
    expect(page.locator(DIALOG)).to_be_hidden()
    assert page.evaluate("window.same")  # nothing was loaded again


@pytest.mark.parametrize(
    ("asked", "title"),
    [
        ("0", "Two prompts"),
        ("x", "Two prompts"),
        ("", "Two prompts"),
        ("-3", "Two prompts"),
        ("5", "Use it"),
        ("quiz", "Quiz"),
        ("999", "Quiz"),
    ],
)
def test_odd_steps_open_the_nearest(served: Served, visit: Any, asked: str, title: str) -> None:
    page = visit(f"{served.address}?learn={asked}", wait_for=TITLE)
    expect(page.locator(TITLE)).to_contain_text(title)


def test_a_step_waits_for_no_server(served: Served, visit: Any) -> None:
    page = begun(visit(served.address))
    expect(page.locator("#share button").first).to_be_enabled()
    expect(page.locator("[data-quiz]")).to_have_count(1)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.context.set_offline(True)
    for step in range(1, 7):
        page.locator(f"[data-step='{step}']").click()
        images = page.locator(f"{DIALOG} .tl-step:not([hidden]) img:visible")
        for number in range(images.count()):
            assert images.nth(number).evaluate("e => e.complete && e.naturalWidth > 0")
    page.locator("[data-step='3']").click()
    page.locator(f"{DIALOG} [data-choice='9']:visible").click()
    assert [url for url in asked if "/run/" in url or "/queue/join" in url or ".png" in url] == []


def test_a_patched_layer_changes_the_word(served: Served, visit: Any) -> None:
    page = visit(f"{served.address}?learn=3", wait_for=TITLE)
    shown = page.locator("[data-patching] [data-shown]:visible img")
    expect(shown).to_have_attribute("alt", "Nothing is patched: the picture reads STOP")
    layer = page.locator("[data-choice='2']:visible")
    layer.click()
    expect(shown).to_have_attribute("alt", re.compile("^Layer 2 patched: the picture reads"))
    expect(layer).to_have_attribute("aria-pressed", "true")
    lines = page.locator("[data-patching] .tl-line-target.tl-patched")
    expect(lines).to_have_count(1)
    page.locator("[data-choice='set']:visible").click()
    expect(shown).to_have_attribute("alt", "Layers 7–9 patched: the picture reads LOVE")
    expect(lines).to_have_count(3)
    expect(layer).to_have_attribute("aria-pressed", "false")
    page.locator("[data-choice='set']:visible").click()  # once more takes it back
    expect(shown).to_have_attribute("alt", "Nothing is patched: the picture reads STOP")


def test_the_quiz_answers(served: Served, visit: Any) -> None:
    page = visit(f"{served.address}?learn=quiz", wait_for=TITLE)
    answer = page.locator(".tl-step:not([hidden]) .tl-answer")
    page.locator("[data-guess='2']:visible").click()
    expect(answer).to_contain_text("No. With layer 2 patched, the picture still reads STOP.")
    for layer, said in ((8, "2 more to find"), (7, "1 more to find"), (9, "Together they wrote")):
        page.locator(f"[data-guess='{layer}']:visible").click()
        expect(answer).to_contain_text(f"Yes, layer {layer} is one of 3")
        expect(answer).to_contain_text(said)
    page.locator("[data-guess='9']:visible").click()  # twice counts once
    expect(answer).to_contain_text("Together they wrote LOVE")


def test_a_second_question_is_of_another_result_that_ships(tmp_path: Path, browser: Any) -> None:
    results = tmp_path / "results"
    for name in ("b2deb6b7d5a62d05", "69df60e9ae9c6368"):
        shutil.copytree(SHIPPED_RESULTS / name, results / name)
    shutil.copy(SHIPPED_RESULTS / "index.json", results)
    served = Served(["app.py"], results)
    served.wait()
    page = browser.new_page()
    page.goto(f"{served.address}?learn=quiz")
    expect(page.locator(TITLE)).to_have_text("Quiz: which layer wrote this?")
    expect(page.locator("[data-quiz]")).to_have_count(2)
    page.locator("[data-guess='10']:visible").click()
    answer = page.locator(".tl-step:not([hidden]) .tl-answer")
    expect(answer).to_contain_text("Yes, layer 10 wrote LOVE alone")
    page.get_by_role("button", name="More →").click()
    expect(page.locator(TITLE)).to_have_text("Quiz: which layers wrote this?")
    expect(answer).to_have_text("")
    page.locator("[data-guess='8']:visible").click()
    expect(answer).to_contain_text("No. With layer 8 patched")
    for layer in (9, 10):
        page.locator(f"[data-guess='{layer}']:visible").click()
    expect(answer).to_contain_text("Together they wrote RAIN")
    assert page.evaluate(ASKED) == "quiz"
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.locator(DIALOG)).to_be_hidden()
    page.close()
    served.stop()


def test_the_page_beside_it_goes_on(served: Served, ids: dict[str, str], visit: Any) -> None:
    page = begun(visit(served.address))
    expect(page.locator("#share button").first).to_be_enabled()
    page.locator("#strip [data-pick=layer-3]").click()
    expect(page.locator("#panel")).to_contain_text("Layer 3 patched")
    page.locator("#strip [data-pick=layer-3]").press("ArrowRight")  # is the strip's own key
    expect(page.locator("#panel")).to_contain_text("Layer 4 patched")
    expect(page.locator(TITLE)).to_have_text("Two prompts, one word apart")
    page.locator("#source textarea").press("ArrowRight")
    expect(page.locator(TITLE)).to_have_text("Two prompts, one word apart")
    page.locator("#results input").click()
    page.get_by_role("option", name=re.compile("BOOK → RAIN")).click()
    expect(page).to_have_url(f"{served.address}?r={ids['pairs']}&learn=1")
    page.get_by_role("button", name="Close the tour").click()
    assert page.url == f"{served.address}?r={ids['pairs']}"
    page.go_back()  # to the tour beside that result
    expect(page.locator(TITLE)).to_be_visible()
    page.go_back()  # to the result before: the page opens it
    expect(page.locator("#headline")).to_contain_text("Layers 7, 8 and 9 of 11")
    expect(page.locator("#source textarea")).to_have_value('a red sign that says "STOP"')


def test_a_link_to_another_result_tells_the_tour_with_it(
    served: Served, ids: dict[str, str], visit: Any
) -> None:
    page = visit(f"{served.address}?r={ids['sdxl']}&learn=2", wait_for=TITLE)
    expect(page.locator(".tl-step:not([hidden])")).to_contain_text("example-70 has 70 text layers")
    expect(page.locator("#headline h1")).to_contain_text("Layers 55, 56 and 57 of 70")
    expect(page).to_have_url(f"{served.address}?r={ids['sdxl']}&learn=2")


def test_the_map_is_shown_on_the_page_where_it_is_that_of_the_tour(
    served: Served, visit: Any
) -> None:
    page = visit(f"{served.address}?learn=3", wait_for=TITLE)
    expect(page.locator("#share input")).to_have_value(re.compile("r="))
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="See it on the page").click()
    expect(page.locator("#effect.tl-pointed")).to_be_in_viewport()
    page.locator("#results input").click()
    page.get_by_role("option", name=re.compile("BOOK → RAIN")).click()
    expect(page.locator("#headline")).to_contain_text("BOOK")
    page.locator("[data-step='3']").click()
    page.locator("[data-step='4']").click()
    expect(page.get_by_role("button", name="See it on the page")).to_be_hidden()


def test_the_last_step_leads_to_the_tabs(served: Served, visit: Any) -> None:
    page = visit(f"{served.address}?learn=5", wait_for=TITLE)
    page.get_by_role("button", name="Edit a word").click()
    expect(page.locator("#edit-source textarea")).to_be_focused()
    page.get_by_role("button", name="Keep a word out").click()
    expect(page.locator("#suppress-prompt textarea")).to_be_focused()
    page.get_by_role("button", name="Try your own words").click()
    expect(page.locator("#source textarea")).to_be_focused()
    assert page.evaluate(ASKED) == "5"


def test_it_fills_the_screen_of_a_projector(served: Served, visit: Any) -> None:
    page = visit(
        f"{served.address}?learn=1", wait_for=TITLE, viewport={"width": 1920, "height": 1080}
    )
    page.get_by_role("button", name="Full screen").click()
    page.wait_for_function("document.fullscreenElement?.matches('.tl-tour')")
    assert page.locator(DIALOG).bounding_box()["width"] == 1920
    size = "e => parseFloat(getComputedStyle(e).fontSize)"
    assert page.locator(TITLE).evaluate(size) >= 40
    for _ in range(5):
        page.keyboard.press("ArrowRight")
        body = page.locator(".tl-steps").evaluate("e => [e.scrollHeight, e.clientHeight]")
        assert body[0] <= body[1]  # nothing to scroll in front of a class
    expect(page.locator(TITLE)).to_contain_text("Quiz")


def test_a_phone_shows_each_step_without_scrolling_sideways(served: Served, visit: Any) -> None:
    page = visit(
        f"{served.address}?learn=1", wait_for=TITLE, viewport={"width": 360, "height": 740}
    )
    for step in range(1, 7):
        page.locator(f"[data-step='{step}']").click()
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.locator(".tl-steps").evaluate("e => e.scrollWidth <= e.clientWidth")
        assert page.locator(".tl-next").bounding_box()["y"] < 740
    small = page.locator("[data-guess]:visible")
    assert min(small.nth(n).bounding_box()["width"] for n in range(small.count())) >= 24


def test_nothing_moves_for_who_asked_for_that(served: Served, visit: Any) -> None:
    moves = "[getComputedStyle(document.querySelector('[data-patching] .tl-layers')).animationName,"
    moves += "getComputedStyle(document.querySelector('.tl-tour .tl-layer')).transitionDuration]"
    still = visit(f"{served.address}?learn=3", wait_for=TITLE, reduced_motion="reduce")
    assert still.evaluate(moves) == ["none", "0s"]
    lively = visit(f"{served.address}?learn=3", wait_for=TITLE, reduced_motion="no-preference")
    assert lively.evaluate(moves)[0] != "none"


def test_the_tour_is_not_in_an_iframe(served: Served, visit: Any) -> None:
    page = visit(f"{served.address}?embed=1&learn=2")
    expect(page.locator("#share button").first).to_be_enabled()
    expect(page.locator(DIALOG)).to_be_hidden()
    expect(page.locator(".tl-learn")).to_be_hidden()


def test_without_a_clear_result_there_is_no_tour(tmp_path: Path, browser: Any) -> None:
    served = Served(["app.py"], tmp_path / "results")
    served.wait()
    page = browser.new_page()
    page.goto(f"{served.address}?learn=3")
    expect(page.locator("#headline h1")).to_contain_text("No result is stored here yet")
    expect(page.locator(".tl-learn")).to_be_hidden()
    expect(page.locator(DIALOG)).to_be_hidden()
    page.close()
    served.stop()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(served: Served, visit: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(f"{served.address}?learn=1", wait_for=TITLE, color_scheme=scheme)
    expect(page.locator("#share button").first).to_be_enabled()
    for step in range(1, 7):
        page.locator(f"[data-step='{step}']").click()
        page.wait_for_timeout(300)  # colours change for 0.2 s
        if step == 3:
            page.locator("[data-choice='9']:visible").click()
        if step == 6:
            page.locator("[data-guess='2']:visible").click()
            page.locator("[data-guess='9']:visible").click()
            page.wait_for_timeout(300)
        found = axe.run(page, context="#learn").response
        assert {one["id"] for one in found["passes"]} >= {"color-contrast", "aria-dialog-name"}
        serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
        told = [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in serious]
        assert told == [], f"step {step}"
