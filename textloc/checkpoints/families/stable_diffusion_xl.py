"""SDXL: two CLIP text encoders side by side, a pooled text state, a U-Net.

An unset negative prompt means zero text states (`force_zeros_for_empty_prompt`), which is not the
same as an empty one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textloc.checkpoints.families import common
from textloc.checkpoints.families.unet import UNet
from textloc.errors import PromptError
from textloc.runs import Run, Sampling


class StableDiffusionXL(UNet):
    """SDXL."""

    ENCODERS = 2

    def prepare(self, pipe: Any) -> dict[str, str | None]:
        """Switch the invisible watermark off: it would change every picture."""
        common.decode_one_by_one(pipe)
        had = getattr(pipe, "watermark", None) is not None
        if had:
            pipe.watermark = None
        return {"safety_checker": None, "watermark": "off" if had else None}

    def arguments(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """Prompts for both encoders and negative prompts, one a row.

        Raises:
            PromptError: a run has a third prompt; some runs set a negative prompt and some do not,
                and unset means zero states.
        """
        unset = {run.negative_prompt is None for run in runs}
        if len(unset) > 1 and pipe.config.force_zeros_for_empty_prompt:
            raise PromptError(
                "a run and those it takes from must all set a negative prompt or all leave it "
                "unset: for SDXL an unset one is not the same as an empty one"
            )
        return super().arguments(pipe, runs, sampling)

    def negative(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """None where all leave it unset."""
        return common.negative_prompts(runs)

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """Both tokenizers at their length."""
        both = (pipe.tokenizer, pipe.tokenizer_2)
        return [(t, int(t.model_max_length)) for t in both if t is not None]
