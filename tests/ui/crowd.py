"""Visitors of a served page, as its front end speaks to it: a crowd opens it, opens stored results
and clicks.

    python -m tests.ui.crowd --visitors 50 --clicks 10            # starts a page of its own
    python -m tests.ui.crowd --address http://127.0.0.1:7860/

Told are the seconds of opening the page (HTML, script, and all that its tabs ask for), of opening
another result, and of a click on a layer, each from its request to the end of its answer; and the
memory and the processor time of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

PATIENCE = 300.0


@dataclass
class Told:
    """What a crowd met with: seconds by what was done, and what failed."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failed: list[str] = field(default_factory=list)

    def percentile(self, what: str, percent: int) -> float:
        """Seconds within which so many of a hundred were answered."""
        found = sorted(self.seconds[what])
        return found[min(len(found) - 1, len(found) * percent // 100)]

    def __str__(self) -> str:
        lines = [
            f"{what}: {len(found)}, median {statistics.median(found):.3f} s, "
            f"p95 {self.percentile(what, 95):.3f} s, worst {max(found):.3f} s"
            for what, found in self.seconds.items()
        ]
        return "\n".join([*lines, f"failed: {len(self.failed)}", *self.failed[:5]])


class Page:
    """What the front end knows of a page: its components and which event asks for what."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.names = {
            component["id"]: component["props"].get("elem_id", "")
            for component in config["components"]
        }
        self.kinds = {one["id"]: one["type"] for one in config["components"]}
        self.values = {one["id"]: one["props"].get("value") for one in config["components"]}
        self.events: list[dict[str, Any]] = config["dependencies"]

    def on(self, name: str, event: str) -> list[dict[str, Any]]:
        """What an event of a component (`""` is the page) asks for."""
        return [
            asked
            for asked in self.events
            if any(e == event and self.names.get(one, "") == name for one, e in asked["targets"])
        ]

    def after(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """What is asked for once that is answered."""
        return [one for one in self.events if one["trigger_after"] == event["id"]]


class Visitor:
    """One who opens the page."""

    def __init__(self, http: httpx.AsyncClient, page: Page, told: Told, dice: random.Random):
        self.http, self.page, self.told, self.dice = http, page, told, dice
        self.session = secrets.token_hex(6)
        self.asked: dict[str, str] = {}
        self.waiting: dict[str, asyncio.Future[None]] = {}
        self.done = set[str]()
        self.reading: asyncio.Task[None] | None = None

    async def stay(self, results: list[str], clicks: int, pause: float) -> None:
        """Open the page, open another result, click layers; a breath between them."""
        await asyncio.sleep(self.dice.uniform(0, pause * 2))
        beat = asyncio.create_task(self._heart())
        try:
            await self._timed("open the page", self._open(self.dice.choice(results)))
            for number in range(clicks):
                await asyncio.sleep(self.dice.uniform(0.5, 1.5) * pause)
                if number == 0:
                    await self._timed("open a result", self._open_result(self.dice.choice(results)))
                    await asyncio.sleep(self.dice.uniform(0.5, 1.5) * pause)
                await self._click(self.dice.randrange(7))
        except (httpx.HTTPError, ValueError) as error:
            self.told.failed.append(repr(error)[:200])
        finally:
            beat.cancel()

    async def _timed(self, what: str, work: Any) -> None:
        began = time.monotonic()
        await work
        self.told.seconds[what].append(time.monotonic() - began)

    async def _heart(self) -> None:
        """The line that an open page holds."""
        async with self.http.stream("GET", f"gradio_api/heartbeat/{self.session}") as answer:
            async for _ in answer.aiter_bytes():
                pass

    async def _open(self, result: str) -> None:
        """Open the link of a result; what the address says is sent along with every question."""
        self.asked = {"r": result}
        html = (await self.http.get("", params=self.asked)).raise_for_status().text
        script = html.partition('data-plotly src="')[2].partition('"')[0]
        (await self.http.get(script)).raise_for_status()
        await asyncio.gather(*(self._chain(event) for event in self.page.on("", "load")))

    async def _open_result(self, result: str) -> None:
        for event in self.page.on("results", "input"):
            await self._chain(event, {"results": result})

    async def _click(self, layer: int) -> None:
        """Timed is the answer to the click itself: the picture of the layer."""
        (event,) = self.page.on("effect", "pick")
        asked = self._ask(event, {}, {"custom": [layer]})
        await self._timed("click", asked)
        for later in self.page.after(event):
            await self._chain(later)

    async def _chain(self, event: dict[str, Any], values: dict[str, Any] | None = None) -> None:
        await self._ask(event, values or {}, None)
        for later in self.page.after(event):
            await self._chain(later)

    async def _ask(self, event: dict[str, Any], values: dict[str, Any], data: Any) -> None:
        body = {
            "data": [self._value(number, values) for number in event["inputs"]],
            "event_data": data,
            "fn_index": event["id"],
            "trigger_id": event["targets"][0][0] if event["targets"] else None,
            "session_hash": self.session,
        }
        if not event["backend_fn"]:
            return
        if not event["queue"]:
            answer = await self.http.post("gradio_api/run/predict", json=body, params=self.asked)
            if answer.status_code != 200:
                self.told.failed.append(f"{event['id']}: {answer.text[:200]}")
            return
        joined = await self.http.post("gradio_api/queue/join", json=body, params=self.asked)
        await self._answered(joined.raise_for_status().json()["event_id"])

    def _value(self, number: int, values: dict[str, Any]) -> Any:
        if self.page.kinds[number] == "state":
            return None
        return values.get(self.page.names[number], self.page.values[number])

    async def _answered(self, event_id: str) -> None:
        """Wait until the page has answered; all answers come by one stream, as long as it waits."""
        if event_id in self.done:
            return
        self.waiting[event_id] = asyncio.get_running_loop().create_future()
        if self.reading is None or self.reading.done():
            self.reading = asyncio.create_task(self._read())
        await self.waiting[event_id]

    async def _read(self) -> None:
        there = {"session_hash": self.session}
        try:
            while self.waiting:
                async with self.http.stream("GET", "gradio_api/queue/data", params=there) as found:
                    async for line in found.aiter_lines():
                        if line.startswith("data: "):
                            self._hear(json.loads(line[6:]))
        except httpx.HTTPError as error:
            for future in self.waiting.values():
                future.set_exception(ValueError(f"the answer did not come: {error!r}"))

    def _hear(self, said: dict[str, Any]) -> None:
        if said.get("msg") != "process_completed":
            return
        if not said["success"]:
            self.told.failed.append(str(said.get("output"))[:200])
        self.done.add(said["event_id"])
        if (future := self.waiting.pop(said["event_id"], None)) is not None:
            future.set_result(None)


async def crowd(
    address: str, visitors: int, clicks: int, pause: float, results: list[str], seed: int = 0
) -> Told:
    """Let a crowd visit the page at an address. pause: seconds that one looks, about."""
    told, dice = Told(), random.Random(seed)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE, limits=limits) as http:
        page = Page((await http.get("config")).raise_for_status().json())
        staying = [
            Visitor(http, page, told, random.Random(dice.random())).stay(results, clicks, pause)
            for _ in range(visitors)
        ]
        await asyncio.gather(*staying)
    return told


def used(process: int) -> tuple[float, float, float]:
    """Of a process: MB of memory now, at most, and seconds of a processor."""
    said = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{process}/status").read_text().splitlines()
        if ":" in line
    )
    ticks = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    now, most = (int(said[name].split()[0]) / 1000 for name in ("VmRSS", "VmHWM"))
    return now, most, sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def localizations(address: str) -> list[str]:
    """IDs of the localizations that a page lists."""
    with httpx.Client(base_url=address, timeout=PATIENCE) as http:
        asked = http.post("gradio_api/call/list", json={"data": ["localize"]}).json()["event_id"]
        said = http.get(f"gradio_api/call/list/{asked}").text
    return [one["id"] for one in json.loads(said.partition("data: ")[2])[0]]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--address", help="of a page that is served already")
    parser.add_argument("--process", type=int, help="its process, to tell what it takes")
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--pause", type=float, default=2.0)
    asked = parser.parse_args()
    served = None
    if asked.address is None:
        from tests.browser.serving import Served
        from textloc.paths import SHIPPED_RESULTS

        folder = Path(tempfile.mkdtemp(prefix="textloc-crowd-")) / "results"
        shown = os.pathsep.join([str(folder), str(SHIPPED_RESULTS)])
        served = Served(["app.py"], folder, TEXTLOC_RESULTS=shown)
        served.wait()
        asked.address, asked.process = served.address, served.process.pid
    try:
        results = localizations(asked.address)
        before = used(asked.process) if asked.process else None
        began = time.monotonic()
        there = (asked.address, asked.visitors, asked.clicks, asked.pause, results)
        print(asyncio.run(crowd(*there)))
        print(f"all of it: {time.monotonic() - began:.1f} s")
        if before:
            after = used(asked.process)
            print(
                f"server: {before[0]:.0f} MB before, {after[0]:.0f} MB after, {after[1]:.0f} MB at "
                f"most; {after[2] - before[2]:.1f} s of a processor"
            )
    finally:
        if served is not None:
            served.stop()


if __name__ == "__main__":
    main()
