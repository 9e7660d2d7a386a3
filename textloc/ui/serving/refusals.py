"""Answers in words what Gradio's own routes cannot read: such a request is refused, not failed.

An event that does not exist, a zero byte in an address or values that no page sends make them
raise, which would be told as a fault of the server (500). What a run or a handler of ours does
wrong is told in its own answer and is none of this.
"""

import logging
from contextvars import ContextVar
from typing import Any

from starlette.responses import PlainTextResponse

Message = dict[str, Any]
_LOG = logging.getLogger(__name__)
_SENT: ContextVar[list[str] | None] = ContextVar("sent", default=None)
_SAID = "This page cannot answer that request.\n"


def blame(error: Exception) -> None:
    """Note that what the request of this moment has sent is at fault."""
    found = _SENT.get()
    if found is not None:
        found.append(type(error).__name__)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]!r}"


class Refusals:
    """ASGI middleware, the one next to Gradio: 400 for what makes its routes raise before they
    answer, and for values that were blamed; the reason goes to the log."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if "\0" in scope["path"]:
            await PlainTextResponse("Not Found\n", status_code=404)(scope, receive, send)
            return
        began, blamed = False, list[str]()
        before = _SENT.set(blamed)

        async def tell(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                if message["status"] == 500 and blamed:
                    message = {**message, "status": 400}
            await send(message)

        try:
            await self._app(scope, receive, tell)
        except Exception as error:
            if began:
                raise
            _LOG.warning("refused %s %.200r: %s", scope["method"], scope["path"], _short(error))
            await PlainTextResponse(_SAID, status_code=400)(scope, receive, send)
        finally:
            _SENT.reset(before)
