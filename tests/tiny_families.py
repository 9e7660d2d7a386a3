"""Random tiny pipelines of the families beside Stable Diffusion: real classes, unusual shapes."""

from __future__ import annotations

from typing import Any

import torch

from textloc.tiny.recipes import components

TOKENS = 40
"""Longest text of the T5-style encoders, in bytes."""


def _matter(denoiser: Any, *projections: str) -> Any:
    """Untrained attention hardly depends on the text; make it matter."""
    with torch.no_grad():
        for name, weight in denoiser.named_parameters():
            if any(f".{projection}." in name for projection in projections):
                weight.mul_(3)
    return denoiser


def _clip(width: int, projection: int | None, seed: int) -> Any:
    return components.text_encoder(width, 1, projection, seed)


def _clip_tokenizer() -> Any:
    tokenizer = components.tokenizer()
    tokenizer.model_max_length = TOKENS
    return tokenizer


def _bytes() -> Any:
    from transformers import ByT5Tokenizer

    return ByT5Tokenizer(model_max_length=TOKENS)


def _t5(width: int, seed: int) -> Any:
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=384, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2, dropout_rate=0
    )
    encoder = T5EncoderModel(config)
    with torch.no_grad():
        encoder.shared.weight.normal_(0, 1)
    return encoder.eval()


def _vae(**extra: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
        force_upcast=False,
        mid_block_add_attention=False,
        **extra,
    )


def _flow() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler()


def ldm(unet: Any) -> Any:
    """`LDMTextToImagePipeline`; its autoencoder must reduce eightfold."""
    from diffusers import AutoencoderKL, LDMTextToImagePipeline
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
        LDMBertConfig,
        LDMBertModel,
    )

    config = LDMBertConfig(
        vocab_size=514,
        d_model=32,
        encoder_layers=1,
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        head_dim=16,
        max_position_embeddings=77,
        pad_token_id=513,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )
    return LDMTextToImagePipeline(
        vqvae=vae,
        bert=LDMBertModel(config).eval(),
        tokenizer=_clip_tokenizer(),
        unet=unet,
        scheduler=components.scheduler(),
    )


def deepfloyd_if(heads: int = 3, layers: int = 1) -> Any:
    """`IFPipeline`, with noise added at every step and a learned variance."""
    from diffusers import DDPMScheduler, IFPipeline, UNet2DConditionModel

    encoder = _t5(24, 1)
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=3,
        out_channels=6,
        layers_per_block=layers,
        block_out_channels=(16, 8 * heads),
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        norm_num_groups=8,
        attention_head_dim=8,
        cross_attention_dim=32,
        cross_attention_norm="group_norm",
        encoder_hid_dim=24,
        encoder_hid_dim_type="text_proj",
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        resnet_time_scale_shift="scale_shift",
        act_fn="gelu",
    )
    scheduler = DDPMScheduler(
        beta_schedule="squaredcos_cap_v2",
        thresholding=True,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=1.0,
        variance_type="learned_range",
    )
    return IFPipeline(
        tokenizer=_bytes(),
        text_encoder=encoder,
        unet=_matter(unet, "add_k_proj", "add_v_proj", "to_out"),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )


def deepfloyd_if_second() -> Any:
    """`IFSuperResolutionPipeline` from 16 to 32 px."""
    from diffusers import DDPMScheduler, IFSuperResolutionPipeline, UNet2DConditionModel

    encoder = _t5(24, 1)
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=32,
        in_channels=6,
        out_channels=6,
        layers_per_block=1,
        block_out_channels=(16, 24),
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        norm_num_groups=8,
        attention_head_dim=8,
        cross_attention_dim=32,
        cross_attention_norm="group_norm",
        encoder_hid_dim=24,
        encoder_hid_dim_type="text_proj",
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        class_embed_type="timestep",
        resnet_time_scale_shift="scale_shift",
        act_fn="gelu",
    )
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="learned_range")
    return IFSuperResolutionPipeline(
        tokenizer=_bytes(),
        text_encoder=encoder,
        unet=unet,
        scheduler=scheduler,
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )


def sd3(blocks: int = 3, heads: int = 3, **extra: Any) -> Any:
    """`StableDiffusion3Pipeline` with its three text encoders."""
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    parts = (_clip(32, 16, 1), _clip(64, 24, 2), _t5(104, 3))
    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_layers=blocks,
        attention_head_dim=8,
        num_attention_heads=heads,
        joint_attention_dim=104,
        caption_projection_dim=8 * heads,
        pooled_projection_dim=16 + 24,
        out_channels=4,
        pos_embed_max_size=16,
        **extra,
    )
    return StableDiffusion3Pipeline(
        transformer=_matter(transformer, "add_k_proj", "add_v_proj", "proj_out"),
        scheduler=_flow(),
        vae=_vae(shift_factor=0.0),
        text_encoder=parts[0],
        tokenizer=_clip_tokenizer(),
        text_encoder_2=parts[1],
        tokenizer_2=_clip_tokenizer(),
        text_encoder_3=parts[2],
        tokenizer_3=_bytes(),
    )


def sd35(blocks: int = 2, heads: int = 2) -> Any:
    """The same as SD3.5: dual attention in the first block, normalised queries and keys."""
    return sd3(blocks, heads, dual_attention_layers=(0,), qk_norm="rms_norm")


def flux(blocks: int = 2, single: int = 2, heads: int = 3, guidance: bool = True) -> Any:
    """`FluxPipeline`."""
    from diffusers import FluxPipeline, FluxTransformer2DModel

    clip, t5 = _clip(32, None, 1), _t5(24, 2)
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=blocks,
        num_single_layers=single,
        attention_head_dim=16,
        num_attention_heads=heads,
        joint_attention_dim=24,
        pooled_projection_dim=32,
        guidance_embeds=guidance,
        axes_dims_rope=(4, 6, 6),
    )
    return FluxPipeline(
        scheduler=_flow(),
        vae=_vae(shift_factor=0.0),
        text_encoder=clip,
        tokenizer=_clip_tokenizer(),
        text_encoder_2=t5,
        tokenizer_2=_bytes(),
        transformer=_matter(transformer, "add_k_proj", "add_v_proj", "to_k", "to_v", "proj_out"),
    )


def schnell() -> Any:
    """FLUX without guidance and without double blocks beyond one."""
    return flux(blocks=1, single=1, heads=1, guidance=False)


def pixart(blocks: int = 2, heads: int = 3) -> Any:
    """`PixArtSigmaPipeline`."""
    from diffusers import DDIMScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    t5 = _t5(24, 1)
    torch.manual_seed(0)
    transformer = PixArtTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=8,
        num_layers=blocks,
        attention_head_dim=8,
        num_attention_heads=heads,
        cross_attention_dim=8 * heads,
        caption_channels=24,
        use_additional_conditions=False,
    )
    return PixArtSigmaPipeline(
        tokenizer=_bytes(),
        text_encoder=t5,
        vae=_vae(),
        transformer=_matter(transformer, "attn2", "proj_out"),
        scheduler=DDIMScheduler(),
    )


def sana(blocks: int = 2, heads: int = 3) -> Any:
    """`SanaPipeline`."""
    from diffusers import AutoencoderDC, SanaPipeline, SanaTransformer2DModel
    from transformers import Gemma2Config, Gemma2Model

    torch.manual_seed(1)
    config = Gemma2Config(
        vocab_size=384,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=12,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
    )
    encoder = Gemma2Model(config).eval()
    with torch.no_grad():
        encoder.embed_tokens.weight.normal_(0, 1)
    torch.manual_seed(0)
    transformer = SanaTransformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=blocks,
        attention_head_dim=8,
        num_attention_heads=heads,
        num_cross_attention_heads=heads,
        cross_attention_head_dim=8,
        cross_attention_dim=8 * heads,
        caption_channels=24,
        mlp_ratio=1.0,
    )
    vae = AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )
    return SanaPipeline(
        tokenizer=_bytes(),
        text_encoder=encoder,
        vae=vae,
        transformer=_matter(transformer, "attn2", "proj_out"),
        scheduler=_flow(),
    )


def qwen_image(blocks: int = 2, heads: int = 3) -> Any:
    """`QwenImagePipeline`."""
    from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(1)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 384,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default"},
            "rope_theta": 1000000.0,
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
        },
        vision_token_id=380,
        image_token_id=381,
        video_token_id=382,
        vision_start_token_id=378,
        vision_end_token_id=379,
    )
    encoder = Qwen2_5_VLForConditionalGeneration(config).eval()
    with torch.no_grad():
        encoder.get_input_embeddings().weight.normal_(0, 1)
    torch.manual_seed(0)
    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=blocks,
        attention_head_dim=16,
        num_attention_heads=heads,
        joint_attention_dim=16,
        axes_dims_rope=(4, 6, 6),
    )
    vae = AutoencoderKLQwenImage(
        base_dim=24,
        z_dim=4,
        dim_mult=[1, 2, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    tokenizer = _bytes()
    tokenizer.model_max_length = 1024
    pipe = QwenImagePipeline(
        scheduler=_flow(),
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        transformer=_matter(transformer, "add_k_proj", "add_v_proj", "proj_out"),
    )
    before, _ = pipe.prompt_template_encode.split("{}")
    pipe.prompt_template_encode_start_idx = len(before)  # in bytes, not in Qwen's tokens
    return pipe
