"""Nucleus-Image: Qwen3-VL as text encoder, a mixture of experts in which text is only looked at.

Reads `diffusers.NucleusMoEImageTransformer2DModel`. Tokens are [image, text]; each block projects
the text states anew, then by `add_k_proj` and `add_v_proj`; padding is masked. Keys have fewer
heads than queries. The text states come from the prompt alone, so the layers are static. Guidance
is a separate call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, time, zeros
from textloc.layers import TextLayer
from textloc.runs import Sampling


class Nucleus(Family):
    """Nucleus-Image."""

    RAGGED = True

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of every block.

        Raises:
            LayerError: the projections are fused.
        """
        return [
            text_layer(
                name,
                module,
                "add_k_proj",
                "add_v_proj",
                static=True,
                heads=common.kv_heads(module, module.inner_dim // module.heads),
                mask="attention_mask",
                mask_place="last",
            )
            for name, module in common.attentions(denoiser, "transformer_blocks.*.attn")
        ]

    def read_text(self, denoiser: Any, states: Any) -> Any:
        """Normed."""
        return denoiser.txt_norm(states)

    def read_layer(self, denoiser: Any, layer: TextLayer, states: Any) -> Any:
        """Projected by the block."""
        return denoiser.get_submodule(layer.name.rpartition(".")[0]).encoder_proj(states)

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one image token, one text token."""
        config = denoiser.config
        return {
            "hidden_states": zeros(denoiser, 1, 1, config.in_channels),
            "img_shapes": [(1, 1, 1)],
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.joint_attention_dim),
            "timestep": time(denoiser),
            "return_dict": False,
        }

    def texts(self, pipe: Any, sampling: Sampling) -> list[common.Text]:
        """Those of the processor's tokenizer."""
        return [common.Text("processor", common.plain_tokenizer(pipe.processor))]

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer at the call's length, after the pipeline's instruction."""
        before, _, _ = pipe._format_prompt(common.PROMPT).partition(common.PROMPT)
        reader = common.Reader(common.plain_tokenizer(pipe.processor), before)
        return [(reader, sampling.text_length or int(pipe.default_max_sequence_length))]

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """Latents of the video autoencoder's one frame, packed: (N, hw / 4, 4 C)."""
        code = common.encode_frame(pipe, pictures)
        return pipe._pack_latents(code, *code.shape, pipe.transformer.config.patch_size)
