"""U-Nets with cross-attention: Stable Diffusion 1.x and 2.x, LDM, SDXL.

Reads `diffusers.UNet2DConditionModel`. Every transformer block has a self-attention `attn1` and a
cross-attention `attn2`, whose `to_k` and `to_v` project the text states. Its keys are text tokens
only. The text states come from the prompt alone, so the layers are static.
The pooled text state of SDXL enters by the time embedding; it is no text layer.
"""

from __future__ import annotations

from typing import Any

from textloc.errors import LayerError
from textloc.layers import TextLayer


def find(denoiser: Any) -> list[TextLayer]:
    """The cross-attention layers of the U-Net.

    Raises:
        LayerError: the projections are fused, or text enters by added ones (`add_k_proj`).
    """
    from diffusers.models.attention_processor import Attention

    layers = []
    for name, module in denoiser.named_modules():
        if not isinstance(module, Attention) or not module.is_cross_attention:
            continue
        if module.add_k_proj is not None:
            raise LayerError(
                f"text enters {name} by added projections, as in DeepFloyd IF; that family is not "
                "supported yet"
            )
        if getattr(module, "fused_projections", False):
            raise LayerError(
                f"the projections of {name} are fused, which silences hooks; call "
                "unfuse_qkv_projections() first"
            )
        layers.append(
            TextLayer(
                index=-1,
                name=name,
                key=f"{name}.to_k",
                value=f"{name}.to_v",
                heads=module.heads,
                kv_parameters=module.to_k.weight.numel() + module.to_v.weight.numel(),
                static=True,
            )
        )
    return layers


def inputs(denoiser: Any) -> dict[str, Any]:
    """Arguments of a small forward pass: one sample that the U-Net halves to 2x2.

    At 1x1 a group norm with as many groups as channels has nothing to norm over.
    """
    import torch

    config = denoiser.config
    at = {"device": denoiser.device, "dtype": denoiser.dtype}
    side = 2 ** len(config.block_out_channels)
    width = config.cross_attention_dim
    width = width if isinstance(width, int) else width[0]
    if config.encoder_hid_dim is not None:
        width = config.encoder_hid_dim
    added = {}
    if config.addition_embed_type == "text_time":
        times = 6 * config.addition_time_embed_dim
        pooled = config.projection_class_embeddings_input_dim - times
        added = {
            "text_embeds": torch.zeros(1, pooled, **at),
            "time_ids": torch.zeros(1, 6, **at),
        }
    return {
        "sample": torch.zeros(1, config.in_channels, side, side, **at),
        "timestep": torch.zeros((), device=denoiser.device, dtype=torch.long),
        "encoder_hidden_states": torch.zeros(1, 1, width, **at),
        "added_cond_kwargs": added,
        "return_dict": False,
    }
