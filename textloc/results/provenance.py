"""What a result was made with: versions and device."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from textloc.version import __version__


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe(device: str, ocr: dict[str, str] | None) -> dict[str, Any]:
    """Versions of the libraries that decide a result, the device, and the OCR engine where there
    is one."""
    return {
        "textloc": __version__,
        **{name: _version(name) for name in ("torch", "diffusers", "transformers")},
        "python": platform.python_version(),
        "device": device,
        **({} if ocr is None else {"ocr": ocr}),
    }
