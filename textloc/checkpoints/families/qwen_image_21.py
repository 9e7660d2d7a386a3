"""Qwen-Image 2.1: Qwen3-VL as text encoder, one stream in which text sees only what is before it.

Reads `diffusers.QwenImage21Transformer2DModel`. Tokens are [text, image]; padding is masked by
`key_valid`. Text tokens do not see the picture and are not told the time, so their keys and values
stay the same from step to step; the pipeline's cache of them is left off, for a patch may begin at
a step. Guidance is a second pass with the negative prompt, an empty one where none is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from PIL import Image

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import zeros
from textloc.layers import TextLayer
from textloc.runs import Sampling


class QwenImage21(Family):
    """Qwen-Image 2.1."""

    RAGGED = BESIDE = True
    TEXT_MASK = "encoder_hidden_states_mask"
    GUIDANCE = "true_cfg_scale"
    EXTRA = MappingProxyType({"use_kv_cache": False})

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of every block.

        Raises:
            LayerError: the projections are fused.
        """
        masked = {"mask": "key_valid", "mask_place": "first"}
        return common.single(denoiser, "transformer_blocks.*.attn", "first", **masked)

    def tokens(self, denoiser: Any, arguments: dict[str, Any]) -> int:
        """All but the slots of pictures, of four tokens each."""
        return int((~arguments["img_mask"][0]).sum())

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one text token, one slot of four image tokens.

        Which tokens are which is read off `img_mask`, which the meta device cannot do.
        """
        import torch

        config = denoiser.config
        place = common.readable(denoiser)
        width = config.in_channels * config.patch_size**2
        return {
            "hidden_states": zeros(denoiser, 1, 4, width),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.context_in_dim),
            "timestep": zeros(denoiser, 1),
            "img_shapes": [[(1, 2, 2)]],
            "img_mask": torch.tensor([[False, True]], device=place),
            "return_dict": False,
        }

    def texts(self, pipe: Any, sampling: Sampling) -> list[common.Text]:
        """Those of the processor's tokenizer, after the pipeline's instruction."""
        before, after = pipe.prompt_template_t2i.split("{}")
        tokenizer, dropped = common.plain_tokenizer(pipe.processor), int(pipe._drop_idx)
        return [common.Text("processor", tokenizer, before=before, after=after, dropped=dropped)]

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """None: no prompt is cut off."""
        return []

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """Latents of the video autoencoder's one frame, as a list of places: (N, hw, C)."""
        return common.packed(pipe, common.encode_frame(pipe, pictures))
