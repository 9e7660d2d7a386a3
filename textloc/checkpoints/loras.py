"""A LoRA file beside a checkpoint: a file or folder on this machine, or on the Hub.

The denoiser carries it while a `with` block lasts, or from `attach` on; its own weights stay as
they are. What is made with it is identified by the weights of both.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
    """A LoRA file on this machine. name: as asked for. digest: `sha256:` of its content. about:
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
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Found(name, path, f"sha256:{digest}", _about(path.parent / ABOUT))


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
    import httpx
    from huggingface_hub import errors, hf_hub_download

    try:
        path = Path(_fetch(repository, file))
        with suppress(errors.EntryNotFoundError):  # not trained by textloc
            beside = Path(file).with_name(ABOUT).as_posix() if file else ABOUT
            hf_hub_download(repository, beside)
        return path
    except (OSError, ValueError, httpx.HTTPError) as error:
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
        CheckpointError: no such LoRA, one for another architecture, a pipeline that takes none, or
            a model that carries one already.
    """
    if not 0 <= scale <= _LARGEST_SCALE:
        raise CheckpointError(f"the LoRA scale {scale:g} is outside 0 to {_LARGEST_SCALE:g}")
    if model.lora is not None:
        raise CheckpointError(f"{model.name} carries the LoRA {model.lora.name} already")
    if not hasattr(model.pipe, "load_lora_weights"):
        raise CheckpointError(f"{type(model.pipe).__name__} takes no LoRA")
    found = find(name)
    try:
        model.pipe.load_lora_weights(
            str(found.path.parent),
            weight_name=found.path.name,
            adapter_name=_NAME,
            local_files_only=True,
        )
        if _NAME not in getattr(model.denoiser, "peft_config", {}):
            raise ValueError("it has no weights for this denoiser")
        model.pipe.set_adapters(_NAME, scale)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        model.pipe.unload_lora_weights()
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(" .:")
        raise CheckpointError(
            f"the LoRA {name} does not fit {model.name}: {said}. Was it trained for "
            "this checkpoint?"
        ) from error
    return replace(
        model,
        digest=joined(model.digest, found.digest, scale),
        lora=Lora(found.name, found.digest, scale, model.digest),
        spelling=_spelling(found.about) or model.spelling,
    )


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
def without(denoiser: Any) -> Iterator[None]:
    """A denoiser without the LoRA that it may carry while the block lasts."""
    carries = bool(getattr(denoiser, "peft_config", None))
    if carries:
        denoiser.disable_adapters()
    try:
        yield
    finally:
        if carries:
            denoiser.enable_adapters()


def _spelling(about: dict[str, Any]) -> Spelling | None:
    """What can be spelled with the LoRA, where its folder says so."""
    try:
        return Spelling(**about["spelling"])
    except (KeyError, TypeError):
        return None
