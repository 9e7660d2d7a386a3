"""Reading the words in pictures, with one of several OCR engines.

`read` turns pictures into `Reading`s. An engine is a file with a
class (`engine.Engine`) and a line in the table `ENGINES`.

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
import importlib.metadata
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from textloc.errors import OCRError
from textloc.pictures import flat
from textloc.reading.ocr.easyocr import EasyOCR
from textloc.reading.ocr.engine import Box as Box
from textloc.reading.ocr.engine import Engine as Engine
from textloc.reading.ocr.engine import Pixels as Pixels
from textloc.reading.ocr.rapidocr import RapidOCR

CACHE_SIZE = 4096
"""How many readings are kept; a reading is a few hundred bytes."""
LONGEST = 2048
"""No picture is enlarged to a longer side than this, in pixels."""


@dataclass(frozen=True)
class Reading:
    """All that was read in one picture; `text` is the boxes' texts joined by spaces."""

    text: str
    boxes: tuple[Box, ...] = ()


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


def here() -> list[str]:
    """Names of the engines that read without a download."""
    return [
        name
        for name, engine in ENGINES.items()
        if find_spec(engine.package) and engine.has_weights()
    ]


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


def read(
    images: Sequence[Image.Image], engine: str = "auto", *, capitals: bool = False
) -> list[Reading]:
    """What each picture says, in the order given; a picture without text gives Reading("").

    Pictures of any size and mode (`pictures.flat`). `capitals` gives texts in capitals, for what
    is drawn by a checkpoint that knows no case: an engine may take one letter's small form for its
    large one (StOP). Raises OCRError for an engine that is unknown, not installed or without
    weights.
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
    found = [known[key] for key in keys]
    return [_in_capitals(reading) for reading in found] if capitals else found


def _in_capitals(reading: Reading) -> Reading:
    boxes = tuple(replace(box, text=box.text.upper()) for box in reading.boxes)
    return Reading(reading.text.upper(), boxes)


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


def _digest(picture: Pixels) -> str:
    """SHA-256 of a picture's size and pixels."""
    return hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()
