"""Sana: a Gemma text encoder with an instruction before the prompt; a transformer with linear
self-attention, cross-attention and a mask over its text.

Reads `diffusers.SanaTransformer2DModel`. The cross-attention `attn2` of every block projects the
text states by `to_k` and `to_v`; `attention_mask` leaves out the padding of shorter texts. The text
states come from the prompt alone, so the layers are static. There is no other way for the text.

The instruction is the pipeline's own; its tokens are not among those that the transformer reads.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from textloc.checkpoints.families import common
from textloc.checkpoints.families.common import time, zeros
from textloc.checkpoints.families.pixart import PixArt
from textloc.runs import Run, Sampling


class Sana(PixArt):
    """Sana."""

    def read_text(self, denoiser: Any, states: Any) -> Any:
        """Projected and normed."""
        return denoiser.caption_norm(denoiser.caption_projection(states))

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one sample of one patch, one text token."""
        config = denoiser.config
        side = config.patch_size
        return {
            "hidden_states": zeros(denoiser, 1, config.in_channels, side, side),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.caption_channels),
            "timestep": time(denoiser),
            "guidance": zeros(denoiser, 1) if config.get("guidance_embeds") else None,
            "return_dict": False,
        }

    LENGTH = 300  # the pipeline's own
    _BINNED = (16, 32, 64, 128)  # sample sizes for which the pipeline knows its usual formats

    def arguments(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """Prompts and negative prompts, one a row."""
        binned = pipe.transformer.config.sample_size in self._BINNED
        return super().arguments(pipe, runs, sampling) | {"use_resolution_binning": binned}

    def texts(self, pipe: Any, sampling: Sampling) -> list[common.Text]:
        """What follows the instruction; the first token is the beginning of the whole."""
        call = inspect.signature(type(pipe).__call__).parameters
        lines = call["complex_human_instruction"].default
        if not lines:
            return super().texts(pipe, sampling)
        before = "\n".join(lines)
        dropped = len(pipe.tokenizer.encode(before)) - 2
        return [
            common.Text("tokenizer", pipe.tokenizer, before=before, dropped=dropped, lowered=True)
        ]

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer at the call's length."""
        return [(pipe.tokenizer, sampling.text_length or self.LENGTH)]
