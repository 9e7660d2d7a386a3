"""What is in a LoRA file: all of it is carried, or it is said what is not.

Three layouts are told by the names of the weights: that of diffusers, that of kohya's scripts and
of LyCORIS (`lora_unet_…`), and that of PEFT (`base_model.model.…`, with its `adapter_config.json`
beside it). LoHa (Hyeon-Woo et al., ICLR 2022), LoKr (Yeh et al., ICLR 2024) and Tucker layers are
put as the two factors that have the same product; the strength (alpha over rank) is worked into
them. DoRA's magnitudes (Liu et al., ICML 2024) stay what they are.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textloc.errors import CheckpointError

Weights = dict[str, Any]
"""Tensors by name."""

PEFT_CONFIG = "adapter_config.json"

_PAIRS = (
    ("lora_down.", "lora_up."),
    ("lora.down.", "lora.up."),
    ("lora_linear_layer.down.", "lora_linear_layer.up."),
    ("_lora.down.", "_lora.up."),
    ("lora_A.", "lora_B."),
    ("lora_embedding_A", "lora_embedding_B"),
)
"""What the names of the two factors of a layer hold, in the layouts that are known."""

_FACTORED = re.compile(
    r"(?P<layer>.+)\.(?P<part>hada_w[12]_[ab]|hada_t[12]|lokr_w[12](_[ab])?|lokr_t2|lora_mid)"
    r"(\.weight)?"
)
_ENCODER = (
    (r"\.to_(q|k|v|out)_lora\.", r".\1_proj.lora."),
    (r"\.(lora_linear_layer|lora)\.down\.", ".lora_A."),
    (r"\.(lora_linear_layer|lora)\.up\.", ".lora_B."),
)
"""How older names of a text encoder's weights become those of PEFT."""

_SAYS = (
    (r"model\.diffusion_model\.|first_stage_model\.|cond_stage_model\.|.*double_blocks\.0\.img_attn"
     r"\.qkv\.weight$", "is a whole checkpoint, no LoRA; load it with --model"),
    (r"emb_params|string_to_|\*$|clip_[lg]$|t5xxl$|<.*>$",
     "is a textual inversion, no LoRA; load it into a pipeline (load_textual_inversion) and give "
     "the pipeline"),
    (r"ip_adapter|image_proj", "is an IP-Adapter, no LoRA; it wants a picture beside the prompt"),
    (r"control_model|controlnet|lora_controlnet", "is a ControlNet, no LoRA"),
)  # fmt: skip
"""What the names of weights are of that are taken for a LoRA."""


def read(path: Path) -> Weights:
    """The tensors of a LoRA file.

    Raises:
        CheckpointError: it is no safetensors file, is cut off, or holds something else than a LoRA
            or numbers that are none.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    name = path.name
    try:
        weights: Weights = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"the LoRA {name} {_damage(path)}") from error
    if not weights:
        raise CheckpointError(f"the LoRA {name} holds no weights; save it again")
    for begins, what in _SAYS:
        if any(re.match(begins, key) for key in weights):
            raise CheckpointError(f"{name} {what}")
    for key, value in weights.items():
        if value.is_floating_point() and not value.float().isfinite().all():
            raise CheckpointError(
                f"the LoRA {name} holds numbers that are none (NaN or infinite), such as in {key}; "
                "its training went wrong, take an earlier state of it"
            )
    _check_pairs(weights, name)
    return weights


def _damage(path: Path) -> str:
    """What is wrong with a file that is no safetensors file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(512)
            length = struct.unpack("<Q", head[:8])[0] if len(head) >= 8 else 0
            file.seek(8)
            about = file.read(min(length, size)) if length < 10**8 else b""
    except OSError as error:
        return f"cannot be read ({(error.strerror or type(error).__name__).lower()})"
    if not head:
        return "is empty; download it again"
    if re.match(rb"\s*(<!doctype|<html|<\?xml|<head)", head, re.IGNORECASE):
        return "is a web page, as is saved where a download asks for a login; download it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file; fetch it (git lfs pull)"
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return "is a pickle or archive under another name; only safetensors files are read"
    if re.match(rb'\s*[{\["]', head):
        return "is a text, perhaps the answer of a server; download it again"
    if length and len(about) < length < 10**8:
        return "is cut off; download it again"
    try:
        ends = [one["data_offsets"][1] for key, one in json.loads(about).items() if key[:2] != "__"]
        if size < 8 + length + max(ends):
            return f"is cut off ({size} of {8 + length + max(ends)} bytes); download it again"
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    return "is no safetensors file, or a damaged one; download it again"


def _check_pairs(weights: Weights, name: str) -> None:
    """Check that every layer has both of its factors."""
    for first, second in _PAIRS:
        for one, other in ((first, second), (second, first)):
            have = [key for key in weights if one in key and key.endswith("weight")]
            alone = [key for key in have if key.replace(one, other) not in weights]
            if alone:
                raise CheckpointError(
                    f"the LoRA {name} lacks {other.strip('._')} for {len(alone)} of its "
                    f"{len(have)} layers, such as {alone[0]}; the file is not whole"
                )


# ---------------------------------------------------------------------------- layouts


def ready(weights: Weights, path: Path, pipe: Any, denoiser: str) -> Weights | None:
    """The weights as the pipeline takes them, their strength worked in; None where the pipeline
    reads the file itself (the layout of diffusers).

    Args:
        weights: of `read`. path: of the file. denoiser: name of the pipeline's component.

    Raises:
        CheckpointError: something in it cannot be carried.
    """
    if all(key.startswith((f"{denoiser}.", "text_encoder")) for key in weights):
        return None
    if any(key.startswith("base_model.model.") for key in weights):
        return _of_peft(weights, path, pipe, denoiser)
    if any(re.match(r"lora_(unet|te\d?|transformer)_|lycoris_", key) for key in weights):
        return _of_kohya(weights, path.name, pipe)
    modules = {name for name, _ in getattr(pipe, denoiser).named_modules()}
    if all(_layer(key) in modules for key in weights):
        return {f"{denoiser}.{key}": value for key, value in weights.items()}
    return dict(weights)  # others that the pipeline may know


def _of_kohya(weights: Weights, name: str, pipe: Any) -> Weights:
    """Alphas worked in; DoRA's magnitudes under the names that the pipeline has for the layers."""
    weights = {re.sub(r"^lycoris_", "lora_unet_", key): value for key, value in weights.items()}
    alphas = {key[:-6]: float(weights.pop(key)) for key in [*weights] if key.endswith(".alpha")}
    _check_alphas(alphas, name)
    magnitudes = {
        key.removesuffix(".dora_scale"): weights.pop(key)
        for key in [*weights]
        if key.endswith(".dora_scale")
    }
    factors = _factors(weights, alphas, name)
    strange = [key for key in weights if not re.search(r"\.lora_(up|down)\.weight$", key)]
    if strange:
        raise _not_carried(name, strange)
    for key in [key for key in weights if key.endswith(".lora_up.weight")]:
        layer = key.removesuffix(".lora_up.weight")
        rank = weights[f"{layer}.lora_down.weight"].shape[0]
        weights[key] = _scaled(weights[key], alphas.get(layer, rank) / rank)
    for layer, (down, up) in factors.items():
        weights[f"{layer}.lora_down.weight"], weights[f"{layer}.lora_up.weight"] = down, up
    return _with_magnitudes(weights, magnitudes, name, pipe) if magnitudes else weights


def _with_magnitudes(weights: Weights, magnitudes: Weights, name: str, pipe: Any) -> Weights:
    """The weights under the pipeline's own names, and DoRA's magnitudes (out,) with them.

    diffusers drops what it calls `dora_scale`; that its magnitudes are PEFT's it knows of others.
    """
    if not hasattr(pipe, "unet") or any(not key.startswith("lora_unet_") for key in magnitudes):
        raise CheckpointError(
            f"the LoRA {name} is a DoRA of kohya's layout with layers outside a U-Net, which are "
            "not carried here; save it by PEFT or diffusers"
        )
    downs = {key.removesuffix(".lora_down.weight") for key in weights if ".lora_down." in key}
    if len(magnitudes) != len({layer for layer in downs if layer.startswith("lora_unet_")}):
        raise CheckpointError(
            f"the LoRA {name} has DoRA's magnitudes for some layers only, which cannot be carried "
            "together; save the two kinds in files of their own"
        )
    places = {id(weights[f"{layer}.lora_down.weight"]): layer for layer in magnitudes}
    found, alphas = pipe.lora_state_dict(dict(weights), unet_config=pipe.unet.config)
    assert not alphas
    others: Weights = {}
    for key, value in named(found, pipe).items():
        others[key] = value
        if layer := places.get(id(value)):
            magnitude = magnitudes[layer]
            if magnitude.shape[1:].numel() != 1:
                raise CheckpointError(
                    f"the LoRA {name} has DoRA's magnitudes by input (wd_on_output is off), which "
                    "are not carried here"
                )
            place = key.replace(".lora_A.", ".lora_magnitude_vector.")
            wide = value.ndim == 4
            others[place] = magnitude.reshape(1, -1, 1, 1) if wide else magnitude.reshape(-1)
    return others


def _of_peft(weights: Weights, path: Path, pipe: Any, denoiser: str) -> Weights:
    """Of PEFT's own layout, whose strength stands beside it."""
    beside = path.parent / PEFT_CONFIG
    try:
        config = json.loads(beside.read_text(encoding="utf-8"))
        kind, alpha = config["peft_type"], float(config.get("lora_alpha", config.get("alpha")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"the LoRA {path.name} is of PEFT's layout, whose strength stands in {PEFT_CONFIG}; "
            "put that file beside it"
        ) from error
    if config.get("bias", "none") != "none" or config.get("modules_to_save"):
        raise _not_carried(path.name, ["biases or whole modules (bias, modules_to_save)"])
    plain = {key.removeprefix("base_model.model."): value for key, value in weights.items()}
    part = _owner({_layer(key) for key in plain}, pipe, denoiser, path.name)
    ranks = {_layer(k): v.shape[0] for k, v in plain.items() if ".lora_A." in k}
    ranks |= {_layer(k): int(config.get("r", 1)) for k in plain if ".hada_" in k or ".lokr_" in k}
    alphas = {}
    for layer, rank in ranks.items():
        own = _by_pattern(config.get("alpha_pattern"), layer, alpha)
        alphas[layer] = own * math.sqrt(rank) if config.get("use_rslora") else own
    _check_alphas(alphas, path.name)
    factors = _factors(plain, alphas, path.name)
    found: Weights = {}
    for key, value in plain.items():
        layer = _layer(key)
        if ".lora_B." in key:
            value = _scaled(value, alphas[layer] / ranks[layer])
        elif ".lora_A." not in key and "lora_magnitude_vector" not in key:
            raise _not_carried(path.name, [key])
        if key.endswith("lora_magnitude_vector"):
            key += ".weight"
        found[f"{part}.{key}"] = value
    for layer, (down, up) in factors.items():
        found[f"{part}.{layer}.lora_A.weight"], found[f"{part}.{layer}.lora_B.weight"] = down, up
    if not found:
        raise CheckpointError(
            f"the LoRA {path.name} is of PEFT's kind {kind}, which is not carried"
        )
    return found


def _owner(layers: set[str], pipe: Any, denoiser: str, name: str) -> str:
    """The component that has the layers."""
    parts = [denoiser, "text_encoder", "text_encoder_2", "text_encoder_3"]
    counts: Counter[str] = Counter()
    for part in parts:
        module = getattr(pipe, part, None)
        if module is not None:
            counts[part] = len(layers & {inner for inner, _ in module.named_modules()})
            if counts[part] == len(layers):
                return part
    best, most = counts.most_common(1)[0]
    raise _not_there(name, best, len(layers) - most, len(layers), sorted(layers)[0])


def _by_pattern(patterns: Any, layer: str, usual: float) -> float:
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", layer):
            return float(value)
    return usual


def _layer(key: str) -> str:
    """The layer that a weight is of."""
    return re.split(r"\.(?:lora[._]|hada_|lokr_|processor\.)|_lora\.", key)[0]


def _check_alphas(alphas: Mapping[str, float], name: str) -> None:
    strange = [layer for layer, alpha in alphas.items() if alpha == 0 or not math.isfinite(alpha)]
    if strange:
        raise CheckpointError(
            f"the LoRA {name} has an alpha of {alphas[strange[0]]:g} for {strange[0]}: it adds "
            "nothing there, or, as some scripts read it, as much as its rank; set it to what is "
            "meant"
        )


# ---------------------------------------------------------------------------- factors


def _factors(weights: Weights, alphas: Mapping[str, float], name: str) -> dict[str, Any]:
    """LoHa, LoKr and Tucker layers as (down, up), taken out of `weights`."""
    layers: dict[str, Weights] = {}
    for key in [*weights]:
        if match := _FACTORED.fullmatch(key):
            layers.setdefault(match["layer"], {})[match["part"]] = weights.pop(key).float()
    found = {}
    for layer, parts in layers.items():
        if "lora_mid" in parts:
            parts["down"] = weights.pop(f"{layer}.lora_down.weight").float()
            parts["up"] = weights.pop(f"{layer}.lora_up.weight").float()
        try:
            change, rank = _change(parts)
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"the LoRA {name} is not whole: the parts of {layer} do not fit each other"
            ) from error
        strength = 1.0 if rank is None else alphas.get(layer, rank) / rank
        found[layer] = _in_two(change * strength)
    return found


def _change(parts: Weights) -> tuple[Any, int | None]:
    """What a layer adds, (out, in) or (out, in, h, w), and its rank; None where alpha plays no
    part in it. The formulas are those of LyCORIS and PEFT, which agree."""
    import torch

    def tucker(core: Any, left: Any, right: Any) -> Any:
        """(i, j, h, w), (i, out), (j, in) give (out, in, h, w)."""
        return torch.einsum("ijhw,ip,jr->prhw", core, left, right)

    if "lora_mid" in parts:
        down, up = parts["down"].flatten(1), parts["up"].flatten(1)
        return tucker(parts["lora_mid"], up.T, down), down.shape[0]
    if "hada_w1_a" in parts:
        one, two = (
            tucker(parts[f"hada_t{n}"], parts[f"hada_w{n}_a"], parts[f"hada_w{n}_b"])
            if f"hada_t{n}" in parts
            else parts[f"hada_w{n}_a"] @ parts[f"hada_w{n}_b"]
            for n in (1, 2)
        )
        return one * two, parts["hada_w1_b"].shape[0]
    rank = next(
        (parts[name].shape[0] for name in ("lokr_w1_b", "lokr_w2_b") if name in parts), None
    )
    one = parts["lokr_w1"] if "lokr_w1" in parts else parts["lokr_w1_a"] @ parts["lokr_w1_b"]
    if "lokr_w2" in parts:
        two = parts["lokr_w2"]
    elif "lokr_t2" in parts:
        two = tucker(parts["lokr_t2"], parts["lokr_w2_a"], parts["lokr_w2_b"])
    else:
        two = parts["lokr_w2_a"] @ parts["lokr_w2_b"].flatten(1)
    one = one.reshape(*one.shape, *(1,) * (two.ndim - 2))
    return torch.kron(one, two.contiguous()), rank


def _in_two(change: Any) -> tuple[Any, Any]:
    """Down and up with this product; the smaller side is the rank, so that nothing is lost."""
    import torch

    out, into = change.shape[0], change.shape[1]
    flat = change.reshape(out, -1)
    if change.ndim == 4:
        height, width = change.shape[2:]
        if out <= flat.shape[1]:
            return change.contiguous(), torch.eye(out).reshape(out, out, 1, 1)
        rank = flat.shape[1]
        return torch.eye(rank).reshape(rank, into, height, width), flat.reshape(out, rank, 1, 1)
    return (flat, torch.eye(out)) if out <= into else (torch.eye(into), flat)


def _scaled(weight: Any, strength: float) -> Any:
    return weight if strength == 1 else weight.float() * strength


# ---------------------------------------------------------------------------- what was carried


def check_there(pipe: Any, given: Weights, name: str) -> None:
    """Check that the pipeline's components have all layers of the weights.

    Args:
        given: weights, `named`.

    Raises:
        CheckpointError: some are not there.
    """
    import torch

    for part, weights in _by_part(given).items():
        module = getattr(pipe, part, None)
        layers = sorted({_layer(key) for key in weights})
        if not isinstance(module, torch.nn.Module):
            raise _not_there(name, part, len(layers), len(layers), layers[0])
        modules = {inner for inner, _ in module.named_modules()}
        if lost := [layer for layer in layers if layer not in modules]:
            raise _not_there(name, part, len(lost), len(layers), lost[0])


def check_carried(pipe: Any, given: Weights, adapter: str, name: str) -> None:
    """Check that the pipeline's components carry all that they were given.

    Args:
        given: weights, `named`. adapter: what it was called.

    Raises:
        CheckpointError: they carry less, or something else.
    """
    for part, weights in _by_part(given).items():
        has = [
            (key, value)
            for key, value in getattr(pipe, part).named_parameters()
            if f".{adapter}" in key and ".lora_" in key
        ]
        lost = {_layer(key) for key in weights} - {_layer(key) for key, _ in has}
        own = sum(float(value.detach().float().abs().sum()) for _, value in has)
        asked = sum(float(v.float().abs().sum()) for k, v in weights.items() if ".alpha" not in k)
        if lost or not math.isfinite(own) or abs(own - asked) > 1e-2 * max(asked, 1e-6):
            raise CheckpointError(
                f"the LoRA {name} does not fit the {part}: what is carried is not what the file "
                "holds (a number format too small for it, or layers of another kind)"
            )


def named(given: Weights, pipe: Any) -> Weights:
    """Weights of the layouts of diffusers under the names that PEFT has for them."""
    from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft

    found: Weights = {}
    for key, value in given.items():
        part, _, inner = key.partition(".")
        if ".lora_A." in inner or ".lora_B." in inner or ".lora_magnitude_vector." in inner:
            pass
        elif part.startswith("text_encoder"):
            for old, new in _ENCODER:
                inner = re.sub(old, new, inner)
        else:
            (inner,) = convert_unet_state_dict_to_peft({inner: value})
        if part.startswith("text_encoder"):
            inner = inner.removeprefix("text_model.")
            if hasattr(getattr(pipe, part, None), "text_model"):
                inner = f"text_model.{inner}"
        found[f"{part}.{inner}"] = value
    return found


def _by_part(given: Weights) -> dict[str, Weights]:
    """The weights of each component."""
    found: dict[str, Weights] = {}
    for key, value in given.items():
        found.setdefault(key.split(".")[0], {})[key.partition(".")[2]] = value
    return found


def _not_there(name: str, part: str, lost: int, count: int, such: str) -> CheckpointError:
    return CheckpointError(
        f"the LoRA {name} does not fit: {lost} of its {count} layers for the {part} are not in "
        f"this checkpoint, such as {such}; it was trained for another one"
    )


def _not_carried(name: str, keys: list[str]) -> CheckpointError:
    return CheckpointError(
        f"the LoRA {name} holds {len(keys)} weights of a kind that is not carried here, such as "
        f"{keys[0]}; merge it into the checkpoint and load that"
    )
