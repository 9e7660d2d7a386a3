"""The gallery tab: cards, a comparison, an import.

Searching, filtering and choosing are done in the browser (`static/gallery.js`); the server is asked
for the cards, to open, compare, delete and import.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from textloc.errors import StoreError, TextlocError
from textloc.results import removal, store
from textloc.ui import own, status, stored
from textloc.ui.figure import figure, picking
from textloc.ui.gallery import cards, comparison, imports
from textloc.ui.session import Session
from textloc.ui.stored import View
from textloc.ui.tab import QUIET, Tab, skips
from textloc.ui.theme import STATIC

GALLERY = "textloc.gallery"
"""The tab's ID."""

_HEAD = """<h1 class="tl-claim">Results</h1><p class="tl-evidence">All that is stored here. Open one
in its tab, or compare two of one job.</p>"""
_HINT = """<p class="tl-hint">A file that Save ZIP or Save JSON gave, up to 64 MB; JSON has no
pictures. Only you see it, until you leave this page.</p>"""


@dataclass
class GallerySession:
    """What one visitor has in the gallery: `imported` views by ID. `sent`: what the browser has."""

    imported: dict[str, View] = field(default_factory=dict)
    sent: object = None

    def view(self, ref: object) -> View:
        """The view of a card. Raises `StoreError` where there is none."""
        text = str(ref)
        if not text.startswith(cards.OWN):
            return stored.stored_view(text)
        if (found := self.imported.get(text.removeprefix(cards.OWN))) is None:
            raise StoreError("This import is gone: import the file again.")
        return found


class GalleryTab:
    """Builds the components into the tab that is open, and wires them.

    `tab` is that tab, `tabs` all of them; `jobs` are the tabs that show results.
    """

    def __init__(self, page: gr.Blocks, tab: gr.Tab, tabs: gr.Tabs, jobs: Sequence[Tab]) -> None:
        self.session = gr.State(GallerySession())
        self.jobs = {job.KIND: job for job in jobs}
        told: dict[str, Any] = {"elem_classes": "tl-told", "apply_default_css": False}
        with gr.Row(elem_classes="tl-gallery-head"):
            with gr.Column(scale=3, min_width=280):
                gr.HTML(_HEAD, apply_default_css=False)
            with gr.Column(scale=2, min_width=280, elem_classes="tl-import"):
                self.file = gr.UploadButton(
                    "Import a result", file_types=[".zip", ".json"], elem_id="gallery-import"
                )
                gr.HTML(_HINT, apply_default_css=False)
        self.notice = gr.HTML(elem_id="gallery-notice", **told)
        with gr.Column(elem_classes="tl-card", visible=False) as self.compared:
            self.beside = picking(elem_id="gallery-beside")
            self.figure = figure(height=0, elem_id="gallery-figure")
        self.cards = gr.HTML(
            html_template=(STATIC / "gallery.html").read_text(encoding="utf-8"),
            js_on_load=(STATIC / "gallery.js").read_text(encoding="utf-8"),
            apply_default_css=False,
            elem_id="gallery",
        )
        self.damaged = gr.HTML(elem_id="gallery-damaged", **told)
        self._wire(page, tab, tabs)

    def _wire(self, page: gr.Blocks, tab: gr.Tab, tabs: gr.Tabs) -> None:
        session, listed = self.session, [self.cards, self.damaged]
        page.load(self.load, session, listed, queue=False, **QUIET)
        tab.select(self.listed, session, listed, queue=False, **QUIET)
        shown = [self.notice, self.compared, self.beside, self.figure]
        self.cards.compare(self.compare, session, shown, **QUIET)
        self.beside.pick(self.close, None, shown, **QUIET)
        self.cards.delete(self.delete, session, [self.notice, *listed], **QUIET)
        self.file.upload(
            self.take,
            [session, self.file],
            [self.file, self.notice, *listed],
            api_visibility="private",
            concurrency_id="import",
            concurrency_limit=1,
        )
        opens = {
            stored.LOCALIZE: self.cards.open_localize,
            stored.EDIT: self.cards.open_edit,
            stored.LORA: self.cards.open_lora,
        }
        for kind, job in self.jobs.items():
            opens[kind](
                _for(self.open, job),
                [session, job.session],
                [self.notice, tabs, *job.opened],
                **QUIET,
            ).success(job.open_rest, [job.session, *job.form], job.rest, **QUIET)

    # -- listing ---------------------------------------------------------------------------

    def load(self, session: GallerySession, request: gr.Request) -> list[Any]:
        """The cards, where the page opens on them."""
        asked = request.query_params.get("tab") if request else None
        return self.listed(session) if asked == "gallery" else skips(2)

    def listed(self, session: GallerySession) -> list[Any]:
        """All cards, and a note on what is damaged."""
        summaries = store.listing()
        found = cards.listed(summaries)
        now = (found, tuple(session.imported))
        if now == session.sent:
            return [gr.skip(), stored.damaged(summaries)]
        session.sent = now
        return [cards.value(found, session.imported), stored.damaged(summaries)]

    # -- a card ----------------------------------------------------------------------------

    def open(
        self, job: Tab, session: GallerySession, shown: Session, event: gr.EventData
    ) -> list[Any]:
        """The result of a card in its tab."""
        try:
            view = session.view(event._data.get("ref"))
            if stored.tab_of(view.document) != job.KIND:
                raise StoreError("This result belongs to another tab. Open the gallery again.")
        except TextlocError as error:
            return [status.notice(str(error)), *skips(1 + len(job.opened))]
        return ["", gr.Tabs(selected=job.KIND), *job.open_view(shown, view)]

    def compare(self, session: GallerySession, event: gr.EventData) -> list[Any]:
        """Two results side by side."""
        try:
            refs = [event._data.get(side) for side in ("first", "second")]
            text, drawn = comparison.beside(*(session.view(ref) for ref in refs))
        except TextlocError as error:
            return [status.notice(str(error)), gr.Column(visible=False), *skips(2)]
        return ["", gr.Column(visible=True), text, drawn]

    def close(self) -> list[Any]:
        """The cards alone again."""
        return ["", gr.Column(visible=False), "", None]

    def delete(self, session: GallerySession, event: gr.EventData) -> list[Any]:
        """Delete what this browser made or imported; anything else stays."""
        ref, receipt = str(event._data.get("ref")), str(event._data.get("receipt"))
        said = ""
        if ref.startswith(cards.OWN):
            session.imported.pop(ref.removeprefix(cards.OWN), None)
        elif own.take(ref, receipt):
            try:
                removal.delete(ref)
            except StoreError as error:
                said = str(error)
        else:
            said = (
                "This result is not deleted: only who made it here can delete it, as long as the "
                "server runs and nobody else has asked for the same."
            )
        return [status.notice(said), *self.listed(session)]

    # -- importing -------------------------------------------------------------------------

    def take(self, session: GallerySession, file: str | None) -> list[Any]:
        """A file that was uploaded; it is opened, checked and shown to this visitor alone."""
        if not file:
            return skips(4)
        try:
            view = imports.opened(Path(file), self._try)
        except TextlocError as error:
            return [None, status.notice(str(error)), *skips(2)]
        finally:
            Path(file).unlink(missing_ok=True)
        document = view.document
        if view.stored:
            said = f"This result is stored here already: {store.title(document)}."
            return [None, status.notice(said), *skips(2)]
        session.imported = {
            str(document["id"]): view,
            **{i: one for i, one in session.imported.items() if i != document["id"]},
        }
        while len(session.imported) > imports.MOST:
            session.imported.popitem()
        return [None, "", *self.listed(session)]

    def _try(self, view: View) -> None:
        self.jobs[stored.tab_of(view.document)].try_view(view)


def _for(handler: Callable[..., list[Any]], job: Tab) -> Callable[..., list[Any]]:
    """`handler` for one tab, with the hints by which Gradio finds the event's data."""

    def handle(session: GallerySession, shown: Session, event: gr.EventData) -> list[Any]:
        return handler(job, session, shown, event)

    return handle
