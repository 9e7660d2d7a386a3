"""A page that is killed as it runs and stores results, and started again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.browser.serving import fill, free_port
from textloc.paths import ROOT
from textloc.results import store

pytestmark = pytest.mark.slow  # a server is started for every kill

KILLS = int(os.environ.get("TEXTLOC_KILLS", "20"))
SEED = int(os.environ.get("TEXTLOC_KILLS_SEED", "0"))
PATIENCE = 600
"""Seconds to wait for a server; a busy machine is slow."""
WORDS = ("LOVE", "RAIN", "MOON", "TREE", "BOOK", "LAMP", "FISH", "BIRD")

# Imports take most of a start, so one process imports and each server is forked from it.
FORKS = """
import os, signal, sys

from tests.browser import made_up
from textloc.ui import page

made_up.put_in_place()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
made = page.build()
for port in sys.stdin:
    child = os.fork()
    if not child:
        sys.stdin.close()
        os.dup2(2, 1)  # what the page prints is for the log
        page.launch(made, server_port=int(port), quiet=True)
        os._exit(0)
    print(child, flush=True)
"""


class Server:
    """A server that was just forked."""

    def __init__(self, forks: subprocess.Popen[str]) -> None:
        assert forks.stdin is not None
        assert forks.stdout is not None
        port = free_port()
        forks.stdin.write(f"{port}\n")
        forks.stdin.flush()
        self.process = int(forks.stdout.readline())
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}/", timeout=PATIENCE)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.http.get("config").raise_for_status()
                return
            except httpx.HTTPError:
                assert time.monotonic() < end, "the server did not start"
                time.sleep(0.05)

    def call(self, name: str, *data: object) -> object:
        """What an endpoint answers at last."""
        asked = self.http.post(f"gradio_api/call/{name}", json={"data": list(data)})
        told = self.http.get(f"gradio_api/call/{name}/{asked.json()['event_id']}").text
        lines = [line[6:] for line in told.splitlines() if line.startswith("data: ")]
        return json.loads(lines[-1])[0]

    def kill(self) -> None:
        """As a machine without memory does."""
        os.kill(self.process, signal.SIGKILL)
        self.http.close()


class Visitor(threading.Thread):
    """One who runs again and again until the server is gone. finished: IDs that the page gave."""

    def __init__(self, server: Server, seeds: range) -> None:
        super().__init__(daemon=True)
        self.server, self.seeds = server, seeds
        self.finished: list[str] = []

    def run(self) -> None:
        """Ask for one run after the other."""
        dice = random.Random(self.seeds.start)
        values = [None, None, 0, "", "none"]
        try:
            for seed in self.seeds:
                prompt = f'a red sign that says "STOP" number {seed}'
                word = dice.choice(WORDS)
                said = self.server.call("localize", prompt, word, "tiny-sdxl", [seed], *values)
                assert isinstance(said, dict)
                if said["complete"] and said["link"]:
                    self.finished.append(said["id"])
        except (httpx.HTTPError, RuntimeError, OSError, ValueError, IndexError, AssertionError):
            return  # it was killed meanwhile, and its client closed


def test_killed_at_any_moment_nothing_that_was_finished_is_lost(tmp_path: Path) -> None:
    results = tmp_path / "results"
    stored = set(fill(results).values())
    damaged = {one.id for one in store.listing(results) if one.damaged}  # `fill` stores one such
    script = tmp_path / "forks.py"
    script.write_text(FORKS)
    environment = {
        **os.environ,
        "TEXTLOC_RESULTS": str(results),
        "PYTHONPATH": str(ROOT),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "HF_HUB_OFFLINE": "1",
    }
    dice = random.Random(SEED)
    with (tmp_path / "log").open("wb") as log:
        forks = subprocess.Popen(
            [sys.executable, str(script)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    halves, one_run = 0, 1.0
    try:
        for number in range(KILLS):
            server = Server(forks)
            listed = server.call("list", "")
            assert isinstance(listed, list)
            assert {one["id"] for one in listed} == stored  # all of it, after every restart
            visitor = Visitor(server, range(1000 * number, 1000 * number + 1000))
            began = time.monotonic()
            visitor.start()
            if number == 0:  # how long one takes here, so that kills fall on all of its parts
                while not visitor.finished:
                    time.sleep(0.01)
                one_run = time.monotonic() - began
            time.sleep(dice.uniform(0, 2 * one_run))
            server.kill()
            visitor.join(30)
            found = store.listing(results)
            assert {one.id for one in found if one.damaged} == damaged
            good = {one.id for one in found if not one.damaged}
            assert stored | set(visitor.finished) <= good
            for result in good - stored:
                assert store.load(result, results).document["complete"]
            stored = good
            halves = len(list(results.glob(".saving-*")))
        print(
            f"{KILLS} kills, {len(stored) - 5} results kept, {halves} cut off as they were stored"
        )
        assert len(stored) > 5
    finally:
        forks.kill()
        forks.wait()
