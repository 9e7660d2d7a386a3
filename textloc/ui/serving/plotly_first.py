"""Serves Plotly.js and the page's languages, and starts them with the page.

Gradio puts what `launch(head=)` asks for into the page only after its front end has started. A
script tag in the HTML itself lets the browser fetch and parse the library meanwhile. Where the HTML
does not pass here (server-side rendering), `static/figure.js` and `static/address.js` ask for them
themselves.
"""

import re
from collections.abc import Hashable
from typing import Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import URL, Headers
from starlette.responses import Response

from textloc.ui import languages
from textloc.ui.serving import plotlyjs, preview

Message = dict[str, Any]
_LANGUAGE = re.compile(r"/gradio_api/textloc/([a-z]{2})\.js")
_MOST_KEPT = 16
"""Addresses for which the page's HTML is kept: Gradio takes a tenth of a second to make it."""
_OWN = re.compile(rb"<meta\s[^>]*(?:property|name)=\"(?:og|twitter):[^>]*>")


class EarlyScript:
    """ASGI middleware: answers for Plotly.js and `gradio_api/textloc/<language>.js`, adds their
    tags to the HTML of `/`, passes on the rest.

    The address changes with the version of Plotly, so browsers may keep the script for good.
    """

    def __init__(self, app: Any) -> None:
        self._app, self._address = app, plotlyjs.address()
        self._made: dict[Hashable, tuple[Message, Message]] = {}

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            if scope["method"] == "HEAD":
                await self._head(path, scope, receive, send)
                return
            if path == f"/{self._address}":
                await (await self._script(scope))(scope, receive, send)
                return
            match = _LANGUAGE.fullmatch(path)
            if match and match[1] in languages.NAMES and match[1] != "en":
                await _said(match[1])(scope, receive, send)
                return
            if path == "/":
                await self._page(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _head(self, path: str, scope: Message, receive: Any, send: Any) -> None:
        """Whether the page is there, without making it: Gradio ends a start at which that takes
        three seconds, as it would on a busy machine."""
        answer = Response(media_type="text/html") if path == "/" else self._app
        await answer(scope, receive, send)

    async def _script(self, scope: Message) -> Response:
        plain, small = await run_in_threadpool(plotlyjs.script)
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "Vary": "Accept-Encoding",
        }
        if "gzip" in Headers(scope=scope).get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            plain = small
        return Response(plain, headers=headers, media_type="text/javascript")

    async def _page(self, scope: Message, receive: Any, send: Any) -> None:
        start: Message = {}
        body = bytearray()
        query = bytes(scope.get("query_string", b"")).decode("latin-1")
        language = languages.asked(query, Headers(scope=scope))

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            elif message["type"] == "http.response.body":
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    page = _tagged(
                        bytes(body), _first(language) + self._tag + await self._preview(scope)
                    )
                    start["headers"] = _with_length(start["headers"], len(page))
                    if "lang=" in query:
                        start["headers"].append((b"set-cookie", _kept(language)))
                    await send(start)
                    await send({"type": "http.response.body", "body": page})

        key = _asked_at(scope, query)
        if key is not None and (kept := self._made.get(key)) is not None:
            await collect({**kept[0], "headers": list(kept[0]["headers"])})
            await collect(kept[1])
            return
        made: list[Message] = []

        async def keep(message: Message) -> None:
            made.append(dict(message))
            await collect(message)

        await self._app(scope, receive, keep)
        whole = len(made) == 2 and made[0]["status"] == 200 and not made[1].get("more_body")
        if key is not None and whole:
            if len(self._made) >= _MOST_KEPT:
                self._made.clear()
            self._made[key] = (made[0], made[1])

    async def _preview(self, scope: Message) -> str:
        """Tags by which a chat shows the result that a link names."""
        query = bytes(scope.get("query_string", b""))
        if b"r=" not in query:
            return ""
        url = URL(scope=scope).replace(query="", fragment="")
        address = str(url) if url.path.endswith("/") else f"{url}/"
        return await run_in_threadpool(preview.tags, query, address)

    @property
    def _tag(self) -> str:
        return f'<script async data-plotly src="{self._address}"></script>'


def _asked_at(scope: Message, query: str) -> Hashable | None:
    """What the HTML of the page depends on: the address that it was asked at, as proxies tell it.
    None where it is made anew: for one page of several, a deep link, or one who has to log in."""
    app = scope.get("app")
    login = getattr(app, "auth", None) is not None or getattr(app, "auth_dependency", None)
    if login or not {"page", "deep_link"}.isdisjoint(parse_qs(query, keep_blank_values=True)):
        return None
    told = [
        (name, value) for name, value in scope["headers"] if name[:2] == b"x-" or name == b"host"
    ]
    return (scope.get("scheme"), scope.get("root_path"), scope["path"], *sorted(told))


def _said(language: str) -> Response:
    headers = {"Cache-Control": "max-age=3600"}
    return Response(languages.script(language), headers=headers, media_type="text/javascript")


def _first(language: str) -> str:
    """The tag of a language, before all others: texts are to appear in it at once."""
    if language == "en":
        return ""
    return f'<script data-language src="gradio_api/textloc/{language}.js"></script>'


def _kept(language: str) -> bytes:
    return f"{languages.COOKIE}={language}; Path=/; Max-Age=31536000; SameSite=Lax".encode()


def _tagged(page: bytes, tags: str) -> bytes:
    """The HTML with tags at the end of its head; Gradio's own Open Graph tags go where ours are."""
    if "og:" in tags:
        page = _OWN.sub(b"", page)
    return page.replace(b"</head>", f"{tags}</head>".encode(), 1)


def _with_length(headers: Any, length: int) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return [*kept, (b"content-length", str(length).encode())]
