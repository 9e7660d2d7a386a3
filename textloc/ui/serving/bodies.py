"""Keeps requests small: what is larger than the settings say is answered by 413 and not kept."""

from typing import Any

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from textloc.ui import settings

Message = dict[str, Any]
_UPLOAD = "/gradio_api/upload"
_WITHOUT = ("GET", "HEAD", "OPTIONS")  # methods of requests that usually have no body
_AROUND = 100_000  # bytes of a form around the file that it carries


class Bodies:
    """ASGI middleware: refuses a body by its length where that is said, and else collects it first,
    as far as it may go."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        most = _most(scope)
        if most is None:
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length")
        if said is None and scope["method"] in _WITHOUT:
            await self._app(scope, receive, send)
            return
        if said is None:
            kept = await _collected(receive, most)
            if kept is not None:
                await self._app(scope, _Again(kept, receive), send)
                return
        elif said.isascii() and said.isdecimal() and int(said[:20]) <= most:
            await self._app(scope, receive, send)
            return
        answer = PlainTextResponse(
            f"This request is larger than {most // 1_000_000} MB, the most that this page takes.\n",
            status_code=413,
            headers={"Connection": "close"},
        )
        await answer(scope, receive, send)


def _most(scope: Message) -> int | None:
    """Bytes that the body of a request may have; None is no limit."""
    if scope["type"] != "http":
        return None
    here = settings.read()
    if is_upload(scope):
        return None if here.upload is None else here.upload + _AROUND
    return here.body


def is_upload(scope: Message) -> bool:
    """Whether a request uploads a file."""
    if scope["type"] != "http":
        return False
    path: str = scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/")
    return path == _UPLOAD and scope["method"] == "POST"


async def _collected(receive: Any, most: int) -> list[Message] | None:
    """The messages of a body, to its end; None where it is larger."""
    kept, size = list[Message](), 0
    while True:
        message = await receive()
        kept.append(message)
        size += len(message.get("body", b""))
        if size > most:
            return None
        if message["type"] != "http.request" or not message.get("more_body"):
            return kept


class _Again:
    """Messages that were received before, then what comes."""

    def __init__(self, kept: list[Message], receive: Any) -> None:
        self._kept, self._receive = kept, receive

    async def __call__(self) -> Any:
        return self._kept.pop(0) if self._kept else await self._receive()
