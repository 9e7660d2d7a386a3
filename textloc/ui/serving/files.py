"""Serves what belongs to a stored result: its ZIP file, and the picture that a chat shows of it."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from textloc.errors import StoreError
from textloc.results import export, store
from textloc.ui.endpoints.plain import without_paths
from textloc.ui.serving import made, preview

_PATH = re.compile(r"/gradio_api/textloc/([0-9a-f]{16})\.(zip|png)")
_PICTURE = re.compile(r"/gradio_api/(?:file=\S+/gradio_api/)?textloc/([0-9a-f]{16})/([\w-]+)\.png")
"""A picture of a result; `gradio_client` puts `file=` before any address."""


class ResultFiles:
    """ASGI middleware: answers for `gradio_api/textloc/<id>.zip`, `.png` and `/<picture>.png`,
    passes on the rest."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            if match := _PATH.fullmatch(path):
                response = await run_in_threadpool(_answer, *match.groups())
                await response(scope, receive, send)
                return
            if match := _PICTURE.fullmatch(path):
                response = await run_in_threadpool(_picture, *match.groups())
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _answer(result_id: str, kind: str) -> Response:
    try:
        return _ANSWERS[kind](result_id)
    except StoreError as error:
        return PlainTextResponse(without_paths(str(error)), status_code=404)


def _zip(result_id: str) -> Response:
    with tempfile.TemporaryDirectory() as folder:
        data = export.export_zip(result_id, Path(folder) / "result.zip").read_bytes()
    name = f'attachment; filename="textloc-{result_id}.zip"'
    return Response(data, media_type="application/zip", headers={"Content-Disposition": name})


def _png(result_id: str) -> Response:
    headers = {"Cache-Control": "max-age=86400"}
    return Response(preview.picture(result_id), media_type="image/png", headers=headers)


def _picture(result_id: str, key: str) -> Response:
    """A picture that was just made, or one of a stored result."""
    headers = {"Cache-Control": "max-age=86400"}
    try:
        data = made.find(result_id, key) or store.load(result_id).image_path(key).read_bytes()
    except StoreError as error:
        return PlainTextResponse(without_paths(str(error)), status_code=404)
    return Response(data, media_type="image/png", headers=headers)


_ANSWERS: dict[str, Callable[[str], Response]] = {"zip": _zip, "png": _png}
