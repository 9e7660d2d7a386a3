"""Untrained components that the tiny checkpoints are made of."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import torch

from textloc.scenes import rendering, wording
from textloc.tiny import codec

SPELLED = 96
"""Prompt length in tokens, start and end included, where a token is one character."""

WORDED = 48
"""Prompt length where the words of the scenes are tokens, and what is quoted is spelled out."""


def tokenizer() -> Any:
    """A CLIP tokenizer without merges: every character is a token, so words are spelled out."""
    return _clip_tokenizer([], SPELLED)


def word_tokenizer() -> Any:
    """A CLIP tokenizer whose merges make the words of the scenes (`scene_words`) one token each.

    Quoted words are merged too, wherever their letters allow: like the real one, it hides the
    spelling.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learned = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learned.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=6000, min_frequency=1, end_of_word_suffix="</w>", show_progress=False
    )
    learned.train_from_iterator([" ".join(scene_words())], trainer)
    return _clip_tokenizer(json.loads(learned.to_str())["model"]["merges"], WORDED)


def scene_words() -> list[str]:
    """The words that training prompts are made of, in order, without the quoted one."""
    said = [*rendering.COLOURS, *rendering.SHADES, *rendering.OBJECTS, *rendering.POSITIONS]
    said += [*rendering.TYPEFACES, *rendering.WORDINGS, *wording.vocabulary()]
    text = re.sub(r"\{\w+\}", " ", " ".join(said)).lower()
    return sorted(set(re.findall("[a-z]+", text)))


def _clip_tokenizer(merges: list[list[str]], length: int) -> Any:
    from transformers import CLIPTokenizer

    # the printable characters that byte-level BPE uses for the 256 bytes (GPT-2's table)
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [chr(256 + i) for i in range(256 - len(printable))]
    alphabet = [chr(b) for b in printable] + others
    known = [*alphabet, *(c + "</w>" for c in alphabet), *("".join(pair) for pair in merges)]
    known += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(known))}
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        (path / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": length}
        (path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        return CLIPTokenizer.from_pretrained(folder)


def unigram_tokenizer() -> Any:
    """A T5-style tokenizer: the words of the scenes are pieces that begin with a space, so what
    stands in quotation marks is spelled out; case folded."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    characters = [chr(i) for i in range(33, 127) if not chr(i).isupper()]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [("\u2581" + word, -2.0) for word in scene_words()]
    pieces += [(piece, -6.0) for piece in ("\u2581", *characters)]
    made = Tokenizer(models.Unigram(pieces, unk_id=2))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=WORDED,
    )


def t5_encoder(width: int, layers: int, vocabulary: int, seed: int) -> Any:
    """A T5 encoder whose heads start out attending to one or few relative positions each."""
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=vocabulary,
        d_model=width,
        d_kv=32,
        d_ff=width * 3,
        num_layers=layers,
        num_heads=width // 32,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
    )
    model = T5EncoderModel(config)
    attention = model.encoder.block[0].layer[0].SelfAttention
    with torch.no_grad():
        attention.relative_attention_bias.weight.normal_(0, 2)
    return model


def text_encoder(
    width: int, layers: int, projection: int | None, seed: int, tokenizer: Any = None
) -> Any:
    """A CLIP text encoder with sinusoidal starting positions; with `projection`, a pooled output.

    `tokenizer` is the one it reads by; None is that of `tokenizer`.

    Sinusoids let attention find "so many letters after the quotation mark" from the first step.
    """
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(seed)
    # the start and the end are the last two of the vocabulary
    known, longest = (514, SPELLED) if tokenizer is None else (len(tokenizer), WORDED)
    config = CLIPTextConfig(
        vocab_size=known,
        hidden_size=width,
        intermediate_size=width * 3,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        max_position_embeddings=longest,
        hidden_act="gelu",
        projection_dim=projection or width,
        bos_token_id=known - 2,
        eos_token_id=known - 1,
        pad_token_id=known - 1,
    )
    model = (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)
    position = torch.arange(longest)[:, None]
    rate = torch.exp(-torch.arange(0, width, 2) / width * torch.log(torch.tensor(1000.0)))
    waves = torch.stack([(position * rate).sin(), (position * rate).cos()], -1).flatten(1)
    text = model.text_model if hasattr(model, "text_model") else model
    with torch.no_grad():
        text.embeddings.token_embedding.weight.normal_(0, 0.3)
        text.embeddings.position_embedding.weight.copy_(0.3 * waves)
    return model


def sharpen(denoiser: Any, factor: float = 2.5) -> None:
    """Scale the starting queries and keys of the cross-attention.

    Left as they are, attention starts out even over all tokens and a letter is one part in
    `SPELLED` of what a head sees; sharper heads see few tokens each, and some see the letters.
    """
    with torch.no_grad():
        for module in denoiser.modules():
            if getattr(module, "is_cross_attention", False):
                module.to_q.weight.mul_(factor)
                module.to_k.weight.mul_(factor)


def sharpen_norms(denoiser: Any, factor: float = 1.6) -> None:
    """The same for joint attention, where queries and keys are normalised: scale the norms."""
    with torch.no_grad():
        for name, weight in denoiser.named_parameters():
            if name.endswith(("norm_q.weight", "norm_k.weight", "norm_added_k.weight")):
                weight.mul_(factor)


def autoencoder(seed: int) -> Any:
    """The `AutoencoderKL` that speaks `codec.Codec`: 256x256 pictures to 48 x 8 x 8.

    Four of its blocks are those of an autoencoder of 64x64 pictures, the other two make the picture
    four times as large.
    """
    from diffusers import AutoencoderKL

    channels = (16, 16, 16, 32, 64, 128)
    torch.manual_seed(seed)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=codec.CHANNELS,
        # of 16 channels, groups would be so small that their mean colour is lost
        norm_num_groups=1,
        sample_size=rendering.LARGE,
        scaling_factor=1.0,
        force_upcast=False,
        mid_block_add_attention=False,
    )


def scheduler(offset: int = 0) -> Any:
    """DDIM, x0-prediction, cosine schedule rescaled to end in pure noise.

    Most components of the code vary far less than the noise (`codec.Codec` scales all by one
    number), so predicting v would mean copying the noise of each through the network.
    """
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=offset,  # without effect on trailing steps
    )


UNCHECKED: dict[str, Any] = {
    **dict.fromkeys(("safety_checker", "feature_extractor", "watermarker")),
    "requires_safety_checker": False,
}
"""Arguments of a DeepFloyd IF pipeline without checker and watermark."""


def pixel_scheduler() -> Any:
    """DDPM on pixels, x0-prediction, cosine schedule rescaled to end in pure noise."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        variance_type="fixed_small",
        clip_sample=True,
    )


def without_variance(denoiser: Any) -> None:
    """Of the six channels that DeepFloyd IF's U-Nets give, the last three (a variance) stay
    zero."""
    with torch.no_grad():
        denoiser.conv_out.weight[3:] = 0
        denoiser.conv_out.bias[3:] = 0


def unet(pooled: int | None, context: int, seed: int) -> Any:
    """The U-Net of 11 text layers at 8x8 and 4x4; `pooled` is the width of a pooled text state."""
    from diffusers import UNet2DConditionModel

    added: dict[str, Any] = {}
    if pooled is not None:
        added = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + pooled,
        }
    torch.manual_seed(seed)
    made = UNet2DConditionModel(
        sample_size=rendering.SIZE // codec.PATCH,
        in_channels=codec.CHANNELS,
        out_channels=codec.CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(96, 160),
        layers_per_block=1,
        transformer_layers_per_block=(1, 2),
        attention_head_dim=(3, 5),  # diffusers reads these as the number of heads
        cross_attention_dim=context,
        norm_num_groups=16,
        use_linear_projection=True,
        **added,
    )
    sharpen(made)
    return made
