"""What a chat shows of a link."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.documents import edit_document, localize_document, lora_document
from textloc.results import store
from textloc.ui.serving.files import ResultFiles
from textloc.ui.serving.plotly_first import EarlyScript


def client() -> TestClient:
    page = '<html><head><meta property="og:title" content="Gradio"></head><body></body></html>'
    app = Starlette(routes=[Route("/", lambda _request: HTMLResponse(page))])
    return TestClient(EarlyScript(ResultFiles(app)))


@pytest.mark.parametrize("made", [localize_document, edit_document, lora_document])
def test_a_link_has_a_title_and_a_picture(results: Path, made: object) -> None:
    document, images = made()  # type: ignore[operator]
    store.save(document, images)
    html = client().get(f"/?r={document['id']}&layer=9").text
    assert html.count('property="og:title"') == 1
    assert store.title(document).split(" → ")[0] in html
    address = f"/gradio_api/textloc/{document['id']}.png"
    assert f'property="og:image" content="http://testserver{address}"' in html
    answer = client().get(address)
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.size == (1200, 630)
    assert len(picture.convert("RGB").getcolors(2**20) or [()] * 999) > 10


@pytest.mark.parametrize("asked", ["", "r=", "r=../../x", "r=0123456789abcdef", "r=%ff%00", "x=1"])
def test_other_links_are_as_gradio_made_them(results: Path, asked: str) -> None:
    html = client().get(f"/?{asked}").text
    assert 'content="Gradio"' in html
    assert html.count("og:") == 1


def test_no_picture_of_what_is_not_there(results: Path) -> None:
    assert client().get("/gradio_api/textloc/0123456789abcdef.png").status_code == 404
    assert client().get("/gradio_api/textloc/..%2f..%2fx.png").status_code == 404


def test_a_result_is_served_as_one_html_file_to_save(results: Path) -> None:
    document, images = localize_document()
    store.save(document, images)
    address = f"/gradio_api/textloc/{document['id']}.html"
    answer = client().get(address)
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-disposition"] == (  # it is not opened in the page's own place
        f'attachment; filename="textloc-{document["id"]}.html"'
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert f'href="http://testserver/?r={document["id"]}"' in answer.text
    head = client().head(address)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(answer.content)))
    under = TestClient(ResultFiles(Starlette()), root_path="/under", base_url="http://page.test")
    assert (
        f'href="http://page.test/under/?r={document["id"]}"' in under.get(f"/under{address}").text
    )
    assert client().get("/gradio_api/textloc/0123456789abcdef.html").status_code == 404
    assert client().get("/gradio_api/textloc/..%2f..%2fx.html").status_code == 404
