"""PP-OCR on onnxruntime, the usual engine."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from textloc.errors import OCRError
from textloc.reading.ocr.engine import Box, Engine, Pixels, polygon
from textloc.threads import cores


class RapidOCR(Engine):
    """PP-OCRv6 (Chinese and English) on onnxruntime; the weights are in the rapidocr wheel.

    They are named by path, so that rapidocr never looks for a download. The orientation
    classifier is left out (it turned short words round), detection sees at most 768 pixels, and a
    crop is not padded to 320 pixels. One picture a thread is faster than many threads a picture.
    """

    package = "rapidocr"
    aims = (128, 192)

    def __init__(self) -> None:
        try:
            rapidocr = importlib.import_module("rapidocr")
            maker = rapidocr.RapidOCR
        except ImportError as error:
            raise OCRError(
                f"The OCR engine rapidocr cannot be imported ({error}). "
                "Install it with `pip install rapidocr onnxruntime`."
            ) from error
        models = Path(str(rapidocr.__file__)).parent / "models"
        weights = {
            "Det.model_path": models / "PP-OCRv6_det_small.onnx",
            "Rec.model_path": models / "PP-OCRv6_rec_small.onnx",
        }
        missing = [path.name for path in weights.values() if not path.is_file()]
        if missing:
            raise OCRError(
                f"The rapidocr installed here has no {' and no '.join(missing)}. "
                "Install a version that ships them: `pip install rapidocr==3.10.0`."
            )
        self._reader: Any = maker(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.enable_cpu_mem_arena": True,
                "Det.limit_type": "max",
                "Det.limit_side_len": 768,
                "Rec.rec_img_shape": [3, 48, 48],
                **{key: str(path) for key, path in weights.items()},
            }
        )

    def detect(self, pictures: Sequence[Pixels]) -> list[list[Box]]:
        """One picture a thread; see `Engine.detect`."""
        workers = min(len(pictures), cores(), 4)
        if workers < 2:
            return [self._one(picture) for picture in pictures]
        with ThreadPoolExecutor(workers, "textloc-ocr") as pool:
            return list(pool.map(self._one, pictures))

    def _one(self, picture: Pixels) -> list[Box]:
        found = self._reader(np.ascontiguousarray(picture[:, :, ::-1]))  # it takes BGR
        texts = getattr(found, "txts", None)
        if not texts:
            return []
        return [
            Box(text, float(score), polygon(corners))
            for text, score, corners in zip(texts, found.scores, found.boxes, strict=True)
        ]
