"""A result as one HTML file that opens without a server or network and keeps the clicks.

In go a document and its pictures, out comes HTML. A module a kind of result says what is shown (a
`sheet.Sheet`); `report.html`, `report.css` and `report.js` show it. The file names no address but
the result's own link, and its content security policy lets a browser load nothing and run no other
script than its two: `report.js` and Plotly.js. A new kind of result is a line in `_SHEETS`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textloc.results import store
from textloc.results.report import edit, localize, lora, plain, plotlyjs, suppress
from textloc.results.report.making import made
from textloc.results.report.payload import Payload
from textloc.results.report.sheet import Document, Sheet
from textloc.results.sentences import parted, told
from textloc.version import __version__

if TYPE_CHECKING:
    import jinja2
    from PIL import Image

_HERE = Path(__file__).parent
_SHEETS: dict[str, Callable[[Document], Sheet]] = {
    "textloc.localize": localize.sheet,
    "textloc.attribute": plain.attributed,
    "textloc.edit": edit.sheet,
    "textloc.suppress": suppress.sheet,
    "textloc.lora": lora.sheet,
    "textloc.lora_trial": lora.sheet,
}
_LONGEST = 400  # characters of a value that are not folded


def to_html(
    document: Document, images: Mapping[str, Image.Image], link: str | None = None
) -> bytes:
    """The report of a result, in UTF-8.

    Args:
        document: of any kind of result, complete or partial.
        images: its pictures by key; one that is missing is said to be.
        link: address of the result in a page; one of this machine is said to be.
    """
    from textloc.results.plots.style import CONFIG

    kind = store.kind(document)
    document = suppress.masked(document) if kind == "textloc.suppress" else document
    sheet = _SHEETS.get(kind, plain.sheet)(document)
    payload = Payload(sheet, images.__getitem__)
    data = payload.data(CONFIG)
    rows = [(prompt, [payload.card(card) for card in row]) for prompt, row in sheet.rows]
    claim, evidence = parted(told(document))
    script = (_HERE / "report.js").read_text(encoding="utf-8")
    plotly, packed = plotlyjs.script()
    text = _template().render(
        sheet=sheet,
        payload=payload,
        data=data,
        shown=_shown(data, sheet),
        rows=rows,
        claim=claim,
        evidence=evidence,
        prompts=_prompts(document),
        more=max(0, len(document.get("request", {}).get("pairs", ())) - 1),
        title=_title(document),
        made=made(document, _LONGEST),
        link=link if link and link.startswith(("http://", "https://")) else None,
        local=bool(link and link.startswith("http://127.0.0.1")),
        style=(_HERE / "report.css").read_text(encoding="utf-8"),
        script=script,
        plotly=base64.b64encode(packed).decode() if sheet.figures else "",
        hashes=[_hash(script.encode()), _hash(plotly)],
        document=document,
        version=__version__,
    )
    return text.encode("utf-8", errors="replace")


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return found.get_template("report.html")


def _hash(script: bytes) -> str:
    """Of a script that may run, as a content security policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}"


def _shown(data: dict[str, Any], sheet: Sheet) -> tuple[list[Any], list[Any]]:
    """Cards and facts of the place that is shown first."""
    if data["start"] is None:
        return [], []
    pick, pair, seed = data["start"]
    cards, facts = data["looks"][pick][f"{pair} {seed}"]
    return [data["cards"][number] for number in cards], data["facts"][facts]


def _title(document: Document) -> str:
    if store.kind(document) in store.SCHEMAS:
        return store.title(document)
    return store.kind(document).removeprefix("textloc.").replace("_", " ").capitalize()


def _prompts(document: Document) -> list[str]:
    """The first pair of prompts, or the first prompt."""
    request = document.get("request", {})
    if request.get("pairs"):
        first = request["pairs"][0]
        return [first["source"], first["target"]]
    if document.get("prompts"):
        return [document["prompts"][0]["prompt"]]
    return []
