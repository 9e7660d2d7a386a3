"""A checkpoint with a LoRA beside the checkpoint as it is: same prompts, same noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from textloc.checkpoints import loading, loras
from textloc.checkpoints.loading import Model
from textloc.errors import PromptError
from textloc.jobs.job import Event, Job, asked_sampling, check_seeds
from textloc.prompts import quoted_text
from textloc.reading import metrics
from textloc.runs import Run

SCHEMA = "textloc.lora_trial/1"
SIDES = ("base", "lora")


def trial_stream(
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
    if not asked:
        raise PromptError('give at least one prompt, such as: a red sign that says "2048"')
    check_seeds(seeds)
    texts = [quoted_text(prompt) for prompt in asked]
    began = time.perf_counter()
    loaded = loading.load(model)
    sampling = asked_sampling(loaded, steps, guidance)
    return _Trial(
        model=loaded,
        sampling=sampling,
        engine=ocr,
        seeds=tuple(seeds),
        load_s=time.perf_counter() - began,
        chunk_rows=chunk_rows,
        on_step=on_step,
        cancelled=cancelled,
        lora=lora,
        scale=scale,
        texts=dict(zip(map(loaded.taken, asked), texts, strict=True)),
    ).run()


@dataclass(kw_only=True)
class _Trial(Job):
    """One comparison in progress. Pictures are named `p<prompt>-s<seed>-<side>`."""

    SCHEMA = SCHEMA
    NAME = "lora_trial"
    LEAN = False

    lora: str
    scale: float
    texts: Mapping[str, str]

    def plan(self) -> Iterator[Event]:
        runs = [Run(prompt, seed) for prompt in self.texts for seed in self.seeds]
        self.total = len(SIDES) * len(runs)
        self.message = "drawing both"
        with loras.attached(self.model, self.lora, self.scale) as carrying:
            self.carried = carrying.identity["lora"]
            for run in runs:  # what the LoRA can spell, the base is asked too
                carrying.check_prompt(run.prompt, self.sampling)
            plain = replace(self.model, spelling=carrying.spelling)
            for side, model in zip(SIDES, (plain, carrying), strict=True):
                with loras.bare(model) if side == "base" else nullcontext():
                    yield from self.generate(side, {self._key(r, side): r for r in runs}, model)

    def _key(self, run: Run, side: str) -> str:
        return f"p{list(self.texts).index(run.prompt)}-s{run.seed}-{side}"

    # -- the document ----------------------------------------------------------------------

    def request(self) -> dict[str, Any]:
        return {"lora": self.carried, "prompts": list(self.texts)}

    def body(self, complete: bool) -> dict[str, Any]:
        pictures = {side: self._pictures(side) for side in SIDES}
        return {
            "layers": [],
            **pictures,
            "scores": {side: _scores(pictures[side]) for side in SIDES} if complete else None,
            "ssim": self._ssim(pictures["base"]) if complete else None,
        }

    def _pictures(self, side: str) -> list[dict[str, Any]]:
        found = []
        for place, text in enumerate(self.texts.values()):
            for seed in self.seeds:
                if (key := f"p{place}-s{seed}-{side}") not in self.images:
                    continue
                read = self.readings[key].text
                found.append(
                    {
                        "prompt": place,
                        "seed": seed,
                        "text": text,
                        "read": read,
                        "exact": float(metrics.exact_match(read, text)),
                        "ocr_f1": metrics.ocr_precision_recall_f1(read, text).f1,
                        "image": key,
                    }
                )
        return found

    def _ssim(self, pictures: Sequence[dict[str, Any]]) -> float:
        """Mean structural similarity of both sides' pictures."""
        values = []
        for one in pictures:
            keys = [f"p{one['prompt']}-s{one['seed']}-{side}" for side in SIDES]
            values.append(metrics.ssim(*(np.asarray(self.images[key]) for key in keys)))
        return float(np.mean(values))


def _scores(pictures: Sequence[dict[str, Any]]) -> dict[str, list[float | None]]:
    """`exact` and `ocr_f1`, each `[mean, low, high]`, over prompts, or over pictures of one."""
    prompts = [one["prompt"] for one in pictures]
    groups = prompts if len(set(prompts)) > 1 else list(range(len(pictures)))
    return {
        name: list(metrics.bootstrap_interval([one[name] for one in pictures], groups, 1000))
        for name in ("exact", "ocr_f1")
    }
