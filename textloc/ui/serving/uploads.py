"""Keeps what visitors upload within a limit of the disk: the oldest files go first."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio.to_thread

from textloc.ui import settings
from textloc.ui.serving.bodies import is_upload

Message = dict[str, Any]


class Uploads:
    """ASGI middleware: after each upload, removes the oldest files of `files` beyond the limit.

    files: sets of the names of the page's own files, as Gradio fills them.
    """

    def __init__(self, app: Any, files: Iterable[set[str]]) -> None:
        self._app, self._files = app, files

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)
        most = settings.read().uploads
        if most is not None and is_upload(scope):
            await anyio.to_thread.run_sync(shrink, self._files, most)


def shrink(files: Iterable[set[str]], most: int) -> None:
    """Remove the oldest of these files, and their folders that are empty then, until `most` bytes
    are left; the newest stays."""
    found = []
    for name in {str(name) for some in list(files) for name in list(some)}:
        with suppress(OSError):  # it went meanwhile
            about = Path(name).stat()
            found.append((about.st_mtime_ns, about.st_size, Path(name)))
    found.sort()
    held = sum(size for _, size, _ in found)
    for _, size, path in found[:-1]:
        if held <= most:
            return
        with suppress(OSError):
            path.unlink()
            held -= size
            path.parent.rmdir()
