"""What a result was made with: versions and device."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from textloc.version import __version__


def version(package: str) -> str | None:
    """Version of an installed package; None where it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def describe(device: str, ocr: dict[str, str] | None) -> dict[str, Any]:
    """Versions of the libraries that decide a result, the device, and the OCR engine where there
    is one."""
    return {
        "textloc": __version__,
        **{name: version(name) for name in ("torch", "diffusers", "transformers")},
        "python": platform.python_version(),
        "device": device,
        **({} if ocr is None else {"ocr": ocr}),
    }
