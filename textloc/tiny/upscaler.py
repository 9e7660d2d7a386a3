"""Training of the second stage of tiny-if: `IFSuperResolutionPipeline` from 64 to 256 pixels.

As in DeepFloyd IF it sees the small picture, enlarged and with noise of its own, beside its noisy
picture, and reads the prompt by the first stage's text encoder. It predicts the clean picture,
which the small one nearly determines: a few steps are enough.

In every other picture of a batch the small one is what the first stage predicts, so that it learns
to draw cleanly what comes out a little wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from textloc.errors import CheckpointError
from textloc.scenes import rendering
from textloc.tiny import regression
from textloc.tiny.autoencoder import Predicted
from textloc.tiny.export import write
from textloc.tiny.recipes import components as make
from textloc.tiny.teacher import Texts

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
    make.without_variance(made)
    return made


def schedulers() -> tuple[Any, Any]:
    """That of the picture, of which the clean one is predicted, and that of the small picture."""
    from diffusers import DDPMScheduler

    return make.pixel_scheduler(), DDPMScheduler(
        num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2"
    )


class Trainer(regression.Trainer):
    """A run whose finished model is `unet/`.

    Args:
        first: folder of the first stage.

    Raises:
        CheckpointError: it has an autoencoder, so no second stage.
    """

    NAME = "unet"

    def __init__(self, out: Path, first: Path, seed: int = 0, device: str = "cpu") -> None:
        self.predicted = Predicted([first], torch.device(device))
        (self.first,) = self.predicted.teachers
        if self.first.recipe.latent:
            raise CheckpointError(f"{first.name} has no second stage; give a folder of tiny-if")
        super().__init__(out, unet(seed, self.first.recipe.states), seed, device)
        self.scheduler, self.small_scheduler = schedulers()

    def learn(self, batch: regression.Batch) -> tuple[Tensor, dict[str, float]]:
        """One step at any noise level."""
        small, large = batch["small"].to(self.device), batch["large"].to(self.device)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)

        def noised(clean: Tensor, scheduler: Any, most: int) -> tuple[Tensor, Tensor]:
            """With noise of steps below `most`, and these."""
            steps = torch.randint(most, (len(clean),), generator=generator).to(self.device)
            noise = torch.randn(clean.shape, generator=generator).to(self.device)
            return scheduler.add_noise(clean, noise, steps), steps

        states, _ = self.first.states(self.first.tokenize(batch["prompts"]).to(self.device))
        seen = small.clone()
        seen[::2] = self.predicted(small[::2], batch["prompts"][::2], self.step)
        seen = ((seen.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1  # as a picture
        seen = functional.interpolate(seen, large.shape[2:], mode="bilinear", align_corners=True)
        seen, level = noised(seen, self.small_scheduler, MOST_NOISE)
        noisy, time = noised(large, self.scheduler, self.scheduler.config.num_train_timesteps)
        clean = self.model(
            torch.cat([noisy, seen], 1), time, states, class_labels=level, return_dict=False
        )[0][:, :3]
        loss, error = self.drawn(clean, batch)
        return loss, {"l1": error}


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
    texts = vars(Texts(first).parts)
    own, small = schedulers()
    pipe = IFSuperResolutionPipeline(
        **texts,
        unet=UNet2DConditionModel.from_pretrained(run / "unet"),
        scheduler=own,
        image_noising_scheduler=small,
        **make.UNCHECKED,
    )
    write(pipe, out, CALL, card)
