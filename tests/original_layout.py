"""Checkpoints of the Stable Diffusion family in the layout that they were trained in.

The names are those that `diffusers.loaders.single_file_utils` reads, the other way round.
"""

from __future__ import annotations

import re
from typing import Any

import torch

Weights = dict[str, torch.Tensor]

_RESNET = (
    *(("norm1", "in_layers.0"), ("conv1", "in_layers.2"), ("time_emb_proj", "emb_layers.1")),
    *(("norm2", "out_layers.0"), ("conv2", "out_layers.3"), ("conv_shortcut", "skip_connection")),
)


def unet(module: Any) -> Weights:
    """A `UNet2DConditionModel` as `model.diffusion_model.…`."""
    layers = module.config.layers_per_block
    found = {}
    for key, value in module.state_dict().items():
        found[f"model.diffusion_model.{_of_unet(key, layers)}"] = value.clone()
    return found


def _of_unet(key: str, layers: int) -> str:
    for old, new in (
        *(("time_embedding.linear_1", "time_embed.0"), ("time_embedding.linear_2", "time_embed.2")),
        *(("add_embedding.linear_1", "label_emb.0.0"), ("add_embedding.linear_2", "label_emb.0.2")),
        *(("conv_in", "input_blocks.0.0"), ("conv_norm_out", "out.0"), ("conv_out", "out.2")),
        *(("mid_block.resnets.0", "middle_block.0"), ("mid_block.attentions.0", "middle_block.1")),
        ("mid_block.resnets.1", "middle_block.2"),
    ):
        if key.startswith(f"{old}."):
            key = key.replace(old, new, 1)
    if match := re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.", key):
        side, block, kind, number = match[1], int(match[2]), match[3], int(match[4])
        rest = key[match.end() :]
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * (layers + 1)}.0.op.{rest.removeprefix('conv.')}"
        if kind == "upsamplers":
            return f"output_blocks.{(block + 1) * (layers + 1) - 1}.2.{rest}"
        place = block * (layers + 1) + number + (side == "down")
        name = "input_blocks" if side == "down" else "output_blocks"
        key = f"{name}.{place}.{int(kind == 'attentions')}.{rest}"
    if ".transformer_blocks." not in key:
        for old, new in _RESNET:
            key = key.replace(f".{old}.", f".{new}.")
    return key


def vae(module: Any) -> Weights:
    """An `AutoencoderKL` as `first_stage_model.…`."""
    blocks = len(module.config.block_out_channels)
    found = {}
    for key, value in module.state_dict().items():
        value = value.clone()
        if match := re.match(r"decoder\.up_blocks\.(\d)", key):
            key = key.replace(match[0], f"decoder.up.{blocks - 1 - int(match[1])}")
        for old, new in (
            *(("encoder.down_blocks.", "encoder.down."), (".resnets.", ".block.")),
            *((".downsamplers.0.", ".downsample."), (".upsamplers.0.", ".upsample.")),
            *(("mid_block.block.0.", "mid.block_1."), ("mid_block.block.1.", "mid.block_2.")),
            *(("mid_block.attentions.0.", "mid.attn_1."), ("conv_norm_out", "norm_out")),
            *((".conv_shortcut.", ".nin_shortcut."), (".group_norm.", ".norm.")),
            *(
                (".to_q.", ".q."),
                (".to_k.", ".k."),
                (".to_v.", ".v."),
                (".to_out.0.", ".proj_out."),
            ),
        ):
            key = key.replace(old, new)
        if ".attn_1." in key and value.ndim == 2:
            value = value[:, :, None, None]
        found[f"first_stage_model.{key}"] = value
    return found


def clip(module: Any, prefix: str = "cond_stage_model.transformer.") -> Weights:
    """A `CLIPTextModel`."""
    found = {}
    for key, value in module.state_dict().items():
        name = key if key.startswith("text_model.") else f"text_model.{key}"
        found[f"{prefix}{name}"] = value.clone()
    return found


def stable_diffusion(pipe: Any) -> Weights:
    """A `StableDiffusionPipeline` as one file."""
    return unet(pipe.unet) | vae(pipe.vae) | clip(pipe.text_encoder)


def open_clip(module: Any, prefix: str = "conditioner.embedders.1.model.") -> Weights:
    """A `CLIPTextModelWithProjection`, as OpenCLIP has it."""
    state = {k.removeprefix("text_model."): v.clone() for k, v in module.state_dict().items()}
    found = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "text_projection": state["text_projection.weight"].T.contiguous(),
    }
    for kind in ("weight", "bias"):
        found[f"ln_final.{kind}"] = state[f"final_layer_norm.{kind}"]
        for layer in range(module.config.num_hidden_layers):
            old, new = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
            parts = [state[f"{old}.self_attn.{n}_proj.{kind}"] for n in "qkv"]
            found[f"{new}.attn.in_proj_{kind}"] = torch.cat(parts)
            for a, b in (
                *(("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1")),
                *(("layer_norm2", "ln_2"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")),
            ):
                found[f"{new}.{b}.{kind}"] = state[f"{old}.{a}.{kind}"]
    return {f"{prefix}{key}": value for key, value in found.items()}


def sdxl(pipe: Any) -> Weights:
    """A `StableDiffusionXLPipeline` as one file."""
    first = clip(pipe.text_encoder, "conditioner.embedders.0.transformer.")
    return unet(pipe.unet) | vae(pipe.vae) | first | open_clip(pipe.text_encoder_2)
