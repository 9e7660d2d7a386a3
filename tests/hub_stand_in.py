"""A stand-in for the Hub: serves folders as model repositories over HTTP on loopback."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests import loopback

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GATED = "stand-in/gated"
"""A repository that asks for its licence to be accepted."""


@contextmanager
def serve(repositories: Mapping[str, Path]) -> Iterator[str]:
    """Serve `repositories` (Hub name to folder); yields the address for `HF_ENDPOINT`."""

    class Handler(loopback.Handler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            parts = self.path.partition("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                self.information("/".join(parts[2:4]), tree="tree" in parts[4:5])
            elif len(parts) > 4 and parts[2] == "resolve":
                self.file("/".join(parts[:2]), "/".join(parts[4:]))
            else:
                self.send_bytes(404, b"")

        def missing(self, name: str) -> bool:
            if name == GATED:
                self.send_bytes(403, b"{}", {"X-Error-Code": "GatedRepo"})
            elif name not in repositories:
                self.send_bytes(401, b"{}", {"X-Error-Code": "RepoNotFound"})
            else:
                return False
            return True

        def information(self, name: str, tree: bool) -> None:
            if self.missing(name):
                return
            folder = repositories[name]
            paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            files = {path.relative_to(folder).as_posix(): path for path in paths}
            answer: object
            if tree:
                answer = [
                    {"type": "file", "path": name, "size": path.stat().st_size, "oid": COMMIT}
                    for name, path in files.items()
                ]
            else:
                answer = {
                    "_id": "1",
                    "id": name,
                    "modelId": name,
                    "sha": COMMIT,
                    "siblings": [{"rfilename": file} for file in files],
                    "tags": [],
                    "downloads": 0,
                    "private": False,
                }
            self.send_bytes(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

        def file(self, name: str, path: str) -> None:
            if self.missing(name):
                return
            file = repositories[name] / path
            if not file.is_file():
                self.send_bytes(
                    404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
                )
                return
            data = file.read_bytes()
            tag = hashlib.sha256(data).hexdigest()
            self.send_bytes(200, data, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})

    with loopback.serving(Handler) as address:
        yield address
