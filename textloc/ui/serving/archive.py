"""Serves a stored result, with its pictures, as a ZIP file."""

import re
import tempfile
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from textloc.errors import StoreError
from textloc.results import export

_PATH = re.compile(r"/gradio_api/textloc/([0-9a-f]{16})\.zip")


class Archive:
    """ASGI middleware: answers for `gradio_api/textloc/<id>.zip`, passes on the rest."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            if match := _PATH.fullmatch(path):
                response = await run_in_threadpool(_answer, match[1])
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _answer(result_id: str) -> Response:
    try:
        with tempfile.TemporaryDirectory() as folder:
            data = export.export_zip(result_id, Path(folder) / "result.zip").read_bytes()
    except StoreError as error:
        return PlainTextResponse(str(error), status_code=404)
    name = f'attachment; filename="textloc-{result_id}.zip"'
    return Response(data, media_type="application/zip", headers={"Content-Disposition": name})
