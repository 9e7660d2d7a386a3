"""Random tiny text encoders and byte-wise tokenizers for the families whose own are large."""

from __future__ import annotations

from typing import Any

import torch

WORDS = 384
"""Size of every vocabulary: 256 bytes and room for special tokens."""

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for part in m['content'] %}{{ part['text'] }}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = (
    "<pad>",
    "<bos>",
    "<eos>",
    "<|im_start|>",
    "<|im_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
)


def tokenizer(side: str = "right", length: int = 4096, begin: bool = True) -> Any:
    """A tokenizer of bytes with a chat template; `begin`: a first token of its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *letters))}
    bytewise = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    if begin:
        bytewise.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=bytewise,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        additional_special_tokens=list(SPECIAL[3:]),
        padding_side=side,
        model_max_length=length,
        chat_template=TEMPLATE,
    )


def placed_tokenizer() -> Any:
    """The same as ChatGLM's: padded in front, and it tells where tokens stand."""

    class Placed:
        """Called as a tokenizer is."""

        def __init__(self) -> None:
            self._own = tokenizer("left")
            self.all_special_ids, self.decode = self._own.all_special_ids, self._own.decode

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            found = self._own(*args, **kwargs)
            if "attention_mask" in found and torch.is_tensor(found["attention_mask"]):
                counted = found["attention_mask"].cumsum(1) - 1
                found["position_ids"] = counted.clamp(min=0)
            return found

    return Placed()


def clip(width: int) -> Any:
    """`CLIPTextModel` of the usual length."""
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(1)
    config = CLIPTextConfig(
        vocab_size=600,
        hidden_size=width,
        intermediate_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=0,
        eos_token_id=2,
    )
    return spread(CLIPTextModel(config))


def spread(encoder: Any, seed: int = 0) -> Any:
    """Untrained embeddings of tokens are nearly equal; spread them."""
    torch.manual_seed(seed)
    with torch.no_grad():
        encoder.get_input_embeddings().weight.normal_(0, 1)
    return encoder.eval()


def _language(width: int, layers: int) -> dict[str, Any]:
    return {
        "vocab_size": WORDS,
        "hidden_size": width,
        "intermediate_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": 4096,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def qwen3(width: int, layers: int = 1, causal: bool = False) -> Any:
    """`Qwen3Model`, or `Qwen3ForCausalLM`."""
    from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3Model

    torch.manual_seed(1)
    config = Qwen3Config(**_language(width, layers))
    return spread((Qwen3ForCausalLM if causal else Qwen3Model)(config))


def gemma2(width: int) -> Any:
    """`Gemma2Model`."""
    from transformers import Gemma2Config, Gemma2Model

    torch.manual_seed(1)
    return spread(Gemma2Model(Gemma2Config(**_language(width, 2))))


def gemma(width: int) -> Any:
    """`GemmaForCausalLM`."""
    from transformers import GemmaConfig, GemmaForCausalLM

    torch.manual_seed(1)
    return spread(GemmaForCausalLM(GemmaConfig(**_language(width, 2))))


def llama(width: int, layers: int) -> Any:
    """`LlamaForCausalLM`."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    return spread(LlamaForCausalLM(LlamaConfig(**_language(width, layers))))


def glm(width: int) -> Any:
    """`GlmModel`."""
    from transformers import GlmConfig, GlmModel

    torch.manual_seed(1)
    return spread(GlmModel(GlmConfig(**_language(width, 2))))


def smollm3(width: int, layers: int) -> Any:
    """`SmolLM3ForCausalLM`."""
    from transformers import SmolLM3Config, SmolLM3ForCausalLM

    torch.manual_seed(1)
    # an empty prompt is a token of its own to the pipeline of Bria FIBO
    config = SmolLM3Config(**_language(width, layers) | {"vocab_size": 128_001})
    return spread(SmolLM3ForCausalLM(config))


def t5gemma(width: int) -> Any:
    """`T5GemmaEncoder`."""
    from transformers import T5GemmaConfig
    from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder, T5GemmaModuleConfig

    torch.manual_seed(1)
    module = T5GemmaModuleConfig(**_language(width, 1), layer_types=["full_attention"])
    config = T5GemmaConfig(encoder=module, is_encoder_decoder=False, vocab_size=WORDS)
    return spread(T5GemmaEncoder(config.encoder))


def umt5(width: int) -> Any:
    """`UMT5EncoderModel`."""
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(1)
    config = UMT5Config(
        vocab_size=WORDS, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2, dropout_rate=0
    )
    return spread(UMT5EncoderModel(config))


def bert(width: int) -> Any:
    """`BertModel`."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=width,
    )
    return spread(BertModel(config))


def mistral3(width: int, layers: int = 1) -> Any:
    """`Mistral3ForConditionalGeneration`."""
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration

    torch.manual_seed(1)
    config = Mistral3Config(
        text_config={"model_type": "mistral", "sliding_window": None, **_language(width, layers)},
        vision_config={
            "model_type": "pixtral",
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "image_size": 30,
            "patch_size": 6,
            "num_channels": 3,
        },
        image_token_index=5,
    )
    return spread(Mistral3ForConditionalGeneration(config))


def _seeing(width: int) -> dict[str, Any]:
    return {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": width,
    }


def qwen25_vl(width: int) -> Any:
    """`Qwen2_5_VLForConditionalGeneration`."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(1)
    text = {key: value for key, value in _language(width, 2).items() if key != "head_dim"}
    rope = {"mrope_section": [1, 1, width // 4 - 2], "rope_type": "default"}
    config = Qwen2_5_VLConfig(
        text_config={**text, "rope_scaling": rope, "rope_theta": 1000000.0},
        vision_config=_seeing(width),
        image_token_id=5,
        video_token_id=6,
        vision_start_token_id=7,
        vision_end_token_id=8,
    )
    return spread(Qwen2_5_VLForConditionalGeneration(config))


def qwen3_vl(width: int, layers: int = 2, causal: bool = False) -> Any:
    """`Qwen3VLModel`, or `Qwen3VLForConditionalGeneration`."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLModel

    torch.manual_seed(1)
    rope = {"mrope_section": [1, 1, 2], "rope_type": "default"}
    config = Qwen3VLConfig(
        text_config={**_language(width, layers), "rope_scaling": rope, "rope_theta": 1000000.0},
        vision_config={**_seeing(width), "deepstack_visual_indexes": [0]},
        image_token_id=5,
        video_token_id=6,
        vision_start_token_id=7,
        vision_end_token_id=8,
    )
    return spread((Qwen3VLForConditionalGeneration if causal else Qwen3VLModel)(config))
