"""FLUX.1: a CLIP text encoder for the pooled state, a T5 for the tokens, and a transformer with two
streams at first and one later.

Reads `diffusers.FluxTransformer2DModel`. Tokens are [text, image]. The double blocks project their
text stream by `add_k_proj` and `add_v_proj`. In the single blocks text and image are one stream and
share `to_k` and `to_v`: these layers are mixed. No layer is static. The pooled state of the CLIP
encoder enters by the time embedding: a channel.

The guidance of the distilled checkpoints is a number that the transformer is told; there is one
pass a step. A negative prompt would need true guidance, which is left off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, time, zeros
from textloc.errors import PromptError
from textloc.layers import TextChannel, TextLayer
from textloc.runs import Run, Sampling


class Flux(Family):
    """FLUX.1."""

    SHARED: tuple[str, ...] = ("img_ids", "txt_ids")
    TEXT_FIRST = True
    """Whether text stands before the picture in the joint attention."""

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of the double and single blocks.

        Raises:
            LayerError: the projections are fused.
        """
        from diffusers.models.transformers.transformer_flux import FluxAttention

        layers = []
        for name, module in denoiser.named_modules():
            if not isinstance(module, FluxAttention):
                continue
            double = module.added_kv_proj_dim is not None
            key, value = ("add_k_proj", "add_v_proj") if double else ("to_k", "to_v")
            layers.append(
                text_layer(
                    name, module, key, value, static=False, place="all" if double else "first"
                )
            )
        return layers

    def channels(self, denoiser: Any) -> list[TextChannel]:
        """The pooled text state."""
        return [TextChannel("pooled", "time_text_embed.text_embedder")]

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one image token, one text token."""
        config = denoiser.config
        return {
            "hidden_states": zeros(denoiser, 1, 1, config.in_channels),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.joint_attention_dim),
            "pooled_projections": zeros(denoiser, 1, config.pooled_projection_dim),
            "timestep": time(denoiser),
            "img_ids": zeros(denoiser, 1, 3),
            "txt_ids": zeros(denoiser, 1, 3),
            "guidance": zeros(denoiser, 1) if config.guidance_embeds else None,
            "return_dict": False,
        }

    ENCODERS = 2

    def negative(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """None.

        Raises:
            PromptError: a run has one.
        """
        if any(run.negative_prompt is not None for run in runs):
            raise PromptError("FLUX.1 is distilled and takes no negative prompt; leave it out")
        return {}

    def texts(self, pipe: Any, sampling: Sampling) -> list[common.Text]:
        """T5's tokens."""
        return [common.Text("tokenizer_2", pipe.tokenizer_2)]

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """T5's tokenizer."""
        return [(pipe.tokenizer_2, sampling.text_length or self.LENGTH)]

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """Latents of the autoencoder, packed by two by two: (N, h * w / 4, 4 C)."""
        code = common.encode_shifted(pipe, pictures, sampling)
        return pipe._pack_latents(code, *code.shape)

    def told(self, denoiser: Any, time: Any, latents: Any) -> Any:
        """Times of 0 to 1."""
        return common.thousandths(time, latents)


class FluxKontext(Flux):
    """FLUX.1 Kontext: the same, with a picture to change or without one."""

    def arguments(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """Prompts for both encoders, one a row, in the size that is asked for."""
        asked = super().arguments(pipe, runs, sampling)
        if sampling.height is None or sampling.width is None:
            return asked
        return asked | {"max_area": sampling.height * sampling.width}

    def referred(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """The picture to change, in its own size."""
        assert sampling.reference is not None
        return {"image": sampling.reference.picture, "_auto_resize": False}
