"""GLM-Image: a language model that sketches the picture first, a byte T5 for the words in quotation
marks, joint attention.

Reads `diffusers.GlmImageTransformer2DModel`. Tokens are [words, image]: only what stands in
quotation marks reaches the text layers. The rest of the prompt enters by the sketch, the language
model's tokens, one a patch of the picture: a channel, `sketch`. Guidance is a separate call.
"""

from __future__ import annotations

from typing import Any

from textloc.checkpoints.families.cogview4 import CogView4
from textloc.checkpoints.families.common import numbers, time, zeros
from textloc.layers import TextChannel


class GlmImage(CogView4):
    """GLM-Image."""

    LENGTH = 2048
    QUOTED = ("'([^']*)'", "“([^“”]*)”", '"([^"]*)"', "「([^「」]*)」")

    def channels(self, denoiser: Any) -> list[TextChannel]:
        """The language model's sketch."""
        return [TextChannel("sketch", "prior_projector")]

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one patch, one text token."""

        config = denoiser.config
        side = config.patch_size
        prior = numbers(denoiser, 1, 1)
        return {
            "hidden_states": zeros(denoiser, 1, config.in_channels, side, side),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.text_embed_dim),
            "prior_token_id": prior,
            "prior_token_drop": prior.bool(),
            "timestep": time(denoiser),
            "target_size": zeros(denoiser, 1, 2),
            "crop_coords": zeros(denoiser, 1, 2),
            "return_dict": False,
        }
