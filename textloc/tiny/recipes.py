"""What the tiny checkpoints are made of: one function a family builds untrained components."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from textloc.tiny import codec, scenes

MAX_TOKENS = 64
"""Prompt length in tokens, start and end included; a token is one character."""

CALL_DEFAULTS = {
    "num_inference_steps": 20,
    "guidance_scale": 3.0,
    "height": scenes.SIZE,
    "width": scenes.SIZE,
}


def tokenizer() -> Any:
    """A CLIP tokenizer without merges: every character is a token, so words are spelled out."""
    from transformers import CLIPTokenizer

    # the printable characters that byte-level BPE uses for the 256 bytes (GPT-2's table)
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [chr(256 + i) for i in range(256 - len(printable))]
    alphabet = [chr(b) for b in printable] + others
    vocabulary = {c: i for i, c in enumerate(alphabet)}
    vocabulary.update({c + "</w>": 256 + i for i, c in enumerate(alphabet)})
    vocabulary["<|startoftext|>"] = 512
    vocabulary["<|endoftext|>"] = 513
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        (path / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
        config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": MAX_TOKENS}
        (path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        return CLIPTokenizer.from_pretrained(folder)


def text_encoder(width: int, layers: int, projection: int | None, seed: int) -> Any:
    """A CLIP text encoder with sinusoidal starting positions; with `projection`, a pooled output.

    Sinusoids let attention find "so many letters after the quotation mark" from the first step.
    """
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=514,
        hidden_size=width,
        intermediate_size=width * 3,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        max_position_embeddings=MAX_TOKENS,
        hidden_act="gelu",
        projection_dim=projection or width,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )
    model = (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)
    position = torch.arange(MAX_TOKENS)[:, None]
    rate = torch.exp(-torch.arange(0, width, 2) / width * torch.log(torch.tensor(1000.0)))
    waves = torch.stack([(position * rate).sin(), (position * rate).cos()], -1).flatten(1)
    text = model.text_model if hasattr(model, "text_model") else model
    with torch.no_grad():
        text.embeddings.token_embedding.weight.normal_(0, 0.3)
        text.embeddings.position_embedding.weight.copy_(0.3 * waves)
    return model


def sharpen(denoiser: Any, factor: float = 2.5) -> None:
    """Scale the starting queries and keys of the cross-attention.

    Left as they are, attention starts out even over all tokens and a letter is one part in
    `MAX_TOKENS` of what a head sees; sharper heads see few tokens each, and some see the letters.
    """
    with torch.no_grad():
        for module in denoiser.modules():
            if getattr(module, "is_cross_attention", False):
                module.to_q.weight.mul_(factor)
                module.to_k.weight.mul_(factor)


def autoencoder(seed: int) -> Any:
    """The `AutoencoderKL` that speaks `codec.Codec`: 64x64 pictures to 48 x 8 x 8."""
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 128),
        layers_per_block=1,
        latent_channels=codec.CHANNELS,
        norm_num_groups=8,
        sample_size=scenes.SIZE,
        scaling_factor=1.0,
        force_upcast=False,
        mid_block_add_attention=False,
    )


def scheduler() -> Any:
    """DDIM, x0-prediction, cosine schedule rescaled to end in pure noise.

    Most components of the code vary far less than the noise (`codec.Codec` scales all by one
    number), so predicting v would mean copying the noise of each through the network.
    """
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=0,
    )


def unet(pooled: int | None, context: int, seed: int) -> Any:
    """The U-Net of 11 text layers at 8x8 and 4x4; `pooled` is the width of a pooled text state."""
    from diffusers import UNet2DConditionModel

    added: dict[str, Any] = {}
    if pooled is not None:
        added = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + pooled,
        }
    torch.manual_seed(seed)
    made = UNet2DConditionModel(
        sample_size=scenes.SIZE // codec.PATCH,
        in_channels=codec.CHANNELS,
        out_channels=codec.CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(96, 160),
        layers_per_block=1,
        transformer_layers_per_block=(1, 2),
        attention_head_dim=(3, 5),  # diffusers reads these as the number of heads
        cross_attention_dim=context,
        norm_num_groups=16,
        use_linear_projection=True,
        **added,
    )
    sharpen(made)
    return made


class Recipe(Protocol):
    """One family: what it is made of, and how its pipeline reads a prompt and denoises."""

    name: str
    empty: bool
    """Whether an unset negative prompt is read as an empty one, or else gives zero states."""

    def components(self, seed: int) -> dict[str, Any]:
        """Untrained parts of the pipeline without the autoencoder."""

    def pipeline(self, parts: dict[str, Any], vae: Any) -> Any:
        """The pipeline of trained parts."""

    def text(self, parts: Any, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Text states (N, L, D) and, where there is one, the pooled state (N, P), as the pipeline
        makes them; `parts` has the parts as attributes."""

    def denoise(
        self, parts: Any, noisy: Tensor, step: Tensor, states: Tensor, pooled: Tensor | None
    ) -> Tensor:
        """The clean code (N, C, h, w)."""


class SDXL:
    """`StableDiffusionXLPipeline`: two CLIP encoders, one of them with a pooled state."""

    name = "tiny-sdxl"
    empty = False
    pooled = 32

    def components(self, seed: int) -> dict[str, Any]:
        """Text encoders, tokenizers, U-Net and scheduler."""
        return {
            "text_encoder": text_encoder(96, 3, None, seed + 1),
            "text_encoder_2": text_encoder(128, 3, self.pooled, seed + 2),
            "tokenizer": tokenizer(),
            "tokenizer_2": tokenizer(),
            "unet": unet(self.pooled, 96 + 128, seed),
            "scheduler": scheduler(),
        }

    def pipeline(self, parts: dict[str, Any], vae: Any) -> Any:
        """The pipeline without a watermark."""
        from diffusers import StableDiffusionXLPipeline

        return StableDiffusionXLPipeline(**parts, vae=vae, add_watermarker=False)

    def text(self, parts: Any, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """The last states but one of both encoders, side by side."""
        first = parts.text_encoder(tokens, output_hidden_states=True)
        second = parts.text_encoder_2(tokens, output_hidden_states=True)
        states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
        return states, second.text_embeds

    def denoise(
        self, parts: Any, noisy: Tensor, step: Tensor, states: Tensor, pooled: Tensor | None
    ) -> Tensor:
        """The U-Net's output, told the size of the picture."""
        side = scenes.SIZE
        sizes = torch.tensor([side, side, 0, 0, side, side], device=noisy.device).float()
        added = {"text_embeds": pooled, "time_ids": sizes.expand(len(noisy), -1)}
        out: Tensor = parts.unet(noisy, step, states, added_cond_kwargs=added, return_dict=False)[0]
        return out


class LDM:
    """`StableDiffusionPipeline`: one CLIP encoder."""

    name = "tiny-ldm"
    empty = True

    def components(self, seed: int) -> dict[str, Any]:
        """Text encoder, tokenizer, U-Net and scheduler."""
        return {
            "text_encoder": text_encoder(160, 3, None, seed + 1),
            "tokenizer": tokenizer(),
            "unet": unet(None, 160, seed),
            "scheduler": scheduler(),
        }

    def pipeline(self, parts: dict[str, Any], vae: Any) -> Any:
        """The pipeline without a safety checker."""
        from diffusers import StableDiffusionPipeline

        return StableDiffusionPipeline(
            **parts,
            vae=vae,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    def text(self, parts: Any, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """The last states of the encoder."""
        return parts.text_encoder(tokens)[0], None

    def denoise(
        self, parts: Any, noisy: Tensor, step: Tensor, states: Tensor, pooled: Tensor | None
    ) -> Tensor:
        """The U-Net's output."""
        out: Tensor = parts.unet(noisy, step, states, return_dict=False)[0]
        return out


RECIPES: dict[str, Recipe] = {"sdxl": SDXL(), "ldm": LDM()}
