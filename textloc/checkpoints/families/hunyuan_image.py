"""HunyuanImage 2.1: Qwen2.5-VL for the prompt, a byte T5 for the words in quotation marks; two
streams, then one.

Reads `diffusers.HunyuanImageTransformer2DModel`. Tokens are [image, text], the text's being those
of the T5, then those of the prompt, then both paddings, which are masked. The token refiner before
the blocks sees the text alone: it is no text layer.

Guidance is the guiders', by separate calls; the distilled checkpoint is told a number. The T5 reads
what stands between the quotation marks that the pipeline knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import zeros
from textloc.layers import TextLayer
from textloc.runs import Run, Sampling


class HunyuanImage(Family):
    """HunyuanImage 2.1."""

    GUIDANCE = "distilled_guidance_scale"
    QUOTED = ("'(.*?)'", '"(.*?)"', "‘(.*?)’", "“(.*?)”")

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of the double and single blocks.

        Raises:
            LayerError: the projections are fused.
        """
        masked = {"mask": "attention_mask", "mask_place": "last"}
        return [
            *common.joint(denoiser, "transformer_blocks.*.attn", **masked),
            *common.single(denoiser, "single_transformer_blocks.*.attn", "last", **masked),
        ]

    def tokens(self, denoiser: Any, arguments: dict[str, Any]) -> int:
        """Tokens of both text encoders."""
        both = (arguments["encoder_hidden_states"], arguments.get("encoder_hidden_states_2"))
        return sum(int(states.shape[1]) for states in both if states is not None)

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one patch, one token of each text encoder."""
        import torch

        config = denoiser.config
        mask = torch.ones(1, 1, device=common.device(denoiser), dtype=torch.bool)
        found = {
            "hidden_states": zeros(denoiser, 1, config.in_channels, *config.patch_size),
            "timestep": zeros(denoiser, 1),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.text_embed_dim),
            "encoder_attention_mask": mask,
            "guidance": zeros(denoiser, 1) if config.guidance_embeds else None,
            "timestep_r": zeros(denoiser, 1) if config.use_meanflow else None,
            "return_dict": False,
        }
        if config.text_embed_2_dim is not None:
            second = zeros(denoiser, 1, 1, config.text_embed_2_dim)
            found |= {"encoder_hidden_states_2": second, "encoder_attention_mask_2": mask}
        return found

    def arguments(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """Prompts and negative prompts, one a row; the guiders are told the guidance."""
        for guider in (pipe.guider, pipe.ocr_guider):
            if guider is not None:
                guider.guidance_scale = sampling.guidance
        return super().arguments(pipe, runs, sampling)

    def negative(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """Empty ones where none is set."""
        return {"negative_prompt": [run.negative_prompt or "" for run in runs]}

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizer at the pipeline's length, after its instruction."""
        reader = common.Reader(pipe.tokenizer, pipe.prompt_template_encode.partition("{}")[0])
        return [(reader, int(pipe.tokenizer_max_length + pipe.prompt_template_encode_start_idx))]
