"""A pipeline that is loaded already, in the place of a checkpoint's name.

The pipeline stays as its owner left it: what textloc switches off, it switches off on a copy that
shares the parts. Its weights are identified as they are in memory, whatever was fused, trained or
added since they were read; where they are still those of the folder they came from, by that folder.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textloc.checkpoints.families import refused
from textloc.checkpoints.known import KNOWN, KnownCheckpoint
from textloc.errors import CheckpointError
from textloc.paths import CHECKPOINTS

_CACHED = re.compile(r"models--([^/\\]+)[/\\]snapshots[/\\]([0-9a-f]{40})$")
"""A folder of the Hub's cache."""


def is_pipeline(thing: Any) -> bool:
    """Whether it is a diffusers pipeline."""
    from diffusers import DiffusionPipeline

    return isinstance(thing, DiffusionPipeline)


def check_not_modular(thing: Any) -> None:
    """Check that it is no modular pipeline.

    Raises:
        CheckpointError: it is one.
    """
    from diffusers import ModularPipeline

    if isinstance(thing, ModularPipeline):
        raise CheckpointError(f"{type(thing).__name__} cannot be used: {refused.MODULAR}")


def check(pipe: Any, there: str, device: str | None, dtype: str | None) -> None:
    """Check that the pipeline can be used as it is.

    Args:
        there: device that it runs on. device, dtype: what is asked for, or None. A pipeline is not
            moved or converted: its owner may use it elsewhere.

    Raises:
        CheckpointError: it is elsewhere or in another number format, it would draw otherwise each
            time (dropout in training mode), or it wants a picture as prompt (IP-Adapter).
    """
    import torch

    if device is not None and device.partition(":")[0] != there.partition(":")[0]:
        raise CheckpointError(
            f"the pipeline is on {there} and {device} is asked for; move it with "
            f"pipe.to({device!r}) first"
        )
    modules = _modules(pipe)
    for name in ("unet", "transformer"):
        held = str(getattr(modules.get(name), "dtype", "")).removeprefix("torch.")
        if dtype is not None and held and held != dtype:
            raise CheckpointError(
                f"the pipeline is in {held} and {dtype} is asked for; convert it with "
                f"pipe.to(torch.{dtype}) first"
            )
    for name, module in modules.items():
        loose = [
            part
            for part in module.modules()
            if isinstance(part, torch.nn.modules.dropout._DropoutNd) and part.training and part.p
        ]
        if loose:
            raise CheckpointError(
                f"the {name} of the pipeline is in training mode, where it draws otherwise each "
                f"time; call pipe.{name}.eval() first"
            )
    adapted = getattr(modules.get("unet"), "encoder_hid_proj", None)
    if getattr(adapted, "image_projection_layers", None) is not None:
        raise CheckpointError(
            "the pipeline carries an IP-Adapter, which wants a picture beside the prompt; call "
            "pipe.unload_ip_adapter() first"
        )


def shared(pipe: Any) -> Any:
    """A pipeline of the same parts, whose checker, watermark, bars and slicing can be switched
    without the first one's being switched."""
    other = copy.copy(pipe)
    bars = getattr(pipe, "_progress_bar_config", None)
    if bars is not None:
        other._progress_bar_config = dict(bars)
    if getattr(pipe, "vae", None) is not None:
        other.vae = copy.copy(pipe.vae)
    return other


def origin(pipe: Any) -> tuple[str, str | None, Path, KnownCheckpoint | None]:
    """Where a pipeline says that it came from: the name for people, the Hub's commit, the folder
    (which need not be there) and its line in the table of known checkpoints."""
    said = str(getattr(pipe.config, "_name_or_path", None) or "")
    folder = Path(said)
    cached = _CACHED.search(said)
    name, revision = said, None
    if cached is not None:
        name, revision = cached[1].replace("--", "/", 1), cached[2]
    for entry in KNOWN:
        here = entry.shipped and said and folder.absolute() == CHECKPOINTS / entry.source
        if here or (not entry.shipped and entry.source == name):
            return entry.name, revision, folder, entry
    if said and folder.is_dir():
        name = name if cached is not None else folder.absolute().name
    return name or type(pipe).__name__, revision, folder, None


def digest(pipe: Any) -> str:
    """`sha256:` of the weights in memory, with the names, classes and settings of the parts.

    Raises:
        CheckpointError: weights that are not loaded.
    """
    total = hashlib.sha256(type(pipe).__name__.encode())
    for name, part in sorted(pipe.components.items()):
        total.update(f"\n{name} {type(part).__name__} {settings(part)}".encode())
    for name, module in sorted(_modules(pipe).items()):
        for key, value in sorted(_weights(module).items()):
            total.update(f"\n{name}.{key} ".encode())
            for content in _bytes(value, f"{name}.{key}"):
                total.update(content)
        total.update(json.dumps(_adapters(module)).encode())
    return f"sha256:{total.hexdigest()}"


def is_still(pipe: Any, folder: Path) -> bool:
    """Whether weights, scheduler and tokenizers of a pipeline are those of this folder."""
    import torch
    from safetensors import SafetensorError, safe_open

    if not (folder / "model_index.json").is_file():
        return False
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module):
            continue
        if "scheduler" in name and not _same_settings(part, folder / name):
            return False
        if "tokenizer" in name and not _same_vocabulary(part, folder / name):
            return False
    for name, module in _modules(pipe).items():
        if name == "safety_checker":  # it is switched off
            continue
        own = _weights(module)
        left = set(own)
        for path in sorted((folder / name).glob("*.safetensors")):
            try:
                with safe_open(path, "pt") as file:
                    for key in left.intersection(file.keys()):
                        stored = file.get_tensor(key).to(own[key].dtype)
                        if not own[key].is_meta and torch.equal(stored, own[key].cpu()):
                            left.discard(key)
            except (OSError, SafetensorError, RuntimeError, TypeError):
                return False
        tied = {own[key].data_ptr() for key in own if key not in left}
        if any(own[key].data_ptr() not in tied for key in left) or _adapters(module):
            return False
    return True


def _modules(pipe: Any) -> dict[str, Any]:
    import torch

    return {n: part for n, part in pipe.components.items() if isinstance(part, torch.nn.Module)}


def _weights(module: Any) -> dict[str, Any]:
    """The module's weights by name, also those that accelerate keeps elsewhere."""
    state: dict[str, Any] = module.state_dict()
    if any(getattr(value, "is_meta", False) for value in state.values()):
        from accelerate.utils import align_module_device

        for name, part in module.named_modules():
            with align_module_device(part, "cpu"):
                for key, value in (
                    *part.named_parameters("", False),
                    *part.named_buffers("", False),
                ):
                    place = f"{name}.{key}" if name else key
                    if place in state:
                        state[place] = value.detach()
    return state


def _bytes(value: Any, name: str) -> Iterator[bytes]:
    """A weight's number format, shape and content."""
    import torch

    if not isinstance(value, torch.Tensor):
        buffer = io.BytesIO()
        torch.save(value, buffer)
        yield buffer.getvalue()
        return
    if value.is_meta:
        raise CheckpointError(f"the weights {name} of the pipeline are not loaded; load it anew")
    yield f"{value.dtype} {tuple(value.shape)} ".encode()
    if type(value) not in (torch.Tensor, torch.nn.Parameter) and hasattr(
        value, "__tensor_flatten__"
    ):  # quantized weights, made of several
        parts, about = value.__tensor_flatten__()
        yield repr(about).encode()
        for part in parts:
            yield from _bytes(getattr(value, part), f"{name}.{part}")
        return
    plain = value.detach().to("cpu").contiguous().as_subclass(torch.Tensor)
    yield plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def _adapters(module: Any) -> list[Any]:
    """The adapters that a module carries: which are on, and how much of each is added."""
    if not getattr(module, "peft_config", None):
        return []
    return [
        [name, dict(part.scaling), list(part.active_adapters), bool(part.disable_adapters)]
        for name, part in module.named_modules()
        if isinstance(getattr(part, "scaling", None), dict) and hasattr(part, "active_adapters")
    ]


def settings(part: Any) -> str:
    """A part's settings as JSON, without where it was read from."""
    if part is None or isinstance(part, (bool, int, float, str, list, tuple, dict)):
        return json.dumps(part, default=str)
    if hasattr(part, "get_vocab"):
        return hashlib.sha256(repr(sorted(part.get_vocab().items())).encode()).hexdigest()
    config = getattr(part, "config", {})
    found = dict(config.to_dict() if hasattr(config, "to_dict") else config)
    return json.dumps(
        {key: value for key, value in found.items() if not key.startswith(("_", "transformers_"))},
        default=str,
        sort_keys=True,
    )


def _same_settings(scheduler: Any, folder: Path) -> bool:
    try:
        return settings(type(scheduler).from_pretrained(folder)) == settings(scheduler)
    except (OSError, ValueError):
        return False


def _same_vocabulary(tokenizer: Any, folder: Path) -> bool:
    if tokenizer is None:
        return True
    try:
        return settings(type(tokenizer).from_pretrained(folder)) == settings(tokenizer)
    except (OSError, ValueError):
        return False
