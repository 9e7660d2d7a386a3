"""A LoRA file beside a checkpoint: a file or folder on this machine, or on the Hub.

The denoiser carries it while a `with` block lasts, or from `attach` on; its own weights stay as
they are. What is made with it is identified by the weights of both.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from textloc.checkpoints import hub, lora_files
from textloc.checkpoints.loading import Lora, Model, Spelling, why_not
from textloc.errors import CheckpointError
from textloc.paths import LORAS

FILE = "pytorch_lora_weights.safetensors"
"""Where diffusers looks for a LoRA in a folder."""

ABOUT = "finetune.json"
"""What a LoRA trained by textloc was made with, beside its weights."""

_NAME = "textloc"
_LARGEST_SCALE = 10.0


@dataclass(frozen=True)
class Found:
    """A LoRA file on this machine. name: as asked for. digest: `sha256:` of its content, and of
    PEFT's config beside it. about:
    what `finetune.json` beside it says; empty where there is none."""

    name: str
    path: Path
    digest: str
    about: dict[str, Any]


def find(name: str) -> Found:
    """The LoRA of a name: one that is `shipped`, a `.safetensors` file, a folder that holds one, or
    a Hub name such as `owner/model`, with the name of the file behind another slash where it has
    several.

    Raises:
        CheckpointError: there is none, or the Hub cannot give it.
    """
    given = LORAS / name if name in shipped() else Path(name)
    try:
        here = bool(name) and given.exists()
    except OSError:  # longer than any name
        here = False
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:/([\w./ -]+\.safetensors))?", name)
    if not here and match is None:
        raise CheckpointError(
            f"there is no LoRA {name[:80]!r}: give a .safetensors file, a folder that holds one, "
            "or a Hub name such as owner/model"
        )
    path = _weights(given) if here else _download(match[1], match[2])  # type: ignore[index]
    total = hashlib.sha256()
    for part in (path, path.parent / lora_files.PEFT_CONFIG):  # the second says how strong it is
        if part is path or part.is_file():
            total.update(part.read_bytes())
    return Found(name, path, f"sha256:{total.hexdigest()}", _about(path.parent / ABOUT))


def shipped() -> list[str]:
    """Names of the LoRAs that travel with textloc."""
    return sorted(path.parent.name for path in LORAS.glob(f"*/{FILE}"))


def _weights(given: Path) -> Path:
    """The one LoRA file that a path names."""
    if given.is_file():
        if given.suffix != ".safetensors":
            raise CheckpointError(f"{given.name} is no safetensors file; convert it first")
        return given
    if (given / FILE).is_file():
        return given / FILE
    return given / _only(sorted(p.name for p in given.glob("*.safetensors")), str(given))


def _only(names: list[str], place: str) -> str:
    if len(names) != 1:
        found = ", ".join(names[:5]) or "none"
        raise CheckpointError(
            f"{place} does not hold one LoRA file (found {found}); name the .safetensors file"
        )
    return names[0]


def _download(repository: str, file: str | None) -> Path:
    from huggingface_hub import errors, hf_hub_download

    try:
        path = Path(_fetch(repository, file))
        for name in (ABOUT, lora_files.PEFT_CONFIG):
            with suppress(errors.EntryNotFoundError):  # not trained by textloc, or not by PEFT
                beside = Path(file).with_name(name).as_posix() if file else name
                hf_hub_download(repository, beside)
        return path
    except (*hub.http_errors(), ValueError) as error:
        raise CheckpointError(why_not(repository, error)) from error


def _fetch(repository: str, file: str | None) -> str:
    """The named file, else the usual one, which needs no list of files, else the only one."""
    from huggingface_hub import HfApi, errors, hf_hub_download

    if file is None:
        try:
            return hf_hub_download(repository, FILE)
        except errors.RemoteEntryNotFoundError:
            names = [n for n in HfApi().list_repo_files(repository) if n.endswith(".safetensors")]
            file = _only(names, repository)
    return hf_hub_download(repository, file)


def _about(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


def attach(model: Model, name: str, scale: float = 1.0) -> Model:
    """The model with a LoRA, which its denoiser carries from now on.

    Args:
        name: as `find`. scale: of what the LoRA adds, 0 to 10; 1 is as it was trained.

    Raises:
        CheckpointError: no such LoRA, one that is not whole, for another architecture or with parts
            that cannot be carried, a pipeline that takes none, or a model that carries one already.
            Nothing of it is carried then.
    """
    if not 0 <= scale <= _LARGEST_SCALE:
        raise CheckpointError(f"the LoRA scale {scale:g} is outside 0 to {_LARGEST_SCALE:g}")
    if model.lora is not None:
        raise CheckpointError(f"{model.name} carries the LoRA {model.lora.name} already")
    loads = hasattr(model.pipe, "load_lora_weights") and hasattr(
        model.denoiser, "load_lora_adapter"
    )
    if not loads or not hasattr(model.pipe, f"{model.family.DENOISER}_name"):  # of its loader
        raise CheckpointError(f"{type(model.pipe).__name__} takes no LoRA")
    for part, module in model.pipe.components.items():
        if getattr(module, "peft_config", None):
            raise CheckpointError(
                f"the {part} of {model.name} carries an adapter already; unload it "
                "(unload_lora_weights) or fuse it first"
            )
    found = find(name)
    _carry(model, found, scale)
    return replace(
        model,
        digest=joined(model.digest, found.digest, scale),
        lora=Lora(found.name, found.digest, scale, model.digest),
        spelling=_spelling(found.about) or model.spelling,
    )


def _carry(model: Model, found: Found, scale: float) -> None:
    """Have the pipeline carry all of a LoRA file, or nothing of it."""
    pipe, file = model.pipe, found.path.name
    weights = lora_files.read(found.path)
    given = lora_files.ready(weights, found.path, pipe, model.family.DENOISER)
    config = {"unet_config": pipe.unet.config} if hasattr(pipe, "unet") else {}
    asked: dict[str, Any] = {"weight_name": file, "local_files_only": True} if given is None else {}
    place = str(found.path.parent) if given is None else given
    try:
        read = pipe.lora_state_dict(place if given is None else dict(given), **asked, **config)
        state = lora_files.named(read[0] if isinstance(read, tuple) else read, pipe)
        lora_files.check_there(pipe, state, file)
        whole = place if given is None else state
        pipe.load_lora_weights(whole, adapter_name=_NAME, **asked)
        lora_files.check_carried(pipe, state, _NAME, file)
        pipe.set_adapters(_NAME, scale)
    except CheckpointError:
        pipe.unload_lora_weights()
        raise
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, IndexError) as error:
        pipe.unload_lora_weights()
        said = " ".join(str(error).split()) or type(error).__name__
        if "size mismatch" in said:
            said = "its layers have other sizes than the checkpoint's"
        raise CheckpointError(
            f"the LoRA {file} does not fit {model.name}: {said[:200].rstrip(' .:')}. Was it "
            "trained for this checkpoint?"
        ) from error


def joined(base: str, lora: str, scale: float) -> str:
    """`sha256:` of a checkpoint's digest, a LoRA's and its scale."""
    both = f"{base} {lora} {float(scale)!r}"
    return f"sha256:{hashlib.sha256(both.encode()).hexdigest()}"


@contextmanager
def attached(model: Model, name: str, scale: float = 1.0) -> Iterator[Model]:
    """`attach` while the block lasts; then the denoiser is as it was."""
    carrying = attach(model, name, scale)
    try:
        yield carrying
    finally:
        model.pipe.unload_lora_weights()


@contextmanager
def without(part: Any) -> Iterator[None]:
    """A denoiser or text encoder without the LoRA that it may carry while the block lasts."""
    layers: list[Any] = []
    if getattr(part, "peft_config", None):
        from peft.tuners.tuners_utils import BaseTunerLayer

        layers = [layer for layer in part.modules() if isinstance(layer, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


@contextmanager
def bare(model: Model) -> Iterator[None]:
    """The model without its LoRA, in the denoiser and in the text encoders, while the block
    lasts."""
    with ExitStack() as stack:
        for part in model.pipe.components.values():
            stack.enter_context(without(part))
        yield


def _spelling(about: dict[str, Any]) -> Spelling | None:
    """What can be spelled with the LoRA, where its folder says so."""
    try:
        return Spelling(**about["spelling"])
    except (KeyError, TypeError):
        return None
