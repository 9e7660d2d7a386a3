"""Qwen-Image-Edit: Qwen-Image, whose text encoder is shown the picture to change, and whose
transformer reads its latents after those of the new one.

Reads `diffusers.QwenImageTransformer2DModel`. Tokens are [text, image, given image]; the picture's
own tokens of the text encoder stand before the prompt's, among the text. The pipeline looks at a
picture of a million pixels, whatever the size of the one that it makes. No prompt is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from textloc.checkpoints.families import common
from textloc.checkpoints.families.qwen_image import QwenImage
from textloc.errors import PromptError
from textloc.runs import Run, Sampling


class QwenImageEdit(QwenImage):
    """Qwen-Image-Edit."""

    def arguments(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """Prompts and the picture, one a row.

        Raises:
            PromptError: there is no picture.
        """
        if sampling.reference is None:
            raise PromptError(f"{type(pipe).__name__} changes a picture: give one (--image)")
        return super().arguments(pipe, runs, sampling)

    def referred(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """The picture to change, one a row."""
        return {"image": [self._looked_at(pipe, sampling)] * len(runs)}

    @staticmethod
    def _looked_at(pipe: Any, sampling: Sampling) -> Any:
        """The picture in the size that the pipeline makes of a single one."""
        from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit

        assert sampling.reference is not None
        picture = sampling.reference.picture
        width, height, _ = pipeline_qwenimage_edit.calculate_dimensions(
            1024 * 1024, picture.width / picture.height
        )
        return pipe.image_processor.resize(picture, height, width)

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """None: no prompt is cut off."""
        return []

    def texts(self, pipe: Any, sampling: Sampling) -> list[common.Text]:
        """What follows the pipeline's instruction and the tokens of the picture, of which the
        template holds one."""
        (text,) = super().texts(pipe, sampling)
        if sampling.reference is None:
            return [text]
        written = pipe.prompt_template_encode.format("")
        seen = pipe.processor(text=[written], images=[self._looked_at(pipe, sampling)])
        more = len(seen["input_ids"][0]) - len(pipe.tokenizer(written)["input_ids"])
        one = pipe.processor.image_token
        return [replace(text, before=text.before.replace(one, one * (1 + more)))]
