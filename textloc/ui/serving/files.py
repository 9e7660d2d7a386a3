"""Serves what belongs to a stored result: its ZIP file, the picture that a chat shows of it, and
its pictures one by one, small, for the gallery.
"""

import base64
import re
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from textloc.errors import StoreError
from textloc.results import export, store
from textloc.ui.pictures import SMALL, encoded
from textloc.ui.serving import preview

_PATH = re.compile(r"/gradio_api/textloc/([0-9a-f]{16})(?:/([\w-]{1,240}))?\.(zip|png)")


class ResultFiles:
    """ASGI middleware: answers for `gradio_api/textloc/<id>.zip`, `<id>.png` and `<id>/<key>.png`,
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
        await self._app(scope, receive, send)


def _answer(result_id: str, key: str | None, kind: str) -> Response:
    try:
        if key is not None and kind == "png":
            return _small(result_id, key)
        return _ANSWERS[kind](result_id)
    except StoreError as error:
        return PlainTextResponse(str(error), status_code=404)


def _zip(result_id: str) -> Response:
    with tempfile.TemporaryDirectory() as folder:
        data = export.export_zip(result_id, Path(folder) / "result.zip").read_bytes()
    name = f'attachment; filename="textloc-{result_id}.zip"'
    return Response(data, media_type="application/zip", headers={"Content-Disposition": name})


def _png(result_id: str) -> Response:
    headers = {"Cache-Control": "max-age=86400"}
    return Response(preview.picture(result_id), media_type="image/png", headers=headers)


def _small(result_id: str, key: str) -> Response:
    """One picture of a result; the result as a whole is verified when it is opened."""
    for root in store.roots():
        try:
            path = store.Stored({}, root / result_id).image_path(key)
        except StoreError:
            continue
        data, kind = _thumbnail(path, path.stat().st_mtime_ns)
        return Response(data, media_type=kind, headers={"Cache-Control": "max-age=86400"})
    raise StoreError(f"The result {result_id} has no such picture.")


@lru_cache(maxsize=512)
def _thumbnail(path: Path, _changed: int) -> tuple[bytes, str]:
    image = store.Stored({}, path.parent.parent).image(path.stem)
    address, _ = encoded(image, SMALL)
    kind, _, text = address.removeprefix("data:").partition(";base64,")
    return base64.b64decode(text), kind


_ANSWERS: dict[str, Callable[[str], Response]] = {"zip": _zip, "png": _png}
