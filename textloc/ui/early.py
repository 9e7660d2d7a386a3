"""Starts Plotly.js with the page, beside Gradio's own scripts.

Gradio puts what `launch(head=)` asks for into the page only after its front end has started. A
script tag in the HTML itself lets the browser fetch and parse the library meanwhile. Where the HTML
does not pass here (server-side rendering), `static/figure.js` asks for the library itself.
"""

from typing import Any

from textloc.ui import plotlyjs

Message = dict[str, Any]


class EarlyScript:
    """ASGI middleware: adds the script tag to the HTML of `/`, and passes on everything else."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._tag = f'<script async data-plotly src="{plotlyjs.address()}"></script>'.encode()

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            await self._app(scope, receive, send)
            return
        start: Message = {}
        body = bytearray()

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            elif message["type"] == "http.response.body":
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    page = bytes(body).replace(b"</head>", self._tag + b"</head>", 1)
                    start["headers"] = _with_length(start["headers"], len(page))
                    await send(start)
                    await send({"type": "http.response.body", "body": page})

        await self._app(scope, receive, collect)


def _with_length(headers: Any, length: int) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return [*kept, (b"content-length", str(length).encode())]
