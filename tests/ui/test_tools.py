"""The endpoints as MCP tools, asked by the client of the `mcp` package."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.browser.serving import Served
from textloc.paths import FONTS, ROOT
from textloc.results import store

NAMES = {"localize", "attribute", "edit", "suppress", "read", "list", "get"}
SOURCE = 'a red sign that says "STOP"'


@pytest.fixture(scope="module")
def page(made_up_page: tuple[Served, dict[str, str]]) -> tuple[Served, dict[str, str]]:
    pytest.importorskip("mcp", reason="mcp is not installed")
    return made_up_page


def session(page: Served, use: Any) -> Any:
    """What `use` gives for a session with the page's tools."""
    from mcp import ClientSession
    from mcp.client import streamable_http

    async def main() -> Any:
        address = f"{page.address}gradio_api/mcp/"
        async with (
            streamable_http.streamable_http_client(address) as (reading, writing, _),
            ClientSession(reading, writing) as opened,
        ):
            await opened.initialize()
            return await use(opened)

    return asyncio.run(main())


def called(page: Served, name: str, **values: Any) -> Any:
    return session(page, lambda opened: opened.call_tool(name, values))


def test_the_tools_are_described(page: tuple[Served, dict[str, str]]) -> None:
    tools = {one.name: one for one in session(page[0], lambda one: one.list_tools()).tools}
    assert set(tools) == NAMES
    for tool in tools.values():
        assert len(tool.description) > 30
        for field in tool.inputSchema["properties"].values():
            assert field["description"]
    assert tools["localize"].inputSchema["required"] == ["source", "target"]
    assert tools["localize"].inputSchema["properties"]["seeds"]["type"] == "array"
    assert tools["read"].inputSchema["properties"]["picture"]["type"] == "string"


@pytest.mark.parametrize("progress", [False, True])
def test_a_tool_says_shows_and_gives_the_document(
    page: tuple[Served, dict[str, str]], progress: bool
) -> None:
    heard: list[Any] = []

    async def told(*news: Any) -> None:
        heard.append(news)

    async def use(opened: Any) -> Any:
        asked = {"source": SOURCE, "target": "MOON", "seeds": [int(progress)]}
        hearing = {"progress_callback": told} if progress else {}
        return await opened.call_tool("localize", asked, **hearing)

    found = session(page[0], use)
    assert not found.isError
    first, *pictures, last = found.content
    said, document = json.loads(first.text), json.loads(last.text)
    kept = store.load(said["id"], page[0].results)
    assert said["says"].startswith("Layers 7, 8 and 9 of 11 write the words")
    assert said["link"] == f"{page[0].address}?r={said['id']}"
    assert document == kept.document
    assert len(pictures) == len(said["pictures"]) == 4
    for key, one in zip(said["pictures"], pictures, strict=True):
        with Image.open(io.BytesIO(base64.b64decode(one.data))) as picture:
            assert picture.convert("RGB").tobytes() == kept.image(key).tobytes()
    assert bool(heard) == progress


def test_stored_results_by_tool(page: tuple[Served, dict[str, str]]) -> None:
    (text,) = called(page[0], "list", kind="edit").content
    assert page[1]["edit"] in [one["id"] for one in json.loads(text.text)]
    found = called(page[0], "get", id=page[1]["usual"], pictures="all")
    assert len([one for one in found.content if one.type == "image"]) == 8


def test_a_picture_is_read_by_tool(page: tuple[Served, dict[str, str]]) -> None:
    made = Image.new("RGB", (300, 200), "white")
    font = ImageFont.truetype(str(FONTS / "DejaVuSans-Bold.ttf"), 60)
    ImageDraw.Draw(made).text((50, 60), "BREAD", "black", font)
    made.save(file := io.BytesIO(), "PNG")
    picture = base64.b64encode(file.getvalue()).decode()
    (text,) = called(page[0], "read", picture=f"data:image/png;base64,{picture}").content
    assert json.loads(text.text)["text"] == "BREAD"


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("get", {"id": "../../etc"}, "not a result ID"),
        ("get", {}, "'id' is a required property"),
        ("localize", {"source": "a sign", "target": "A"}, "quotes no text"),
        ("localize", {"source": SOURCE, "target": 3}, "not of type 'string'"),
        ("localize", {"source": SOURCE, "target": "A", "model": "/etc"}, "no checkpoint"),
        ("localize", {"source": SOURCE, "target": "HALF"}, "choose a smaller size"),
        ("read", {"picture": "/etc/passwd"}, "Invalid file data"),
        ("read", {"picture": "http://127.0.0.1:1/x.png"}, "an uploaded file"),
        ("nonesuch", {}, "Unknown tool"),
    ],
)
def test_what_is_wrong_is_said(
    page: tuple[Served, dict[str, str]], name: str, values: dict[str, Any], words: str
) -> None:
    found = called(page[0], name, **values)
    assert found.isError
    assert words in found.content[0].text
    assert str(ROOT) not in found.content[0].text


def test_the_configuration_of_the_documentation_names_the_address(
    page: tuple[Served, dict[str, str]],
) -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    configuration = json.loads(text.partition("```json\n")[2].partition("```")[0])
    url = configuration["mcpServers"]["textloc"]["url"]
    assert httpx.get(url.replace("http://127.0.0.1:7860/", page[0].address)).status_code == 200


@pytest.mark.parametrize(
    "how", ["not installed", pytest.param("switched off", marks=pytest.mark.slow)]
)
def test_the_page_is_served_without_them(tmp_path: Path, how: str) -> None:
    code = """
import sys
if "installed" in sys.argv[1]:
    sys.modules["mcp"] = None
    import importlib.util
    find = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *rest: None if name == "mcp" else find(name, *rest)
from textloc.ui import page
page.serve()
"""
    off = {"GRADIO_MCP_SERVER": "false"} if how == "switched off" else {}
    found = Served(["-c", code, how], tmp_path / "results", **off)
    found.wait()
    try:
        assert "textloc" in httpx.get(found.address).text
        config = httpx.get(f"{found.address}config").json()
        assert not config["mcp_server"]
        assert {one["api_name"] for one in config["dependencies"]} >= NAMES
        assert httpx.get(f"{found.address}gradio_api/mcp/").status_code == 404
    finally:
        found.stop()


@pytest.mark.slow
def test_tools_that_are_wanted_need_the_package() -> None:
    code = """
import sys
sys.modules["mcp"] = None
from textloc.ui import page
page.serve(mcp_server=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode != 0
    assert "gradio[mcp]" in done.stderr
