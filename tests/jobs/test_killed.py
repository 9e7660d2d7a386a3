"""A localization that is killed at random moments goes on where it was."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.jobs import killed
from tests.jobs.documents_compared import without_times

KILLS = int(os.environ.get("TEXTLOC_KILLS", "5"))
PATIENCE = 1500  # seconds, for a hundred pairs


@pytest.mark.slow
@pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="needs kill -9"
)
@pytest.mark.parametrize("search", ["sweep", "attribution"])
def test_killed_at_random_moments_it_goes_on_and_ends_in_the_same_document(
    search: str, tmp_path: Path
) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.jobs.killed"])
    cache = str(tmp_path / "cache")

    def begun(name: str, cache: str) -> Any:
        asked = (str(tmp_path / f"{name}.log"), str(tmp_path / f"{name}.json"), cache, search)
        process = processes.Process(target=killed.localize, args=asked)
        process.start()
        return process

    def notes(name: str) -> list[str]:
        path = tmp_path / f"{name}.log"
        return path.read_text().splitlines() if path.exists() else []

    undisturbed = begun("undisturbed", "off")
    undisturbed.join(PATIENCE)
    assert undisturbed.exitcode == 0
    moments = random.Random(0)
    apart = max(6, 2 * len(notes("undisturbed")) // (KILLS + 2))  # notes between two, at most
    kills = 0
    while True:
        before = len(notes("killed"))
        process = begun("killed", cache)
        if kills < KILLS:  # after some notes more, and then at any time within a cell
            wanted = before + 2 + moments.randint(0, apart)
            while len(notes("killed")) < wanted and process.is_alive():
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.1))
            if process.is_alive():
                process.kill()
                process.join()
                kills += 1
                continue
        process.join(PATIENCE)
        assert process.exitcode == 0
        break
    assert kills > KILLS // 2  # else the moments are later than the end

    once, again = notes("undisturbed"), notes("killed")
    for kind in ("call", "read", "look"):
        asked = {line for line in once if line.startswith(f"begin {kind}")}
        begins = Counter(line for line in again if line.startswith(f"begin {kind}"))
        assert set(begins) == asked  # the same calls, with the same rows
    # one cell is in progress at a time, so what was begun again are as many as there were kills
    begun_again = len([line for line in again if line.startswith("begin")])
    assert begun_again <= len({line for line in once if line.startswith("begin")}) + kills

    names = ("undisturbed", "killed")
    first, last = (json.loads((tmp_path / f"{name}.json").read_text()) for name in names)
    assert without_times(last["document"]) == without_times(first["document"])
    assert last["pictures"] == first["pictures"]
    assert first["found"] == 0
    assert last["found"] > 0
