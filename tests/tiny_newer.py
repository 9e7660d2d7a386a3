"""Random tiny pipelines of the families that came after FLUX.1: real classes, unusual shapes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny_encoders as encoders
from tests.tiny_families import _bytes, _clip, _clip_tokenizer, _flow, _matter, _t5, _vae
from textloc.checkpoints import families
from textloc.checkpoints.loading import Model
from textloc.runs import Sampling


def _calm(unet: Any) -> Any:
    """What it predicts made smaller, and with it what rounding makes of it in later steps."""
    with torch.no_grad():
        unet.conv_out.weight.mul_(0.3)
    return unet


def _vae_deep(**more: Any) -> Any:
    """An autoencoder that reduces eightfold."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        mid_block_add_attention=False,
        **more,
    )


def _vae_flux2(channels: int) -> Any:
    from diffusers import AutoencoderKLFlux2

    torch.manual_seed(3)
    return AutoencoderKLFlux2(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 4),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()


def _vae_qwen(deep: int = 2) -> Any:
    """A video autoencoder that halves a side so many times."""
    from diffusers import AutoencoderKLQwenImage

    return AutoencoderKLQwenImage(
        base_dim=24 if deep == 2 else 8,
        z_dim=4,
        dim_mult=[1, 2, 4] if deep == 2 else [1] * (deep + 1),
        num_res_blocks=1,
        temperal_downsample=[False, *[True] * (deep - 1)],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )


def _flux2_transformer(heads: int, blocks: int, single: int, guidance: bool, joint: int) -> Any:
    from diffusers import Flux2Transformer2DModel

    torch.manual_seed(0)
    transformer = Flux2Transformer2DModel(
        in_channels=8,
        num_layers=blocks,
        num_single_layers=single,
        attention_head_dim=16,
        num_attention_heads=heads,
        joint_attention_dim=joint,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance,
    )
    return _matter(transformer, "add_k_proj", "add_v_proj", "to_qkv_mlp_proj", "proj_out")


def flux2(heads: int = 3, blocks: int = 1, single: int = 2) -> Any:
    """`Flux2Pipeline`."""
    from diffusers import Flux2Pipeline

    encoder = encoders.mistral3(16, 31)
    pipe = Flux2Pipeline(
        scheduler=_flow(),
        vae=_vae_flux2(2),
        text_encoder=encoder,
        tokenizer=encoders.tokenizer(),
        transformer=_flux2_transformer(heads, blocks, single, True, 48),
    )
    pipe.system_message = "Draw."  # in bytes, not in Mistral's tokens
    return pipe


def flux2_klein(heads: int = 2, blocks: int = 1, single: int = 2) -> Any:
    """`Flux2KleinPipeline`, not distilled."""
    from diffusers import Flux2KleinPipeline

    return Flux2KleinPipeline(
        scheduler=_flow(),
        vae=_vae_flux2(2),
        text_encoder=encoders.qwen3(16, 28, causal=True),
        tokenizer=encoders.tokenizer(),
        transformer=_flux2_transformer(heads, blocks, single, False, 48),
    )


def flux2_klein_kv() -> Any:
    """`Flux2KleinKVPipeline`, which keeps keys and values of reference pictures over the steps."""
    from diffusers import Flux2KleinKVPipeline

    pipe = flux2_klein()
    return Flux2KleinKVPipeline(**pipe.components)


def z_image(heads: int = 2, blocks: int = 3) -> Any:
    """`ZImagePipeline`."""
    from diffusers import ZImagePipeline, ZImageTransformer2DModel

    torch.manual_seed(0)
    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=4,
        dim=16 * heads,
        n_layers=blocks,
        n_refiner_layers=1,
        n_heads=heads,
        n_kv_heads=heads,
        cap_feat_dim=16,
        axes_dims=[8, 4, 4],
        axes_lens=[512, 32, 32],
    )
    with torch.no_grad():  # the class leaves them empty
        transformer.x_pad_token.fill_(0.5)
        transformer.cap_pad_token.fill_(-0.5)
    return ZImagePipeline(
        scheduler=_flow(),
        vae=_vae(shift_factor=0.0),
        text_encoder=encoders.qwen3(16, 2),
        tokenizer=encoders.tokenizer(),
        transformer=_matter(transformer, "to_k", "to_v", "all_final_layer"),
    )


def hunyuan_image(heads: int = 3, blocks: int = 1, single: int = 2) -> Any:
    """`HunyuanImagePipeline` with its guiders."""
    from diffusers import (
        AdaptiveProjectedMixGuidance,
        AutoencoderKLHunyuanImage,
        HunyuanImagePipeline,
        HunyuanImageTransformer2DModel,
    )

    torch.manual_seed(0)
    transformer = HunyuanImageTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=heads,
        attention_head_dim=8,
        num_layers=blocks,
        num_single_layers=single,
        num_refiner_layers=1,
        patch_size=(1, 1),
        text_embed_dim=16,
        text_embed_2_dim=24,
        rope_axes_dim=(4, 4),
    )
    vae = AutoencoderKLHunyuanImage(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(32, 32),
        layers_per_block=1,
        scaling_factor=0.5,
        spatial_compression_ratio=2,
        sample_size=32,
    )
    pipe = HunyuanImagePipeline(
        scheduler=_flow(),
        vae=vae.eval(),
        text_encoder=encoders.qwen25_vl(16),
        tokenizer=encoders.tokenizer(),
        text_encoder_2=_t5(24, 2),
        tokenizer_2=_bytes(),
        transformer=_matter(transformer, "add_k_proj", "add_v_proj", "to_k", "to_v", "proj_out"),
        guider=AdaptiveProjectedMixGuidance(),
        ocr_guider=AdaptiveProjectedMixGuidance(),
    )
    pipe.tokenizer_max_length = 80
    pipe.prompt_template_encode = "Draw: {}<|im_end|>"  # in bytes, not in Qwen's tokens
    pipe.prompt_template_encode_start_idx = 6
    return pipe


def aura_flow(heads: int = 3, blocks: int = 1, single: int = 2) -> Any:
    """`AuraFlowPipeline`."""
    from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel

    torch.manual_seed(0)
    transformer = AuraFlowTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_mmdit_layers=blocks,
        num_single_dit_layers=single,
        attention_head_dim=8,
        num_attention_heads=heads,
        caption_projection_dim=8 * heads,
        joint_attention_dim=24,
        out_channels=4,
        pos_embed_max_size=64,
    )
    words = ("add_k_proj", "add_v_proj", "to_k", "to_v", "to_out", "to_add_out", "proj_out")
    return AuraFlowPipeline(
        scheduler=_flow(),
        vae=_vae(),
        text_encoder=encoders.umt5(24),
        tokenizer=encoders.tokenizer(),
        transformer=_matter(
            _matter(_matter(transformer, *words), *words), "proj_out", "to_out", "to_add_out"
        ),
    )


def lumina2(heads: int = 4, blocks: int = 3) -> Any:
    """`Lumina2Pipeline`, half as many heads of keys."""
    from diffusers import Lumina2Pipeline, Lumina2Transformer2DModel

    torch.manual_seed(0)
    transformer = Lumina2Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        hidden_size=8 * heads,
        num_layers=blocks,
        num_refiner_layers=1,
        num_attention_heads=heads,
        num_kv_heads=heads // 2,
        multiple_of=8,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(300, 32, 32),
        cap_feat_dim=16,
    )
    pipe = Lumina2Pipeline(
        scheduler=_flow(),
        vae=_vae_deep(shift_factor=0.0),
        text_encoder=encoders.gemma2(16),
        tokenizer=encoders.tokenizer(),
        transformer=_matter(transformer, "to_k", "to_v", "norm_out"),
    )
    pipe.system_prompt = "Draw."  # in bytes, not in Gemma's tokens
    return pipe


def cogview4(heads: int = 3, blocks: int = 3) -> Any:
    """`CogView4Pipeline`."""
    from diffusers import (
        CogView4Pipeline,
        CogView4Transformer2DModel,
        FlowMatchEulerDiscreteScheduler,
    )

    torch.manual_seed(0)
    transformer = CogView4Transformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=blocks,
        attention_head_dim=8,
        num_attention_heads=heads,
        text_embed_dim=16,
        time_embed_dim=8,
        condition_dim=4,
        rope_axes_dim=(32, 32),
    )
    scheduler = FlowMatchEulerDiscreteScheduler(
        base_shift=0.25,
        max_shift=0.75,
        base_image_seq_len=256,
        use_dynamic_shifting=True,
        time_shift_type="linear",
    )
    return CogView4Pipeline(
        scheduler=scheduler,
        vae=_vae(),
        text_encoder=encoders.glm(16),
        tokenizer=encoders.tokenizer(),
        transformer=_matter(transformer, "to_k", "to_v", "proj_out"),
    )


def cogview3(heads: int = 3, blocks: int = 3) -> Any:
    """`CogView3PlusPipeline`."""
    from diffusers import (
        CogVideoXDDIMScheduler,
        CogView3PlusPipeline,
        CogView3PlusTransformer2DModel,
    )

    torch.manual_seed(0)
    transformer = CogView3PlusTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=blocks,
        attention_head_dim=8,
        num_attention_heads=heads,
        text_embed_dim=24,
        time_embed_dim=8,
        condition_dim=2,
        pos_embed_max_size=8,
        sample_size=8,
    )
    return CogView3PlusPipeline(
        scheduler=CogVideoXDDIMScheduler(),
        vae=_vae(),
        text_encoder=_t5(24, 1),
        tokenizer=_bytes(),
        transformer=_matter(transformer, "to_k", "to_v", "proj_out"),
    )


def chroma(heads: int = 3, blocks: int = 1, single: int = 2) -> Any:
    """`ChromaPipeline`."""
    from diffusers import ChromaPipeline, ChromaTransformer2DModel

    torch.manual_seed(0)
    transformer = ChromaTransformer2DModel(
        in_channels=16,
        num_layers=blocks,
        num_single_layers=single,
        attention_head_dim=16,
        num_attention_heads=heads,
        joint_attention_dim=24,
        axes_dims_rope=(4, 6, 6),
        approximator_num_channels=16,
        approximator_hidden_dim=32,
        approximator_layers=1,
    )
    return ChromaPipeline(
        scheduler=_flow(),
        vae=_vae(shift_factor=0.0),
        text_encoder=_t5(24, 1),
        tokenizer=_bytes(),
        transformer=_matter(transformer, "add_k_proj", "add_v_proj", "to_k", "to_v", "proj_out"),
    )


def hidream(heads: int = 2, blocks: int = 1, single: int = 2) -> Any:
    """`HiDreamImagePipeline`."""
    from diffusers import HiDreamImagePipeline, HiDreamImageTransformer2DModel

    torch.manual_seed(0)
    transformer = HiDreamImageTransformer2DModel(
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=blocks,
        num_single_layers=single,
        attention_head_dim=8,
        num_attention_heads=heads,
        caption_channels=[24, 16],
        text_emb_dim=16 + 24,
        num_routed_experts=2,
        num_activated_experts=1,
        axes_dims_rope=(4, 2, 2),
        max_resolution=(16, 16),
        llama_layers=tuple(range(blocks + single)),
    ).eval()
    pipe = HiDreamImagePipeline(
        scheduler=_flow(),
        vae=_vae(shift_factor=0.0),
        text_encoder=_clip(32, 16, 1),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=_clip(64, 24, 2),
        tokenizer_2=_clip_tokenizer(),
        text_encoder_3=_t5(24, 3),
        tokenizer_3=_bytes(),
        text_encoder_4=encoders.llama(16, blocks + single),
        tokenizer_4=encoders.tokenizer(),
        transformer=_matter(transformer, "to_k_t", "to_v_t", "to_k", "to_v", "final_layer"),
    )
    pipe.default_sample_size = 8
    return pipe


def krea2(heads: int = 4, blocks: int = 3) -> Any:
    """`Krea2Pipeline`, half as many heads of keys."""
    from diffusers import Krea2Pipeline, Krea2Transformer2DModel

    torch.manual_seed(0)
    transformer = Krea2Transformer2DModel(
        in_channels=16,
        num_layers=blocks,
        attention_head_dim=8,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        intermediate_size=16,
        timestep_embed_dim=8,
        text_hidden_dim=16,
        num_text_layers=2,
        text_num_attention_heads=2,
        text_num_key_value_heads=1,
        text_intermediate_size=16,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 2, 2),
    )
    pipe = Krea2Pipeline(
        scheduler=_flow(),
        vae=_vae_qwen(),
        text_encoder=encoders.qwen3_vl(16),
        tokenizer=encoders.tokenizer(),
        transformer=_matter(transformer, "to_k", "to_v", "final_layer"),
        text_encoder_select_layers=(0, 1),
    )
    pipe.prompt_template_encode_prefix = "Draw: "  # in bytes, not in Qwen's tokens
    pipe.prompt_template_encode_start_idx = 7
    return pipe


def ernie_image(heads: int = 2, blocks: int = 3) -> Any:
    """`ErnieImagePipeline` without its prompt enhancer."""
    from diffusers import ErnieImagePipeline, ErnieImageTransformer2DModel

    torch.manual_seed(0)
    transformer = ErnieImageTransformer2DModel(
        hidden_size=16 * heads,
        num_attention_heads=heads,
        num_layers=blocks,
        ffn_hidden_size=32,
        in_channels=8,
        out_channels=8,
        text_in_dim=16,
        rope_axes_dim=(8, 4, 4),
    )
    torch.manual_seed(5)
    with torch.no_grad():  # they begin at zero
        for module in (transformer.adaLN_modulation[-1], transformer.final_linear):
            module.weight.normal_(0, 0.2)
    return ErnieImagePipeline(
        scheduler=_flow(),
        vae=_vae_flux2(2),
        text_encoder=encoders.mistral3(16, 3),
        tokenizer=encoders.tokenizer(),
        transformer=_matter(transformer, "to_k", "to_v"),
    )


def ovis_image(heads: int = 3, blocks: int = 1, single: int = 2) -> Any:
    """`OvisImagePipeline`."""
    from diffusers import OvisImagePipeline, OvisImageTransformer2DModel

    torch.manual_seed(0)
    transformer = OvisImageTransformer2DModel(
        in_channels=16,
        out_channels=16,
        num_layers=blocks,
        num_single_layers=single,
        attention_head_dim=16,
        num_attention_heads=heads,
        joint_attention_dim=16,
        axes_dims_rope=(4, 6, 6),
    )
    pipe = OvisImagePipeline(
        scheduler=_flow(),
        vae=_vae(shift_factor=0.0),
        text_encoder=encoders.qwen3(16, 2),
        tokenizer=encoders.tokenizer(),
        transformer=_matter(transformer, "add_k_proj", "add_v_proj", "to_k", "to_v", "proj_out"),
    )
    pipe.system_prompt, pipe.user_prompt_begin_id = "Draw: ", 3
    pipe.tokenizer_max_length = 96
    return pipe


def longcat_image(heads: int = 3, blocks: int = 1, single: int = 2) -> Any:
    """`LongCatImagePipeline`."""
    from diffusers import AutoencoderKL, LongCatImagePipeline, LongCatImageTransformer2DModel

    torch.manual_seed(0)
    transformer = LongCatImageTransformer2DModel(
        in_channels=64,
        num_layers=blocks,
        num_single_layers=single,
        attention_head_dim=16,
        num_attention_heads=heads,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        axes_dims_rope=[4, 6, 6],
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=16,  # the pipeline takes no other number
        norm_num_groups=4,
        sample_size=16,
        mid_block_add_attention=False,
        shift_factor=0.0,
    )
    pipe = LongCatImagePipeline(
        scheduler=_flow(),
        vae=vae,
        text_encoder=encoders.qwen25_vl(16),
        tokenizer=encoders.tokenizer(),
        text_processor=None,
        transformer=_matter(transformer, "add_k_proj", "add_v_proj", "to_k", "to_v", "proj_out"),
    )
    pipe.tokenizer_max_length = 48
    return pipe


def bria(heads: int = 2, blocks: int = 1, single: int = 2) -> Any:
    """`BriaPipeline`."""
    from diffusers import BriaPipeline, BriaTransformer2DModel

    torch.manual_seed(0)
    transformer = BriaTransformer2DModel(
        in_channels=16,
        num_layers=blocks,
        num_single_layers=single,
        attention_head_dim=16,
        num_attention_heads=heads,
        joint_attention_dim=24,
        axes_dims_rope=[4, 6, 6],
    )
    return BriaPipeline(
        scheduler=_flow(),
        vae=_vae(shift_factor=0.0),
        text_encoder=_t5(24, 1),
        tokenizer=_bytes(),
        transformer=_matter(transformer, "add_k_proj", "add_v_proj", "to_k", "to_v", "proj_out"),
    )


def bria_fibo(heads: int = 2, blocks: int = 1, single: int = 2) -> Any:
    """`BriaFiboPipeline`."""
    from diffusers import AutoencoderKLWan, BriaFiboPipeline, BriaFiboTransformer2DModel

    torch.manual_seed(0)
    transformer = BriaFiboTransformer2DModel(
        in_channels=16,
        num_layers=blocks,
        num_single_layers=single,
        attention_head_dim=16,
        num_attention_heads=heads,
        joint_attention_dim=32,
        text_encoder_dim=16,
        axes_dims_rope=[4, 6, 6],
    )
    vae = AutoencoderKLWan(
        base_dim=8,
        z_dim=16,
        dim_mult=[1] * 5,
        num_res_blocks=1,
        temperal_downsample=[False, True, True, True],
        scale_factor_spatial=16,
    )
    return BriaFiboPipeline(
        scheduler=_flow(),
        vae=vae.eval(),
        text_encoder=encoders.smollm3(16, 2),
        tokenizer=encoders.tokenizer(),
        transformer=_matter(transformer, "add_k_proj", "add_v_proj", "to_k", "to_v", "proj_out"),
    )


def prx(heads: int = 3, blocks: int = 3) -> Any:
    """`PRXPipeline`."""
    from types import SimpleNamespace

    from diffusers import PRXPipeline, PRXTransformer2DModel
    from diffusers.pipelines.prx import pipeline_prx

    if not hasattr(pipeline_prx, "ftfy"):  # it mends broken characters, of which there are none
        pipeline_prx.ftfy = SimpleNamespace(fix_text=lambda text: text)

    torch.manual_seed(0)
    transformer = PRXTransformer2DModel(
        patch_size=2,
        in_channels=4,
        context_in_dim=16,
        hidden_size=8 * heads,
        mlp_ratio=2.0,
        num_heads=heads,
        depth=blocks,
        axes_dim=[4, 4],
    )
    torch.manual_seed(5)
    with torch.no_grad():  # they begin at zero
        for block in transformer.blocks:
            block.modulation.lin.weight.normal_(0, 0.2)
        transformer.final_layer.linear.weight.normal_(0, 0.2)
        transformer.final_layer.adaLN_modulation[-1].weight.normal_(0, 0.2)
    return PRXPipeline(
        scheduler=_flow(),
        vae=_vae(shift_factor=0.0),
        text_encoder=encoders.t5gemma(16),
        tokenizer=encoders.tokenizer(length=64),
        transformer=_matter(transformer, "txt_kv_proj"),
        default_sample_size=16,
    )


def nucleus(heads: int = 4, blocks: int = 3) -> Any:
    """`NucleusMoEImagePipeline`, half as many heads of keys, without experts."""
    from diffusers import NucleusMoEImagePipeline, NucleusMoEImageTransformer2DModel

    torch.manual_seed(0)
    transformer = NucleusMoEImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=blocks,
        attention_head_dim=16,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        joint_attention_dim=16,
        axes_dims_rope=(4, 6, 6),
        moe_enabled=False,
        capacity_factors=[8.0] * blocks,
    )
    pipe = NucleusMoEImagePipeline(
        scheduler=_flow(),
        vae=_vae_qwen(),
        text_encoder=encoders.qwen3_vl(16, 8, causal=True),
        processor=_processor(),
        transformer=_matter(transformer, "add_k_proj", "add_v_proj", "proj_out"),
    )
    pipe._format_prompt = lambda prompt, system_prompt=None: f"<|im_start|>{prompt}<|im_end|>"
    return pipe


def _processor() -> Any:
    """A processor of text and pictures, of which only the text part is called."""
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        tokenizer=encoders.tokenizer("left", begin=False),
        video_processor=Qwen3VLVideoProcessor(),
        chat_template=encoders.TEMPLATE,
    )


def qwen_image_21(heads: int = 3, blocks: int = 3) -> Any:
    """`QwenImage21Pipeline`."""
    from diffusers import QwenImage21Pipeline, QwenImage21Transformer2DModel

    torch.manual_seed(0)
    transformer = QwenImage21Transformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=blocks,
        attention_head_dim=16,
        num_attention_heads=heads,
        context_in_dim=16,
        axes_dims_rope=(4, 6, 6),
    )
    pipe = QwenImage21Pipeline(
        scheduler=_flow(),
        vae=_vae_qwen(4),
        text_encoder=encoders.qwen3_vl(16, 2, causal=True),
        processor=_processor(),
        transformer=_matter(
            _matter(_matter(transformer, "to_k", "to_v", "proj_out"), "to_v", "to_out"), "proj_out"
        ),
    )
    return pipe


def lumina(heads: int = 4, blocks: int = 3) -> Any:
    """`LuminaPipeline`, half as many heads of keys."""
    from diffusers import LuminaNextDiT2DModel, LuminaPipeline

    torch.manual_seed(0)
    transformer = LuminaNextDiT2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        hidden_size=8 * heads,
        num_layers=blocks,
        num_attention_heads=heads,
        num_kv_heads=heads // 2,
        multiple_of=8,
        cross_attention_dim=16,
    )
    with torch.no_grad():  # they begin at zero, or empty
        transformer.pad_token.zero_()
        for layer in transformer.layers:
            layer.gate.fill_(1.0)
    return LuminaPipeline(
        scheduler=_flow(),
        vae=_vae_deep(),
        text_encoder=encoders.gemma(16),
        tokenizer=encoders.tokenizer(),
        transformer=_matter(transformer, "attn2", "norm_out"),
    )


def hunyuan_dit(heads: int = 3, blocks: int = 4) -> Any:
    """`HunyuanDiTPipeline`."""
    from diffusers import DDIMScheduler, HunyuanDiT2DModel, HunyuanDiTPipeline

    torch.manual_seed(0)
    transformer = HunyuanDiT2DModel(
        sample_size=8,
        num_layers=blocks,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=heads,
        in_channels=4,
        cross_attention_dim=16,
        cross_attention_dim_t5=24,
        pooled_projection_dim=16,
        hidden_size=8 * heads,
        text_len=77,
        text_len_t5=256,
    )
    return HunyuanDiTPipeline(
        vae=_vae(),
        text_encoder=encoders.bert(16),
        tokenizer=encoders.tokenizer(length=77),
        transformer=_matter(transformer, "attn2", "proj_out"),
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        text_encoder_2=_t5(24, 1),
        tokenizer_2=_bytes(),
    )


def kandinsky5(blocks: int = 3) -> Any:
    """`Kandinsky5T2IPipeline`."""
    from diffusers import Kandinsky5T2IPipeline, Kandinsky5Transformer3DModel

    torch.manual_seed(0)
    transformer = Kandinsky5Transformer3DModel(
        in_visual_dim=4,
        in_text_dim=16,
        in_text_dim2=32,
        time_dim=16,
        out_visual_dim=4,
        patch_size=(1, 2, 2),
        model_dim=24,
        ff_dim=32,
        num_text_blocks=1,
        num_visual_blocks=blocks,
        axes_dims=(4, 2, 2),
    )
    torch.manual_seed(5)
    with torch.no_grad():  # they begin at zero
        for name, weight in transformer.named_parameters():
            if "modulation" in name and name.endswith("weight"):
                weight.normal_(0, 0.2)
    pipe = Kandinsky5T2IPipeline(
        vae=_vae_deep(),
        text_encoder=encoders.qwen25_vl(16),
        tokenizer=encoders.tokenizer(),
        text_encoder_2=encoders.clip(32),
        tokenizer_2=_clip_tokenizer(),
        transformer=_matter(
            _matter(transformer, "to_key", "to_value", "out_layer"), "cross_attention", "out_layer"
        ),
        scheduler=_flow(),
    )
    pipe.resolutions = [(16, 16)]
    pipe.prompt_template = "Draw: {}<|im_end|>"  # in bytes, not in Qwen's tokens
    pipe.prompt_template_encode_start_idx = 6
    return pipe


def ideogram4(heads: int = 2, blocks: int = 3) -> Any:
    """`Ideogram4Pipeline` with its second denoiser."""
    from diffusers import Ideogram4Pipeline, Ideogram4Transformer2DModel

    def transformer(seed: int) -> Any:
        torch.manual_seed(seed)
        made = Ideogram4Transformer2DModel(
            in_channels=8,
            num_layers=blocks,
            attention_head_dim=16,
            num_attention_heads=heads,
            intermediate_size=32,
            adaln_dim=16,
            llm_features_dim=16 * 13,
            mrope_section=(4, 2, 2),
        )
        return _matter(made, "to_k", "to_v", "final_layer")

    return Ideogram4Pipeline(
        scheduler=_flow(),
        vae=_vae_flux2(2),
        text_encoder=encoders.qwen3_vl(16, 36),
        tokenizer=encoders.tokenizer(),
        transformer=transformer(0),
        unconditional_transformer=transformer(1),
    )


def omnigen(heads: int = 4, blocks: int = 3) -> Any:
    """`OmniGenPipeline`."""
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        OmniGenPipeline,
        OmniGenTransformer2DModel,
    )

    torch.manual_seed(0)
    transformer = OmniGenTransformer2DModel(
        hidden_size=8 * heads,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        intermediate_size=32,
        num_layers=blocks,
        in_channels=4,
        time_step_dim=4,
        vocab_size=encoders.WORDS,
        pad_token_id=0,
        pos_embed_max_size=16,
        rope_scaling={"long_factor": [1.0] * 4, "short_factor": [1.0] * 4},
    )
    with torch.no_grad():
        transformer.embed_tokens.weight.normal_(0, 1)
    return OmniGenPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True, num_train_timesteps=1),
        vae=_vae_deep(),
        tokenizer=encoders.tokenizer(),
        transformer=_matter(transformer, "to_k", "to_v", "proj_out"),
    )


def kandinsky3() -> Any:
    """`Kandinsky3Pipeline`."""
    from diffusers import DDIMScheduler, Kandinsky3Pipeline, Kandinsky3UNet, VQModel

    torch.manual_seed(0)
    unet = Kandinsky3UNet(
        in_channels=4,
        time_embedding_dim=8,
        groups=2,
        attention_head_dim=4,
        layers_per_block=2,
        block_out_channels=(8, 16),
        cross_attention_dim=12,
        encoder_hid_dim=24,
    )
    torch.manual_seed(5)
    with torch.no_grad():  # they begin at zero
        for name, weight in unet.named_parameters():
            if "context_mlp" in name and name.endswith("weight"):
                weight.normal_(0, 0.03)
    movq = VQModel(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        latent_channels=4,
        norm_num_groups=4,
        num_vq_embeddings=12,
        vq_embed_dim=4,
    )
    return Kandinsky3Pipeline(
        tokenizer=_bytes(),
        text_encoder=_t5(24, 1),
        unet=_calm(unet),
        scheduler=DDIMScheduler(),
        movq=movq.eval(),
    )


def kolors() -> Any:
    """`KolorsPipeline` with ChatGLM3."""
    from diffusers import UNet2DConditionModel
    from diffusers.pipelines.kolors.pipeline_kolors import KolorsPipeline
    from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel

    from textloc.tiny.recipes import components

    torch.manual_seed(1)
    encoder = ChatGLMModel(
        ChatGLMConfig(
            num_layers=2,
            padded_vocab_size=encoders.WORDS,
            hidden_size=16,
            ffn_hidden_size=16,
            kv_channels=8,
            num_attention_heads=2,
            multi_query_attention=True,
            multi_query_group_num=1,
            seq_length=512,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            rmsnorm=True,
            add_qkv_bias=True,
            original_rope=True,
        )
    ).eval()
    with torch.no_grad():  # the class leaves them empty
        for name, weight in encoder.named_parameters():
            weight.normal_(0, 0.3) if weight.ndim > 1 else weight.fill_("norm" in name)
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
        cross_attention_dim=24,
        encoder_hid_dim=16,
        encoder_hid_dim_type="text_proj",
        norm_num_groups=4,
    )
    return KolorsPipeline(
        vae=_vae(),
        text_encoder=encoder,
        tokenizer=encoders.placed_tokenizer(),
        unet=_calm(unet),
        scheduler=components.scheduler(),
    )


NEWER: dict[str, tuple[Callable[..., Any], int, int | None]] = {
    "aura-flow": (aura_flow, 16, 96),
    "bria": (bria, 16, 96),
    "bria-fibo": (bria_fibo, 16, 96),
    "chroma": (chroma, 16, 96),
    "cogview3": (cogview3, 16, 96),
    "cogview4": (cogview4, 16, 96),
    "ernie-image": (ernie_image, 16, None),
    "flux2": (flux2, 16, 96),
    "flux2-klein": (flux2_klein, 16, 96),
    "flux2-klein-kv": (flux2_klein_kv, 16, 96),
    "hidream": (hidream, 16, 40),
    "hunyuan-dit": (hunyuan_dit, 16, None),
    "hunyuan-image": (hunyuan_image, 16, None),
    "ideogram4": (ideogram4, 16, 96),
    "kandinsky3": (kandinsky3, 16, None),
    "kandinsky5": (kandinsky5, 16, 96),
    "kolors": (kolors, 16, 96),
    "krea2": (krea2, 16, 96),
    "longcat-image": (longcat_image, 16, None),
    "lumina": (lumina, 16, 96),
    "lumina2": (lumina2, 16, 96),
    "nucleus": (nucleus, 16, 96),
    "omnigen": (omnigen, 32, None),
    "ovis-image": (ovis_image, 16, 96),
    "prx": (prx, 16, None),
    "qwen-image-21": (qwen_image_21, 32, None),
    "z-image": (z_image, 16, 96),
}
"""Name to what makes the pipeline, the side of its pictures and the longest text of a call."""


USUAL = ("flux2", "hunyuan-image", "ideogram4", "qwen-image-21", "z-image")
"""One of each kind: a fused projection, a second reader of the word, a second denoiser, a layout of
places, lists of unequal length. The others are tried by `pytest -m slow`, as `.ci/run` does."""


def cases(names: Iterable[str] = NEWER) -> list[Any]:
    """The names as parameters of a test."""
    return [
        name if name in USUAL else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(names)
    ]


SAVED = {"flux2": 1100, "flux2-klein": 160, "qwen-image-21": None, "z-image": 160}
"""Longest texts in bytes: room for the pipelines' own templates."""


def save(name: str, folder: Path) -> None:
    """Save one of `SAVED`, with its usual call."""
    make, side, _ = NEWER[name]
    make().save_pretrained(folder)
    usual = {"num_inference_steps": 2, "guidance_scale": 2.0, "height": side, "width": side}
    usual["max_sequence_length"] = SAVED[name]
    (folder / "call_defaults.json").write_text(json.dumps(usual), encoding="utf-8")


def model(name: str) -> Model:
    """The random pipeline of that name as a loaded checkpoint."""
    make, side, length = NEWER[name]
    pipe = make()
    pipe.set_progress_bar_config(disable=True)
    family = families.of_pipeline(pipe)
    return Model(
        name="random",
        revision=None,
        digest="sha256:" + "0" * 64,
        pipe=pipe,
        family=family,
        layers=families.text_layers(getattr(pipe, family.DENOISER)),
        defaults=Sampling(steps=3, guidance=2.0, height=side, width=side, text_length=length),
        switched_off=family.prepare(pipe),
    )
