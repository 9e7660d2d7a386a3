"""tiny-if: `IFPipeline`, a T5-style encoder over bytes and a U-Net on pixels.

Text enters twice, as in the real one: by added keys and values, and averaged into the time
embedding (`add_embedding`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textloc.scenes import rendering
from textloc.tiny.recipes import components as make
from textloc.tiny.recipes.base import CALL, SamplePrediction, between

_LENGTH = 77  # the pipeline's own
_QUOTE = 3 + ord('"')  # ByT5: three special tokens, then the bytes
_CALL = CALL | {
    "num_inference_steps": 15,
    "clean_caption": False,
    "height": rendering.SIZE,
    "width": rendering.SIZE,
}


class DeepFloydIF(SamplePrediction):
    """The recipe: the U-Net predicts the clean picture; of its six channels, as many as in the real
    one, the last three (a variance) stay zero."""

    name = "tiny-if"
    pipeline_class = "IFPipeline"
    call = _CALL
    latent = False
    empty = True
    states = 128
    features = ("unet.mid_block", 128)
    pooled_module: str | None = "unet.add_embedding"

    def components(self, seed: int) -> dict[str, Any]:
        """Text encoder, tokenizer, U-Net and scheduler."""
        from transformers import ByT5Tokenizer

        return {
            "text_encoder": make.t5_encoder(self.states, 3, 384, seed + 1),
            "tokenizer": ByT5Tokenizer(model_max_length=_LENGTH),
            "unet": self._unet(seed),
            "scheduler": make.pixel_scheduler(),
        }

    def _unet(self, seed: int) -> Any:
        from diffusers import UNet2DConditionModel

        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=rendering.SIZE,
            in_channels=3,
            out_channels=6,
            layers_per_block=1,
            block_out_channels=(16, 32, 64, self.features[1]),
            down_block_types=(
                *("ResnetDownsampleBlock2D",) * 2,
                *("SimpleCrossAttnDownBlock2D",) * 2,
            ),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            up_block_types=(*("SimpleCrossAttnUpBlock2D",) * 2, *("ResnetUpsampleBlock2D",) * 2),
            norm_num_groups=8,
            attention_head_dim=16,
            cross_attention_dim=self.states,
            encoder_hid_dim=self.states,
            encoder_hid_dim_type="text_proj",
            addition_embed_type="text",
            addition_embed_type_num_heads=4,
            resnet_time_scale_shift="scale_shift",
            act_fn="gelu",
        )
        with torch.no_grad():
            for name, weight in unet.named_parameters():
                if name.endswith("add_k_proj.weight"):
                    weight.mul_(5)  # sharp from the start, as `parts.sharpen` makes them
        make.without_variance(unet)
        return unet

    def pipeline(self, parts: dict[str, Any], vae: Any) -> Any:
        """The pipeline without safety checker and watermark; it has no autoencoder."""
        from diffusers import IFPipeline

        return IFPipeline(**parts, **make.UNCHECKED)

    def tokenize(self, parts: dict[str, Any], prompts: list[str]) -> Tensor:
        """One token a byte of the lower-cased prompt."""
        encoded = parts["tokenizer"](
            [prompt.lower().strip() for prompt in prompts],
            padding="max_length",
            max_length=_LENGTH,
            truncation=True,
            return_tensors="pt",
        )
        ids: Tensor = encoded.input_ids
        return ids

    def places(self, parts: dict[str, Any], tokens: Tensor) -> Tensor:
        """Of all tokens."""
        return between(tokens, _QUOTE)

    def text(self, parts: Any, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """The states of the encoder, which does not look at padding."""
        return parts.text_encoder(tokens, attention_mask=(tokens != 0).long())[0], None

    def denoise(
        self, parts: Any, noisy: Tensor, time: Tensor, states: Tensor, pooled: Tensor | None
    ) -> Tensor:
        """The U-Net's output without the variance."""
        out: Tensor = parts.unet(noisy, time, states, return_dict=False)[0]
        return out[:, :3]
