"""What must hold of every file of the repository."""

from __future__ import annotations

import re
import subprocess

import pytest

from textloc.paths import ROOT

MACHINE = re.compile(
    r"""(?<![\w.:/~-])(?:/(?:work|root|tmp|(?:home|Users)/\w+)/\w|[A-Z]:\\{1,2}Users\\)"""
)
"""A path that only some machine has: /root/…, /home/name/…, a drive letter and Users."""


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("the files are no git checkout, so nothing says which are tracked")
    return [name for name in listed.stdout.split("\0") if (ROOT / name).is_file()]


def machine_paths(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if MACHINE.search(line)]


def test_no_file_holds_a_path_of_a_machine() -> None:
    found = {}
    for name in tracked():
        content = (ROOT / name).read_bytes()
        if b"\0" not in content[:8192] and (lines := machine_paths(content.decode("utf-8"))):
            found[name] = lines
    assert found == {}


def test_no_file_that_is_run_is_empty() -> None:
    """Only a package's mark may be: an emptied script passes whatever it no longer checks."""
    empty = {name for name in tracked() if not (ROOT / name).stat().st_size}
    assert {name for name in empty if not name.endswith("__init__.py")} == set()


@pytest.mark.parametrize("base", ["root", "work", "tmp", "home/me", "Users/me"])
def test_paths_of_machines_are_seen(base: str) -> None:
    assert machine_paths(f'{{"_name_or_path": "/{base}/run"}}')
    assert machine_paths(f"a = 1\n--out /{base}/run")
    for other in (f"https://example.org/{base}/run", f"assets/{base}/run", f"~/{base}/run"):
        assert not machine_paths(other)


def test_paths_of_windows_are_seen() -> None:
    drive, folder = "C:", "Users"
    assert machine_paths("\\".join((drive, folder, "me")))
