"""From stored results to their cards; no Gradio, no torch.

A card is made once for a result and kept until its files change: a visit costs a look at the
folders, whatever is in them. Of a result that a store elsewhere holds the card says what a list
knows, until somebody opens it. What comes from outside is escaped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from html import escape
from typing import Any

from textloc.results import store
from textloc.results.facts import lora_of
from textloc.results.inlined import THUMB
from textloc.results.sentences import headline
from textloc.ui import stored
from textloc.ui.edit import picks as edit_picks
from textloc.ui.localize import picks
from textloc.ui.stored import Document, View

JOBS = {
    stored.LOCALIZE: ("localize", "Localize"),
    stored.ATTRIBUTE: ("shares", "Shares"),
    stored.EDIT: ("edit", "Edit"),
    stored.LORA: ("fine-tune", "Fine-tune"),
}
"""Kind of result → its name in an address, and on a card."""

OWN = "imported-"
"""Begins the reference of a card that only one visitor has."""

_LONGEST = 64  # characters of a word on a card
_MOST_WORDS = 400


@dataclass(frozen=True)
class Picture:
    """A picture on a card: whose it is, its key, what OCR reads in it (None: unread), and the word
    that it was to have."""

    title: str
    key: str
    read: str | None
    wanted: str = ""


@dataclass(frozen=True)
class Card:
    """What a card says of a result.

    words: all that were asked for. more: what else one may search for. shares: by layer, where it
    has no pictures.
    """

    id: str
    kind: str
    title: str
    model: str
    facts: str
    found: str
    words: tuple[str, ...]
    more: str
    pictures: tuple[Picture, ...]
    shares: tuple[float, ...] = ()


def card_of(document: Document) -> Card:
    """The card of a document as its tab shows it."""
    kind = store.kind(document)
    shares = [one[0] for one in document["shares"]["by_layer"]] if kind == stored.ATTRIBUTE else []
    return replace(
        _told(document),
        facts=" ".join([str(document["checkpoint"]["name"]), *lora_of(document)]),
        found=headline(document),
        pictures=tuple(_PICTURES[kind](document)),
        shares=tuple(map(float, shares)),
    )


def _told(document: Document) -> Card:
    """What a card says of what was asked."""
    kind, request = store.kind(document), document["request"]
    pairs = request.get("pairs", ())
    words = [pair[side] for pair in pairs for side in ("source_text", "target_text")]
    prompts = [pair[side] for pair in pairs[:40] for side in ("source", "target")]
    model = str(document["checkpoint"]["name"])
    return Card(
        id=str(document["id"]),
        kind=kind,
        title=_title(document),
        model=model,
        facts=model,
        found="",
        words=tuple(dict.fromkeys(_cut(word) for word in words)),
        more=" ".join(prompts),
        pictures=(),
    )


def _title(document: Document) -> str:
    """The words from → to; of trainings, the data."""
    if store.kind(document) == stored.LORA:
        return store.title(document)
    first, *others = document["request"]["pairs"]
    title = f"{_cut(first['source_text'])} → {_cut(first['target_text'])}"
    return f"{title} and {len(others)} more" if others else title


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


# ---------------------------------------------------------------------------- pictures


def _of_localize(document: Document) -> list[Picture]:
    pick, known = picks.usual_pick(document), picks.entries(document)
    pair, seed = picks.usual_pair(document), document["request"]["seeds"][0]
    references = document["references"]
    name = picks.name_of(document, pick).partition(" (")[0] if pick else ""
    words = document["request"]["pairs"][pair]
    entries = [
        ("Source prompt", references.get("source"), words["source_text"]),
        (f"{name} patched", known.get(pick), words["target_text"]),
        ("Target prompt", references.get("target"), words["target_text"]),
    ]
    return [
        Picture(title, read["image"], read["text"], wanted)
        for title, entry, wanted in entries
        for read in (entry["read"] if entry else ())
        if (read["pair"], read["seed"]) == (pair, seed)
    ]


def _of_edit(document: Document) -> list[Picture]:
    way = edit_picks.entries(document).get(edit_picks.LOCALIZED)
    source = next(iter(document["sources"]), None)
    if source is None:
        return []
    words = document["request"]["pairs"][source["pair"]]
    shown = [Picture("Source", source["image"], source["read"], words["source_text"])]
    edit = way.edits.get((source["pair"], source["seed"])) if way else None
    if edit is not None:
        shown.append(Picture("Edit", edit["image"], edit["read_edit"], words["target_text"]))
    return shown


def _of_lora(document: Document) -> list[Picture]:
    titles = {choice["name"]: choice["title"] for choice in document["choices"]}
    first = next(iter(document["pictures"]), {"by_choice": ()})
    return [Picture(titles[one["choice"]], one["image"], None) for one in first["by_choice"][:3]]


_PICTURES = {
    stored.LOCALIZE: _of_localize,
    stored.ATTRIBUTE: lambda _document: [],
    stored.EDIT: _of_edit,
    stored.LORA: _of_lora,
}


# ---------------------------------------------------------------------------- all of them


def listed(summaries: Iterable[store.Summary]) -> tuple[Card, ...]:
    """Cards of the results that can be opened, in the order given."""
    found = [
        _card(one.id, one.created) if store.is_here(one.id) else _plain(one)
        for one in summaries
        if not one.damaged
    ]
    return tuple(card for card in found if card is not None)


def _plain(summary: store.Summary) -> Card | None:
    """The card of a result that was not opened yet."""
    asked = {"id": summary.id, "schema": summary.kind, "request": summary.request}
    named = {**asked, "checkpoint": {"name": summary.checkpoint}}
    try:
        return replace(_told(named), title=summary.title)
    except Exception:  # of a shape that no tab can show
        return None


@lru_cache(maxsize=4096)
def _card(result_id: str, _created: float) -> Card | None:
    try:
        return card_of(stored.view_of(store.load(result_id).document, _NO_PICTURES, True).document)
    except Exception:  # deleted meanwhile, or verified but of a shape that its tab cannot show
        return None


_NO_PICTURES: Any = None


def value(cards: Sequence[Card], imported: Mapping[str, View]) -> dict[str, Any]:
    """Value of the gallery: cards as HTML, and what to filter by."""
    own = [(card_of(view.document), view) for view in imported.values()]
    every = [*(card for card, _ in own), *cards]
    words = sorted({word for card in every for word in card.words}, key=str.casefold)
    return {
        "cards": "".join(html(card, view) for card, view in own) + _stored_html(tuple(cards)),
        "jobs": [list(JOBS[kind]) for kind in JOBS if any(card.kind == kind for card in every)],
        "models": sorted({card.model for card in every}),
        "words": words[:_MOST_WORDS],
    }


@lru_cache(maxsize=2)
def _stored_html(cards: tuple[Card, ...]) -> str:
    return "".join(html(card) for card in cards)


def html(card: Card, imported: View | None = None) -> str:
    """One card; with the view of an import, its pictures are in it and it has no link."""
    name, job = JOBS[card.kind]
    tab = stored.LOCALIZE if card.kind == stored.ATTRIBUTE else card.kind
    ref = f"{OWN}{card.id}" if imported else card.id
    texts = " ".join([card.title, card.facts, job, card.found, *card.words, card.more])
    data = {
        "ref": ref,
        "kind": card.kind,
        "tab": tab,
        "job": name,
        "model": card.model,
        "words": f"|{'|'.join(card.words).casefold()}|",
        "text": texts.casefold(),
        "title": f"{card.title}, {card.facts}",
    }
    said = " ".join(f'data-{key}="{escape(text)}"' for key, text in data.items())
    mark = '<span class="tl-badge tl-imported">Imported, only you see it</span>' if imported else ""
    label = f'<span class="tl-sr">{escape(job)}: </span>{escape(card.title)}'
    opens = (
        f'<button type="button" data-open>{label}</button>'
        if imported
        else f'<a href="?r={card.id}" data-open>{label}</a>'
    )
    return (
        f'<li class="tl-item" {said}>{_shown(card, imported)}'
        f"<h3>{opens}</h3>{mark}"
        f'<p class="tl-found-line">{escape(card.found)}</p>'
        f'<p class="tl-facts"><b class="tl-job">{escape(job)}</b> {escape(card.facts)}</p>'
        f'<p class="tl-acts"><label><input type="checkbox" data-choose> Compare'
        f'<span class="tl-sr"> {escape(card.title)}, {escape(card.facts)}</span></label>'
        f'<button type="button" data-delete hidden>Delete<span class="tl-sr"> '
        f"{escape(card.title)}</span></button></p></li>"
    )


def _shown(card: Card, imported: View | None) -> str:
    if card.shares:
        return _bars(card.shares)
    figures = "".join(_figure(card, one, imported) for one in card.pictures)
    if not figures:
        return '<div class="tl-thumbs"><span class="tl-none">no pictures</span></div>'
    return f'<div class="tl-thumbs">{figures}</div>'


def _figure(card: Card, picture: Picture, imported: View | None) -> str:
    read = picture.read
    said = "" if read is None else f": the picture reads {read or 'nothing'}"
    alt = escape(f"{picture.title}{said}")
    unread = "" if read is not None else ' class="tl-unread"'
    below = escape(read) if read else ("–" if read is not None else escape(picture.title))
    if imported is None:
        source = f"gradio_api/textloc/{card.id}/{picture.key}.small.png"
    else:
        address = imported.pictures.address(picture.key, THUMB)
        if address is None:
            return (
                f'<figure><span class="tl-none">no picture</span><figcaption>{below}</figcaption>'
                "</figure>"
            )
        source = address[0]
    return (
        f'<figure><img src="{source}" alt="{alt}" loading="lazy" width="96" height="96">'
        f'<figcaption aria-hidden="true"{unread}>{below}</figcaption></figure>'
    )


def _bars(shares: Sequence[float]) -> str:
    """Shares by layer as small bars."""
    most = max(max(shares), 1e-9)
    wide = 240 / len(shares)
    bars = "".join(
        f'<rect x="{number * wide + 0.1 * wide:.1f}" y="{96 - high:.1f}" '
        f'width="{0.8 * wide:.1f}" height="{high:.1f}"/>'
        for number, high in enumerate(max(1.0, 90 * share / most) for share in shares)
    )
    best = max(range(len(shares)), key=shares.__getitem__)
    label = f"Share of each of {len(shares)} layers; layer {best} has the largest, {most:.2f}"
    return (
        f'<div class="tl-thumbs"><svg viewBox="0 0 240 98" role="img" preserveAspectRatio="none" '
        f'aria-label="{label}">{bars}</svg></div>'
    )
