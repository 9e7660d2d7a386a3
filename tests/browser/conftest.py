"""A browser, the page as it is, and the page with made-up runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser.serving import CHROMIUM, MADE_UP, PATIENCE, Served, fill


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
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page with made-up runs, and a folder of results of its own."""
    folder = tmp_path_factory.mktemp("live")
    fill(folder / "results")
    page = Served([MADE_UP], folder / "results")
    page.wait()
    yield page
    page.stop()


@pytest.fixture
def live(made_up: Served) -> Iterator[Served]:
    """The page with made-up runs. What a test leaves waiting ends: it would hold the device."""
    yield made_up
    made_up.let(99)


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def visitors(browser: Any) -> list[Any]:
    """Browser contexts that tests take in turn, each emptied after the test: a new one would
    fetch and compile all scripts of the page anew, eight seconds of a core."""
    return []


@pytest.fixture
def visit(browser: Any, visitors: list[Any]) -> Iterator[Any]:
    """Open a page as another visitor and wait for its figure, or `wait_for`; fails on an error in
    the browser. `viewport`, `color_scheme` and `reduced_motion` are the page's; with any other
    option of a context it gets one of its own."""
    own: list[Any] = []
    errors: list[str] = []
    taken: list[tuple[Any, str]] = []

    def open_page(address: str, wait_for: str = "#effect [data-ready]", **options: Any) -> Any:
        viewport = options.pop("viewport", {"width": 1280, "height": 900})
        media = {name: options.pop(name, None) for name in ("color_scheme", "reduced_motion")}
        if options:
            context = browser.new_context(**options)
            own.append(context)
        else:
            if len(taken) == len(visitors):
                visitors.append(browser.new_context())
            context = visitors[len(taken)]
            taken.append((context, address))
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.set_viewport_size(viewport)
        page.emulate_media(**media)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.locator(wait_for).first.wait_for()
        return page

    yield open_page
    for context in own:
        context.close()
    for context, address in taken:
        empty(context, address)
    assert not errors


def empty(context: Any, address: str) -> None:
    """Close its pages and forget what they have kept, all but the cache of files."""
    context.set_offline(False)
    for page in context.pages:
        page.close()
    blank = context.new_page()
    parts = urlsplit(address)
    context.new_cdp_session(blank).send(
        "Storage.clearDataForOrigin",
        {
            "origin": f"{parts.scheme}://{parts.netloc}",
            "storageTypes": "cookies,local_storage,indexeddb,websql,service_workers",
        },
    )
    context.clear_cookies()
    blank.close()
