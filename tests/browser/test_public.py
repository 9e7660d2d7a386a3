"""A page as a Space serves it to strangers: an honest visitor and a hostile one."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser.serving import MADE_UP, MARKS, Served, done, expect, fill, fill_setting
from textloc.results import store

pytestmark = MARKS


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("public")
    fill(folder / "results")
    uploads = str(folder / "uploads")
    given = {"SPACE_ID": "x/y", "HF_HUB_OFFLINE": "1", "GRADIO_TEMP_DIR": uploads}
    page = Served([MADE_UP], folder / "results", **given)
    page.wait()
    yield page
    page.stop()


def test_a_run_is_unlisted_and_its_own_browser_can_delete_it(public: Served, visit: Any) -> None:
    page = visit(public.address)
    expect(page.get_by_text("Your result gets a link and is listed nowhere").first).to_be_visible()
    fill_setting(page, "seeds", "5")
    page.locator("#target textarea").fill("MOON")
    page.locator("#run").click()
    done(page)
    expect(page.locator("#share [data-delete]")).to_be_visible()
    link = page.locator("#share input").input_value()
    name = link.split("r=")[1][:16]
    assert (public.results / store.UNLISTED / name / "result.json").is_file()
    assert name not in {summary.id for summary in store.listing(public.results)}

    other = visit(link)
    expect(other.locator("#share input")).to_have_value(link)
    expect(other.locator("#share [data-delete]")).to_be_hidden()

    page.goto(link)  # the same browser, later
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("#share [data-delete]").click()
    expect(page.locator("#notice")).to_contain_text("Your result is deleted")
    expect(page.locator("#share [data-delete]")).to_be_hidden()
    assert httpx.get(f"{public.address}gradio_api/textloc/{name}.zip").status_code == 404
    gone = visit(link)
    expect(gone.locator("#notice")).to_contain_text("The link cannot be opened")


def test_only_listed_models_are_offered(public: Served, visit: Any) -> None:
    page = visit(public.address)
    page.get_by_text("Model and settings").click()
    page.locator("#model input").click()
    offered = [text.split(":")[0] for text in page.get_by_role("option").all_text_contents()]
    assert [name.strip(" ✓") for name in offered] == [
        "tiny-sdxl",
        "tiny-ldm",
        "tiny-sd3",
        "tiny-if",
    ]
    assert not page.get_by_text("Or type a diffusers folder").count()


def test_requests_of_ones_own_making_get_no_further(public: Served) -> None:
    with httpx.Client(base_url=public.address, timeout=60) as http:
        config = http.get("config").json()
        places = {one["api_name"]: one["id"] for one in config["dependencies"]}

        def call(name: str, *data: Any) -> str:
            session = secrets.token_hex(6)
            body = {"data": data, "fn_index": places[name], "session_hash": session}
            assert http.post("gradio_api/queue/join", json=body).status_code == 200
            told = http.get("gradio_api/queue/data", params={"session_hash": session}).text
            return told.partition('"process_completed"')[2].partition('"output"')[2]

        def files(said: str) -> Any:
            return {"path": said, "meta": {"_type": "gradio.FileData"}}

        form, model = ("0", 20, 3.0), "tiny-sdxl"
        for ask in (
            lambda said: call("ask", None, said, 'a "A"', "B", *form, 0, "", None),
            lambda said: call("ask_3", None, model, said, None, 1, 'a "A"', *form, None),
            lambda said: call("ask_3", None, model, None, files(said), 1, 'a "A"', *form, None),
            lambda said: call("look_at_upload", model, files(said)),
        ):
            there, nowhere = ask("/etc"), ask("/nowhere")
            assert '"success":false' in there
            assert there.replace("/etc", "") == nowhere.replace("/nowhere", "")
            assert "hostname" not in there
        many = call("ask", None, "tiny-sdxl", 'a "A"', "B", "0", 999, 3.0, 0, "", None)
        assert "999 denoising steps are too many for this page" in many
        large = http.post("gradio_api/queue/join", content=bytes(150_000_000))
        assert large.status_code == 413
        large = http.post("gradio_api/upload", files={"files": ("a.png", bytes(30_000_000))})
        assert large.status_code == 413
    kept = [path for path in Path(public.results.parent / "uploads").rglob("*") if path.is_file()]
    assert all(path.stat().st_size < 1_000_000 for path in kept)
    assert public.log.stat().st_size < 1_000_000
