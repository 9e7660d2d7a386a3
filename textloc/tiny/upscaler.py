"""Training of the second stage of tiny-if: `IFSuperResolutionPipeline` from 64 to 256 pixels.

As in DeepFloyd IF it sees the small picture, enlarged and with noise of its own, beside its noisy
picture, and reads the prompt by the first stage's text encoder. It predicts the clean picture,
which the small one nearly determines: a few steps are enough.

In every other picture of a batch the small one is what the first stage predicts, so that it learns
to draw cleanly what comes out a little wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from textloc.errors import CheckpointError
from textloc.scenes import rendering
from textloc.tiny import regression
from textloc.tiny.autoencoder import HIGHEST
from textloc.tiny.teacher import Teacher

MOST_NOISE = 200
"""Noise of the small picture in training: up to this step of a thousand."""

CALL = {"num_inference_steps": 2, "guidance_scale": 1.0, "noise_level": 20}
"""The usual call (`call_defaults.json`)."""


def unet(seed: int, states: int) -> Any:
    """The U-Net of the second stage; states: width of the text states."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    made = UNet2DConditionModel(
        sample_size=rendering.LARGE,
        in_channels=6,
        out_channels=6,
        layers_per_block=1,
        block_out_channels=(8, 16, 32, 64, 64),
        down_block_types=(*("ResnetDownsampleBlock2D",) * 4, "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", *("ResnetUpsampleBlock2D",) * 4),
        # groups of few channels would lose the colour (LOG.md, "A decoder of 256 pixels")
        norm_num_groups=1,
        attention_head_dim=16,
        cross_attention_dim=states,
        encoder_hid_dim=states,
        encoder_hid_dim_type="text_proj",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        class_embed_type="timestep",
        resnet_time_scale_shift="scale_shift",
        act_fn="silu",
    )
    with torch.no_grad():  # the last three channels, a variance, stay zero
        made.conv_out.weight[3:] = 0
        made.conv_out.bias[3:] = 0
    return made


def schedulers() -> tuple[Any, Any]:
    """That of the picture, of which the clean one is predicted, and that of the small picture."""
    from diffusers import DDPMScheduler

    own = DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        variance_type="fixed_small",
        clip_sample=True,
    )
    return own, DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")


class Trainer(regression.Trainer):
    """A run whose finished model is `unet/`.

    Args:
        first: folder of the first stage.

    Raises:
        CheckpointError: it has an autoencoder, so no second stage.
    """

    NAME = "unet"

    def __init__(self, out: Path, first: Path, seed: int = 0, device: str = "cpu") -> None:
        self.teacher = Teacher(first, torch.device(device))
        if self.teacher.recipe.latent:
            raise CheckpointError(f"{first.name} has no second stage; give a folder of tiny-if")
        super().__init__(out, unet(seed, self.teacher.recipe.states), seed, device)
        own, small = schedulers()
        self._alphas = own.alphas_cumprod.to(self.device)
        self._small_alphas = small.alphas_cumprod.to(self.device)

    def learn(self, batch: regression.Batch) -> tuple[Tensor, dict[str, float]]:
        """One step at any noise level."""
        small, large = batch["small"].to(self.device), batch["large"].to(self.device)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)

        def noise(like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=generator).to(self.device)

        tokens = self.teacher.tokenize(batch["prompts"]).to(self.device)
        states, _ = self.teacher.states(tokens)
        t = HIGHEST * torch.rand(len(small[::2]), generator=generator).to(self.device)
        seen = small.clone()
        seen[::2] = self.teacher.predict(small[::2], noise(small[::2]), t, tokens[::2])
        seen = ((seen.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1  # as a picture
        seen = functional.interpolate(seen, large.shape[2:], mode="bilinear", align_corners=True)
        level = torch.randint(MOST_NOISE, (len(small),), generator=generator).to(self.device)
        seen = _noised(seen, noise(seen), self._small_alphas[level])
        time = torch.randint(len(self._alphas), (len(small),), generator=generator).to(self.device)
        noisy = _noised(large, noise(large), self._alphas[time])
        clean = self.model(
            torch.cat([noisy, seen], 1), time, states, class_labels=level, return_dict=False
        )[0][:, :3]
        loss, error = self.drawn(clean, batch)
        return loss, {"l1": error}


def _noised(clean: Tensor, noise: Tensor, alphas: Tensor) -> Tensor:
    kept = alphas[:, None, None, None]
    return kept.sqrt() * clean + (1 - kept).sqrt() * noise


def export(run: Path, first: Path, out: Path, card: str) -> None:
    """Write `out` as a diffusers folder in fp16.

    Args:
        run: folder of `Trainer`. first: folder of the first stage, whose text encoder it shares.
        card: text of the model card.

    Raises:
        CheckpointError: the run has not saved a model.
    """
    from diffusers import IFSuperResolutionPipeline, UNet2DConditionModel

    if not (run / "unet").is_dir():
        raise CheckpointError(f"{run} holds no unet; train first")
    parts = vars(Teacher(first, torch.device("cpu")).parts)
    own, small = schedulers()
    pipe = IFSuperResolutionPipeline(
        tokenizer=parts["tokenizer"],
        text_encoder=parts["text_encoder"],
        unet=UNet2DConditionModel.from_pretrained(run / "unet"),
        scheduler=own,
        image_noising_scheduler=small,
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16).save_pretrained(out, max_shard_size="9MB", safe_serialization=True)
    (out / "call_defaults.json").write_text(json.dumps(CALL, indent=2) + "\n", encoding="utf-8")
    (out / "README.md").write_text(card, encoding="utf-8")
