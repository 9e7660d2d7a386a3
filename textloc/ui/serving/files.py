"""Serves what belongs to a result: its ZIP file, its report, the picture that a chat shows of it,
and its pictures one by one.
"""

import base64
import re
import tempfile
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import anyio.to_thread
from starlette.datastructures import URL
from starlette.responses import PlainTextResponse, Response

from textloc.errors import StoreError
from textloc.pictures import png
from textloc.results import export, opening, report, store
from textloc.results.inlined import THUMB, encoded
from textloc.ui.endpoints.plain import without_paths
from textloc.ui.serving import made, preview

_PATH = re.compile(r"/gradio_api/textloc/([0-9a-f]{16})\.(zip|png|html)")
_SMALL = re.compile(r"/gradio_api/textloc/([0-9a-f]{16})/([\w-]{1,240})\.small\.png")
_PICTURE = re.compile(r"/gradio_api/(?:file=\S+/gradio_api/)?textloc/([0-9a-f]{16})/([\w-]+)\.png")
"""A picture of a result; `gradio_client` puts `file=` before any address."""
_AT_ONCE = anyio.CapacityLimiter(4)
"""Files that are made at the same time; other requests wait without holding a thread."""


class ResultFiles:
    """ASGI middleware: answers for `gradio_api/textloc/<id>.zip`, `.html` and `.png`, for a picture
    of it, `<id>/<key>.png`, and the same small, `.small.png`; passes on the rest."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            answer = None
            if match := _PATH.fullmatch(path):
                page = URL(scope=scope).replace(query="", fragment="")
                home = str(page.replace(path=page.path.removesuffix(match[0]) + "/"))
                answer = partial(_ANSWERS[match[2]], match[1], home)
            elif match := _SMALL.fullmatch(path):
                answer = partial(_small, *match.groups())
            elif match := _PICTURE.fullmatch(path):
                answer = partial(_picture, *match.groups())
            if answer is not None:
                response = await anyio.to_thread.run_sync(_answer, answer, limiter=_AT_ONCE)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _answer(make: Callable[[], Response]) -> Response:
    try:
        return make()
    except StoreError as error:
        return PlainTextResponse(without_paths(str(error)), status_code=404)


def _zip(result_id: str, _home: str) -> Response:
    with tempfile.TemporaryDirectory() as folder:
        data = export.export_zip(result_id, Path(folder) / "result.zip").read_bytes()
    return Response(data, media_type="application/zip", headers=_attached(result_id, "zip"))


def _html(result_id: str, home: str) -> Response:
    result = opening.opened(store.load(result_id))
    data = report.to_html(result.document, result.images, export.permalink(home, result_id))
    return Response(data, media_type="text/html", headers=_attached(result_id, "html"))


def _attached(result_id: str, kind: str) -> dict[str, str]:
    """To be saved, not opened in the page's place."""
    name = f'attachment; filename="textloc-{result_id}.{kind}"'
    return {"Content-Disposition": name, "X-Content-Type-Options": "nosniff"}


def _png(result_id: str, _home: str) -> Response:
    headers = {"Cache-Control": "max-age=86400"}
    return Response(preview.picture(result_id), media_type="image/png", headers=headers)


def _small(result_id: str, key: str) -> Response:
    """One picture of a result; the result as a whole is verified when it is opened."""
    if not store.is_here(result_id):
        store.load(result_id)
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
    address, _ = encoded(image, THUMB)
    kind, _, text = address.removeprefix("data:").partition(";base64,")
    return base64.b64decode(text), kind


def _picture(result_id: str, key: str) -> Response:
    """A picture that was just made, or one of a stored result."""
    data = made.find(result_id, key) or _of_stored(store.load(result_id), key)
    return Response(data, media_type="image/png", headers={"Cache-Control": "max-age=86400"})


def _of_stored(found: store.Stored, key: str) -> bytes:
    path = found.image_path(key)
    if path.suffix == ".png":
        return path.read_bytes()
    return png(found.image(key))


_ANSWERS: dict[str, Callable[[str, str], Response]] = {"zip": _zip, "png": _png, "html": _html}
