"""DeepFloyd IF: a T5 text encoder, a U-Net on pixels, and a second stage that enlarges.

Reads `diffusers.UNet2DConditionModel` whose attention has `add_k_proj` and `add_v_proj`: they
project the text states, while `to_k` and `to_v` project the picture. Keys are [text, image]; the
hooks sit on the text projections alone. The text states come from the prompt alone, so the layers
are static. The text enters a second time, averaged by `add_embedding` into the time embedding: a
channel.

The pipeline takes no ready-made noise, so rows of one seed get equal generators. Prompts are
lower-cased by the pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from PIL import Image

from textloc.checkpoints.families import common
from textloc.checkpoints.families.common import text_layer
from textloc.checkpoints.families.unet import UNet
from textloc.layers import TextLayer
from textloc.runs import Run, Sampling


class DeepFloydIF(UNet):
    """DeepFloyd IF."""

    def fits(self, denoiser: Any) -> bool:
        """Whether there is attention with added projections."""
        return not super().fits(denoiser)

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention layers with added text projections.

        Raises:
            LayerError: the projections are fused.
        """
        from diffusers.models.attention_processor import Attention

        return [
            text_layer(name, module, "add_k_proj", "add_v_proj", static=True)
            for name, module in denoiser.named_modules()
            if isinstance(module, Attention) and module.add_k_proj is not None
        ]

    LOWERED = True
    LENGTH = 77  # the pipeline's own
    EXTRA = MappingProxyType({"clean_caption": False})

    def prepare(self, pipe: Any) -> dict[str, str | None]:
        """Switch the safety checker off, which would blur pictures, and the watermark."""
        found: dict[str, str | None] = {"safety_checker": None, "watermark": None}
        if getattr(pipe, "safety_checker", None) is not None:
            pipe.safety_checker = None
            pipe.register_to_config(requires_safety_checker=False)
            found["safety_checker"] = "off"
        if getattr(pipe, "watermarker", None) is not None:
            pipe.watermarker = None
            found["watermark"] = "off"
        return found

    def negative(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """None where all leave it unset."""
        return common.negative_prompts(runs)

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer at the pipeline's length."""
        return [(pipe.tokenizer, self.LENGTH)]

    def enlarge(
        self,
        pipe: Any,
        runs: Sequence[Run],
        images: Sequence[Image.Image],
        generators: Sequence[Any],
        call: Mapping[str, Any],
    ) -> list[Image.Image]:
        """The pictures through stage II with the rows' own prompts, which are the *source* prompts
        of patched rows (paper section 4) unless they name another, and stage II's own steps and
        guidance, or those of `call`."""
        runs = [replace(run, prompt=run.enlarged_by or run.prompt, prompt_2=None) for run in runs]
        found = pipe(
            image=list(images),
            **common.prompts(runs, 1),
            **common.negative_prompts(runs),
            generator=list(generators),
            clean_caption=False,
            output_type="pil",
            **call,
        )
        return list(found.images)

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """The pixels themselves, (N, 3, H, W) in [-1, 1]."""
        return common.pixels(pipe, pictures)
