"""One cell of a map of shares, patched alone: a layer, or some heads, steps or tokens of it.

The picture says what a share cannot: what that cell writes by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textloc.checkpoints import loading
from textloc.checkpoints.loading import Model
from textloc.jobs.job import Event, Job, asked_sampling, check_asked, checked
from textloc.layers import check_layers
from textloc.prompts import Pair
from textloc.runs import Patch, Run

SCHEMA = "textloc.cell/1"


@dataclass(frozen=True)
class Cell:
    """What is patched: heads, steps (half-open) and tokens (half-open) of a layer; None is all."""

    layer: int
    heads: tuple[int, ...] | None = None
    steps: tuple[int, int] | None = None
    tokens: tuple[int, int] | None = None


def cell_stream(
    model: str | Path | Model,
    pair: Pair,
    cell: Cell,
    *,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    ocr: str = "auto",
    on_step: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Patch one cell and read the picture.

    Args:
        model: known name, folder, Hub name, or a loaded `Model`. pair: source and target prompts.
        cell: what is patched. seed: of the noise. steps, guidance: None takes the checkpoint's
            usual call. ocr: engine, or `auto`. on_step, cancelled: as `localize.localize_stream`.

    Yields:
        Events; the last is complete. Its document (`textloc.cell/1`, never stored) has `read` and
        `image`, those of the source beside them.

    Raises:
        PromptError, LayerError, CheckpointError, OCRError, OutOfMemoryError, Cancelled.
    """
    check_asked([pair], [seed])
    began = time.perf_counter()
    loaded = loading.load(model)
    sampling = asked_sampling(loaded, steps, guidance)
    check_layers([cell.layer], len(loaded.layers))
    (pair,) = checked(loaded, [pair], sampling)
    return _Cell(
        model=loaded,
        sampling=sampling,
        engine=ocr,
        seeds=(seed,),
        load_s=time.perf_counter() - began,
        on_step=on_step,
        cancelled=cancelled,
        pair=pair,
        cell=cell,
    ).run()


@dataclass(kw_only=True)
class _Cell(Job):
    """One cell in progress."""

    SCHEMA = SCHEMA
    NAME = "cell"

    pair: Pair
    cell: Cell

    def plan(self) -> Iterator[Event]:
        self.message = f"patching layer {self.cell.layer}"
        (seed,) = self.seeds
        start, stop = self.cell.steps or (0, None)
        patch = Patch(
            (self.cell.layer,),
            Run(self.pair.target, seed),
            heads=self.cell.heads,
            start=start,
            stop=stop,
            tokens=self.cell.tokens,
        )
        source = Run(self.pair.source, seed)
        runs = {self._key("source"): source, self._key("cell"): source.patched(patch)}
        yield from self.generate("cell", runs)

    def _key(self, label: str) -> str:
        return f"p0-s{self.seeds[0]}-{label}"

    def request(self) -> dict[str, Any]:
        return {"pairs": [vars(self.pair)], "cell": vars(self.cell)}

    def body(self, complete: bool) -> dict[str, Any]:
        read = {label: self.readings.get(self._key(label)) for label in ("source", "cell")}
        return {
            "layers": [],
            "pictures": [
                {"label": label, "image": self._key(label), "read": one.text}
                for label, one in read.items()
                if one is not None
            ],
        }
