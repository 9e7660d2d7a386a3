"""What a GPU can hold, and what the page offers by it."""

from pathlib import Path

import pytest

from textloc.checkpoints import hardware
from textloc.ui import models

GB = 10**9


def test_what_fits_is_offered_sdxl_first_and_gated_ones_with_a_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    small = [entry.name for entry in hardware.held(16 * GB)]
    assert small[0] == "sdxl"
    assert small[-1].startswith("tiny-")
    assert "sd3" not in small
    assert "qwen-image" not in small
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_made_up")
    large = [entry.name for entry in hardware.held(80 * GB)]
    assert {"sd3", "qwen-image", "flux-dev"} <= set(large)
    assert "flux2-dev" not in large


def test_the_page_offers_by_list_by_gpu_and_by_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTLOC_PUBLIC", "1")
    monkeypatch.setattr(hardware, "gpu_memory", lambda: None)
    assert models.names() == ["tiny-sdxl", "tiny-ldm", "tiny-sd3", "tiny-if"]
    monkeypatch.setattr(hardware, "gpu_memory", lambda: 24 * GB)
    assert models.names()[0] == "sdxl"
    monkeypatch.setenv("TEXTLOC_MODELS", "sd3,own/model")
    assert models.offered()[1] == ("own/model", "own/model")
    assert models.names() == ["sd3", "own/model"]


@pytest.mark.parametrize(
    ("said", "free"), [("15360\n", 15360 * 2**20), ("[N/A]\n", None), ("", None)]
)
def test_free_memory_is_what_the_driver_says(
    said: str, free: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(hardware, "version", lambda _: "2.9.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    hardware.gpu_memory.cache_clear()
    assert hardware.gpu_memory() == free
    hardware.gpu_memory.cache_clear()
    monkeypatch.setattr(hardware, "version", lambda _: "2.9.0+cpu")
    assert hardware.gpu_memory() is None
    hardware.gpu_memory.cache_clear()
