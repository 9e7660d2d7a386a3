"""Samples as the denoiser sees them, on disk: latents, and what the captions give it.

The frozen autoencoder and text encoders run once a sample. Parts of `PART` samples are written one
by one, each whole or not at all, so an interrupted preparation goes on with the next part.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from textloc.checkpoints.latents import on_grid
from textloc.errors import PromptError, TrainingError
from textloc.files import replace_file
from textloc.finetuning import data
from textloc.finetuning.conditions import Conditions, conditions, stacked
from textloc.pictures import fit
from textloc.reading import ocr
from textloc.runs import Sampling

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model

PART = 256
"""Samples a file."""

_AT_ONCE = 32
"""Samples in one pass of autoencoder and text encoders."""

_LATENTS, _REGION = "latents", "text_region"
_INDEX = "samples.json"
_MARGIN = 2  # pixels around what OCR finds
_T = TypeVar("_T")


@dataclass(frozen=True)
class Filter:
    """Which samples are taken (`data.samples`), and whether it is kept where their text is: as the
    data says, else where OCR finds it."""

    least_agreement: float = 0.0
    smallest: int = 0
    limit: int | None = None
    engine: str = "auto"
    regions: bool = False


class Encoded:
    """Samples that were prepared, read from their parts as they are needed."""

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        self._folder = folder
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        self.captions: list[str] = index["captions"]
        self.report: dict[str, Any] = index["report"]
        self._parts: list[Any] = [
            safe_open(str(folder / _part(number)), framework="pt")
            for number in range(-(-len(self.captions) // PART))
        ]

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def megabytes(self) -> float:
        """Size of the samples on disk."""
        parts = range(len(self._parts))
        return sum((self._folder / _part(n)).stat().st_size for n in parts) / 1e6

    def rows(self, places: Sequence[int]) -> tuple[Tensor, Tensor, Conditions]:
        """Latents (N, C, h, w), or packed (N, L, C), of the samples at these places, where their
        text is, (N, h, w) or (N, L) of 0 and 1, all 1 where that was not kept, and conditions."""
        found: dict[str, list[Tensor]] = {}
        for place in places:
            part = self._parts[place // PART]
            row = place % PART
            for name in part.keys():  # noqa: SIM118  (a file, not a dictionary)
                found.setdefault(name, []).append(part.get_slice(name)[row : row + 1])
        rows = {name: stacked(tensors) for name, tensors in found.items()}
        latents = rows.pop(_LATENTS)
        region = rows.pop(_REGION, torch.ones(1)).to(latents.dtype)
        sides = latents.shape[-2:] if latents.ndim == 4 else latents.shape[1:2]
        return latents, region.expand(len(latents), *sides), rows


def prepare(
    model: Model,
    place: str,
    sampling: Sampling,
    folder: Path,
    which: Filter,
    on_sample: Callable[[int], None] = lambda _count: None,
) -> Encoded:
    """The samples of a source, prepared in `folder` unless they are there already.

    Args:
        sampling: with the size of the pictures. folder: of this source, size, filter and
            checkpoint alone. on_sample: called with the samples done.

    Raises:
        TrainingError: no sample is left, or no room. Others as `data.samples`, `conditions`.
    """
    if (folder / _INDEX).is_file():
        return Encoded(folder)
    folder.mkdir(parents=True, exist_ok=True)
    report = data.Report()
    captions: list[str] = []
    for number, part in enumerate(_chunks(_fitted(model, place, sampling, which, report), PART)):
        captions += [one.caption for one in part]
        path = folder / _part(number)
        if not path.is_file():
            _check_room(folder, number, len(captions))
            replace_file(path, partial(_write, model, part, sampling))
        on_sample(len(captions))
    if not captions:
        raise TrainingError(f"{place} has no usable sample: {'; '.join(report.lines())}")
    said = {"captions": captions, "report": report.described()}
    text = json.dumps(said, ensure_ascii=False)
    replace_file(folder / _INDEX, lambda file: file.write_text(text, encoding="utf-8"))
    return Encoded(folder)


def _check_room(folder: Path, number: int, samples: int) -> None:
    """Check that the disk holds another part as large as the one before.

    Raises:
        TrainingError: it does not.
    """
    if not number:
        return
    last = (folder / _part(number - 1)).stat().st_size
    if shutil.disk_usage(folder).free < 1.1 * last:
        raise TrainingError(
            f"the disk is nearly full: a prepared sample takes {last / PART / 1e6:.2g} MB, and "
            f"{samples} or more are wanted; give --cache a folder on a larger disk, or take fewer "
            "with --limit. What is prepared is kept"
        )


@dataclass(frozen=True)
class _Fitted:
    """A sample at the call's size. region: bool (H, W), or None."""

    caption: str
    picture: Image.Image
    region: Any


def _fitted(
    model: Model, place: str, sampling: Sampling, which: Filter, report: data.Report
) -> Iterator[_Fitted]:
    """The samples that fit; what does not is counted."""
    options = {name: value for name, value in vars(which).items() if name != "regions"}
    for sample, picture in data.samples(place, report, **options):
        try:
            model.check_length(sample.caption, sampling)
            fitted = fit(picture, sampling)
        except PromptError as error:
            report.kept -= 1
            long = "tokens" in str(error)
            report.skip("caption too long" if long else "shape too different", sample.key)
            continue
        region = _region(sample, fitted, which) if which.regions else None
        yield _Fitted(sample.caption, fitted, region)


def _region(sample: data.Sample, fitted: Image.Image, which: Filter) -> Any:
    """Where the text of the fitted picture is, bool (H, W)."""
    if sample.region is not None:
        known = sample.region()
        width, height = fitted.size
        if known.shape[0] * width == known.shape[1] * height:  # nothing was cut off
            sized = Image.fromarray(known.astype(np.uint8) * 255).resize(
                fitted.size, Image.Resampling.BOX
            )
            return np.asarray(sized) > 0
    return ocr.text_mask(ocr.read([fitted], which.engine)[0], fitted.size, _MARGIN)


def _write(model: Model, part: Sequence[_Fitted], sampling: Sampling, path: Path) -> None:
    from safetensors.torch import save_file

    found: dict[str, list[Tensor]] = {}
    for some in _chunks(part, _AT_ONCE):
        latents = model.family.encode(model.pipe, [one.picture for one in some], sampling)
        rows = conditions(model, [one.caption for one in some], sampling)
        values = {_LATENTS: latents.to(model.denoiser.dtype), **rows}
        for name, value in values.items():
            if not torch.isfinite(value).all():
                raise TrainingError(
                    f"{name} of a sample are no numbers in {model.dtype}; give --mixed-precision "
                    "bf16 or no. Nothing of it is kept"
                )
        if some[0].region is not None:
            grids = [on_grid(one.region, latents) for one in some]
            region = torch.stack(grids).to(torch.uint8)
            values[_REGION] = region if latents.ndim == 4 else region[..., 0]
        for name, value in values.items():
            found.setdefault(name, []).append(value.cpu())
    save_file({name: stacked(values).contiguous() for name, values in found.items()}, path)


def _part(number: int) -> str:
    return f"part-{number:05d}.safetensors"


def _chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
