"""tiny-sd3: `StableDiffusion3Pipeline`, two CLIP encoders, a T5 encoder and a joint transformer.

As in the real one, the CLIP tokenizers merge letters, and T5 spells. The words of the scenes are
one token each, so that the text is short beside the 64 tokens of the picture.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textloc.scenes import rendering
from textloc.tiny import codec
from textloc.tiny.recipes import components as make
from textloc.tiny.recipes.base import CALL, OUTSIDE, between, padded

_CALL = CALL | {"max_sequence_length": make.WORDED}


class SD3:
    """The recipe: flow matching, the transformer predicts the velocity noise - code."""

    name = "tiny-sd3"
    pipeline_class = "StableDiffusion3Pipeline"
    call = _CALL
    latent = True
    empty = True
    states = 128
    pooled_module: str | None = None
    _blocks = 12
    features = (f"transformer.transformer_blocks.{_blocks - 1}", 128)
    _clip, _pooled = 64, 32

    def components(self, seed: int) -> dict[str, Any]:
        """Text encoders, tokenizers, transformer and scheduler."""
        from diffusers import FlowMatchEulerDiscreteScheduler

        words, pieces = make.word_tokenizer(), make.unigram_tokenizer()
        clip = (self._clip, 2, self._pooled)
        return {
            "text_encoder": make.text_encoder(*clip, seed + 1, words),
            "text_encoder_2": make.text_encoder(*clip, seed + 2, words),
            "text_encoder_3": make.t5_encoder(self.states, 3, len(pieces), seed + 3),
            "tokenizer": words,
            "tokenizer_2": words,
            "tokenizer_3": pieces,
            "transformer": self._transformer(seed),
            "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        }

    def _transformer(self, seed: int) -> Any:
        from diffusers import SD3Transformer2DModel

        torch.manual_seed(seed)
        width, side = self.features[1], rendering.SIZE // codec.PATCH
        made = SD3Transformer2DModel(
            sample_size=side,
            patch_size=1,
            in_channels=codec.CHANNELS,
            out_channels=codec.CHANNELS,
            num_layers=self._blocks,
            attention_head_dim=32,
            num_attention_heads=width // 32,
            joint_attention_dim=self.states,
            caption_projection_dim=width,
            pooled_projection_dim=2 * self._pooled,
            pos_embed_max_size=side,
            qk_norm="rms_norm",
        )
        make.sharpen_norms(made)
        return made

    def pipeline(self, parts: dict[str, Any], vae: Any) -> Any:
        """The pipeline; its autoencoder names the shift that the pipeline adds."""
        from diffusers import StableDiffusion3Pipeline

        vae.register_to_config(shift_factor=0.0)
        return StableDiffusion3Pipeline(**parts, vae=vae)

    def tokenize(self, parts: dict[str, Any], prompts: list[str]) -> Tensor:
        """CLIP's tokens, which both encoders read, then T5's."""
        read = [padded(parts[name], prompts) for name in ("tokenizer", "tokenizer_3")]
        return torch.cat(read, 1)

    def places(self, parts: dict[str, Any], tokens: Tensor) -> Tensor:
        """Of T5's tokens."""
        length = parts["tokenizer"].model_max_length
        clip, pieces = tokens[:, :length], tokens[:, length:]
        mark = parts["tokenizer_3"].convert_tokens_to_ids('"')
        return torch.cat([torch.full_like(clip, OUTSIDE), between(pieces, mark)], 1)

    def text(self, parts: Any, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """The last states but one of both CLIP encoders side by side, padded with zeros to the
        width of T5's, which follow them; the pooled states side by side."""
        length = parts.text_encoder.config.max_position_embeddings
        clip, pieces = tokens[:, :length], tokens[:, length:]
        first = parts.text_encoder(clip, output_hidden_states=True)
        second = parts.text_encoder_2(clip, output_hidden_states=True)
        seen = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
        seen = torch.nn.functional.pad(seen, (0, self.states - seen.shape[-1]))
        read = parts.text_encoder_3(pieces)[0]
        pooled = torch.cat([first.text_embeds, second.text_embeds], -1)
        return torch.cat([seen, read], 1), pooled

    def level(self, parts: dict[str, Any], t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Code and noise mix in proportion; the time is 1000 at pure noise."""
        return 1 - t, t, t * 1000

    def denoise(
        self, parts: Any, noisy: Tensor, time: Tensor, states: Tensor, pooled: Tensor | None
    ) -> Tensor:
        """The velocity."""
        out: Tensor = parts.transformer(noisy, states, pooled, time, return_dict=False)[0]
        return out

    def clean(self, output: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Along the velocity back to noise level 0."""
        return noisy - sigma * output

    def picture_features(self, output: Any) -> Tensor:
        """The last block's picture tokens as a map."""
        _, tokens = output
        side = rendering.SIZE // codec.PATCH
        features: Tensor = tokens.transpose(1, 2).unflatten(2, (side, side))
        return features
