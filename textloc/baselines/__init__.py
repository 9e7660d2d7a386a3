"""What people would use instead of patching a few layers, one method a module.

A method says how a run is made that should show the source picture with other words. `TITLE` and
`PAPER` name it; `run(source, target, reading, size)` makes the run: `source` is the run of the
source picture, `target` the target prompt, `reading` what was read in the source picture, whose
(width, height) is `size`.

`BASELINES` change the words. `SUPPRESSING` are for a source whose words must not be written at all:
they keep them out of the source picture, and but for the prompt swap they do not read the target.

`safree.Safree`, `steering.Steering` and `quieted.Quieted` are methods of the same form that are
made with what they need first (a concept, pairs, a LoRA); those that are `always` on work without
a detector, on every prompt (`suppress_stream(rivals=…)`).
"""

from __future__ import annotations

from typing import Any, Protocol

from textloc.baselines import (
    inpainting,
    negative_prompt,
    prompt_swap,
    prompt_to_prompt,
    regenerate,
    safe_latent_diffusion,
)
from textloc.reading.ocr import Reading
from textloc.runs import Run, Sampling


class Baseline(Protocol):
    """What a module of this package offers."""

    TITLE: str
    PAPER: str

    def check(self, model: Any, sampling: Sampling) -> None:
        """Check, before anything is generated, that the method works in this call of `model` (a
        `loading.Model`).

        Raises:
            LayerError, CheckpointError, PromptError: it does not.
        """

    def run(self, source: Run, target: str, reading: Reading, size: tuple[int, int]) -> Run:
        """The run of the edited picture."""


BASELINES: dict[str, Baseline] = {
    "prompt-swap": prompt_swap,
    "regenerate": regenerate,
    "inpainting": inpainting,
    "prompt-to-prompt": prompt_to_prompt,
}
"""By name."""

SUPPRESSING: dict[str, Baseline] = {
    "negative-prompt": negative_prompt,
    "safe-latent-diffusion": safe_latent_diffusion,
    "prompt-swap": prompt_swap,
}
"""By name."""
