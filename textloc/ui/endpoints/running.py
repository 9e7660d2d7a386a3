"""Runs what an endpoint asks for, in the same line as what the forms of the tabs ask for."""

from collections.abc import Iterator

import gradio as gr

from textloc.errors import TextlocError
from textloc.ui import live
from textloc.ui.endpoints import answers
from textloc.ui.endpoints.answers import Answer
from textloc.ui.endpoints.plain import without_paths

PATIENCE = 2.0
"""Seconds after which one who waits is told so again."""


def refusal(error: Exception | str) -> gr.Error:
    """An error as a caller is told of it: its words alone, without paths of the server."""
    text = without_paths(str(error))
    return gr.Error(text[:1].upper() + text[1:], print_exception=False)


def run(order: live.Order, page: str, pictures: str) -> Iterator[Answer]:
    """An answer whenever there is more to show; the last is complete. A stored result of just this
    run is that answer at once.

    Raises:
        gr.Error: the run failed; what was told before stays told.
    """
    try:
        if (before := order.before()) is not None:
            yield answers.of_stored(page, before, pictures)
            return
    except TextlocError as error:
        raise refusal(error) from error
    began, told = False, ("", 0.0)
    for update in live.Job(order).updates():
        if update.state == "failed":
            raise refusal(update.message)
        if update.document is None or update.images is None:
            said = update.message or "waiting for the device"
            if not began and (said != told[0] or update.seconds > told[1] + PATIENCE):
                told = said, update.seconds
                yield answers.waiting(said, update.seconds)
        elif update.fresh or update.state == "complete":
            began = True
            kept = update.state == "complete" and order.stored and not update.message
            yield answers.of_made(page, update.document, update.images, pictures, kept)
