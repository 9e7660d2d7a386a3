"""Lumina Image 2.0: a Gemma text encoder with an instruction before the prompt, one stream.

Reads `diffusers.Lumina2Transformer2DModel`. A row's tokens are [text, image, padding], packed: the
image begins where the row's own text ends, so text has places of its own in every row. Keys have
fewer heads than queries. The refiners before the stream see either the text or the picture: they
are no text layers.

The picture's places count from the end of the text. They are no keys or values: a
channel, `place`.
"""

from __future__ import annotations

from typing import Any

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, time, zeros
from textloc.layers import TextChannel, TextLayer
from textloc.runs import Sampling


class Lumina2(Family):
    """Lumina Image 2.0."""

    RAGGED = BESIDE = True
    TEXT_MASK = "encoder_attention_mask"
    LENGTH = 256
    encode = staticmethod(common.encode_shifted)

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of every block of the stream.

        Raises:
            LayerError: the projections are fused.
        """
        return [
            text_layer(
                name,
                module,
                "to_k",
                "to_v",
                static=False,
                heads=common.kv_heads(module, module.inner_dim // module.heads),
                place="rows",
                mask="attention_mask",
                mask_place="rows",
                rotary="image_rotary_emb",
            )
            for name, module in common.attentions(denoiser, "layers.*.attn")
        ]

    def places(self, denoiser: Any, arguments: dict[str, Any]) -> Any:
        """All places but the image's, which begins where the text ends."""
        import torch

        side, states = denoiser.config.patch_size, arguments["hidden_states"]
        image = states.shape[-2] // side * (states.shape[-1] // side)
        ends = arguments["encoder_attention_mask"].sum(1, keepdim=True).long()  # (row, 1)
        places = torch.arange(int(ends.max()), device=ends.device).expand(len(ends), -1)
        return torch.where(places < ends, places, places + image)

    def channels(self, denoiser: Any) -> list[TextChannel]:
        """Where the picture stands, in the stream and in its own refiner."""
        return [TextChannel("place", "layers.*.attn|noise_refiner.*.attn", "image_rotary_emb")]

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one patch, one text token."""
        import torch

        config = denoiser.config
        side = config.patch_size
        # the lengths of texts are read off the mask, which the meta device cannot do
        place = common.readable(denoiser)
        return {
            "hidden_states": zeros(denoiser, 1, config.in_channels, side, side),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.cap_feat_dim),
            "encoder_attention_mask": torch.ones(1, 1, dtype=torch.long, device=place),
            "timestep": time(denoiser),
            "return_dict": False,
        }

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer with the instruction before the prompt."""
        reader = common.Reader(pipe.tokenizer, f"{pipe.system_prompt} <Prompt Start> ")
        return [(reader, sampling.text_length or self.LENGTH)]
