"""How fast the page opens and a sweep runs: each figure the median of interleaved repeats.

Two ways of the same sweep are compared: `batched`, one pipeline call for all rows, and `plain`, for
each layer one call with the source and target rows it needs. Both use the same hooks.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np

from textloc.paths import ROOT
from textloc.results.cache import VARIABLE

_EMPTY = (
    "import gradio as gr\nwith gr.Blocks(analytics_enabled=False) as demo: gr.Markdown('x')\n"
    "demo.launch()"
)


def measure(model: str = "tiny-sdxl", repeats: int = 3) -> dict[str, Any]:
    """Measure everything, in seconds; ratios are of medians.

    Keys: `app_s`, `empty_app_s`, `app_ratio`, `import_s`, `cold_command_s`, `sweep_s` (generate and
    read, model loaded), `batched`, `plain` (each `generate_s`, `read_s`, `rows`, `denoiser_rows`),
    `generate_ratio`, `whole_ratio` (batched over plain), `largest_difference` (0 to 255).
    """
    starts: dict[str, list[float]] = {"app": [], "empty": [], "import": [], "command": []}
    for _ in range(repeats):
        starts["empty"].append(_seconds_to_answer([sys.executable, "-c", _EMPTY]))
        starts["app"].append(_seconds_to_answer([sys.executable, str(ROOT / "app.py")]))
        starts["import"].append(_seconds([sys.executable, "-c", "import textloc"]))
        starts["command"].append(_seconds(_command(model)))
    median = {name: statistics.median(values) for name, values in starts.items()}
    return {
        "repeats": repeats,
        "app_s": median["app"],
        "empty_app_s": median["empty"],
        "app_ratio": median["app"] / median["empty"],
        "import_s": median["import"],
        "cold_command_s": median["command"],
        **_sweeps(model, repeats),
    }


def _command(model: str) -> list[str]:
    prompts = ["--source", 'a red sign that says "STOP"', "--target", "LOVE"]
    verb = [sys.executable, "-m", "textloc", "localize", "--model", model, "--json", "-"]
    return [*verb, *prompts]


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    anew = {**os.environ, VARIABLE: "off"}  # nothing is found from before
    subprocess.run(command, cwd=ROOT, env=anew, check=True, capture_output=True)
    return time.perf_counter() - began


def _seconds_to_answer(command: list[str]) -> float:
    """From starting a server to its first answer on `/`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    began = time.perf_counter()
    server = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **settings, "GRADIO_ANALYTICS_ENABLED": "False"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                    return time.perf_counter() - began
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if server.poll() is not None or time.perf_counter() - began > 120:
                    raise
                time.sleep(0.02)
    finally:
        server.terminate()
        server.wait(timeout=30)


def _sweeps(model: str, repeats: int) -> dict[str, Any]:
    """One pair, one seed, every layer alone: batched and plain, interleaved."""
    from textloc.checkpoints import loading
    from textloc.patching.generation import generate
    from textloc.prompts import parse_pair
    from textloc.reading import ocr
    from textloc.runs import Patch, Run

    loaded = loading.load(model)
    pair = parse_pair('a red sign that says "STOP"', "LOVE")
    source, target = Run(pair.source), Run(pair.target)
    layers = range(len(loaded.layers))
    patched = [source.patched(Patch((layer,), target)) for layer in layers]
    patched.append(source.patched(Patch(tuple(layers), target)))
    ocr.prepare("auto")

    def calls(batches: list[list[Run]]) -> dict[str, Any]:
        result: dict[str, Any] = {"generate_s": 0.0, "denoiser_rows": 0, "rows": 0, "images": {}}
        for batch in batches:
            for chunk in generate(loaded, batch, loaded.defaults, max_rows=64):
                result["generate_s"] += chunk.seconds
                result["denoiser_rows"] += chunk.patching.rows
                result["rows"] += len(chunk.images)
                result["images"].update(chunk.images)
        return result

    def reading(result: dict[str, Any], together: bool) -> None:
        images = [result["images"][run] for run in (source, target, *patched)]
        ocr.forget()
        began = time.perf_counter()
        for batch in [images] if together else [[image] for image in images]:
            ocr.read(batch)
        result["read_s"] = time.perf_counter() - began

    ways: dict[str, tuple[list[list[Run]], bool]] = {
        "batched": ([[source, target, *patched]], True),
        "plain": ([[source, target, run] for run in patched], False),
    }
    calls([[source]])  # the first call warms caches for both ways
    seen: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (batches, together) in ways.items():
            result = calls(batches)
            reading(result, together)
            seen[name].append(result)

    def of(name: str, value: Callable[[dict[str, Any]], float]) -> float:
        return statistics.median(value(result) for result in seen[name])

    first = {name: results[0]["images"] for name, results in seen.items()}
    difference = max(
        int(
            np.abs(
                np.asarray(first["batched"][run], int) - np.asarray(first["plain"][run], int)
            ).max()
        )
        for run in (source, target, *patched)
    )
    report: dict[str, Any] = {
        name: {
            "generate_s": of(name, lambda r: r["generate_s"]),
            "read_s": of(name, lambda r: r["read_s"]),
            "rows": seen[name][0]["rows"],
            "denoiser_rows": seen[name][0]["denoiser_rows"],
        }
        for name in ways
    }
    whole = {name: of(name, lambda r: r["generate_s"] + r["read_s"]) for name in ways}
    return {
        **report,
        "sweep_s": whole["batched"],
        "generate_ratio": report["batched"]["generate_s"] / report["plain"]["generate_s"],
        "whole_ratio": whole["batched"] / whole["plain"],
        "largest_difference": difference,
    }


def table(report: dict[str, Any]) -> str:
    """The report as lines for people."""
    batched, plain = report["batched"], report["plain"]
    return "\n".join(
        [
            f"medians of {report['repeats']} interleaved repeats, seconds",
            f"page answers          {report['app_s']:.2f}  (an empty Gradio app "
            f"{report['empty_app_s']:.2f}; ratio {report['app_ratio']:.2f})",
            f"import textloc        {report['import_s']:.2f}  (Python's own start included)",
            f"localize, cold        {report['cold_command_s']:.1f}",
            f"sweep, model loaded   {report['sweep_s']:.2f}",
            f"  batched             {batched['generate_s']:.2f} generate, "
            f"{batched['read_s']:.2f} read, {batched['denoiser_rows']} denoiser rows",
            f"  one call a layer    {plain['generate_s']:.2f} generate, "
            f"{plain['read_s']:.2f} read, {plain['denoiser_rows']} denoiser rows",
            f"  ratio               {report['generate_ratio']:.2f} generate, "
            f"{report['whole_ratio']:.2f} with reading; largest pixel difference "
            f"{report['largest_difference']} of 255",
        ]
    )
