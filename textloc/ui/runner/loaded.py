"""The models that stay loaded between runs, as far as the memory goes."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

from textloc.checkpoints.known import find

_kept: OrderedDict[tuple[str, float], Any] = OrderedDict()
"""By name and when the files were last changed, the one used last at the end."""
_ROOM = 2
"""Times its weights that are left free beside a model, for what it computes."""


def load(name: str) -> Any:
    """The model of that name; one that is loaded, where its files are unchanged.

    Raises:
        CheckpointError: as `loading.load`.
    """
    from textloc.checkpoints import loading

    key = (name, _changed(Path(name)))
    if key not in _kept:
        if _kept:
            _make_room(_size(name))
        _kept[key] = loading.load(name)
    _kept.move_to_end(key)
    return _kept[key]


def _make_room(size: int | None) -> None:
    """Let models go, the one used longest ago first, until one of `size` bytes has room to compute;
    all where that is not known."""
    from textloc.checkpoints.memory import free_cache

    while _kept and (size is None or size * (1 + _ROOM) > _free()):
        _kept.popitem(last=False)
        free_cache(_device())


def _free() -> int:
    """Bytes that are free where models are loaded."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _size(name: str) -> int | None:
    """Bytes of a checkpoint's weights; None for one that is not known before it is loaded."""
    import torch

    known, folder = find(name), Path(name)
    files = [file.stat().st_size for file in folder.glob("*/*.safetensors")]
    size = known.gigabytes * 1e9 if known is not None else float(sum(files))
    wider = 1 if torch.cuda.is_available() else 2  # a CPU holds them in float32
    return int(wider * size) or None


def _changed(folder: Path) -> float:
    """When a weight file of a local checkpoint was last written; 0 for any other name."""
    times = (file.stat().st_mtime for file in folder.glob("*/*.safetensors"))
    return max(times, default=0.0)
