"""What a worker of a cluster does (`cluster`): it holds the model on its device and makes cells.

All that is asked and answered is plain data that can be pickled. Nothing is kept here.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from textloc.baselines.always_on import AlwaysOn
from textloc.checkpoints import drawing, loading, loras, memory
from textloc.checkpoints.loading import Model
from textloc.errors import CheckpointError, OCRError
from textloc.jobs import made_by
from textloc.patching import generation
from textloc.patching.attribution import Shares, shares_stream
from textloc.patching.hooks import Patching
from textloc.patching.inversion import followed
from textloc.reading import ocr
from textloc.reading.ocr import Reading
from textloc.results import provenance
from textloc.runs import Run, Sampling


@dataclass(frozen=True)
class Asked:
    """What a worker loads.

    model, lora: names, or paths from the root. options: of `loading.load`. threads: of torch.
    """

    model: str
    lora: str | None
    lora_scale: float
    options: Mapping[str, Any]
    threads: int


@dataclass(frozen=True)
class Facts:
    """What a worker says once it holds the model.

    host: its machine. device, dtype, digest: of the model. code: `made_by.code`. made_by: all that
    decides its pictures. environment: `provenance.describe`, without an OCR engine.
    """

    host: str
    device: str
    dtype: str
    digest: str
    code: str
    made_by: dict[str, Any] | None
    environment: dict[str, Any]


@dataclass(frozen=True)
class Reads:
    """What is to be read of a call.

    engine: as `ocr.describe` says it. options: of `ocr.read`. places: rows of the batch whose
    pictures are read, in order; one may come twice.
    """

    engine: Mapping[str, str]
    options: Mapping[str, Any]
    places: tuple[int, ...]


@dataclass(frozen=True)
class Made:
    """What a call came to, as `generation.Call`.

    images: by row of the batch. corrections: of the pictures that it followed. readings: where
    something was to be read, and the seconds that it took.
    """

    images: dict[int, Image.Image] | None
    patching: Patching
    seconds: float
    decoded: int
    corrections: list[list[float]]
    readings: list[Reading] | None = None
    read_s: float = 0.0


class Worker:
    """An actor that holds the model."""

    def __init__(self) -> None:
        self._models: dict[Any, Model] = {}
        self._checked: set[Any] = set()

    def load(self, asked: Asked) -> Facts:
        """Load the model.

        Raises:
            CheckpointError: as `loading.load` and `loras.attach`, or a path that is not there.
        """
        import torch

        torch.set_num_threads(asked.threads)
        host = socket.gethostname()
        for name in (asked.model, asked.lora, asked.options.get("upscaler")):
            if name is not None and Path(name).is_absolute() and not Path(name).exists():
                raise CheckpointError(
                    f"there is no {name} on {host}; put it where all machines of the cluster can "
                    "read it, or give a Hub name"
                )
        model = loading.load(asked.model, **asked.options)
        if asked.lora is not None:
            model = loras.attach(model, asked.lora, asked.lora_scale)
        self._models[None] = model
        return Facts(
            host=host,
            device=model.device,
            dtype=model.dtype,
            digest=model.digest,
            code=made_by.code(),
            made_by=made_by.made_by(model),
            environment=provenance.describe(model.device, None),
        )

    def rows(self, sampling: Sampling, beside: int) -> int:
        """Rows of one call that should fit; `beside` workers share the memory of the machine."""
        return max(1, self._for(sampling).rows_that_fit(sampling) // beside)

    def fits(self, rows: int, sampling: Sampling, beside: int) -> bool:
        """`memory.may_fit`; `beside` as in `rows`."""
        return memory.may_fit(self._for(sampling), rows * beside, sampling)

    def call(
        self,
        batch: Sequence[Run],
        wanted: Sequence[int],
        sampling: Sampling,
        decoded: int,
        share: bool,
        reads: Reads | None,
    ) -> Made:
        """Make a call (`generation.make`), and read its pictures. wanted: rows of the batch.

        Raises:
            TextlocError: as `generation.generate`; OCRError: another engine than is asked for.
        """
        model = self._for(sampling)
        for control in dict.fromkeys(run.control for run in batch):
            if isinstance(control, AlwaysOn) and (control, sampling) not in self._checked:
                check: Any = control
                check.check(model, sampling)  # some note there what their calls need
                self._checked.add((control, sampling))
        rows = {batch[place] for place in wanted}
        call = generation.make(model, batch, rows, sampling, decoded, share)
        corrections = [list(control.corrections) for control in followed(batch)]
        if call.images is None:
            return Made(None, call.patching, call.seconds, call.decoded, corrections)
        images = {place: call.images[batch[place]] for place in wanted}
        made = Made(images, call.patching, call.seconds, call.decoded, corrections)
        if reads is None:
            return made
        began = time.perf_counter()
        name = reads.engine["engine"]
        if (here := ocr.describe(name)) != reads.engine:
            raise OCRError(
                f"{socket.gethostname()} has {name} {here['version']} and not "
                f"{reads.engine['version']}; install the same on every machine of the cluster"
            )
        found = ocr.read([images[place] for place in reads.places], name, **reads.options)
        return Made(**{**vars(made), "readings": found, "read_s": time.perf_counter() - began})

    def shares(
        self, source: Run, target: Run, sampling: Sampling, options: Mapping[str, Any]
    ) -> tuple[float, Shares]:
        """The shares of a pair (`attribution.shares`), and the seconds that they took."""
        began = time.perf_counter()
        *_, last = shares_stream(self._for(sampling), source, target, sampling=sampling, **options)
        return time.perf_counter() - began, last

    def _for(self, sampling: Sampling) -> Model:
        """The model, or that which draws on the picture that is given."""
        given = sampling.reference
        if given is None:
            return self._models[None]
        masked = given.mask is not None
        if masked not in self._models:
            self._models[masked] = drawing.drawing_on(self._models[None], masked)
        return self._models[masked]
