"""Inpainting of the text box that OCR finds, with the target prompt.

Blended Latent Diffusion (Avrahami et al., SIGGRAPH 2023, arXiv 2206.02779, section 3): after every
step the latents outside the mask are those of the source picture at that noise level. The source
run is computed beside the edit, so they are exactly that. It needs no weights that were trained to
inpaint, so it works for every family.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from textloc.checkpoints.latents import between_steps, check_steps, on_grid
from textloc.reading.ocr import Reading, text_mask
from textloc.runs import Run, Sampling

TITLE = "Inpainting"
PAPER = "arXiv 2206.02779"

MARGIN = 1 / 16
"""The mask goes this share of the picture's longer side beyond the text box."""


@dataclass(frozen=True)
class Inpainting:
    """Keep the source picture outside of a mask (a `runs.Control`).

    source: the run of the source picture. mask: bits of the (H, W) mask, packed, of `size` (width,
    height); 1 where the picture may change.
    """

    source: Run
    mask: bytes
    size: tuple[int, int]
    LEAN: ClassVar[bool] = True

    @property
    def leader(self) -> Run:
        """The source run."""
        return self.source

    def pixels(self) -> NDArray[np.bool_]:
        """The mask (H, W)."""
        width, height = self.size
        bits = np.unpackbits(np.frombuffer(self.mask, np.uint8), count=width * height)
        return bits.astype(np.bool_).reshape(height, width)

    @staticmethod
    @contextmanager
    def around(
        model: Any, batch: Sequence[Run], rows: Sequence[int], sampling: Sampling
    ) -> Iterator[None]:
        """Put the source's latents outside of the masks after every step."""
        controls = {row: batch[row].control for row in rows}
        leaders = {
            row: list(batch).index(c.leader) for row, c in controls.items() if c and c.leader
        }
        grids: dict[int, Tensor] = {}

        def blend(_step: int, _before: Tensor, after: Tensor) -> Tensor:
            moved = after.clone()
            for row, control in controls.items():
                assert isinstance(control, Inpainting)
                if row not in grids:
                    grids[row] = on_grid(control.pixels(), after)
                keep = 1 - grids[row]
                moved[row] = after[row] + keep * (after[leaders[row]] - after[row])
            return moved

        with between_steps(model.pipe, blend):
            yield


def check(model: Any, sampling: Sampling) -> None:
    """Check that the steps can be followed.

    Raises:
        LayerError: a scheduler that looks at a time twice.
    """
    check_steps(model.pipe.scheduler, sampling.steps)


def run(source: Run, target: str, reading: Reading, size: tuple[int, int]) -> Run:
    """The target prompt from the source's noise within the text box; anywhere if no text is
    found."""
    mask = text_mask(reading, size, round(MARGIN * max(size)))
    if not mask.any():
        mask[:] = True
    packed = np.packbits(mask).tobytes()
    control = Inpainting(source, packed, size)
    return Run(target, source.seed, source.negative_prompt, control=control)
