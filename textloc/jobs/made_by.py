"""What decides the pictures of a model beside the runs: its weights, its settings, the code and the
machine.

Equal answers in two processes mean that both make the same pictures, bit for bit. Where that cannot
be said, because a part of the pipeline is code that has no version, there is no answer.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from textloc.checkpoints import given
from textloc.checkpoints.loading import Model
from textloc.results.provenance import version
from textloc.version import __version__

_LIBRARIES = ("torch", "diffusers", "transformers", "tokenizers", "accelerate", "peft", "numpy")
_READING = ("numpy", "pillow", "onnxruntime", "opencv-python", "torch", "torchvision")
_ROOMS = ("baselines", "checkpoints", "patching", "reading")
_GROUND = ("layers.py", "pictures.py", "prompts.py", "replacing.py", "runs.py")
"""Files of textloc that pictures, shares and readings go through."""


class _Unknown(Exception):
    """A part of the pipeline that nothing identifies."""


def made_by(model: Model) -> dict[str, Any] | None:
    """All that decides a model's pictures beside runs and sampling; None where a part of it has
    code that is not of a library, such as a hook of one's own."""
    try:
        pipes = [_pipeline(model.pipe)]
        if model.upscaler is not None:
            if model.upscaler.digest is None:
                return None
            second = {"digest": model.upscaler.digest, "call": dict(model.upscaler.call)}
            pipes.append(second | _pipeline(model.upscaler.pipe))
    except _Unknown:
        return None
    packages = {name for pipe in pipes for name in pipe.pop("packages")}
    return {
        "digest": model.digest,
        "family": type(model.family).__name__,
        "pipes": pipes,
        "libraries": {name: _version_of(name) for name in _LIBRARIES} | _versions(packages),
        "code": code(),
        "machine": machine(model.device),
    }


def read_by() -> dict[str, Any]:
    """All that decides a reading beside the engine with its version and the picture."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"  # that EasyOCR would take
    libraries = {name: _version_of(name) for name in _READING}
    return {"libraries": libraries, "code": code(), "machine": machine(device)}


@lru_cache(maxsize=1)
def code() -> str:
    """Version of textloc and the digest of its files that pictures, shares and readings go
    through."""
    package = Path(__file__).resolve().parent.parent
    total = hashlib.sha256(__version__.encode())
    files = [path for room in _ROOMS for path in sorted((package / room).rglob("*.py"))]
    for path in (*files, *(package / name for name in _GROUND)):
        total.update(f"\n{path.relative_to(package).as_posix()}\n".encode() + path.read_bytes())
    return total.hexdigest()


def machine(device: str) -> dict[str, Any]:
    """The kind of device, and how torch computes on it. The number of threads decides in which
    order a processor sums."""
    import torch

    kind = device.partition(":")[0]
    found: dict[str, Any] = {
        "kind": kind,
        "threads": torch.get_num_threads(),
        "processor": [platform.system(), platform.machine()],
        "capability": torch.backends.cpu.get_cpu_capability(),
        "precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    if kind == "cuda":
        number = torch.device(device).index
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        found |= {
            "name": torch.cuda.get_device_name(number),
            "cuda": torch.version.cuda,
            "cudnn": [cudnn.version(), cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32],
            "matmul": [matmul.allow_tf32, matmul.allow_fp16_reduced_precision_reduction],
        }
    return found


# -- the pipeline ---------------------------------------------------------------------------


def _pipeline(pipe: Any) -> dict[str, Any]:
    """A pipeline's class and settings, and the `packages` that its code is of."""
    import torch

    packages = {_package(type(pipe))}
    _check_own(pipe)
    settings, modules = {}, {}
    for name, part in sorted(vars(pipe).items()):
        if isinstance(part, torch.nn.Module):
            modules[name] = _module(part, packages)
        if hasattr(part, "get_vocab") or not hasattr(part, "config") or name.startswith("_"):
            continue  # the vocabulary is in the digest
        packages.add(_package(type(part)))
        settings[name] = [type(part).__name__, given.settings(part)]
    return {
        "class": type(pipe).__name__,
        "plain": _plain_of(pipe),
        "settings": settings,
        "modules": modules,
        "packages": packages,
    }


def _module(whole: Any, packages: set[str]) -> str:
    """Digest of a network's parts: their classes, plain attributes and number formats."""
    total = hashlib.sha256()
    for name, part in whole.named_modules():
        packages.add(_package(type(part)))
        _check_own(part)
        others = []
        for key, value in sorted(vars(part).items()):
            if not key.startswith("_") and not _is_plain(value):
                packages.add(_package(value))
                others.append([key, _name(value), _plain_of(value)])
        registry = getattr(part, "_diffusers_hook", None)
        kept = sorted(getattr(registry, "hooks", ()))
        own = [f"{weight.dtype}" for weight in part.parameters(recurse=False)]
        total.update(f"{[name, _name(part), _plain_of(part), others, kept, own]!r}\n".encode())
    return total.hexdigest()


_PLAIN = (bool, int, float, str, type(None))


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(isinstance(one, _PLAIN) for one in value)
    return isinstance(value, _PLAIN)


def _plain_of(thing: Any) -> list[tuple[str, Any]]:
    """The plain attributes of something by name. Those that begin with an underscore are left out:
    calls note their own state in such."""
    return [
        (name, value)
        for name, value in sorted(getattr(thing, "__dict__", {}).items())
        if _is_plain(value) and not name.startswith("_")
    ]


def _check_own(thing: Any) -> None:
    """Check that no hook is on it, and that nothing stands in the place of its methods, but what a
    library put there (as accelerate does that moves weights)."""
    for name, value in vars(thing).items():
        method = callable(getattr(type(thing), name, None))
        if method and callable(value) and not isinstance(value, type):
            _package(value)
    for kind in ("_forward_hooks", "_forward_pre_hooks"):
        for hook in getattr(thing, kind, {}).values():
            _package(hook)


def _name(thing: Any) -> str:
    """Class of something, or the name of a function."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


def _package(thing: Any) -> str:
    """The package that a class, an object's class or a function is of.

    Raises:
        _Unknown: it is of none that has a version, or what textloc itself put there for a while.
    """
    while isinstance(thing, partial):
        thing = thing.func
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    module = getattr(named, "__module__", None)
    top = str(module).partition(".")[0]
    if module is None or top in sys.stdlib_module_names:  # such as a function written in C
        return "python"
    if top == "textloc" or _version_of(top) is None:
        raise _Unknown
    return top


@lru_cache(maxsize=256)
def _version_of(top: str) -> str | None:
    found = version(top) if top and top != "__main__" else None
    if found is None and top != "__main__":
        found = getattr(sys.modules.get(top), "__version__", None)
    return None if found is None else str(found)


def _versions(packages: set[str]) -> dict[str, str | None]:
    known = packages - {"python"}
    return {"python": platform.python_version()} | {name: _version_of(name) for name in known}
