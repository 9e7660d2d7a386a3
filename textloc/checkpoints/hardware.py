"""What a GPU of this machine can hold, told without torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

from textloc.checkpoints.known import KNOWN, KnownCheckpoint
from textloc.checkpoints.memory import placement

ZERO_GPU = 74_625_056_768
"""Bytes of the smallest GPU that a ZeroGPU Space is lent, as the `spaces` package has them."""
_PATIENCE = 20.0  # seconds; a driver that is just waking takes a few


@lru_cache(maxsize=1)
def gpu_memory() -> int | None:
    """Bytes that are free on the first GPU that this process may use, as it began; None without a
    GPU, or with a torch that is built for none. Those of a ZeroGPU, where one is lent."""
    if zero_gpu():
        return ZERO_GPU
    program = shutil.which("nvidia-smi")
    if program is None or _no_cuda() or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return None
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()
    asked = [program, f"--id={first}", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(
            asked, capture_output=True, text=True, timeout=_PATIENCE, check=True
        ).stdout
        return int(said.strip().splitlines()[0]) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def zero_gpu() -> bool:
    """Whether this is a Space that is lent a GPU for seconds at a time, told as `spaces` does."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def _no_cuda() -> bool:
    try:
        return "+cpu" in version("torch")
    except PackageNotFoundError:
        return True


def held(free: int) -> list[KnownCheckpoint]:
    """The known checkpoints whose weights a GPU with `free` bytes holds whole: SDXL first, where it
    is among them, those that ship last. Gated ones are among them where a token for the Hub is
    set."""
    from huggingface_hub import get_token

    token = bool(get_token())
    fit = [entry for entry in KNOWN if _fits(entry, free) and (token or not entry.gated)]
    return sorted(fit, key=lambda entry: (entry.shipped, entry.name != "sdxl"))


def _fits(entry: KnownCheckpoint, free: int) -> bool:
    weights = int(entry.gigabytes * 1e9)
    return placement(weights, weights, free) == "whole"
