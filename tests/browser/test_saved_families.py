"""The whole way from a saved pipeline of a newer family in a real browser."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_newer
from tests.browser.serving import MARKS, Served, done, expect, write
from textloc.results import store

pytestmark = [*MARKS, pytest.mark.slow]
SOURCE = 'a mug that says "CAT"'


def choose(page: Any, tab: str, folder: Path) -> None:
    """Write the folder into the tab's model field."""
    model = page.locator(f"#{tab}model input")
    model.fill(str(folder))
    model.press("Enter")
    expect(page.locator(f"#{tab}steps input")).to_have_value("")  # nothing of the last model's


@pytest.mark.parametrize("name", ["flux2-klein", "qwen-image-21", "z-image"])
def test_every_job_runs_from_a_folder(
    served: Served, visit: Any, tmp_path: Path, name: str
) -> None:
    """Random models write no words: the page says so, and shows shares, edits and guarded
    pictures."""
    tiny_newer.save(name, tmp_path / name)
    page = visit(served.address)
    expect(page.locator("#share button").first).to_be_enabled()

    page.get_by_text("Model and settings").click()
    choose(page, "", tmp_path / name)
    write(page, "#source textarea", SOURCE)
    write(page, "#target textarea", "DOG")
    page.locator("#run").click()
    done(page)
    expect(page.locator("#headline h1")).to_contain_text("cannot be judged")
    expect(page.locator("#shares-card")).to_be_visible()
    expect(page.locator("#panel img")).to_have_count(3)
    expect(page).to_have_url(re.compile(r"\?r=[0-9a-f]{16}$"))
    request = store.load(page.url.rpartition("=")[2], served.results).document["request"]
    assert request["checkpoint"]["name"] == str(tmp_path / name)
    assert request["search"] == "attribution"

    page.get_by_role("tab", name="Edit").click()
    expect(page.locator("#edit-share button").first).to_be_enabled()
    page.get_by_text("Model, methods and settings").first.click()
    choose(page, "edit-", tmp_path / name)
    write(page, "#edit-layers textarea", "0,1")
    write(page, "#edit-source textarea", SOURCE)
    write(page, "#edit-target textarea", "DOG")
    page.locator("#edit-run").click()
    done(page, "edit-")
    expect(page.locator("#edit-headline h1")).to_contain_text("cannot be judged")
    expect(page.locator("#edit-panel img")).to_have_count(3)

    page.get_by_role("tab", name="Suppress").click()
    expect(page.locator("#suppress-found li")).to_be_visible()
    page.get_by_text("Model, methods and settings").last.click()
    choose(page, "suppress-", tmp_path / name)
    write(page, "#suppress-words textarea", "cat")
    write(page, "#suppress-layers textarea", "0-2")
    page.locator("#suppress-prompt textarea").fill(SOURCE)
    expect(page.locator("#suppress-found")).to_contain_text("C**: in your list")
    page.locator("#suppress-replacement textarea").fill("DOG")
    page.locator("#suppress-run").click()
    done(page, "suppress-")
    expect(page.locator("#suppress-headline h1")).to_contain_text("cannot be judged")
    expect(page.locator("#suppress-panel img")).to_have_count(2)
