"""Pictures as people bring them: what is seen in them stays, or it is said what does not."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageDraw, ImageFont, features

from textloc import pictures
from textloc.errors import PromptError
from textloc.pictures import notes, read_picture
from textloc.reading import ocr


def word(ink: str = "black", ground: str = "white") -> Image.Image:
    """STOP, 160 x 96."""
    picture = Image.new("RGB", (160, 96), ground)
    ImageDraw.Draw(picture).text((20, 25), "STOP", ink, ImageFont.load_default(40))
    return picture


def ink() -> Image.Image:
    """How much ink a pixel of `word` has, L."""
    return Image.fromarray(255 - np.asarray(word().convert("L")))


def cut_out(colour: str) -> Image.Image:
    """STOP in a colour on nothing."""
    picture = Image.new("RGB", (160, 96), colour)
    picture.putalpha(ink())
    return picture


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> io.BytesIO:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    stream.seek(0)
    return stream


def as_tiff(values: Any, **options: Any) -> io.BytesIO:
    stream = io.BytesIO()
    kind = "minisblack" if values.ndim == 2 else "rgb"
    tifffile.imwrite(stream, values, **{"photometric": kind} | options)
    stream.seek(0)
    return stream


def near(one: Image.Image, other: Image.Image, most: int = 2) -> bool:
    a, b = np.asarray(one, int), np.asarray(other.convert("RGB"), int)
    return bool(a.shape == b.shape and np.abs(a - b).max() <= most)


# -- transparency ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("colour", "ground"),
    [("black", "white"), ("white", "black"), ("red", "white"), ("yellow", "black")],
)
def test_transparency_is_laid_on_what_shows_the_text(colour: str, ground: str) -> None:
    found = read_picture(encoded(cut_out(colour)))
    assert near(found, word(colour, ground))
    assert notes(found) == (f"its transparency is laid on {ground}",)
    assert ocr.read([cut_out(colour)])[0].text == "STOP"  # also as an object


def grey_alpha() -> io.BytesIO:
    return encoded(cut_out("black").convert("LA"))


def palette_with_one_clear_colour() -> io.BytesIO:
    picture = word().convert("L").point(lambda v: 255 * (v > 127)).convert("P")
    clear = picture.getpixel((0, 0))
    return encoded(picture, transparency=clear)


def palette_with_shares() -> io.BytesIO:
    return encoded(cut_out("black").quantize(64))


def rgb_with_a_clear_colour() -> io.BytesIO:
    return encoded(word("black", "#010203"), transparency=(1, 2, 3))


def gif() -> io.BytesIO:
    return encoded(cut_out("black"), "GIF")


def webp() -> io.BytesIO:
    return encoded(cut_out("black"), "WEBP", lossless=True)


def tiff() -> io.BytesIO:
    return encoded(cut_out("black"), "TIFF")


def bits_with_a_clear_one() -> io.BytesIO:
    return encoded(word().convert("1"), transparency=1)


@pytest.mark.parametrize(
    "make",
    [
        *(grey_alpha, palette_with_one_clear_colour, palette_with_shares, rgb_with_a_clear_colour),
        *(gif, webp, tiff, bits_with_a_clear_one),
    ],
)
def test_every_kind_of_transparency(make: Any) -> None:
    found = read_picture(make())
    assert ocr.read([found])[0].text == "STOP"
    assert np.asarray(found)[0, 0].min() > 200  # the ground is white
    assert notes(found) == ("its transparency is laid on white",)


def test_a_full_alpha_channel_changes_nothing() -> None:
    found = read_picture(encoded(word().convert("RGBA")))
    assert near(found, word(), 0)
    assert notes(found) == ()


# -- depth -----------------------------------------------------------------------------------


def deep(most: int, kind: str = "<u2") -> Any:
    return (np.asarray(word().convert("L"), np.float64) / 255 * most).round().astype(kind)


@pytest.mark.parametrize("most", [65535, 4095, 1023])
def test_sixteen_bits_are_scaled(most: int) -> None:
    for stream in (
        encoded(Image.fromarray(deep(most).astype(np.uint16))),
        as_tiff(deep(most)),
        as_tiff(deep(most, ">u2"), byteorder=">"),
    ):
        found = read_picture(stream)
        assert near(found, word())
        assert notes(found) == (f"its values from 0 to {most} are scaled to 8 bits",)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (deep(1, "f8").astype(np.float32), ""),  # rounded to 0 and 1
        (np.asarray(word().convert("L"), np.float32) / 255, "scaled to 8 bits"),
        (np.asarray(word().convert("L"), np.float32), ""),
        (np.asarray(word().convert("L"), np.int32), ""),
        (np.asarray(word().convert("L"), np.int32) * 257, "scaled to 8 bits"),
        (np.asarray(word().convert("L"), np.int32) * 8_000_000, "stretched"),
        (np.asarray(word().convert("L"), np.float32) / 127.5 - 1, "from -1 to 1 are stretched"),
        (np.asarray(word(), np.float32) / 255, "scaled to 8 bits"),  # three channels
        (np.asarray(word(), np.float64) / 255, "scaled to 8 bits"),
        (np.asarray(word(), np.float16) / 255, "scaled to 8 bits"),
        (np.asarray(word(), np.uint16) * 257, ""),
    ],
)
def test_deep_tiffs(values: Any, said: str) -> None:
    if values.dtype == np.float64 and values.ndim == 2:
        pytest.skip("one kind is enough")
    found = read_picture(as_tiff(values))
    assert near(found, word(), 130 if values.max() == 1 and set(np.unique(values)) == {0, 1} else 2)
    assert ocr.read([found])[0].text == "STOP"
    assert any(said in note for note in notes(found)) or not said


def test_light_beyond_white_is_cut_and_told() -> None:
    values = np.asarray(word("black", "#808080"), np.float32) / 255
    values[:2, :4] = 30.0  # a lamp
    found = read_picture(as_tiff(values))
    assert ocr.read([found])[0].text == "STOP"
    assert abs(int(np.asarray(found)[50, 2, 0]) - 128) <= 2
    assert "light beyond 1 is cut" in notes(found)


def test_values_that_are_no_numbers_are_told() -> None:
    values = np.asarray(word().convert("L"), np.float32) / 255
    values[0, 0], values[0, 1] = np.nan, np.inf
    found = read_picture(as_tiff(values))
    assert near(found.crop((0, 2, 160, 96)), word().crop((0, 2, 160, 96)))
    assert any("no numbers" in note for note in notes(found))


def test_a_deep_tiff_with_alpha_on_its_side() -> None:
    values = np.dstack([np.zeros((160, 96, 3)), np.asarray(ink().rotate(90, expand=True)) / 255])
    extra = [(274, "H", 1, 6, True)]
    stream = as_tiff(values.astype(np.float32), extratags=extra)
    found = read_picture(stream)
    assert ocr.read([found])[0].text == "STOP"
    assert "its transparency is laid on white" in notes(found)


def test_one_bit() -> None:
    for kind in ("PNG", "TIFF"):
        found = read_picture(encoded(word().convert("1"), kind))
        assert ocr.read([found])[0].text == "STOP"


def test_what_is_plain_is_given_back_as_it_is() -> None:
    picture = word()
    assert pictures.flat(picture) is picture


# -- colours ---------------------------------------------------------------------------------


def test_inks_are_not_turned_round() -> None:
    for kind, options in (("JPEG", {"quality": 100, "subsampling": 0}), ("TIFF", {})):
        found = read_picture(encoded(word("black", "#ffee00").convert("CMYK"), kind, **options))
        assert near(found, word("black", "#ffee00"), 12)


def test_inverted_inks_of_photoshop() -> None:
    """Adobe's YCCK and CMYK JPEGs hold paper as 255."""
    plain = encoded(word("black", "#ffee00").convert("CMYK"), "JPEG", quality=100).getvalue()
    adobe = b"\xff\xee" + struct.pack(">H5sHHHB", 14, b"Adobe", 100, 0, 0, 0)
    at = plain.find(b"\xff\xee")
    assert at > 0, "Pillow writes the marker itself"
    without = plain[:at] + plain[at + 2 + struct.unpack(">H", plain[at + 2 : at + 4])[0] :]
    again = io.BytesIO(without[:2] + adobe + without[2:])
    assert near(read_picture(again), word("black", "#ffee00"), 12)


def test_colours_of_a_profile_become_srgb() -> None:
    """A Lab profile is the farthest from sRGB that Pillow makes itself."""
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    red, blue = swapped.find(b"rXYZ"), swapped.find(b"bXYZ")
    changed = bytearray(swapped)  # its red is blue and its blue red
    changed[red : red + 4], changed[blue : blue + 4] = b"bXYZ", b"rXYZ"
    profile = bytes(changed).replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    for picture in (word("red"), cut_out("red")):
        found = read_picture(encoded(picture, icc_profile=profile))
        assert near(found, word("blue"), 3)
        assert any("to sRGB" in note and "mine" in note for note in notes(found))


def test_srgb_and_damaged_profiles_change_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = read_picture(encoded(word("#123456"), icc_profile=srgb))
    assert near(found, word("#123456"), 0)
    assert notes(found) == ()
    found = read_picture(encoded(word("#123456"), icc_profile=b"no profile"))
    assert near(found, word("#123456"), 0)
    assert any("profile cannot be used" in note for note in notes(found))


# -- side up, several ------------------------------------------------------------------------


@pytest.mark.parametrize("side", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_side_that_the_camera_names_is_up(kind: str, side: int) -> None:
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    picture = word() if side == 1 else word().transpose(back[side])
    exif = Image.Exif()
    exif[274] = side
    assert near(read_picture(encoded(picture, kind, exif=exif)), word(), 90)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_of_several_is_taken_and_told(kind: str) -> None:
    others = [word("red"), word("blue")]
    stream = encoded(word(), kind, save_all=True, append_images=others)
    found = read_picture(stream)
    assert near(found, word(), 90)
    assert any("holds 3 pictures" in note for note in notes(found))


# -- what is refused -------------------------------------------------------------------------


def bomb() -> bytes:
    """A PNG that says 30,000 x 30,000."""
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


def no_pixels() -> bytes:
    return (
        encoded(word())
        .getvalue()
        .replace(struct.pack(">II", 160, 96), struct.pack(">II", 0, 96), 1)
    )


HEIC = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAAFoAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAAB"
    "AABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADw"
    "NgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAA"
    "AAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcA"
    "AAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWB"
    "AgMFhAAAAGJtZGF0AAAAVigBrwngIzUt//Wb+99+5//QLEdO7v1KFbBdL/LgW/fobX36Sa8Itx/+PyO/8ugLv8IRJY"
    "iXz71vRLC+X6Mzs48l1u9+EKjdB0FF3a6CuCLxkS1reUeA"
)
"""64x48, red but for the upper left quarter, which is blue; written by pillow-heif 1.8.1."""

TURNED = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAAB7AABAAAAAAAAAFoAAgAAAAACRgABAAAAAAAAACQAAAA4aWluZgAA"
    "AAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABB2lwcn"
    "AAAADmaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroC"
    "QGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm"
    "5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AA"
    "AAACAAAAEHBpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEAAQaBAgMFhIYAAAAaaXJlZgAAAAAAAA"
    "AOY2RzYwACAAEAAQAAAIZtZGF0AAAAVigBrwngIzUt//Wb+99+5//QLEdO7v1KFbBdL/LgW/fobX36Sa8Itx/+PyO/"
    "8ugLv8IRJYiXz71vRLC+X6Mzs48l1u9+EKjdB0FF3a6CuCLxkS1reUeAAAAABkV4aWYAAE1NACoAAAAIAAEBEgADAA"
    "AAAQAGAAAAAAAA"
)
"""The same, to be turned right by a quarter."""


@pytest.mark.parametrize(
    ("code", "size", "blue"), [(HEIC, (64, 48), (9, 9)), (TURNED, (48, 64), (40, 9))]
)
def test_pictures_of_phones(
    code: str, size: tuple[int, int], blue: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / f"mine{PHONES[0]}"
    path.write_bytes(base64.b64decode(code))
    found = read_picture(path)
    assert near(found, read_picture(io.BytesIO(path.read_bytes())), 0)
    assert found.size == size
    red, _, other = found.getpixel(blue)
    assert other > 100 > red
    red, _, other = found.getpixel((size[0] // 2, size[1] - 4))
    assert red > 100 > other


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"no picture", "no known kind of picture"),
        (encoded(word()).getvalue()[:900], "cannot be read as a picture"),
        (encoded(word(), "JPEG").getvalue()[:900], "cannot be read as a picture"),
        (encoded(word(), "WEBP").getvalue()[:300], "cannot be read as a picture"),
        (as_tiff(np.zeros((9, 9, 3), np.float32)).getvalue()[:200], "cannot be read as a picture"),
        (
            as_tiff(np.zeros((9, 9, 7), "f4"), photometric="minisblack", planarconfig=1).getvalue(),
            "cannot be read as a picture",
        ),
        (bomb(), "million"),
        (no_pixels(), "cannot be read as a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC picture.*export it as JPEG"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC picture.*export it as JPEG"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x"></svg>', "an SVG drawing"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"%PDF-1.7", "a PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"\xff\x0a\xfa", "JPEG XL"),
        (b"#?RADIANCE\n", "linear light"),
        (b"PK\x03\x04", "an archive"),
        (b"\0\0\0\x18ftypmp42", "a film"),
    ],
)
def test_what_cannot_be_read_says_what_it_is(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.png"
    path.write_bytes(content)
    for file in (path, io.BytesIO(content)):
        with pytest.raises(PromptError, match=rf"(?s)^(mine\.png|the picture) .*{said}") as told:
            read_picture(file)
        assert str(tmp_path) not in str(told.value)


def test_a_folder_and_a_missing_file_are_told(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "is a directory"), (tmp_path / "no.png", "no such file")):
        with pytest.raises(PromptError, match=f"cannot be read as a picture.*{said}"):
            read_picture(path)


PHONES = (".heic", ".heif")
"""Pillow writes none of them; `test_pictures_of_phones` reads some."""


@pytest.mark.parametrize("ending", [one for one in pictures.ENDINGS if one not in PHONES])
def test_what_the_page_offers_is_read(ending: str, tmp_path: Path) -> None:
    if ending == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / f"mine{ending}"
    word().save(path)
    assert near(read_picture(path), word(), 120)
    assert ocr.read([read_picture(path)])[0].text == "STOP"
