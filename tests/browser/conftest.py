"""A browser, the page as it is, and the page with made-up runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.serving import CHROMIUM, MADE_UP_RUNS, PATIENCE, Served, fill


@pytest.fixture(scope="package")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page") / "results"


@pytest.fixture(scope="package")
def ids(results: Path) -> dict[str, str]:
    return fill(results)


@pytest.fixture(scope="package")
def served(results: Path, ids: dict[str, str]) -> Iterator[Served]:
    """`app.py` as it is, without the Hub."""
    page = Served(["app.py"], results, HF_HUB_OFFLINE="1")
    page.wait()
    yield page
    page.stop()


@pytest.fixture(scope="package")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page with made-up runs, and a folder of results of its own."""
    folder = tmp_path_factory.mktemp("live")
    fill(folder / "results")
    script = folder / "made_up.py"
    script.write_text(MADE_UP_RUNS)
    page = Served([str(script)], folder / "results")
    page.wait()
    yield page
    page.stop()


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """Open a page and wait for its figure, or `wait_for`; fails on an error in the browser."""
    contexts, errors = [], []

    def open_page(address: str, wait_for: str = "#effect [data-ready]", **options: Any) -> Any:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.locator(wait_for).first.wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors
