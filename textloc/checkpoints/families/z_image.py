"""Z-Image: Qwen3 as text encoder, one stream.

Reads `diffusers.ZImageTransformer2DModel`. Pictures and texts come as lists, one item a row. Tokens
are [image, text, padding]: a text is filled up to a multiple of 32 with a learned token, rows are
filled up to the longest and masked, and `freqs_cis` tells where tokens stand. The refiners before
the stream see either the text or the picture: they are no text layers.

The picture's places count from the end of the text, in steps of 32 tokens. They are no keys or
values: a channel, `place`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import zeros
from textloc.layers import TextChannel, TextLayer
from textloc.runs import Run, Sampling


class ZImage(Family):
    """Z-Image."""

    RAGGED = BESIDE = True
    TEXT, TIME = "cap_feats", "t"
    LISTS = ("x", "cap_feats")
    encode = staticmethod(common.encode_shifted)

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of every block of the stream.

        Raises:
            LayerError: the projections are fused.
        """
        return common.single(
            denoiser,
            "layers.*.attention",
            "last",
            mask="attention_mask",
            mask_place="last",
            rotary="freqs_cis",
        )

    def tokens(self, denoiser: Any, arguments: dict[str, Any]) -> int:
        """Tokens of the longest text, filled up as the transformer does."""
        from diffusers.models.transformers.transformer_z_image import SEQ_MULTI_OF

        longest = max(len(text) for text in arguments["cap_feats"])
        return int(-(-longest // SEQ_MULTI_OF) * SEQ_MULTI_OF)

    def channels(self, denoiser: Any) -> list[TextChannel]:
        """Where the picture stands, in the stream and in its own refiner."""
        return [TextChannel("place", "layers.*.attention|noise_refiner.*.attention", "freqs_cis")]

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one patch, one text token."""
        config = denoiser.config
        side, deep = config.all_patch_size[0], config.all_f_patch_size[0]
        return {
            "x": [zeros(denoiser, config.in_channels, deep, side, side)],
            "t": zeros(denoiser, 1),
            "cap_feats": [zeros(denoiser, 1, config.cap_feat_dim)],
            "patch_size": side,
            "f_patch_size": deep,
            "return_dict": False,
        }

    def texts(self, pipe: Any, sampling: Sampling) -> list[common.Text]:
        """Those of the tokenizer, within its template."""
        reader = common.templated(pipe.tokenizer, enable_thinking=True)
        return [common.Text("tokenizer", reader.tokenizer, 0, reader.before, reader.after)]

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer within its template."""
        reader = common.templated(pipe.tokenizer, enable_thinking=True)
        return [(reader, sampling.text_length or self.LENGTH)]

    def negative(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """Empty ones where none is set; the pipeline guides from above 0 on."""
        return {"negative_prompt": [run.negative_prompt or "" for run in runs]}

    NOISY, UNGUIDED = "x", 0.0

    def kept(self, given: Mapping[str, Any], count: int) -> dict[str, Any]:
        """The texts filled up to the longest, and how long they are."""
        import torch

        texts = given[self.TEXT]
        lengths = torch.tensor([len(text) for text in texts])
        padded = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
        return {self.TEXT: padded, "lengths": lengths}

    def asked(self, denoiser: Any, latents: Any, time: Any, rows: Mapping[str, Any]) -> Any:
        """Pictures of one frame and texts as lists; time runs from 0, noise, to 1."""
        texts = zip(rows[self.TEXT], rows["lengths"].tolist(), strict=True)
        return {
            "x": list(latents[:, :, None]),
            "t": (1000 - time) / 1000,
            "cap_feats": [text[:length] for text, length in texts],
        }

    def answered(self, output: Any) -> Any:
        """The denoiser gives the velocity towards the picture."""
        import torch

        return -torch.stack(list(output)).squeeze(2)
