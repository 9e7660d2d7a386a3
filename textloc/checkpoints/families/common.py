"""What the families share: text layers, arguments of a call, pictures as latents."""

from __future__ import annotations

import inspect
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from textloc.checkpoints.memory import weights_of
from textloc.errors import CheckpointError, LayerError, PromptError
from textloc.layers import Place, TextLayer
from textloc.runs import Run, Sampling

_LARGE = 512
"""Side in pixels from which a whole batch is too much for the autoencoder at once."""


def text_layer(
    name: str,
    module: Any,
    key: str,
    value: str,
    *,
    static: bool,
    heads: int | None = None,
    key_part: tuple[int, int] | None = None,
    value_part: tuple[int, int] | None = None,
    **more: Any,
) -> TextLayer:
    """The text layer of the attention `module`, called `name`; `key` and `value` name its
    projections, each an `nn.Linear`. heads: of the keys, where they are fewer than the module's.
    more: as in `TextLayer`.

    Raises:
        LayerError: the projections are fused.
    """
    if _fused(module):
        raise LayerError(
            f"the projections of {name} are fused, which silences hooks; call "
            "unfuse_qkv_projections() first"
        )
    parts = ((module.get_submodule(key), key_part), (module.get_submodule(value), value_part))
    return TextLayer(
        index=-1,
        name=name,
        key=f"{name}.{key}",
        value=f"{name}.{value}",
        heads=heads or module.heads,
        kv_parameters=sum(
            weights_of(projection) if part is None else (part[1] - part[0]) * projection.in_features
            for projection, part in parts
        ),
        static=static,
        key_part=key_part,
        value_part=value_part,
        **more,
    )


def _fused(module: Any) -> bool:
    """Whether the attention computes its projections as one.

    `Attention` does so by a processor, and its flag stays when they are unfused; later classes go
    by the flag.
    """
    from diffusers.models.attention_processor import Attention

    if type(getattr(module, "processor", None)).__name__.startswith("Fused"):
        return True
    return bool(getattr(module, "fused_projections", False)) and not isinstance(module, Attention)


def attentions(denoiser: Any, pattern: str) -> Iterator[tuple[str, Any]]:
    """The modules whose dotted names match `pattern` as a whole: `*` is one part, `|` is or."""
    expression = re.compile(re.escape(pattern).replace(r"\*", "[^.]+").replace(r"\|", "|"))
    for name, module in denoiser.named_modules():
        if expression.fullmatch(name):
            yield name, module


def joint(denoiser: Any, pattern: str, **more: Any) -> list[TextLayer]:
    """Layers in which text has projections of its own, `add_k_proj` and `add_v_proj`, beside those
    of the picture."""
    return [
        text_layer(name, module, "add_k_proj", "add_v_proj", static=False, **more)
        for name, module in attentions(denoiser, pattern)
    ]


def single(denoiser: Any, pattern: str, place: Place, **more: Any) -> list[TextLayer]:
    """Layers in which text and picture are one stream and share `to_k` and `to_v`."""
    return [
        text_layer(name, module, "to_k", "to_v", static=False, place=place, **more)
        for name, module in attentions(denoiser, pattern)
    ]


def cross(denoiser: Any, pattern: str, **more: Any) -> list[TextLayer]:
    """Layers in which the picture looks at text alone: `to_k` and `to_v` project text states that
    come from the prompt alone."""
    return [
        text_layer(name, module, "to_k", "to_v", static=True, **more)
        for name, module in attentions(denoiser, pattern)
    ]


def kv_heads(module: Any, head: int) -> int:
    """Heads of the keys of an attention whose heads are `head` wide."""
    return int(module.to_k.out_features) // head


def zeros(denoiser: Any, *shape: int) -> Any:
    """A tensor of zeros on the denoiser's device, in its number format."""
    import torch

    return torch.zeros(*shape, device=device(denoiser), dtype=denoiser.dtype)


def time(denoiser: Any) -> Any:
    """A time of one row."""
    import torch

    return torch.zeros(1, device=device(denoiser), dtype=torch.long)


def device(denoiser: Any) -> Any:
    """Where the denoiser runs, also where accelerate brings its weights there bit by bit."""
    if denoiser.device.type == "meta":
        for part in denoiser.modules():
            found = getattr(getattr(part, "_hf_hook", None), "execution_device", None)
            if found is not None:
                return found
    return denoiser.device


def numbers(denoiser: Any, *shape: int) -> Any:
    """Whole numbers, all 0, on the denoiser's device."""
    import torch

    return torch.zeros(*shape, device=device(denoiser), dtype=torch.long)


def readable(denoiser: Any) -> Any:
    """Where to put what a forward pass decides by: the denoiser's device, but for the meta device,
    which holds no values."""
    found = device(denoiser)
    return "cpu" if str(found) == "meta" else found


class _Any:
    """Holds every name."""

    def __contains__(self, name: object) -> bool:
        return True


def taken(pipe: Any) -> Container[str]:
    """Names of the arguments that a pipeline's call takes. A subclass that hands on `**kwargs`
    takes those of the classes before it as well, and any where none of them says which."""
    names: set[str] = set()
    for cls in type(pipe).__mro__:
        if "__call__" not in vars(cls):
            continue
        own = inspect.signature(vars(cls)["__call__"]).parameters.values()
        names |= {one.name for one in own if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
        if not any(one.kind is one.VAR_KEYWORD for one in own):
            return names
    return names if "prompt" in names else _Any()  # LDM's swallows what it does not name


def call(sampling: Sampling, guidance: str = "guidance_scale") -> dict[str, Any]:
    """Steps, guidance and, where they are given, size and text length as a call names them."""
    optional = {
        "height": sampling.height,
        "width": sampling.width,
        "max_sequence_length": sampling.text_length,
    }
    given = {name: value for name, value in optional.items() if value is not None}
    return {"num_inference_steps": sampling.steps, guidance: sampling.guidance, **given}


def prompts(runs: Sequence[Run], encoders: int) -> dict[str, Any]:
    """The prompts of each of the pipeline's `encoders` text encoders, one a row.

    Raises:
        PromptError: a run has a prompt for an encoder that is not there.
    """
    found: dict[str, Any] = {"prompt": [run.prompt for run in runs]}
    for number, name in enumerate(("prompt_2", "prompt_3"), start=2):
        own = [getattr(run, name) for run in runs]
        if all(prompt is None for prompt in own):
            continue
        if number > encoders:
            count = "one text encoder" if encoders == 1 else f"{encoders} text encoders"
            raise PromptError(f"this checkpoint has {count}; leave {name} out")
        found[name] = [run.prompt if p is None else p for run, p in zip(runs, own, strict=True)]
    return found


def negative_prompts(runs: Sequence[Run]) -> dict[str, Any]:
    """The negative prompts as a list (no pipeline spreads a single one over several prompts), or
    nothing where all leave it unset."""
    if all(run.negative_prompt is None for run in runs):
        return {}
    return {"negative_prompt": [run.negative_prompt or "" for run in runs]}


def negative_prompts_of_all(runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
    """The negative prompts of a pipeline that reads an unset one as an empty one."""
    if sampling.guidance <= 1:
        return {}
    return {"negative_prompt": [run.negative_prompt or "" for run in runs]}


def native_size(pipe: Any, denoiser: Any) -> tuple[int | None, int | None]:
    """Height and width in pixels that a denoiser was trained at, where its config or its pipeline
    says so."""
    side = denoiser.config.get("sample_size") or getattr(pipe, "default_sample_size", None)
    if side is None:
        return None, None
    pixels_a_place = scale(pipe)
    height, width = (side, side) if isinstance(side, int) else side
    return int(height) * pixels_a_place, int(width) * pixels_a_place


def step(pipe: Any, denoiser: Any) -> int:
    """What a side in pixels must be a multiple of."""
    patch = denoiser.config.get("patch_size") or 1
    packed = 2 if hasattr(pipe, "_pack_latents") else 1
    return max(8, scale(pipe) * max(int(patch), packed))


def scale(pipe: Any) -> int:
    """Pixels a place of the denoiser's picture stands for, a side."""
    latent = any(getattr(pipe, name, None) is not None for name in ("vae", "vqvae"))
    return int(getattr(pipe, "vae_scale_factor", 8)) if latent else 1


def decode_one_by_one(pipe: Any, denoiser: str = "unet") -> None:
    """Have the autoencoder of a checkpoint for large pictures decode one picture at a time.

    Decoding a batch takes more memory than denoising it, and would fail after all steps are done.
    Small pictures are faster decoded together.
    """
    side = pipe.vae.config.get("sample_size")  # not all autoencoders know
    if side is None:
        side = native_size(pipe, getattr(pipe, denoiser))[0] or 0
    if side >= _LARGE and hasattr(pipe.vae, "enable_slicing"):
        pipe.vae.enable_slicing()


def without_checker(pipe: Any) -> dict[str, str | None]:
    """Switch the safety checker off, where there is one; what `prepare` says then."""
    had = getattr(pipe, "safety_checker", None) is not None
    if had:
        pipe.safety_checker = None
        pipe.register_to_config(requires_safety_checker=False)
    return {"safety_checker": "off" if had else None, "watermark": None}


def nothing_to_switch_off(pipe: Any) -> dict[str, str | None]:
    """What a pipeline without checker and watermark says."""
    decode_one_by_one(pipe, "transformer")
    return {"safety_checker": None, "watermark": None}


def pixels(pipe: Any, pictures: Sequence[Image.Image]) -> Any:
    """RGB pictures of one size as (N, 3, H, W) in [-1, 1], in the denoiser's number format and on
    the device where the pipeline runs."""
    import numpy as np
    import torch

    stacked = np.stack([np.asarray(p.convert("RGB"), np.float32) / 127.5 - 1 for p in pictures])
    place = getattr(pipe, "_execution_device", "cpu")
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).to(place)


def encode(pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
    """Pictures as latents of the autoencoder, scaled as Stable Diffusion and SDXL decode them."""
    code, config = coded(pipe.vae, pixels(pipe, pictures)), pipe.vae.config
    if getattr(config, "latents_mean", None) is not None:
        mean, std = (
            code.new_tensor(values)[:, None, None]
            for values in (config.latents_mean, config.latents_std)
        )
        code = (code - mean) / std
    return code * config.scaling_factor


def encode_shifted(pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
    """The same of pipelines that also shift (SD3, FLUX)."""
    code, config = coded(pipe.vae, pixels(pipe, pictures)), pipe.vae.config
    return (code - (config.shift_factor or 0.0)) * config.scaling_factor


def encode_frame(pipe: Any, pictures: Sequence[Image.Image]) -> Any:
    """The same of video autoencoders, which take pictures as one frame: (N, C, h, w)."""
    code, config = coded(pipe.vae, pixels(pipe, pictures)[:, :, None])[:, :, 0], pipe.vae.config
    mean, std = (
        code.new_tensor(values)[:, None, None]
        for values in (config.latents_mean, config.latents_std)
    )
    return (code - mean) / std


def normed(vae: Any, code: Any, least: float | None = None) -> Any:
    """Latents patched two by two (N, 4 C, h, w) by the batch norm of FLUX.2's autoencoder. least:
    what is added to the variance; None takes what the autoencoder's config says."""
    usual = (vae.bn.running_mean, vae.bn.running_var)
    mean, variance = (values.view(1, -1, 1, 1).to(code) for values in usual)
    return (code - mean) / (variance + (least or vae.config.batch_norm_eps)).sqrt()


def coded(vae: Any, pictures: Any) -> Any:
    """Pictures (N, 3, H, W) through the autoencoder's encoder: the mean of what it gives, in its
    number format. Where its config says `force_upcast` it runs in float32, as in diffusers' own
    image-to-image calls, and is cast back.

    Raises:
        CheckpointError: latents that are no numbers.
    """
    import torch

    dtype = vae.dtype
    upcast = bool(vae.config.get("force_upcast")) and dtype != torch.float32
    try:
        if upcast:
            vae.to(dtype=torch.float32)
        with torch.no_grad():
            found = vae.encode(pictures.to(vae.dtype))
    finally:
        if upcast:
            vae.to(dtype=dtype)
    spread = getattr(found, "latent_dist", None)
    if spread is not None:
        code = spread.mode()
    else:
        code = found.latent if hasattr(found, "latent") else found.latents
    code = code.to(dtype)
    if not torch.isfinite(code).all():
        raise CheckpointError(
            f"the autoencoder gives latents that are no numbers in {str(dtype).split('.')[1]}; "
            "choose --dtype bfloat16 or float32 (of `finetune`: --mixed-precision bf16 or no)"
        )
    return code


_NESTED = "added_cond_kwargs"


def kept(
    given: Mapping[str, Any], left_out: Container[str | None], shared: Container[str], count: int
) -> dict[str, Any]:
    """Tensors of a forward pass, one row a prompt; those that all rows share are repeated."""
    from torch import Tensor

    found: dict[str, Any] = {}
    for name, value in given.items():
        if name in left_out:
            continue
        if isinstance(value, Tensor):
            found[name] = value.expand(count, -1, -1) if name in shared else value
        elif name == _NESTED and value is not None:
            found |= {f"{name}.{inner}": tensor for inner, tensor in value.items()}
    return found


def unkept(rows: Mapping[str, Any], shared: Container[str]) -> dict[str, Any]:
    """Arguments of a forward pass from what `kept` gave."""
    found: dict[str, Any] = {}
    for name, value in rows.items():
        outer, _, inner = name.partition(".")
        if inner:
            found.setdefault(outer, {})[inner] = value
        else:
            found[name] = value[0] if name in shared else value
    return found


def thousandths(time: Any, latents: Any) -> Any:
    """Times of 0 to 1000 as those of 0 to 1 that a denoiser of flow matching is told."""
    return time.to(latents.dtype) / 1000


def trimmed(states: Any, mask: Any) -> tuple[Any, Any]:
    """Text states (N, T, D) and their mask (N, T), 1 for tokens, which come first, without what is
    beyond the longest; the mask is None where all are as long."""
    longest = int(mask.sum(1).max())
    states, mask = states[:, :longest], mask[:, :longest]
    return states, None if bool(mask.all()) else mask


PROMPT = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Stands for a prompt in a template."""


@dataclass(frozen=True)
class Reader:
    """A tokenizer that reads prompts within the pipeline's template; called as tokenizers are.

    tokenizer: of the pipeline. before, after: what the pipeline writes around a prompt.
    """

    tokenizer: Any
    before: str = ""
    after: str = ""

    def __call__(self, prompt: str) -> Any:
        """`input_ids` are those of the whole text."""
        return self.tokenizer(f"{self.before}{prompt}{self.after}")


def templated(
    tokenizer: Any,
    system: str | None = None,
    generate: bool = True,
    parts: bool = False,
    **options: Any,
) -> Reader:
    """A reader of a chat model's tokenizer whose template holds one message of the user.

    Args:
        tokenizer: also a processor. system: what the pipeline says before, where it does.
            generate: whether the template ends with the beginning of an answer. parts: whether
            messages are lists of parts, as where there is a `system`.
    """
    said = [("user", PROMPT)] if system is None else [("system", system), ("user", PROMPT)]
    messages = [
        {
            "role": role,
            "content": [{"type": "text", "text": text}] if parts or system is not None else text,
        }
        for role, text in said
    ]
    written = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=generate, **options
    )
    before, _, after = written.partition(PROMPT)
    return Reader(plain_tokenizer(tokenizer), before, after)


def plain_tokenizer(processor: Any) -> Any:
    """The tokenizer of a processor that also reads pictures, or the tokenizer itself."""
    return getattr(processor, "tokenizer", processor)


def packed(pipe: Any, code: Any) -> Any:
    """Latents (N, C, h, w) packed two by two: (N, hw / 4, 4 C)."""
    return pipe._pack_latents(code, *code.shape)


@dataclass(frozen=True)
class Text:
    """Text tokens of a layer that one tokenizer makes.

    name: of the pipeline's component. first: place of its first token. before, after: what the
    pipeline puts around the prompt. dropped: tokens at the beginning that no layer sees. lowered:
    whether the pipeline lower-cases the prompt.
    """

    name: str
    tokenizer: Any
    first: int = 0
    before: str = ""
    after: str = ""
    dropped: int = 0
    lowered: bool = False
