"""Qwen-Image: a vision-language model as text encoder, joint attention with a mask over the text.

Reads `diffusers.QwenImageTransformer2DModel`. Tokens are [text, image]. Each block joins a text
stream, projected by `add_k_proj` and `add_v_proj`, to the image stream;
`encoder_hidden_states_mask` leaves out the padding of shorter texts. The text stream depends on the
image, so the layers are not static. There is no other way for the text.

Guidance is a second pass with the negative prompt, an empty one where none is set.
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


class QwenImage(Family):
    """Qwen-Image."""

    RAGGED = True

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The joint attention of every block.

        Raises:
            LayerError: the projections are fused.
        """
        from diffusers.models.attention_processor import Attention

        return [
            text_layer(
                name,
                module,
                "add_k_proj",
                "add_v_proj",
                static=False,
                mask="encoder_hidden_states_mask",
            )
            for name, module in denoiser.named_modules()
            if isinstance(module, Attention) and module.add_k_proj is not None
        ]

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one image token, one text token."""
        config = denoiser.config
        return {
            "hidden_states": zeros(denoiser, 1, 1, config.in_channels),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.joint_attention_dim),
            "encoder_hidden_states_mask": None,
            "timestep": time(denoiser),
            "img_shapes": [[(1, 1, 1)]],
            "return_dict": False,
        }

    GUIDANCE = "true_cfg_scale"

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer at the call's length."""
        return [(pipe.tokenizer, sampling.text_length or self.LENGTH)]

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """Latents of the video autoencoder's one frame, packed by two by two: (N, hw / 4, 4 C)."""
        return common.packed(pipe, common.encode_frame(pipe, pictures))

    def texts(self, pipe: Any, sampling: Sampling) -> list[common.Text]:
        """What follows the pipeline's instruction."""
        before, after = pipe.prompt_template_encode.split("{}")
        dropped = int(pipe.prompt_template_encode_start_idx)
        return [
            common.Text("tokenizer", pipe.tokenizer, before=before, after=after, dropped=dropped)
        ]
