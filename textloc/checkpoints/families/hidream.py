"""HiDream: two CLIP text encoders for the pooled state, a T5 and a Llama for the tokens; two
streams, then one.

Reads `diffusers.HiDreamImageTransformer2DModel`. Tokens are [image, T5 and last Llama states, Llama
states of this block]: every block is fed the states of a Llama layer anew. The double blocks
project their text by `to_k_t` and `to_v_t`, the single blocks all by `to_k` and `to_v`. The pooled
state enters by the time embedding: a channel. Keys are normed over all heads together, so a patch
of some heads rescales the others a little.
"""

from __future__ import annotations

from typing import Any

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, time, zeros
from textloc.layers import TextChannel, TextLayer
from textloc.runs import Sampling


class HiDream(Family):
    """HiDream."""

    TEXT, TIME = "encoder_hidden_states_llama3", "timesteps"
    SECOND = ("encoder_hidden_states_llama3",)
    ENCODERS = 3
    LENGTH = 128
    encode = staticmethod(common.encode_shifted)

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of the double and single blocks.

        Raises:
            LayerError: the projections are fused.
        """
        doubles = common.attentions(denoiser, "double_stream_blocks.*.block.attn1")
        return [
            *(text_layer(name, m, "to_k_t", "to_v_t", static=False) for name, m in doubles),
            *common.single(denoiser, "single_stream_blocks.*.block.attn1", "last"),
        ]

    def channels(self, denoiser: Any) -> list[TextChannel]:
        """The pooled text state."""
        return [TextChannel("pooled", "p_embedder")]

    def tokens(self, denoiser: Any, arguments: dict[str, Any]) -> int:
        """T5's, the last Llama states' and the block's own."""
        t5, llama = arguments["encoder_hidden_states_t5"], arguments[self.TEXT]
        return int(t5.shape[1]) + 2 * int(llama.shape[2])

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one patch, one token of each text encoder."""
        config = denoiser.config
        side, layers = config.patch_size, max(config.llama_layers) + 1
        t5, llama = config.caption_channels
        return {
            "hidden_states": zeros(denoiser, 1, config.in_channels, side, side),
            "timesteps": time(denoiser),
            "encoder_hidden_states_t5": zeros(denoiser, 1, 1, t5),
            "encoder_hidden_states_llama3": zeros(denoiser, layers, 1, 1, llama),
            "pooled_embeds": zeros(denoiser, 1, config.text_emb_dim),
            "return_dict": False,
        }

    def texts(self, pipe: Any, sampling: Sampling) -> list[common.Text]:
        """T5's, then Llama's, which come twice."""
        length = sampling.text_length or self.LENGTH
        parts = (("tokenizer_3", 0), ("tokenizer_4", length), ("tokenizer_4", 2 * length))
        return [common.Text(name, getattr(pipe, name), first) for name, first in parts]

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """T5's and Llama's tokenizers."""
        length = sampling.text_length or self.LENGTH
        return [(pipe.tokenizer_3, length), (pipe.tokenizer_4, length)]
