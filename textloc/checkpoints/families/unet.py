"""What the families with a U-Net share: cross-attention of Stable Diffusion, LDM, SDXL.

Reads `diffusers.UNet2DConditionModel`. Every transformer block has a self-attention `attn1` and a
cross-attention `attn2`, whose `to_k` and `to_v` project the text states. Its keys are text tokens
only: what an IP-adapter adds has projections of its own, which stay as they are. The text states
come from the prompt alone, so the layers are static.
The pooled text state of SDXL enters by the time embedding (`add_embedding`): a channel.
"""

from __future__ import annotations

from typing import Any

from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, time, zeros
from textloc.layers import TextChannel, TextLayer


class UNet(Family):
    """What the families with a U-Net share."""

    DENOISER = "unet"
    NOISY = "sample"
    EMPTY = False

    def fits(self, denoiser: Any) -> bool:
        """Whether no attention has added projections."""
        from diffusers.models.attention_processor import Attention

        attentions = (module for module in denoiser.modules() if isinstance(module, Attention))
        return all(module.add_k_proj is None for module in attentions)

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The cross-attention layers of the U-Net.

        Raises:
            LayerError: the projections are fused.
        """
        from diffusers.models.attention_processor import Attention

        return [
            text_layer(name, module, "to_k", "to_v", static=True)
            for name, module in denoiser.named_modules()
            if isinstance(module, Attention) and module.is_cross_attention
        ]

    def channels(self, denoiser: Any) -> list[TextChannel]:
        """The pooled text state, where the U-Net takes one."""
        takes = denoiser.config.addition_embed_type in ("text", "text_time")
        return [TextChannel("pooled", "add_embedding")] if takes else []

    def read_text(self, denoiser: Any, states: Any) -> Any:
        """Projected where the U-Net has a projection of its text (DeepFloyd IF)."""
        if denoiser.config.encoder_hid_dim_type == "text_proj":
            return denoiser.encoder_hid_proj(states)
        return states

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one sample that the U-Net halves to 2x2.

        At 1x1, or with one text token, a group norm of one channel a group has nothing to norm.
        """
        config = denoiser.config
        side = 2 ** len(config.block_out_channels)
        width = config.cross_attention_dim
        width = width if isinstance(width, int) else width[0]
        if config.encoder_hid_dim is not None:
            width = config.encoder_hid_dim
        added: dict[str, Any] = {}
        if config.addition_embed_type == "text_time":
            times = 6 * config.addition_time_embed_dim
            pooled = config.projection_class_embeddings_input_dim - times
            added = {"text_embeds": zeros(denoiser, 1, pooled), "time_ids": zeros(denoiser, 1, 6)}
        if config.encoder_hid_dim_type == "ip_image_proj":
            adapters = denoiser.encoder_hid_proj.image_projection_layers
            added["image_embeds"] = [zeros(denoiser, 1, 1, _first_width(a)) for a in adapters]
        return {
            "sample": zeros(denoiser, 1, config.in_channels, side, side),
            "timestep": time(denoiser),
            "encoder_hidden_states": zeros(denoiser, 1, 2, width),
            "class_labels": time(denoiser) if config.class_embed_type == "timestep" else None,
            "added_cond_kwargs": added,
            "return_dict": False,
        }


def _first_width(adapter: Any) -> int:
    """Width of the picture states that an IP-adapter's projection reads."""
    from torch.nn import Linear

    return next(module.in_features for module in adapter.modules() if isinstance(module, Linear))
