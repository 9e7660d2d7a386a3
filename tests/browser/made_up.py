"""The product's page, with results made up in place of the model's; run as a script.

A run of the word HELD waits before each of its events but the first until the test lets it go on
(`Served.let`): what is seen meanwhile depends on no clock.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

import textloc.checkpoints.loading
import textloc.jobs.edit
import textloc.jobs.localize
import textloc.jobs.lora_trial
from tests.browser.serving import GATE
from tests.documents import edit_document, localize_document
from textloc.checkpoints import loras
from textloc.errors import Cancelled, OutOfMemoryError, PromptError
from textloc.ui import page

STEPS = 20


def _steps(
    word: str, event: int, on_step: Callable[[int, int], None], cancelled: Callable[[], bool]
) -> None:
    """The denoising steps before an event, the first of which is number 1."""
    for step in range(STEPS):
        if cancelled():
            raise Cancelled("stopped")
        on_step(step + 1, STEPS)
        time.sleep(0.001)
    while word == "HELD" and event > max(1, len(Path(os.environ[GATE]).read_bytes())):
        if cancelled():
            raise Cancelled("stopped")
        time.sleep(0.02)


def _localize(
    model: Any, pairs: Any, *, seeds: Any, on_step: Any, cancelled: Any, **_: Any
) -> Iterator[Any]:
    words = [(pair.source_text, pair.target_text) for pair in pairs]
    word = words[0][1]
    if "Ä" in word:
        raise PromptError("made-up cannot spell 'Ä'; it knows the letters A to Z")
    for number, finished in enumerate((0, 3, 6, 9, None)):
        _steps(word, number + 1, on_step, cancelled)
        if word == "HALF" and finished == 6:
            raise OutOfMemoryError("the memory is full; choose a smaller size")
        document, images = localize_document(words=words, seeds=seeds, finished=finished)
        done = 14 if finished is None else 3 + finished
        yield SimpleNamespace(
            document=document, images=images, done=done, total=14, found=0, message="patching"
        )


def _edit(
    model: Any,
    pairs: Any,
    layers: Any,
    *,
    seeds: Any,
    on_step: Any,
    cancelled: Any,
    pictures: Any,
    **_: Any,
) -> Iterator[Any]:
    words = [(pair.source_text, pair.target_text) for pair in pairs]
    for number, made in enumerate(("sources", "starts", "all")):
        _steps(words[0][1], number + 1, on_step, cancelled)
        document, images = edit_document(made=made, words=words, seeds=seeds, own=bool(pictures))
        yield SimpleNamespace(
            document=document,
            images=images,
            done=4 * number + 2,
            total=10,
            found=0,
            message="editing",
        )


def _trial(model: Any, lora: str, prompts: Any, *, seeds: Any, **_: Any) -> Iterator[Any]:
    if lora != "made/up":
        loras.find(lora)
    images: dict[str, Image.Image] = {}
    sides: dict[str, list[dict[str, Any]]] = {"base": [], "lora": []}
    for number, side in enumerate(sides):
        read = "2048" if side == "lora" else "ZOAB"
        images["p0-s0-" + side] = Image.new("RGB", (64, 64), (80, 90 * number, 120))
        one = {"prompt": 0, "seed": 0, "text": "2048", "read": read, "ocr_f1": 0.5}
        sides[side] = [{**one, "exact": float(side == "lora"), "image": "p0-s0-" + side}]
        request = {"prompts": list(prompts), "seeds": list(seeds), "steps": 20, "guidance": 3.0}
        scores = {name: {"exact": [1, None, None], "ocr_f1": [1, None, None]} for name in sides}
        yield SimpleNamespace(
            document={
                "schema": "textloc.lora_trial/1",
                "id": "0" * 16,
                "complete": number == 1,
                "request": {**request, "lora": {"name": lora, "scale": 1.0}},
                "checkpoint": {"name": "made-up"},
                "layers": [],
                **sides,
                "scores": scores if number == 1 else None,
                "ssim": 0.9,
            },
            images=dict(images),
            done=number + 1,
            total=2,
            found=0,
            message="drawing both",
        )


def put_in_place() -> None:
    """What this process runs is made up from now on."""
    vars(textloc.jobs.lora_trial)["trial_stream"] = _trial
    vars(textloc.jobs.localize)["localize_stream"] = _localize
    vars(textloc.jobs.edit)["edit_stream"] = _edit
    vars(textloc.checkpoints.loading)["load"] = lambda name: SimpleNamespace(
        name=name, layers=range(11)
    )


if __name__ == "__main__":
    put_in_place()
    page.serve()
