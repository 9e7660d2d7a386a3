"""FLUX.2 and FLUX.2 Klein: a language model (Mistral, Qwen3) as text encoder, two streams, then
one.

Reads `diffusers.Flux2Transformer2DModel`. Tokens are [text, image]. The double blocks project their
text stream by `add_k_proj` and `add_v_proj`; the single blocks project both by one layer,
`to_qkv_mlp_proj`, of whose features the second and third are keys and values. There is no pooled
state. All texts are as long: padding is not masked.

The guidance of FLUX.2 is a number that the transformer is told, one pass a step; Klein guides by
separate calls with an empty prompt unless it is distilled. Neither takes a negative prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from textloc.checkpoints.families import common
from textloc.checkpoints.families.base import Family
from textloc.checkpoints.families.common import text_layer, time, zeros
from textloc.layers import TextLayer
from textloc.runs import Run, Sampling


class Flux2(Family):
    """FLUX.2 and FLUX.2 Klein."""

    SHARED = ("img_ids", "txt_ids")
    TEXT_FIRST = True
    """Whether text stands before the picture in the joint attention."""

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The attention of the double and single blocks.

        Raises:
            LayerError: the projections are fused.
        """
        layers = common.joint(denoiser, "transformer_blocks.*.attn")
        for name, module in common.attentions(denoiser, "single_transformer_blocks.*.attn"):
            width, fused = module.inner_dim, "to_qkv_mlp_proj"
            layers.append(
                text_layer(
                    name,
                    module,
                    fused,
                    fused,
                    static=False,
                    key_part=(width, 2 * width),
                    value_part=(2 * width, 3 * width),
                    place="first",
                )
            )
        return layers

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Arguments of a small forward pass: one image token, one text token."""
        config = denoiser.config
        axes = len(config.axes_dims_rope)
        return {
            "hidden_states": zeros(denoiser, 1, 1, config.in_channels),
            "encoder_hidden_states": zeros(denoiser, 1, 1, config.joint_attention_dim),
            "timestep": time(denoiser),
            "img_ids": zeros(denoiser, 1, axes),
            "txt_ids": zeros(denoiser, 1, axes),
            "guidance": zeros(denoiser, 1),
            "return_dict": False,
        }

    def texts(self, pipe: Any, sampling: Sampling) -> list[common.Text]:
        """Those of the language model's tokenizer."""
        reader = self._reader(pipe)
        return [common.Text("tokenizer", reader.tokenizer, 0, reader.before, reader.after)]

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The language model's tokenizer within its template."""
        return [(self._reader(pipe), sampling.text_length or self.LENGTH)]

    @staticmethod
    def _reader(pipe: Any) -> common.Reader:
        system = getattr(pipe, "system_message", None)  # FLUX.2's; Klein has none
        if system is None:
            return common.templated(pipe.tokenizer, enable_thinking=False)
        return common.templated(pipe.tokenizer, system, generate=False)

    def referred(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """One picture of reference, for all rows."""
        assert sampling.reference is not None
        return {"image": [sampling.reference.picture]}

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """Latents patched two by two, normed and packed: (N, hw / 4, 4 C)."""
        code = pipe._patchify_latents(common.coded(pipe.vae, common.pixels(pipe, pictures)))
        return pipe._pack_latents(common.normed(pipe.vae, code))

    def told(self, denoiser: Any, time: Any, latents: Any) -> Any:
        """Times of 0 to 1."""
        return common.thousandths(time, latents)

    def asked(self, denoiser: Any, latents: Any, time: Any, rows: Mapping[str, Any]) -> Any:
        """As ever, the places of the tokens one a row."""
        given = super().asked(denoiser, latents, time, rows)
        return given | {name: rows[name] for name in self.SHARED}
