"""Qwen-Image: a vision-language model as text encoder, joint attention with a mask over the text.

Reads `diffusers.QwenImageTransformer2DModel`. Tokens are [text, image]. Each block joins a text
stream, projected by `add_k_proj` and `add_v_proj`, to the image stream;
`encoder_hidden_states_mask` leaves out the padding of shorter texts. The text stream depends on the
image, so the layers are not static. There is no other way for the text.

Guidance is a second pass with the negative prompt, an empty one where none is set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, time, zeros
from textloc.layers import TextLayer
from textloc.runs import Sampling

_MASK = "encoder_hidden_states_mask"


class QwenImage(Family):
    """Qwen-Image."""

    RAGGED = BESIDE = True
    TEXT_MASK = _MASK

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
                mask=_MASK,
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

    def told(self, denoiser: Any, time: Any, latents: Any) -> Any:
        """Times of 0 to 1."""
        return common.thousandths(time, latents)

    def kept(self, given: Mapping[str, Any], count: int) -> dict[str, Any]:
        """The mask also where all texts are as long, and the shapes of the pictures."""
        import torch

        found = super().kept(given, count)
        if _MASK not in found:
            texts = found[self.TEXT]
            found[_MASK] = torch.ones(texts.shape[:2], dtype=torch.long, device=texts.device)
        return found | {"img_shapes": torch.tensor(given["img_shapes"])}

    def asked(self, denoiser: Any, latents: Any, time: Any, rows: Mapping[str, Any]) -> Any:
        """No longer than the longest text, masked where others are shorter."""
        given = super().asked(denoiser, latents, time, rows)
        given[self.TEXT], given[_MASK] = common.trimmed(given[self.TEXT], given[_MASK])
        shapes = rows["img_shapes"].tolist()
        return given | {"img_shapes": [[tuple(one) for one in row] for row in shapes]}
