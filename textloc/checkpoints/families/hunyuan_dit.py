"""HunyuanDiT: a BERT and a T5 text encoder side by side, cross-attention.

Reads `diffusers.HunyuanDiT2DModel`. The cross-attention `attn2` of every block projects both
encoders' states by `to_k` and `to_v`; what pads them is learned. They come from the prompts alone,
but from two arguments, so another prompt's are taken from a row of its own. The T5's states enter
pooled by the time embedding too: a channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, zeros
from textloc.layers import TextChannel, TextLayer
from textloc.runs import Run, Sampling


class HunyuanDiT(Family):
    """HunyuanDiT."""

    SHARED = ("image_rotary_emb",)
    _BINNED = 128  # sample size from which the pipeline knows its usual formats

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The cross-attention of every block.

        Raises:
            LayerError: the projections are fused.
        """
        found = common.attentions(denoiser, "blocks.*.attn2")
        return [text_layer(name, m, "to_k", "to_v", static=False) for name, m in found]

    def tokens(self, denoiser: Any, arguments: dict[str, Any]) -> int:
        """BERT's and T5's."""
        both = (self.TEXT, f"{self.TEXT}_t5")
        return sum(int(arguments[name].shape[1]) for name in both)

    def channels(self, denoiser: Any) -> list[TextChannel]:
        """The T5's states, pooled."""
        return [TextChannel("pooled", "time_extra_emb")]

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one patch, texts of the learned length."""

        config = denoiser.config
        side = config.patch_size
        style = config.use_style_cond_and_image_meta_size
        bert, t5 = config.text_len, config.text_len_t5
        return {
            "hidden_states": zeros(denoiser, 1, config.in_channels, side, side),
            "timestep": zeros(denoiser, 1),
            "encoder_hidden_states": zeros(denoiser, 1, bert, config.cross_attention_dim),
            "text_embedding_mask": zeros(denoiser, 1, bert),
            "encoder_hidden_states_t5": zeros(denoiser, 1, t5, config.cross_attention_dim_t5),
            "text_embedding_mask_t5": zeros(denoiser, 1, t5),
            "image_meta_size": zeros(denoiser, 1, 6) if style else None,
            "style": common.numbers(denoiser, 1) if style else None,
            "return_dict": False,
        }

    def prepare(self, pipe: Any) -> dict[str, str | None]:
        """Switch the safety checker off: it would replace pictures by black ones."""
        common.decode_one_by_one(pipe, self.DENOISER)
        return common.without_checker(pipe)

    def arguments(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """Prompts and negative prompts, one a row."""
        binned = pipe.transformer.config.sample_size >= self._BINNED
        return super().arguments(pipe, runs, sampling) | {"use_resolution_binning": binned}

    def texts(self, pipe: Any, sampling: Sampling) -> list[common.Text]:
        """BERT's, then T5's."""
        first = int(pipe.transformer.config.text_len)
        return [
            common.Text("tokenizer", pipe.tokenizer),
            common.Text("tokenizer_2", pipe.tokenizer_2, first),
        ]

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """T5's tokenizer, which reads on where BERT's stops."""
        return [(pipe.tokenizer_2, int(pipe.transformer.config.text_len_t5))]
