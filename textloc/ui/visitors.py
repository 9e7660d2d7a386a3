"""Who looks at the page: told to the tabs when it is opened, and to the line when it is closed."""

import re
import secrets
from collections.abc import Sequence
from typing import Any

import gradio as gr

from textloc.ui import limits, settings
from textloc.ui.session import Session
from textloc.ui.tab import QUIET

_KEY = re.compile(r"[0-9a-f]{32}")


def wire(page: gr.Blocks, sessions: Sequence[gr.State]) -> None:
    """Have the sessions know their visitor. A public page keeps a secret key in the browser, by
    which it knows that visitor's results again."""
    if not settings.read().public:
        return
    key = gr.BrowserState("", storage_key="textloc-key", secret="textloc")
    page.load(known, [key, *sessions], key, queue=False, **QUIET)
    page.unload(gone)


def known(key: Any, request: gr.Request, *sessions: Session) -> str:
    """The key of the browser, a new one where it has none."""
    good = key if isinstance(key, str) and _KEY.fullmatch(key) else secrets.token_hex(16)
    visitor = of(request, good)
    for session in sessions:
        session.visitor = visitor
    return good


def of(request: gr.Request, key: str = "") -> limits.Visitor:
    """The visitor of a request."""
    host = request.client.host if request.client else None
    return limits.Visitor(limits.address_of(host, request.headers), key, request.session_hash or "")


def gone(request: gr.Request) -> None:
    """A visitor closed the page: what has not begun of theirs never will."""
    limits.LINE.leave(request.session_hash or "")
