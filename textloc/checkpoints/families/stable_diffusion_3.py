"""Stable Diffusion 3 and 3.5: two CLIP text encoders and a T5, a joint-attention transformer.

Reads `diffusers.SD3Transformer2DModel`. Tokens are [image, text]. Each block joins a text stream,
projected by `add_k_proj` and `add_v_proj`, to the image stream; the last block drops its text
output, its text keys and values count. The second attention `attn2` of the dual blocks of SD3.5
sees only the image. The text stream depends on the image, so the layers are not static. The pooled
states of the CLIP encoders enter by the time embedding: a channel.

The text tokens are those of the CLIP encoders, side by side, followed by those of T5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, time, zeros
from textloc.layers import TextChannel, TextLayer
from textloc.runs import Run, Sampling


class StableDiffusion3(Family):
    """Stable Diffusion 3 and 3.5."""

    TEXT_FIRST = False
    """Whether text stands before the picture in the joint attention."""

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The joint attention of every block.

        Raises:
            LayerError: the projections are fused.
        """
        from diffusers.models.attention_processor import Attention

        return [
            text_layer(name, module, "add_k_proj", "add_v_proj", static=False)
            for name, module in denoiser.named_modules()
            if isinstance(module, Attention) and module.add_k_proj is not None
        ]

    def channels(self, denoiser: Any) -> list[TextChannel]:
        """The pooled text state."""
        return [TextChannel("pooled", "time_text_embed.text_embedder")]

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one sample of one patch, one text token."""
        config = denoiser.config
        side = config.patch_size
        return {
            "hidden_states": zeros(denoiser, 1, config.in_channels, side, side),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.joint_attention_dim),
            "pooled_projections": zeros(denoiser, 1, config.pooled_projection_dim),
            "timestep": time(denoiser),
            "return_dict": False,
        }

    encode = staticmethod(common.encode_shifted)
    EMPTY = False
    ENCODERS = 3
    LENGTH = 256  # the pipeline's own, of the T5 text

    def negative(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """None where all leave it unset."""
        return common.negative_prompts(runs)

    def texts(self, pipe: Any, sampling: Sampling) -> list[common.Text]:
        """Those of both CLIP encoders, at the same places, then those of T5 where there is one."""
        found = [common.Text("tokenizer", pipe.tokenizer)]
        if pipe.text_encoder_3 is not None:
            first = int(pipe.tokenizer.model_max_length)
            found.append(common.Text("tokenizer_3", pipe.tokenizer_3, first))
        return found

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """T5's tokenizer, which reads on where CLIP's stop; without T5, CLIP's."""
        if pipe.text_encoder_3 is not None:
            return [(pipe.tokenizer_3, sampling.text_length or self.LENGTH)]
        return [(t, int(t.model_max_length)) for t in (pipe.tokenizer, pipe.tokenizer_2)]
