"""PRX: T5-Gemma as text encoder, a transformer in which text is only looked at.

Reads `diffusers.PRXTransformer2DModel`. Each block projects the text states by one layer,
`txt_kv_proj`, whose features are keys, then values; padding is masked. The text states come from
the prompt alone, so the layers are static. There is no other way for the text.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, time, zeros
from textloc.errors import CheckpointError
from textloc.layers import TextLayer
from textloc.runs import Run, Sampling


class PRX(Family):
    """PRX."""

    LENGTH = 256
    EXTRA = MappingProxyType({"skip_text_cleaning": True})
    _BINNED = (256, 512, 1024)  # sample sizes for which the pipeline knows its usual formats
    encode = staticmethod(common.encode_shifted)

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of every block.

        Raises:
            LayerError: the projections are fused.
        """
        layers = []
        for name, module in common.attentions(denoiser, "blocks.*.attention"):
            width, fused = module.inner_dim, "txt_kv_proj"
            layers.append(
                text_layer(
                    name,
                    module,
                    fused,
                    fused,
                    static=True,
                    key_part=(0, width),
                    value_part=(width, 2 * width),
                    mask="attention_mask",
                )
            )
        return layers

    def read_text(self, denoiser: Any, states: Any) -> Any:
        """Projected once for all blocks."""
        return denoiser.txt_in(states)

    def mend(self, arguments: dict[str, Any]) -> None:
        """The pipeline tells the time once a guidance pass, not once a row (diffusers 0.42)."""
        rows, told = len(arguments["hidden_states"]), arguments["timestep"]
        arguments["timestep"] = told.repeat_interleave(rows // len(told))

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one patch, one text token."""
        config = denoiser.config
        side = config.patch_size
        return {
            "hidden_states": zeros(denoiser, 1, config.in_channels, side, side),
            "timestep": time(denoiser),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.context_in_dim),
            "return_dict": False,
        }

    def prepare(self, pipe: Any) -> dict[str, str | None]:
        """Nothing to switch off.

        Raises:
            CheckpointError: a package that the pipeline cleans prompts with is not installed.
        """
        if not hasattr(sys.modules[type(pipe).__module__], "ftfy"):
            raise CheckpointError(
                "PRX reads prompts through the package ftfy, which is not installed; run "
                "`pip install ftfy`"
            )
        return super().prepare(pipe)

    def arguments(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """Prompts and negative prompts, one a row."""
        binned = pipe.default_sample_size in self._BINNED
        return super().arguments(pipe, runs, sampling) | {"use_resolution_binning": binned}

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer at the pipeline's length."""
        longest = int(pipe.tokenizer.model_max_length)
        return [(pipe.tokenizer, longest if longest < 10**6 else self.LENGTH)]
