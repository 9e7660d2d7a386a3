"""Runs that a page finds again by the token in its address."""

from types import SimpleNamespace
from typing import Any

import pytest

from textloc.ui import links, runs


def job(over: bool) -> Any:
    return SimpleNamespace(over=over)


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_RUNS", {})


def test_what_goes_on_is_kept_and_what_ended_goes() -> None:
    going = runs.remember(job(over=False), "a", ["text"])[0]
    ended = [runs.remember(job(over=True), "a", [])[0] for _ in range(10)]
    kept = [token for token in ended if runs.find(token)]
    assert kept == ended[-len(kept) :]
    assert 1 <= len(kept) < 6
    found = runs.find(going)
    assert found is not None
    assert found.fields == ("text",)


def test_of_a_stored_result_the_id_is_kept() -> None:
    token, _ = runs.remember(job(over=True), "a", [])
    runs.stored(token, "0" * 16)
    for _ in range(10):
        runs.remember(job(over=True), "a", [])
    found = runs.find(token)
    assert found is not None
    assert (found.job, found.result) == (None, "0" * 16)


def test_no_other_token_finds_anything() -> None:
    token, key = runs.remember(job(over=False), "a", [])
    for other in ("", None, 3, "x" * 16, token + "x", token[:-1], f"{token}\n", "../" + token):
        assert runs.find(other) is None
    found = runs.find(token)
    assert found is not None
    assert found.known_to(key)
    for other in ("", None, 3, [key], key + "x", key[:-1], token, "\ud800"):
        assert not found.known_to(other)
    assert links.run_asked(SimpleNamespace(query_params={"run": token})) == "a"
    assert links.run_asked(SimpleNamespace(query_params={"run": "../x"})) == links.NO_RUN
    assert links.run_asked(SimpleNamespace(query_params={})) == ""
    assert links.run_asked(None) == ""
