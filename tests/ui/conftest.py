"""The page with made-up runs, served once for the tests of its endpoints and tools."""

from collections.abc import Iterator

import pytest

from tests.browser.serving import Served
from tests.ui.endpoints import served


@pytest.fixture(scope="package")
def made_up_page(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Served, dict[str, str]]]:
    """The page, and the IDs of what is stored in it."""
    with served(tmp_path_factory.mktemp("endpoints")) as found:
        yield found
