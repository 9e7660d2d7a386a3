"""LongCat-Image: Qwen2.5-VL as text encoder, to which text in quotation marks is spelt letter by
letter; two streams, then one.

Reads `diffusers.LongCatImageTransformer2DModel`, which is laid out as Ovis-Image's. Tokens are
[text, image]. The prompt is not rewritten by the language model. Guidance is a separate call.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from textloc.checkpoints.families.ovis_image import OvisImage
from textloc.runs import Sampling


class LongCatImage(OvisImage):
    """LongCat-Image."""

    BESIDE = False  # it joins the tokens of a text by hand
    EXTRA = MappingProxyType({"enable_prompt_rewrite": False})
    QUOTED = (  # an apostrophe within a word is none of its quotation marks
        "[A-Za-z]+'[A-Za-z]+|'((?:(?>[A-Za-z]+'[A-Za-z]+)|[^'])*+)'"
        '|"([^"]*)"|‘([^‘’]*)’|“([^“”]*)”',
        # one that opens and is followed by one within a word takes all that comes for quoted
        "(?s)(?<![A-Za-z])'((?=[^']*[A-Za-z]'[A-Za-z]).*)",
    )

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer at the pipeline's length."""
        return [(pipe.tokenizer, int(pipe.tokenizer_max_length))]
