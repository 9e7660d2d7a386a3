"""A checkpoint with a LoRA beside the checkpoint as it is: same prompts, same noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from textloc.errors import PromptError
from textloc.jobs.localize import Event, asked_sampling
from textloc.models import checkpoints, loras
from textloc.models.checkpoints import Model
from textloc.patching.generation import generate
from textloc.prompts import quoted_text
from textloc.reading import metrics, ocr
from textloc.results import provenance
from textloc.results.identity import request_id
from textloc.runs import Run, Sampling

SCHEMA = "textloc.lora_trial/1"
SIDES = ("base", "lora")


def beside_stream(
    model: str | Path | Model,
    lora: str,
    prompts: Sequence[str],
    *,
    scale: float = 1.0,
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
    guidance: float | None = None,
    ocr: str = "auto",
    chunk_rows: int | None = None,
    on_step: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Generate prompts without and with a LoRA, and read them.

    Args:
        model: known name, folder, Hub name, or a loaded `Model` without a LoRA. lora: as
            `loras.find`. prompts: each quotes the text that it asks to be written. scale: of what
            the LoRA adds, 0 to 10. seeds: each prompt is drawn with each. steps, guidance: None
            takes the checkpoint's usual call. chunk_rows: rows a call at most.

    Yields:
        An event after each call. Its document (`textloc.lora_trial/1`, never stored) has for
        `base` and `lora` the `pictures` (`prompt`, `seed`, `read`, `exact`, `ocr_f1`, `image`), and
        at the end `scores` with 95 % intervals over prompts and the `ssim` between both.

    Raises:
        PromptError, LayerError, CheckpointError, OCRError, OutOfMemoryError, Cancelled.
    """
    asked = [prompt.strip() for prompt in prompts if prompt.strip()]
    if not asked or not seeds:
        raise PromptError('give at least one prompt, such as: a red sign that says "2048"')
    texts = [quoted_text(prompt) for prompt in asked]
    loaded = checkpoints.load(model)
    sampling = asked_sampling(loaded, steps, guidance, 0)
    runs = [Run(prompt, seed) for prompt in dict.fromkeys(asked) for seed in seeds]
    run = _Beside(loaded, lora, scale, dict(zip(asked, texts, strict=True)), runs, sampling, ocr)
    return run.run(chunk_rows, on_step, cancelled)


class _Beside:
    """One comparison in progress."""

    def __init__(
        self,
        model: Model,
        lora: str,
        scale: float,
        texts: dict[str, str],
        runs: list[Run],
        sampling: Sampling,
        engine: str,
    ) -> None:
        self.model, self.lora, self.scale, self.texts = model, lora, scale, texts
        self.runs, self.sampling, self.engine = runs, sampling, engine
        self.images: dict[str, Image.Image] = {}
        self.read: dict[str, str] = {}
        self.began = time.perf_counter()

    def run(
        self,
        rows: int | None,
        on_step: Callable[[int, int], None] | None,
        cancelled: Callable[[], bool],
    ) -> Iterator[Event]:
        with loras.attached(self.model, self.lora, self.scale) as carrying:
            self.carried = carrying.identity["lora"]
            for run in self.runs:  # what the LoRA can spell, the base is asked too
                carrying.check_prompt(run.prompt, self.sampling)
            plain = replace(self.model, spelling=carrying.spelling)
            for side, model in zip(SIDES, (plain, carrying), strict=True):
                with loras.without(model.denoiser) if side == "base" else _as_it_is():
                    for chunk in generate(
                        model,
                        self.runs,
                        self.sampling,
                        max_rows=rows,
                        on_step=on_step,
                        cancelled=cancelled,
                    ):
                        self._take(side, chunk.images)
                        yield self._event(complete=False)
        yield self._event(complete=True)

    def _take(self, side: str, images: dict[Run, Image.Image]) -> None:
        keys = [self._key(run, side) for run in images]
        self.images |= dict(zip(keys, images.values(), strict=True))
        readings = ocr.read(list(images.values()), self.engine)
        self.read |= {key: one.text for key, one in zip(keys, readings, strict=True)}

    def _key(self, run: Run, side: str) -> str:
        return f"p{list(self.texts).index(run.prompt)}-s{run.seed}-{side}"

    def _event(self, complete: bool) -> Event:
        total = len(SIDES) * len(self.runs)
        document = self._document(complete)
        return Event(document, dict(self.images), len(self.images), total, "drawing both")

    def _document(self, complete: bool) -> dict[str, Any]:
        request = {
            "job": "beside",
            "checkpoint": self.model.identity,
            "lora": self.carried,
            "prompts": list(self.texts),
            "seeds": list(dict.fromkeys(run.seed for run in self.runs)),
            "steps": self.sampling.steps,
            "guidance": float(self.sampling.guidance),
            "ocr": ocr.describe(self.engine),
        }
        pictures = {side: self._pictures(side) for side in SIDES}
        return {
            "schema": SCHEMA,
            "id": request_id(request),
            "complete": complete,
            "request": request,
            "checkpoint": self.model.identity,
            "environment": provenance.describe(self.model.device, request["ocr"]),
            "layers": [],
            **pictures,
            "scores": {side: _scores(pictures[side]) for side in SIDES} if complete else None,
            "ssim": self._ssim() if complete else None,
            "seconds": time.perf_counter() - self.began,
        }

    def _pictures(self, side: str) -> list[dict[str, Any]]:
        found = []
        for run in self.runs:
            key = self._key(run, side)
            if key not in self.images:
                continue
            text, read = self.texts[run.prompt], self.read[key]
            found.append(
                {
                    "prompt": list(self.texts).index(run.prompt),
                    "seed": run.seed,
                    "text": text,
                    "read": read,
                    "exact": float(metrics.exact_match(read, text)),
                    "ocr_f1": metrics.ocr_precision_recall_f1(read, text).f1,
                    "image": key,
                }
            )
        return found

    def _ssim(self) -> float:
        """Mean structural similarity of both sides' pictures."""
        return float(
            np.mean(
                [
                    metrics.ssim(*(np.asarray(self.images[self._key(run, s)]) for s in SIDES))
                    for run in self.runs
                ]
            )
        )


def _as_it_is() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def _scores(pictures: Sequence[dict[str, Any]]) -> dict[str, list[float | None]]:
    """`exact` and `ocr_f1`, each `[mean, low, high]`, over prompts, or over pictures of one."""
    prompts = [one["prompt"] for one in pictures]
    groups = prompts if len(set(prompts)) > 1 else list(range(len(pictures)))
    return {
        name: list(metrics.bootstrap_interval([one[name] for one in pictures], groups, 1000))
        for name in ("exact", "ocr_f1")
    }
