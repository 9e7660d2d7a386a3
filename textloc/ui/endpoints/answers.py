"""Answers: a document as it is stored, what it says, its link and the addresses of its pictures."""

from collections.abc import Iterable, Mapping
from typing import Any

import gradio as gr
from gradio import route_utils
from PIL import Image

from textloc.results import export, store
from textloc.results.sentences import told
from textloc.ui import stored
from textloc.ui.localize import picks
from textloc.ui.serving import made

Answer = dict[str, Any]
Document = Mapping[str, Any]
PICTURES = ("shown", "all", "none")
"""Which pictures come with an answer: those that the page shows first, all, or none."""
SUPPRESS = "textloc.suppress"


def page_of(request: gr.Request | None) -> str:
    """Address of the page that was asked, with a slash at its end."""
    asked = getattr(request, "request", None)
    if asked is None:
        return "/"
    root = asked.scope.get("app")
    try:
        path = route_utils.get_api_call_path(asked)
    except ValueError:  # asked without the queue, at gradio_api/run/ or gradio_api/api/
        path = asked.url.path
    return f"{route_utils.get_root_url(asked, path, getattr(root, 'root_path', None))}/"


def of_stored(page: str, result_id: str, pictures: str) -> Answer:
    """The answer of a stored result, verified.

    Raises:
        StoreError: as `store.load`.
    """
    found = store.load(result_id)
    return _answer(
        page, found.document, _chosen(found.document, found.image_keys(), pictures), kept=True
    )


def of_made(
    page: str, document: Document, images: Mapping[str, Image.Image], pictures: str
) -> Answer:
    """The answer of a result that is being made, or is not stored."""
    chosen = _chosen(document, images, pictures)
    for key in chosen:
        made.keep(document["id"], key, images[key])
    return _answer(page, document, chosen, kept=False)


def waiting(message: str, seconds: float) -> Answer:
    """The answer of a run that has shown nothing yet."""
    return {
        "id": "",
        "complete": False,
        "says": f"{message} ({seconds:.0f} s)" if seconds >= 1 else message,
        "link": "",
        "document": None,
        "pictures": {},
    }


def summary(page: str, one: store.Summary) -> Answer:
    """A line of the list of stored results."""
    return {
        "id": one.id,
        "kind": one.kind.removeprefix("textloc."),
        "title": one.title,
        "model": one.checkpoint,
        "created": one.created,
        "link": export.permalink(page, one.id),
    }


def _answer(page: str, document: Document, keys: Iterable[str], kept: bool) -> Answer:
    result_id = str(document["id"])
    return {
        "id": result_id,
        "complete": bool(document["complete"]),
        "says": told(document),
        "link": export.permalink(page, result_id) if kept else "",
        "document": dict(document),
        "pictures": {key: _file(page, result_id, key) for key in keys},
    }


def _file(page: str, result_id: str, key: str) -> Answer:
    """A picture as Gradio's clients know files: they fetch it from its address."""
    address = f"{page}gradio_api/textloc/{result_id}/{key}.png"
    return {
        "path": address,
        "url": address,
        "orig_name": f"{key}.png",
        "mime_type": "image/png",
        "meta": {"_type": "gradio.FileData"},
    }


def _chosen(document: Document, there: Iterable[str], which: str) -> list[str]:
    """Keys of the pictures that come with an answer, as far as they are there."""
    keys = list(there)
    if which == "all":
        return keys
    return [key for key in _shown(document) if key in keys] if which == "shown" else []


def _shown(document: Document) -> list[str]:
    """Keys of what the page shows first, one a seed: source, what was made, and target."""
    kind = store.kind(document)
    if kind == stored.LOCALIZE:
        references, pair = document["references"], picks.usual_pair(document)
        entry = picks.entries(document).get(picks.usual_pick(document))
        ways = [references.get("source"), entry, references.get("all"), references.get("target")]
        reads = [read for way in ways if way for read in way["read"] if read["pair"] == pair]
    elif kind == stored.EDIT:
        reads = [one for name in ("sources", "edits") for one in document[name] if not one["pair"]]
    elif kind == SUPPRESS:
        reads = document["guarded"]["pictures"]
    elif kind == stored.LORA:
        reads = [one for shown in document["pictures"] for one in shown["by_choice"]]
    else:
        reads = []
    keys = (read.get("image") for read in reads)
    return list(dict.fromkeys(key for key in keys if isinstance(key, str)))


KINDS = ("localize", "attribute", "edit", "lora")
"""Kinds of stored results, as `list` calls them."""
