"""Which files of a diffusers folder are loaded, and the digest of just these.

A component's weights are `diffusion_pytorch_model.safetensors` or `model.safetensors`, whole or in
shards with an index, each perhaps once more in another number format (a *variant*, such as
`model.fp16.safetensors`). What lies beside them and is not loaded is no part of the checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from textloc.errors import CheckpointError

_WEIGHTS = re.compile(
    r"(?P<base>diffusion_pytorch_model|model)"
    r"(?P<old_shard>-\d{5}-of-\d{5}(?=\.\w))?"  # before diffusers 0.28 the variant came last
    r"(?:\.(?P<variant>[A-Za-z]\w*))?"
    r"(?P<shard>-\d{5}-of-\d{5})?\.safetensors"
)
_INDEX = re.compile(
    r"(?:diffusion_pytorch_model|model)\.safetensors"
    r"(?:\.(?P<old>[A-Za-z]\w*))?\.index(?:\.(?P<new>\w+))?\.json"
)
_PLAIN = (".json", ".txt", ".model")  # configs, vocabularies, SentencePiece


class _File(NamedTuple):
    """A file of weights: its variant (None: the plain one) and whether it is a shard."""

    base: str
    variant: str | None
    sharded: bool


def _weights(name: str) -> _File | None:
    match = _WEIGHTS.fullmatch(name)
    if match is None:
        return None
    sharded = bool(match["old_shard"] or match["shard"])
    return _File(match["base"], match["variant"], sharded)


def variants(files: Iterable[str]) -> set[str]:
    """The variants of any component's weights among files such as `unet/model.fp16.safetensors`."""
    found = (_weights(file.rpartition("/")[2]) for file in files)
    return {file.variant for file in found if file is not None and file.variant is not None}


def variant_of(files: Iterable[str], asked: str | None, source: str) -> str | None:
    """The variant to load of a checkpoint with these files.

    Args:
        files: names such as `unet/model.fp16.safetensors`. asked: by name; None takes the plain
            weights, or, where a component has none, the variant that all such components have.
        source: of the checkpoint, for messages.

    Raises:
        CheckpointError: no component has the variant that is asked for.
    """
    found: dict[str, set[str | None]] = {}
    for file in files:
        component, _, name = file.rpartition("/")
        weights = _weights(name)
        if component and "/" not in component and weights is not None:
            found.setdefault(component, set()).add(weights.variant)
    named = sorted({v for variants in found.values() for v in variants if v is not None})
    if asked is not None:
        if asked not in named:
            there = f"it has {', '.join(named)}" if named else "it has plain weights only"
            raise CheckpointError(f"{source} has no weights of the variant {asked!r}; {there}")
        return asked
    lacking = [variants for variants in found.values() if None not in variants]
    common = [v for v in named if all(v in variants for variants in lacking)]
    return common[0] if lacking and common else None


def names(folder: Path) -> list[str]:
    """The files of a folder's components, such as `unet/config.json`."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))


def loaded_files(folder: Path, variant: str | None) -> list[Path]:
    """The files of a checkpoint's components that loading reads: weights of that variant (plain
    ones of components that lack it), configs and tokenizers; in order."""
    listed = _components(folder)
    found: list[Path] = []
    for component in sorted(path for path in folder.iterdir() if path.is_dir()):
        if listed is None or component.name in listed:
            found += _of_component(component, variant)
    return found


def _components(folder: Path) -> Collection[str] | None:
    """The components that `model_index.json` names; None where it cannot be read."""
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        return {n for n, kind in index.items() if isinstance(kind, list) and any(kind)}
    except (OSError, ValueError, AttributeError):
        return None


def _of_component(component: Path, variant: str | None) -> list[Path]:
    names = sorted(path.name for path in component.iterdir() if path.is_file())
    weights = {name: file for name in names if (file := _weights(name)) is not None}
    taken = variant if any(file.variant == variant for file in weights.values()) else None
    of_it = {name: file for name, file in weights.items() if file.variant == taken}
    # of shards and a whole file transformers reads the file, and diffusers the shards
    both = len({file.sharded for file in of_it.values()}) > 1
    if both:
        sharded = any(file.base == "diffusion_pytorch_model" for file in of_it.values())
        of_it = {name: file for name, file in of_it.items() if file.sharded == sharded}
    shards = any(file.sharded for file in of_it.values())
    found = []
    for name in names:
        index = _INDEX.fullmatch(name)
        if index is not None:
            wanted = shards and (index["old"] or index["new"]) == taken
        else:
            wanted = name in of_it or Path(name).suffix in _PLAIN
        if wanted:
            found.append(component / name)
    return found


def digest(folder: Path, variant: str | None = None) -> str:
    """`sha256:` of the names and contents of what is loaded of a checkpoint.

    Files in the Hub's cache are links to blobs named by their SHA-256; those are not read again.

    Args:
        variant: None as `variant_of`.
    """
    if variant is None:
        variant = variant_of(names(folder), None, folder.name)
    total = hashlib.sha256()
    for path in loaded_files(folder, variant):
        blob = path.resolve().name
        if not (path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", blob)):
            with path.open("rb") as file:
                blob = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()} {blob}\n".encode())
    return f"sha256:{total.hexdigest()}"
