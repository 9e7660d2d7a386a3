"""Reading the words in pictures, with one of several OCR engines.

`read` turns pictures into `Reading`s. An engine is a class and a line in the table `ENGINES`.

1. A small picture is enlarged by a whole factor (bicubic) until its short side reaches the
   engine's first aim. If nothing is read, it is enlarged to the next aim and read once more:
   the detector's time grows with the area, and the first look nearly always suffices.
2. The engine finds and reads the text boxes; they are mapped back to the pixels of the original.
3. Boxes are put in reading order, lines from top to bottom and boxes of a line from left to right;
   their texts, joined by spaces, are the text of the picture.

A picture is read on its own, so its reading does not depend on its neighbours in the call; it is
kept under the digest of its pixels. No engine is imported before a picture needs it.
"""

import hashlib
import importlib
import importlib.metadata
import logging
import os
import threading
import warnings
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from textloc.errors import OCRError
from textloc.pictures import flat

Pixels = NDArray[np.uint8]
"""RGB, shape (H, W, 3)."""
Polygon = tuple[tuple[float, float], ...]
"""Four corners (x, y) in pixels, y down, clockwise from the text's top left."""

CACHE_SIZE = 4096
"""How many readings are kept; a reading is a few hundred bytes."""
LONGEST = 2048
"""No picture is enlarged to a longer side than this, in pixels."""


@dataclass(frozen=True)
class Box:
    """One piece of text: what it says, how sure the engine is (0 to 1), and where it is."""

    text: str
    score: float
    polygon: Polygon


@dataclass(frozen=True)
class Reading:
    """All that was read in one picture; `text` is the boxes' texts joined by spaces."""

    text: str
    boxes: tuple[Box, ...] = ()


# --- Engines --------------------------------------------------------------------------------


class Engine(ABC):
    """An OCR engine with its weights loaded. Making one raises OCRError where it cannot run."""

    package: ClassVar[str]
    """The distribution that holds the engine; its version is the engine's version."""
    aims: ClassVar[tuple[int, ...]]
    """Short sides in pixels, rising, to which a smaller picture is enlarged in turn."""

    @abstractmethod
    def detect(self, pictures: Sequence[Pixels]) -> list[list[Box]]:
        """The boxes of each picture, in any order, with polygons in that picture's pixels."""


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
        workers = min(len(pictures), _cores(), 4)
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
            Box(text, float(score), _polygon(corners))
            for text, score, corners in zip(texts, found.scores, found.boxes, strict=True)
        ]


class EasyOCR(Engine):
    """EasyOCR (CRAFT detector, English recogniser), the engine of the paper.

    It runs on torch, on the GPU where there is one. Its weights lie in the folder `model` of
    $EASYOCR_MODULE_PATH or ~/.EasyOCR; where the engine is asked for by name and they are
    missing, it downloads them.
    """

    package = "easyocr"
    aims = (256,)

    weights: ClassVar[tuple[str, ...]] = ("craft_mlt_25k.pth", "english_g2.pth")

    def __init__(self) -> None:
        try:
            easyocr = importlib.import_module("easyocr")
            torch = importlib.import_module("torch")
        except Exception as error:  # a torchvision made for another torch raises RuntimeError
            raise OCRError(
                f"The OCR engine easyocr cannot be imported ({_first_line(error)}). Install it "
                "and the torchvision made for the torch that is here with "
                "`pip install easyocr torchvision`, or use the engine rapidocr."
            ) from error
        logging.getLogger("easyocr").setLevel(logging.CRITICAL)
        self._gpu = bool(torch.cuda.is_available())
        home = self.home()
        try:
            with warnings.catch_warnings(action="ignore"):
                self._reader: Any = easyocr.Reader(
                    ["en"],
                    gpu=self._gpu,
                    model_storage_directory=str(home / "model"),
                    user_network_directory=str(home / "user_network"),
                    verbose=False,
                    quantize=False,  # so that CPU and GPU read alike
                )
        except Exception as error:  # no network, no disk, a broken download
            raise OCRError(
                f"The OCR engine easyocr could not load its weights ({_first_line(error)}). Put "
                f"{' and '.join(self.weights)} into {home / 'model'} (they are on the releases "
                "page of EasyOCR), or use the engine rapidocr, which needs none."
            ) from error

    @staticmethod
    def home() -> Path:
        """EasyOCR's folder, by its own rules."""
        named = os.environ.get("EASYOCR_MODULE_PATH") or os.environ.get("MODULE_PATH")
        return Path(named) if named else Path.home() / ".EasyOCR"

    @classmethod
    def ready(cls) -> bool:
        """Whether weights, package and a GPU are here; without weights nothing is imported."""
        folder = cls.home() / "model"
        if not all((folder / name).is_file() for name in cls.weights):
            return False
        return _importable("easyocr") and importlib.import_module("torch").cuda.is_available()

    def detect(self, pictures: Sequence[Pixels]) -> list[list[Box]]:
        """One picture after the other, the boxes of each in batches; see `Engine.detect`."""
        boxes: list[list[Box]] = []
        for picture in pictures:
            with warnings.catch_warnings(action="ignore"):
                found = self._reader.readtext(
                    np.ascontiguousarray(picture), batch_size=16 if self._gpu else 1
                )
            boxes.append([Box(text, float(score), _polygon(at)) for at, text, score in found])
        return boxes


ENGINES: dict[str, type[Engine]] = {"rapidocr": RapidOCR, "easyocr": EasyOCR}
"""Engines by name."""


# --- Reading --------------------------------------------------------------------------------

_loaded: dict[str, Engine] = {}
_loading = threading.Lock()
_cache: OrderedDict[tuple[str, str], Reading] = OrderedDict()
_caching = threading.Lock()


def resolve(engine: str = "auto") -> str:
    """The name of the engine that would read.

    "auto" is easyocr, the paper's engine, where its weights and a GPU are on this machine, and
    rapidocr otherwise: on a processor EasyOCR takes seconds a picture. Raises OCRError for an
    unknown name.
    """
    if engine == "auto":
        return "easyocr" if EasyOCR.ready() else "rapidocr"
    if engine not in ENGINES:
        raise OCRError(
            f'There is no OCR engine called "{engine}". Use one of: auto, {", ".join(ENGINES)}.'
        )
    return engine


def describe(engine: str = "auto") -> dict[str, str]:
    """The engine's name and version, as {"engine", "version"}, without loading it.

    Raises OCRError for an engine that is unknown or not installed.
    """
    name = resolve(engine)
    package = ENGINES[name].package
    try:
        return {"engine": name, "version": importlib.metadata.version(package)}
    except importlib.metadata.PackageNotFoundError as error:
        raise OCRError(
            f"The OCR engine {name} is not installed. Install it with `pip install {package}`."
        ) from error


def prepare(engine: str = "auto") -> None:
    """Load an engine's weights now (one to two seconds), by letting it read a drawn word.

    Call it from a thread while images are still being made. Raises OCRError as `read` does.
    """
    picture = Image.new("RGB", (160, 128), "white")
    ImageDraw.Draw(picture).text((30, 40), "WORD", "black", ImageFont.load_default(36))
    read([picture], engine)


def read(images: Sequence[Image.Image], engine: str = "auto") -> list[Reading]:
    """What each picture says, in the order given; a picture without text gives Reading("").

    Pictures of any size and mode (`pictures.flat`). Raises OCRError for an engine that is unknown,
    not installed or without weights.
    """
    name = resolve(engine)
    pictures = [np.asarray(flat(image)) for image in images]
    keys = [(name, _digest(picture)) for picture in pictures]
    with _caching:
        known = {key: _cache[key] for key in keys if key in _cache}
    new = {k: p for k, p in zip(keys, pictures, strict=True) if k not in known}
    if new:
        readings = _look(_engine(name), list(new.values()))
        known.update(zip(new, readings, strict=True))
    with _caching:
        for key in keys:
            _cache[key] = known[key]
            _cache.move_to_end(key)
        while len(_cache) > CACHE_SIZE:
            _cache.popitem(last=False)
    return [known[key] for key in keys]


def forget() -> None:
    """Drop all readings that are kept, as is needed before timing an engine; weights stay."""
    with _caching:
        _cache.clear()


def text_mask(reading: Reading, size: tuple[int, int], margin: int = 0) -> NDArray[np.bool_]:
    """Where the text is: bool of shape (H, W), True in every text box.

    `size` is (width, height), as PIL gives it. Each box is first widened by `margin` pixels (at
    least 0) in every direction. For measures of what lies outside the text, pass
    `~text_mask(...)` to the functions of `metrics`, or join the masks of both pictures by `|`.
    """
    if margin < 0:
        raise ValueError(f"the margin must be at least 0 pixels, not {margin}")
    canvas = Image.new("1", size)
    draw = ImageDraw.Draw(canvas)
    for box in reading.boxes:
        draw.polygon(box.polygon, fill=1, outline=1)
    mask = np.array(canvas, dtype=np.bool_)  # (H, W)
    if margin and mask.any():
        from scipy.ndimage import maximum_filter

        mask = np.asarray(maximum_filter(mask, size=2 * margin + 1, mode="constant"), np.bool_)
    return mask


def _engine(name: str) -> Engine:
    """The engine of that name, loaded once."""
    with _loading:
        if name not in _loaded:
            _loaded[name] = ENGINES[name]()
        return _loaded[name]


def _look(engine: Engine, pictures: Sequence[Pixels]) -> list[Reading]:
    """Read pictures at the engine's first aim, and those where nothing was read at the next."""
    readings = [Reading("")] * len(pictures)
    tried: dict[int, int] = {}  # picture number -> the factor it was last seen at
    for aim in engine.aims:
        looks = {
            i: factor
            for i, picture in enumerate(pictures)
            if picture.size and not readings[i].boxes
            if (factor := _factor(picture, aim)) != tried.get(i)
        }
        seen = engine.detect([_enlarge(pictures[i], factor) for i, factor in looks.items()])
        for (i, factor), boxes in zip(looks.items(), seen, strict=True):
            readings[i] = _reading(boxes, factor, pictures[i].shape[1], pictures[i].shape[0])
        tried |= looks
    return readings


def _reading(boxes: Sequence[Box], factor: int, width: int, height: int) -> Reading:
    """Boxes of a picture enlarged by `factor`, in original pixels and in reading order."""
    original = [
        Box(
            box.text.strip(),
            box.score,
            tuple(
                (min(max(x / factor, 0.0), float(width)), min(max(y / factor, 0.0), float(height)))
                for x, y in box.polygon
            ),
        )
        for box in boxes
        if box.text.strip()
    ]
    ordered = tuple(_in_reading_order(original))
    return Reading(" ".join(box.text for box in ordered), ordered)


def _in_reading_order(boxes: Sequence[Box]) -> Iterator[Box]:
    """Lines from top to bottom, the boxes of a line from left to right.

    A box joins the line above it if its middle lies above the bottom of that line's first box.
    """
    placed = []  # (middle, bottom, left, box)
    for box in boxes:
        xs, ys = zip(*box.polygon, strict=True)
        placed.append(((min(ys) + max(ys)) / 2, max(ys), min(xs), box))
    placed.sort(key=lambda entry: entry[0])
    lines: list[list[tuple[float, float, float, Box]]] = []
    for entry in placed:
        if lines and entry[0] < lines[-1][0][1]:
            lines[-1].append(entry)
        else:
            lines.append([entry])
    for line in lines:
        yield from (entry[3] for entry in sorted(line, key=lambda entry: entry[2]))


def _factor(picture: Pixels, aim: int) -> int:
    """By how much to enlarge a picture, for short sides of `aim` or long ones of LONGEST."""
    height, width = picture.shape[:2]
    factor: int = min(-(-aim // min(height, width)), LONGEST // max(height, width))
    return max(1, factor)


def _enlarge(picture: Pixels, factor: int) -> Pixels:
    """The picture with both sides `factor` times as long."""
    if factor == 1:
        return picture
    height, width = picture.shape[:2]
    size = (width * factor, height * factor)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def _polygon(corners: Any) -> Polygon:
    """Plain floats from an engine's array or list of shape (4, 2)."""
    return tuple((float(x), float(y)) for x, y in corners)


def _digest(picture: Pixels) -> str:
    """SHA-256 of a picture's size and pixels."""
    return hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()


def _cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache
def _importable(module: str) -> bool:
    """Whether a module is installed and imports without an error."""
    try:
        importlib.import_module(module)
    except Exception:  # see EasyOCR.__init__
        return False
    return True


def _first_line(error: Exception) -> str:
    """An error's kind and the first line of its message."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
