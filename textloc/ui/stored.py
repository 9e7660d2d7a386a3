"""Stored results in the page: what one looks at, what can be opened, what can be taken away.

No Gradio, no torch.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any

from textloc import toxicity
from textloc.checkpoints.known import find
from textloc.errors import StoreError
from textloc.paths import CHECKPOINTS
from textloc.results import export, store, unlisted
from textloc.results.inlined import Pictures
from textloc.ui import settings

Document = Mapping[str, Any]
LOCALIZE, EDIT, LORA = "textloc.localize", "textloc.edit", "textloc.lora"
ATTRIBUTE = "textloc.attribute"

_ALONG = {ATTRIBUTE: LOCALIZE}
"""Kinds of results that another kind's tab shows."""

_UNPATCHED: dict[str, Any] = {
    "references": {},
    "sets": [],
    "controls": [],
    "selected": [],
    "selection": {},
    "floor": None,
    "ceiling": None,
    "fraction_of_parameters": 0.0,
}
"""What the document of a localization has and shares alone do not: nothing was generated."""


@dataclass(frozen=True)
class View:
    """A document with its pictures, stored or still growing. `stored` tells whether a link to it
    can be opened. `kept` is the document as it is stored, where `document` is more than that."""

    document: Document
    pictures: Pictures
    stored: bool
    kept: Document | None = None


def stored_view(result_id: str) -> View:
    """The view of a stored result, verified. Raises `StoreError` as `store.load` does."""
    found = store.load(result_id)
    return _view_of(result_id, str(found.document.get("digest")))


@lru_cache(maxsize=32)
def _view_of(result_id: str, _digest: str) -> View:
    found = store.load(result_id)
    return view_of(found.document, Pictures(found.image), stored=True)


def view_of(document: Document, pictures: Pictures, stored: bool) -> View:
    """A document as its tab shows it."""
    kept = document
    if store.kind(document) == ATTRIBUTE:
        layers = {"layers": [], "text_layers": document["layers"]}
        request = {"start_step": 0, **document["request"]}
        request["layers"] = [layer["index"] for layer in document["layers"]]
        document = {**_UNPATCHED, **document, **layers, "request": request}
    return View(document, pictures, stored, kept)


def tab_of(document: Document) -> str:
    """The kind whose tab shows a document."""
    kind = store.kind(document)
    return _ALONG.get(kind, kind)


def listing(kind: str) -> list[store.Summary]:
    """The stored results that the tab of a kind shows; what is damaged is among them. A public page
    lists neither that nor what has toxic words."""
    shown = {kind, *(other for other, along in _ALONG.items() if along == kind)}
    every = store.listing()
    if settings.read().public:
        every = [one for one in every if not one.damaged and _clean(_texts(one.request))]
    return [one for one in every if one.damaged or one.kind in shown]


def _texts(request: Mapping[str, Any]) -> tuple[str, ...]:
    """What a request has written, and the prompts around it."""
    pairs = [text for pair in request.get("pairs", ()) for text in dict(pair).values()]
    return tuple(text for text in [*pairs, *request.get("prompts", ())] if isinstance(text, str))


@lru_cache(maxsize=4096)
def _clean(texts: tuple[str, ...]) -> bool:
    """Whether nothing toxic is in any of them."""
    return not any(toxicity.is_toxic(text) for text in dict.fromkeys(texts))


def opening(asked: str | None, kind: str = LOCALIZE) -> tuple[View | None, str]:
    """What the tab of results of `kind` opens with, given `?r=`.

    Returns:
        A view, and what went wrong in words or `""`. A link to a result of another kind is that
        tab's business; one that cannot be opened at all is told of in the first tab.
    """
    problem = ""
    if asked:
        try:
            view = stored_view(asked)
            if tab_of(view.document) == kind:
                return view, ""
        except StoreError as error:
            if kind == LOCALIZE:
                problem = f"The link cannot be opened. {error}"
    default = store.default_id(only=kind)
    if default is None:
        return None, problem
    return stored_view(default), f"{problem} The usual result is shown instead." if problem else ""


def of_model(kind: str, model: str) -> View | None:
    """The newest result of a model that the tab of a kind lists, those of just that kind first;
    None where there is none."""
    found = [one for one in listing(kind) if not one.damaged and one.checkpoint == model]
    for one in sorted(found, key=lambda one: one.kind != kind):
        with suppress(StoreError):  # it went meanwhile
            return stored_view(one.id)
    return None


def asked_kind(asked: str | None) -> str:
    """The kind of result that `?r=` names; `""` where it names none that can be opened."""
    try:
        return tab_of(stored_view(asked).document) if asked else ""
    except StoreError:
        return ""


_USUAL = {"search": "sweep"}
"""What a request that does not say it asked for."""


def same(kind: str, checkpoint: str, asked: Mapping[str, Any]) -> str | None:
    """ID of a stored result of a checkpoint that ships, run with just what is asked; None where
    there is none.

    asked: of its request, the values that make the run; others are the checkpoint's own.
    """
    digest = _digest(checkpoint)
    if digest is None:
        return None
    plain = [
        summary
        for summary in store.listing(only=kind)
        if not summary.damaged
        and summary.request["checkpoint"]["digest"] == digest
        and not summary.request["checkpoint"].get("lora")
    ]
    most = max((len(summary.request["layers"]) for summary in plain), default=0)
    for summary in plain:
        request = summary.request
        whole = kind != LOCALIZE or len(request["layers"]) == most  # every layer was tried
        if whole and all(request.get(n, _USUAL.get(n)) == v for n, v in asked.items()):
            with suppress(StoreError):  # in a store that is away: it is run again
                return str(store.load(summary.id).document["id"])
    return None


@lru_cache(maxsize=8)
def _digest(checkpoint: str) -> str | None:
    """Digest of the weights of a checkpoint that ships; None for any other."""
    entry = find(checkpoint)
    if entry is None or not entry.shipped:
        return None
    from textloc.checkpoints.weights import digest

    return digest(CHECKPOINTS / entry.source)


def listed(summaries: Iterable[store.Summary]) -> list[tuple[str, str]]:
    """(name, ID) of the results that can be opened."""
    return [
        (f"{summary.title} · {summary.checkpoint}", summary.id)
        for summary in summaries
        if not summary.damaged
    ]


def damaged(summaries: Iterable[store.Summary]) -> str:
    """A quiet note on the results that cannot be shown, with the reasons; may be empty."""
    reasons = [summary.damaged for summary in summaries if summary.damaged]
    if not reasons:
        return ""
    items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    noun = "stored result is" if len(reasons) == 1 else "stored results are"
    return (
        f'<details class="tl-damaged"><summary>{len(reasons)} {noun} damaged and left out'
        f"</summary><ul>{items}</ul></details>"
    )


def share(view: View, key: str = "") -> dict[str, Any]:
    """Value of the share bar: ID for the link (empty where not stored), whether the run is
    complete, whether it is the result of the browser with that key, and the files to save."""
    document = view.kept or view.document
    return {
        "own": view.stored and bool(key) and unlisted.is_own(document["id"], key),
        "id": document["id"] if view.stored else "",
        "complete": document["complete"],
        "name": f"textloc-{document['id']}",
        "json": json.dumps(document, indent=1, ensure_ascii=False),
        "csv": export.to_csv(document),
    }
