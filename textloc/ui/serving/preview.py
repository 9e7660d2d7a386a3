"""What a chat shows of a link: a title, a sentence and a picture of the result that it names."""

from functools import lru_cache
from html import escape
from urllib.parse import parse_qs

from PIL import Image, ImageDraw, ImageFont

from textloc.errors import StoreError
from textloc.paths import FONTS
from textloc.pictures import png
from textloc.results import store
from textloc.results.sentences import headline, told
from textloc.ui import stored

_SIZE = (1200, 630)
_SIDE, _MOST = 340, 3  # of a picture in pixels; pictures
_INK, _GROUND, _MUTED = "#1a1a1a", "#f6f7f9", "#5b6270"


def picture(result_id: str) -> bytes:
    """The picture of a stored result, as PNG.

    Raises:
        StoreError: as `store.load`.
    """
    document = stored.stored_view(result_id).document
    return _picture(result_id, str(document.get("digest")))


def tags(query: bytes, address: str) -> str:
    """HTML for the head of the page of a link: Open Graph tags of the result that `r=` names; empty
    where it names none. `address` is that of the page, without its query."""
    asked = parse_qs(query.decode("latin-1")).get("r", [""])[0]
    try:
        document = stored.stored_view(store.check_id(asked)).document
    except StoreError:
        return ""
    title = f"{store.title(document)} · {document['checkpoint']['name']}"
    said = {
        "og:type": "article",
        "og:site_name": "textloc",
        "og:title": title,
        "og:description": told(document),
        "og:url": f"{address}?r={asked}",
        "og:image": f"{address}gradio_api/textloc/{asked}.png",
        "og:image:width": str(_SIZE[0]),
        "og:image:height": str(_SIZE[1]),
        "twitter:card": "summary_large_image",
    }
    return "".join(
        f'<meta property="{name}" content="{escape(value)}">' for name, value in said.items()
    )


@lru_cache(maxsize=64)
def _picture(result_id: str, _digest: str) -> bytes:
    """The first pictures of a result below its headline, as PNG."""
    view = stored.stored_view(result_id)
    page = Image.new("RGB", _SIZE, _GROUND)
    draw = ImageDraw.Draw(page)
    font = ImageFont.truetype(str(FONTS / "DejaVuSans-Bold.ttf"), 40)
    small = ImageFont.truetype(str(FONTS / "DejaVuSans-Bold.ttf"), 28)
    for number, line in enumerate(_lines(headline(view.document), draw, font)[:3]):
        draw.text((50, 40 + 50 * number), line, _INK, font)
    for number, key in enumerate(_keys(view.document)):
        if (found := view.pictures.large(key)) is not None:
            page.paste(found.resize((_SIDE, _SIDE)), (50 + 375 * number, 200))
    draw.text(
        (50, 565), _drawable(f"textloc · {view.document['checkpoint']['name']}"), _MUTED, small
    )
    return png(page)


def _keys(document: stored.Document) -> list[str]:
    """Source, what is shown first, and target or other pictures, as far as there are any."""
    pair = (document.get("selection") or {}).get("reported_on", [0])[:1] or [0]
    chosen = next(
        (e for e in document.get("sets", ()) if e["layers"] == document.get("selected")), None
    )
    references = document.get("references") or {}
    entries = [references.get("source"), chosen, references.get("target")]
    keys = [
        next((read["image"] for read in entry["read"] if read["pair"] == pair[0]), None)
        for entry in entries
        if entry
    ]
    for kind in ("sources", "edits", "pictures"):
        keys += [one.get("image") for one in document.get(kind, ())[:2]]
    return [key for key in keys if isinstance(key, str)][:_MOST]


def _lines(text: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont) -> list[str]:
    lines = [""]
    for word in _drawable(text).split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) <= _SIZE[0] - 100:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _drawable(text: str) -> str:
    """Without the characters that the shipped fonts lack."""
    return "".join(c if c.isascii() else {"–": "-", "·": "-", "→": ">"}.get(c, "") for c in text)
