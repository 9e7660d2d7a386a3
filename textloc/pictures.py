"""Picture files of one's own, as people bring them: any depth, transparency, colours and side up.

All become RGB of 8 bits. What had to be decided on the way, such as what lies behind transparency,
is said in the picture's `notes`; what cannot be decided is refused.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from textloc.errors import PromptError
from textloc.runs import Reference, Sampling

LARGEST = 40_000_000
"""Pixels of the largest picture that is opened."""

ENDINGS = (*(".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"),
           *(".heic", ".heif"))  # fmt: skip
"""What the names of picture files end in, as the page offers them; others are read as well."""

_Shares = NDArray[np.floating[Any]]
"""How much of each pixel is seen, 0 to 1, shape (H, W)."""
_NOTES = "textloc"
_UNREAD = {"EPS", "WMF", "MPEG", "HDF5", "BUFR", "GRIB", "STUB"}
"""Formats that other programs would have to be started for."""

_FOREIGN = (
    (rb".{4}ftyp(hei|hev|mif1|msf1)", "a HEIC picture, as phones save them, and damaged, or "
     "`pip install pi-heif` is missing; export it as JPEG"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL picture; export it as PNG or JPEG"),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg", "an SVG drawing; "
     "export it as PNG"),
    (rb"\s*(<!doctype html|<html|<head)", "a web page, not a picture; save the picture itself"),
    (rb"%PDF", "a PDF document; export the page as PNG"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript drawing; export it as PNG"),
    (rb"version https://git-lfs", "a pointer of Git LFS; fetch the file (git lfs pull)"),
    (rb"#\?R|\x76\x2f\x31\x01", "an HDR picture of linear light; export it as PNG"),
    (rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf", "an archive; unpack it first"),
    (rb"\x1aE\xdf\xa3|.{4}ftyp(mp4|isom|qt|M4V)", "a film; save one picture of it as PNG"),
)  # fmt: skip
"""What files begin with that are called pictures now and then, and what to do."""


def read_picture(file: Path | BinaryIO, name: str | None = None) -> Image.Image:
    """A picture file in RGB, the right way up; `name` is how errors call it, and `notes` what was
    decided.

    Raises:
        PromptError: it cannot be read, or is larger than `LARGEST`.
    """
    name = name or (file.name if isinstance(file, Path) else "the picture")
    try:
        with warnings.catch_warnings():
            # the size is checked below, and a damaged tag says so in the error
            warnings.simplefilter("ignore")
            with _opened(file) as opened:
                _check_size(opened.size, name)
                several = _several(opened)
                opened.load()
                turned = _turned(opened)
                picture = flat(turned)
    except PromptError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise PromptError(
            f"{name} has more than {LARGEST // 1_000_000} million pixels; make it smaller first"
        ) from error
    except Exception as error:  # a damaged file can make the decoder raise almost anything
        raise PromptError(_why_not(file, name, error)) from error
    if several:
        _note(picture, several)
    return picture


def notes(picture: Image.Image) -> tuple[str, ...]:
    """What was decided when the picture was read, in half sentences."""
    return tuple(picture.info.get(_NOTES, ()))


def sentences(picture: Image.Image) -> list[str]:
    """`notes` as one says them of a picture file: "Your picture: …", without a full stop."""
    return [f"Your picture: {note}" for note in notes(picture)]


def flat(image: Image.Image) -> Image.Image:
    """A picture of any mode in RGB of 8 bits, with `notes`.

    Deep values (16 bits, integers, floats) are scaled to 8 bits. Colours of a profile become those
    of sRGB. Transparency is laid on white, or on black where what is drawn is hardly to be seen on
    white. An RGB picture without a profile or transparency is given back as it is.
    """
    if image.mode == "RGB" and not image.has_transparency_data and "icc_profile" not in image.info:
        return image
    said: list[str] = list(notes(image))
    seen: _Shares | None = None
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image, seen = _shallow(image, said)
    elif image.has_transparency_data:
        image, seen = _apart(image)
    colours = _in_srgb(image, said)
    if seen is not None and seen.min() < 1:
        colours = _laid(colours, seen, said)
    found = colours if colours is not image else image.copy()
    found.info = {_NOTES: tuple(said)} if said else {}
    return found


def from_array(values: NDArray[Any]) -> Image.Image:
    """Values (H, W) or (H, W, channels) of any number format as a picture, with `notes`."""
    said: list[str] = []
    values = np.squeeze(values) if values.ndim > 3 else values
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[2] not in (1, 2, 3, 4):
        raise ValueError(f"values of shape {values.shape} are no picture")
    colours = _scaled(values[:, :, : 3 if values.shape[2] > 2 else 1], said)
    found = Image.fromarray(np.repeat(colours, 3 // colours.shape[2], axis=2))
    if values.shape[2] in (2, 4):
        full = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
        seen = np.clip(np.nan_to_num(values[:, :, -1].astype(np.float32) / full), 0, 1)
        if seen.min() < 1:
            found = _laid(found, seen, said)
    found.info = {_NOTES: tuple(said)} if said else {}
    return found


# ---------------------------------------------------------------------------- opening


@cache
def _know_heif() -> None:
    """Let Pillow read the pictures of phones, where the package for it is there."""
    with suppress(ImportError):
        import pi_heif

        pi_heif.register_heif_opener(thumbnails=False)


def _opened(file: Path | BinaryIO) -> Image.Image:
    Image.init()
    _know_heif()
    formats = [name for name in Image.ID if name not in _UNREAD]
    try:
        return Image.open(file, formats=formats)
    except UnidentifiedImageError:
        if not isinstance(file, Path):
            file.seek(0)
        return _deep_tiff(file)


def _deep_tiff(file: Path | BinaryIO) -> Image.Image:
    """TIFF of several deep channels, which Pillow does not read."""
    import tifffile

    head = _beginning(file)
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        raise UnidentifiedImageError("no known kind of picture")
    with tifffile.TiffFile(file) as opened:
        page = opened.pages[0]
        _check_size((page.imagewidth, page.imagelength), "the picture")  # type: ignore[union-attr]
        values = page.asarray()
        if getattr(page, "planarconfig", 1) == 2 and values.ndim == 3:
            values = np.moveaxis(values, 0, -1)
        tags = getattr(page, "tags", {})
        side = tags[274].value if 274 in tags else 1
    found = from_array(values)
    said = notes(found)
    exif = found.getexif()
    exif[274] = int(side)
    found.info["exif"] = exif.tobytes()
    found.info[_NOTES] = said
    return found


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > LARGEST:
        raise PromptError(
            f"{name} has {width} x {height} pixels, more than {LARGEST // 1_000_000} million; "
            "make it smaller first"
        )


def _several(opened: Image.Image) -> str | None:
    """What is said of a file of several pictures, of which the first is read."""
    count = int(getattr(opened, "n_frames", 1))
    if count < 2 or opened.format in ("MPO", "ICO", "ICNS", "PSD"):  # previews, sizes, layers
        return None
    return f"it holds {count} pictures, of which the first is taken"


def _turned(opened: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(opened)
    except Exception:  # damaged data about the picture, not the picture
        found = opened.copy()
        _note(found, "what it says of its camera is damaged, so it may lie on its side")
        return found


def _why_not(file: Path | BinaryIO, name: str, error: Exception) -> str:
    try:
        head = _beginning(file)
    except (OSError, ValueError):
        head = None
    if head is not None:
        if not head:
            return f"{name} is empty; save it again as PNG or JPEG"
        for begins, what in _FOREIGN:
            if re.match(begins, head, re.IGNORECASE | re.DOTALL):
                return f"{name} is {what}"
    if isinstance(error, UnidentifiedImageError):
        said = "no known kind of picture"
    elif isinstance(error, OSError) and error.strerror:
        said = error.strerror.lower()
    else:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{name} cannot be read as a picture ({said}); save it as PNG or JPEG"


def _beginning(file: Path | BinaryIO) -> bytes:
    if isinstance(file, Path):
        with file.open("rb") as stream:
            return stream.read(512)
    file.seek(0)
    head = file.read(512)
    file.seek(0)
    return head


def _note(picture: Image.Image, said: str) -> None:
    picture.info[_NOTES] = (*notes(picture), said)


# ---------------------------------------------------------------------------- depth


def _shallow(image: Image.Image, said: list[str]) -> tuple[Image.Image, _Shares | None]:
    """A picture of one deep channel with 8 bits, and what of it is seen."""
    values = np.asarray(image)
    clear = image.info.get("transparency")  # one value stands for nothing
    seen = (values != clear).astype(np.float32) if isinstance(clear, int) else None
    found = Image.fromarray(_scaled(values[:, :, None], said)[:, :, 0])
    return found, seen


def _scaled(values: NDArray[Any], said: list[str]) -> NDArray[np.uint8]:
    """Values of any number format in 0 to 255.

    The range is the smallest of 8, 10, 12 and 16 bits that holds whole numbers, and 0 to 1, 8 or 16
    bits for others. Light beyond the range of nearly all of a picture (HDR) is cut. What fits no
    range, such as negative values, is stretched from the least to the greatest.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return np.where(values, np.uint8(255), np.uint8(0))
    whole = values.dtype.kind in "iu"
    wide = values.astype(np.float64)
    known = np.isfinite(wide)
    if not known.all():
        said.append("it has values that are no numbers, which are taken as black")
        wide = np.where(known, wide, np.where(wide == np.inf, np.inf, 0.0))
        top = wide[np.isfinite(wide)].max(initial=0.0)
        wide = np.minimum(wide, top)
    least, most = float(wide.min()), float(wide.max())
    usual = most if whole else float(np.percentile(wide, 99))
    ranges = (255, 1023, 4095, 65535) if whole else (1, 255, 65535)
    full = next((edge for edge in ranges if usual <= edge), None)
    if full is None or least < 0:
        said.append(f"its values from {least:g} to {most:g} are stretched from black to white")
        span = most - least
        wide = (wide - least) / span if span else np.zeros_like(wide)
    else:
        if full != 255:
            said.append(f"its values from 0 to {full} are scaled to 8 bits")
        if most > full:
            said.append(f"light beyond {full} is cut")
        wide = np.clip(wide / full, 0, 1)
    return np.round(wide * 255).astype(np.uint8)


# ---------------------------------------------------------------------------- colours


def _in_srgb(image: Image.Image, said: list[str]) -> Image.Image:
    """The picture in RGB, its colours those of sRGB."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image if image.mode == "RGB" else image.convert("RGB")
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        title = ImageCms.getProfileDescription(source).strip() or "its profile"
        if "sRGB" in title:
            return image.convert("RGB")
        target = ImageCms.createProfile("sRGB")
        found = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        said.append("its colour profile cannot be used, so its colours may be others")
        return image.convert("RGB")
    assert found is not None
    said.append(f"its colours are converted from {title} to sRGB")
    return found


# ---------------------------------------------------------------------------- transparency


def _apart(image: Image.Image) -> tuple[Image.Image, _Shares]:
    """A picture without its transparency, and how much of each pixel is seen."""
    clear = image.info.get("transparency")
    profile = image.info.get("icc_profile")
    if image.mode == "RGB" and isinstance(clear, tuple) and max(clear) > 255:  # of 16 bits
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    full = image.convert("RGBA")
    seen = np.asarray(full.getchannel("A"), np.float32) / 255
    grey = image.mode in ("L", "LA", "La", "1")
    found = image.convert("LA").getchannel("L") if grey else full.convert("RGB")
    found.info = {"icc_profile": profile} if profile else {}
    return found, seen


def _laid(colours: Image.Image, seen: _Shares, said: list[str]) -> Image.Image:
    """The picture laid on white, or on black where most of what is drawn would be lost on white."""
    values = np.asarray(colours, np.float32) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    light = linear @ np.array([0.2126, 0.7152, 0.0722])  # relative luminance (WCAG 2)
    faint = 1.05 / (light + 0.05) < 3  # its least contrast for large text
    black = float((seen * faint).sum()) > 0.5 * float(seen.sum())
    ground = 0.0 if black else 1.0
    mixed = values * seen[:, :, None] + ground * (1 - seen[:, :, None])
    said.append(f"its transparency is laid on {'black' if black else 'white'}")
    return Image.fromarray(np.round(mixed * 255).astype(np.uint8))


# ---------------------------------------------------------------------------- size


def fit(picture: Image.Image, sampling: Sampling, cut: float = 0.34) -> Image.Image:
    """The picture, `flat`, at the call's size, cut at its longer sides to the same shape.

    Args:
        cut: the largest share of the picture that may be cut off.

    Raises:
        PromptError: more would be cut off, or the call has no size of its own.
    """
    if sampling.width is None or sampling.height is None:
        raise PromptError("give height and width: this checkpoint does not say its size")
    wanted, given = sampling.width / sampling.height, picture.width / picture.height
    lost = 1 - min(wanted, given) / max(wanted, given)
    if lost > cut:
        raise PromptError(
            f"a picture of {picture.width} x {picture.height} pixels would lose {lost:.0%} to "
            f"become {sampling.width} x {sampling.height}; cut out the part with the text first"
        )
    size = (sampling.width, sampling.height)
    whole = flat(picture)
    found = ImageOps.fit(whole, size, Image.Resampling.LANCZOS)
    found.info = {_NOTES: notes(whole)} if notes(whole) else {}
    if lost > _SEEN:
        scale = min(picture.width / size[0], picture.height / size[1])
        kept = " x ".join(str(round(side * scale)) for side in size)
        _note(found, f"{kept} of its {picture.width} x {picture.height} pixels are kept, the rest "
                     "is cut off")  # fmt: skip
    if min(picture.size) * _COARSE < min(size):
        _note(found, f"it has only {picture.width} x {picture.height} pixels and is drawn with "
                     f"{size[0]} x {size[1]}, so its words may be lost")  # fmt: skip
    return found


_SEEN = 0.02  # share that is cut off and worth a word
_COARSE = 3  # times that a picture is enlarged, from where that is worth a word


def reference(
    picture: Image.Image,
    sampling: Sampling,
    mask: Image.Image | None = None,
    strength: float | None = None,
) -> Reference:
    """The picture as what a call is given beside its prompts: at its size (`fit`).

    Args:
        mask: of the picture's size, light where it is redrawn. strength: as in `Reference`.

    Raises:
        PromptError: as `fit`; a mask of another size or without a light place; a strength outside
            of (0, 1].
    """
    if strength is not None and not 0 < strength <= 1:
        raise PromptError(f"the strength {strength} is outside (0, 1]; 0.6 is usual")
    fitted = fit(picture, sampling)
    total = hashlib.sha256(f"{fitted.size}".encode() + fitted.tobytes())
    drawn = None
    if mask is not None:
        if mask.size != picture.size:
            raise PromptError(
                f"the mask has {mask.width} x {mask.height} pixels and the picture {picture.width} "
                f"x {picture.height}; give a mask of the picture's size"
            )
        drawn = fit(mask, sampling).convert("L").point(lambda level: 255 if level > 127 else 0)
        if drawn.getbbox() is None:
            raise PromptError("the mask is black everywhere; make it white where to draw")
        total.update(b"mask" + drawn.tobytes())
    if strength is not None:
        total.update(f"strength {strength}".encode())
    return Reference(f"sha256:{total.hexdigest()}", fitted, drawn, strength)


def png(picture: Image.Image) -> bytes:
    """A picture as a PNG file."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def address(picture: Image.Image) -> str:
    """A picture as a `data:` address, without loss."""
    return f"data:image/png;base64,{base64.b64encode(png(picture)).decode()}"
