"""Runs what an endpoint asks for, in the same line as what the forms of the tabs ask for."""

from collections.abc import Iterator
from contextlib import closing

import gradio as gr

from textloc.errors import TextlocError
from textloc.ui import limits, live
from textloc.ui.endpoints import answers
from textloc.ui.endpoints.answers import Answer
from textloc.ui.endpoints.plain import without_paths
from textloc.ui.endpoints.reading import ReadOrder

PATIENCE = 2.0
"""Seconds after which one who waits is told again how it stands. A caller who has left is let go
when something is told."""


def refusal(error: Exception | str) -> gr.Error:
    """An error as a caller is told of it: its words alone, without paths of the server."""
    return gr.Error(without_paths(str(error)), print_exception=False)


def run(
    order: live.Order, page: str, pictures: str, visitor: limits.Visitor | None = None
) -> Iterator[Answer]:
    """An answer whenever there is more to show, and the same again in between; the last one is
    complete. A stored result of just this run is that answer at once.

    Raises:
        gr.Error: it is more than the page gives, or the run failed; what was told before stays
            told.
    """
    try:
        if (before := order.before()) is not None:
            yield answers.of_stored(page, before, pictures)
            return
        job = live.Job(order, visitor)
    except TextlocError as error:
        raise refusal(error) from error
    with closing(job.updates()) as updates:  # a caller who leaves stops the run
        yield from _told(updates, order.stored, page, pictures)


def read(order: ReadOrder, visitor: limits.Visitor | None = None) -> Answer:
    """What is read in a picture.

    Raises:
        gr.Error: it cannot be read, or the line is full.
    """
    try:
        job = live.Job(order, visitor)
    except TextlocError as error:
        raise refusal(error) from error
    *_, last = job.updates()
    if last.state != "complete" or last.document is None:
        raise refusal(last.message)
    answer: Answer = last.document["read"]
    return answer


def _told(
    updates: Iterator[live.Update], stored: bool, page: str, pictures: str
) -> Iterator[Answer]:
    answer: Answer | None = None
    told = "", 0.0
    for update in updates:
        if update.state == "failed":
            raise refusal(update.message)
        if update.document is None or update.images is None:
            said = update.message or "waiting for the device"
            if not answer and (said != told[0] or update.seconds > told[1] + PATIENCE):
                told = said, update.seconds
                yield answers.waiting(said, update.seconds)
        elif update.state == "complete" and stored and not update.message:
            yield answers.of_stored(page, update.document["id"], pictures)
        elif update.state == "complete" or (update.fresh and not update.document["complete"]):
            answer = answers.of_made(page, update.document, update.images, pictures)
            told = "", update.seconds
            if update.state == "complete" and update.message:  # it could not be stored
                answer["says"] = f"{answer['says']} {without_paths(update.message)}"
            yield answer
        elif answer and update.seconds > told[1] + PATIENCE:
            told = "", update.seconds
            yield answer
