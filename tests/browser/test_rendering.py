"""The page where Gradio's server-side rendering is asked for, as a Space does."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser.serving import MARKS, Served, column, expect, fill

pytestmark = [*MARKS, pytest.mark.slow]  # each test starts a server of its own

RENDERED = "from textloc.ui import page\npage.serve(ssr_mode=True)\n"


def test_a_space_asks_for_it_and_the_page_is_served_without(tmp_path: Path, visit: Any) -> None:
    ids = fill(tmp_path / "results")
    served = Served(["app.py"], tmp_path / "results", GRADIO_SSR_MODE="true", HF_HUB_OFFLINE="1")
    served.wait()
    try:
        html = httpx.get(f"{served.address}?r={ids['pairs']}").text
        assert "data-plotly" in html
        assert f"gradio_api/textloc/{ids['pairs']}.png" in html  # what a chat shows of the link
        page = visit(served.address)
        assert page.locator("#effect .bars .point").count() == 11
        assert "server-side rendering is off" in served.log.read_text()
    finally:
        served.stop()


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_rendered_on_the_server_the_figures_are_drawn_too(tmp_path: Path, visit: Any) -> None:
    fill(tmp_path / "results")
    script = tmp_path / "rendered.py"
    script.write_text(RENDERED)
    served = Served([str(script)], tmp_path / "results", HF_HUB_OFFLINE="1")
    served.wait()
    try:
        log = served.log.read_text()
        if "Node proxy" not in log:
            pytest.skip("this node is too old for Gradio")
        page = visit(served.address)
        assert page.locator("#effect .bars .point").count() == 11
        page.locator("#effect .nsewdrag").click(position=column(page, 9))
        expect(page.locator("#panel")).to_contain_text("Layer 9 patched")
    finally:
        served.stop()
