"""Which files of a diffusers folder are loaded, and the digest of just these.

A component's weights are `diffusion_pytorch_model.safetensors` or `model.safetensors`, whole or in
shards with an index, each perhaps once more in another number format (a *variant*, such as
`model.fp16.safetensors`). What lies beside them and is not loaded is no part of the checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
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


_PARTS = re.compile(
    r"(vae|vqvae|unet|transformer|scheduler|feature_extractor|safety_checker|watermarker"
    r"|image_encoder|(text_encoder|tokenizer)(_\d)?|bert)$"
)
_PICKLES = (".bin", ".ckpt", ".pt", ".pth")


def check(folder: Path) -> None:
    """Check that every component of a diffusers folder has weights that are read.

    Raises:
        CheckpointError: a component without weights, or with pickles only.
    """
    for name in sorted(_components(folder) or ()):
        component = folder / name
        if not (component / "config.json").is_file():  # a scheduler or tokenizer
            continue
        files = [path.name for path in component.iterdir()]
        whole = [file for file in files if file.endswith(".safetensors")]
        for file in whole:
            _check_opens(component / file, f"{name}/{file} of {folder.name}")
        if whole:
            continue
        if any(file.endswith(_PICKLES) for file in files):
            raise CheckpointError(
                f"the {name} of {folder.name} has its weights as a pickle (.bin), which can run "
                "code when it is opened, and is not read; load the checkpoint by diffusers where "
                "you trust it and save it by pipe.save_pretrained(folder), which writes safetensors"
            )
        if any(file.endswith(".gguf") for file in files):
            raise CheckpointError(
                f"the {name} of {folder.name} is a GGUF file; load it by diffusers "
                "(GGUFQuantizationConfig) and give the pipeline to textloc in Python"
            )
        if name in ("unet", "transformer", "vae", "vqvae", "text_encoder"):
            raise CheckpointError(
                f"the {name} of {folder.name} has no weights; is the download complete?"
            )


def _check_opens(path: Path, name: str) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{name} is cut off or no safetensors file; download it again"
        ) from error


def quantized(folder: Path) -> str:
    """How the weights of its components are quantized, such as `bitsandbytes`; empty where they are
    not."""
    found = set()
    for path in folder.glob("*/config.json"):
        try:
            about = json.loads(path.read_text(encoding="utf-8"))["quantization_config"]
            found.add(str(about["quant_method"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return ", ".join(sorted(found))


@contextmanager
def plain(folder: Path) -> Iterator[tuple[Path, dict[str, None]]]:
    """The folder, or one that stands for it, whose `model_index.json` diffusers understands; and
    the components that are left out.

    A class named in a list, and components that are null, are what older and other tools wrote.

    Raises:
        CheckpointError: the class is of a pipeline with code of its own.
    """
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    found = dict(index)
    named = found.get("_class_name")
    if isinstance(named, list):
        import diffusers

        names = [one for one in named if isinstance(one, str)]
        if not names or not hasattr(diffusers, names[-1]):
            raise CheckpointError(
                f"{folder.name} is of a pipeline with code of its own ({', '.join(names)}), which "
                "is not run"
            )
        found["_class_name"] = names[-1]
    for name, kind in index.items():
        if kind is None and _PARTS.match(name):
            found[name] = [None, None]
    left_out = {name: None for name, kind in found.items() if kind == [None, None]}
    if found == index:
        yield folder, left_out
        return
    with tempfile.TemporaryDirectory() as place:
        for path in folder.iterdir():
            if path.name != "model_index.json":
                (Path(place) / path.name).symlink_to(path.resolve())
        (Path(place) / "model_index.json").write_text(json.dumps(found), encoding="utf-8")
        yield Path(place), left_out


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
    found = f"sha256:{total.hexdigest()}"
    return _CLEANED.get(found, found)


_CLEANED = {
    "sha256:f882111c8f45c2af4bb3080d934819c8569d9030f054c896a7a0299dc947a020": (
        "sha256:151943be76babd0f47921ad62a5589325a5a454f4a25f1ee3edb699678e01d5c"
    ),
    "sha256:ecf6313f6969610ba0a1f9c0a0b6bde4253d831e96052ca9ac031b132ed4ba60": (
        "sha256:cf7a4e8ae2b5757e0d24e187a82c3369f7b852813ff220e239644547321c7386"
    ),
    "sha256:aadf1888a28f2b1d99c4b3a335418dd4c34c447bd0c07c2ac266d5253140ab01": (
        "sha256:764dbedbbddbea133d3058cae3113b0287aefe1fe9523019c7b9aed495d34903"
    ),
}
"""Digests of checkpoints that ship and whose `vae/config.json` was cleaned of a path that nothing
reads, after results were made with them: they keep the digest that those results name."""
