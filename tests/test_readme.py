"""README and documentation: examples do what they say, links lead somewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from textloc.checkpoints.loading import Model
from textloc.paths import ROOT, SHIPPED_RESULTS

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, flags=re.M | re.S)


def title(example: str) -> str:
    """The line that tells an example from the others: its first call of textloc."""
    return next((x.strip() for x in example.splitlines() if "textloc." in x and "(" in x), "?")


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def anchors(text: str) -> set[str]:
    """What a page's headings are linked by."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


def test_the_readme_has_examples() -> None:
    assert EXAMPLES


def test_ci_runs_the_test_command() -> None:
    install, test = re.search(r"^(pip install -r \S+) && (pytest)$", README, flags=re.M).groups()  # type: ignore[union-attr]
    commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert test in commands
    assert 'pytest tests/browser -m "browser and not slow" -n 2' in commands
    assert install.replace("install", "install -q --no-compile") in commands


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=title)
def test_an_example_runs_as_it_is(
    example: str, shipped: Model, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an empty folder, with what ships and nothing but what an example may take for granted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEXTLOC_RESULTS", os.pathsep.join((str(results), str(SHIPPED_RESULTS))))
    given: dict[str, Any] = {
        "pipe": shipped.pipe,
        "prompts": ['a red sign that says "STOP"', 'a blue mug that says "TEA"'],
    }
    exec(compile(example, "README.md", "exec"), given)
