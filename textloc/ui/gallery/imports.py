"""A file that a visitor imports: opened, checked, tried, and kept for that visitor alone.

An imported result never joins the stored ones. Who made it is not known, and its content need not
be what a run here gives: kept, it would stand in for a run that somebody else asks for.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from textloc.errors import StoreError, TextlocError
from textloc.results import store, upload
from textloc.results.inlined import Pictures
from textloc.ui import stored
from textloc.ui.gallery import cards
from textloc.ui.stored import View

MOST = 8
"""Results that one visitor may have imported; the oldest goes."""
_LOG = logging.getLogger(__name__)


def opened(file: Path, attempt: Callable[[View], None]) -> View:
    """The view of the result in a file; it is `stored` where this very result is stored here.

    attempt: draws it for nothing, raising what is wrong with it.

    Raises:
        StoreError: as `upload.open_upload`, and for a document that cannot be drawn.
    """
    found = upload.open_upload(file)
    if (known := _known(found.id, found.document.get("digest"))) is not None:
        return known
    pictures = found.images
    try:
        view = stored.view_of(found.document, Pictures(pictures.__getitem__), stored=False)
        attempt(view)
        cards.html(cards.card_of(view.document), view)
    except TextlocError:
        raise
    except Exception as error:  # a document of the wrong shape can make anything go wrong
        _LOG.info("an imported document cannot be shown: %r", error)
        raise StoreError(
            "This result is damaged: its document lacks what is shown of it. Save it again."
        ) from error
    return view


def _known(result_id: str, digest: object) -> View | None:
    """The stored view of just this content, if any."""
    try:
        view = stored.stored_view(store.check_id(result_id))
    except StoreError:
        return None
    return view if digest and digest == (view.kept or view.document).get("digest") else None
