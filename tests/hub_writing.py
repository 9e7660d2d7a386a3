"""A stand-in for the Hub that is written to: datasets and Spaces in memory, over loopback."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

from tests import loopback

TOKEN = "hf_stand_in"


@dataclass
class Repository:
    """One repository: its files, and a number that grows with every commit."""

    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b""})
    commits: int = 0
    variables: dict[str, str] = field(default_factory=dict)
    hardware: str = ""
    created: dict[str, Any] = field(default_factory=dict)

    @property
    def sha(self) -> str:
        return f"{self.commits:040x}"


@dataclass
class Hub:
    """What the stand-in holds. repositories: by `datasets/owner/name` or `spaces/owner/name`.
    away: answers 503 to all. refuses: paths, by their beginning, that answer 403. asked: every
    request. before_commit: called once when a commit arrives, before it is judged."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    away: bool = False
    refuses: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)
    before_commit: list[Any] = field(default_factory=list)

    def paths(self, name: str) -> set[str]:
        return set(self.repositories[name].files) - {".gitattributes"}


@contextmanager
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in, which huggingface_hub takes for the Hub within the block, with a token."""
    hub = Hub()

    class Handler(loopback.Handler):
        def do_GET(self) -> None:
            self.answer(b"")

        do_HEAD = do_GET

        def do_POST(self) -> None:
            self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def answer(self, body: bytes) -> None:
            path, _, query = unquote(self.path).partition("?")
            hub.asked.append(f"{self.command} {path}")
            parts = path.strip("/").split("/")
            if hub.away:
                return self.send(503, {"error": "down for maintenance"})
            if path.startswith(hub.refuses) and hub.refuses:
                return self.send(403, {"error": "forbidden"})
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.send(401, {"error": "Invalid username or password."})
            if path == "/api/repos/create":
                return self.create(json.loads(body))
            if path == "/api/validate-yaml":
                return self.send(200, {"errors": [], "warnings": []})
            api = parts[0] == "api"
            name = "/".join(parts[1:4] if api else parts[:3])
            repository = hub.repositories.get(name)
            if repository is None:
                return self.send(404, {"error": "not found"}, {"X-Error-Code": "RepoNotFound"})
            rest = parts[4:] if api else parts[3:]
            self.about(repository, name, rest, query, body)

        def create(self, asked: dict[str, Any]) -> None:
            name = f"{asked['type']}s/{asked['organization']}/{asked['name']}"
            status = 409 if name in hub.repositories else 200
            if status == 200:
                hub.repositories[name] = Repository(created=asked)
            self.send(status, {"url": f"{hub.address}/{name}"})

        def about(
            self, one: Repository, name: str, rest: list[str], query: str, body: bytes
        ) -> None:
            what = rest[0] if rest else "revision"
            if what == "revision":
                siblings = [{"rfilename": file} for file in one.files]
                told = {"id": name.partition("/")[2], "sha": one.sha, "siblings": siblings}
                self.send(200, {"_id": "1", "tags": [], "private": False, **told})
            elif what == "tree":
                self.tree(one, "/".join(rest[2:]), "recursive=true" in query.lower())
            elif what == "paths-info":
                asked = parse_qs(body.decode())["paths"]
                self.send(200, [self.file(one, path) for path in asked if path in one.files])
            elif what == "preupload":
                files = [
                    {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for file in json.loads(body)["files"]
                ]
                self.send(200, {"files": files})
            elif what == "commit":
                self.commit(one, name, body)
            elif what == "resolve":
                self.resolve(one, "/".join(rest[2:]))
            elif what == "variables":
                if self.command == "POST":
                    told = json.loads(body)
                    one.variables[told["key"]] = told["value"]
                said = {key: {"value": value} for key, value in one.variables.items()}
                self.send(200, said)
            elif what == "hardware":
                one.hardware = json.loads(body)["flavor"]
                self.send(200, {"stage": "BUILDING", "hardware": {"requested": one.hardware}})
            else:
                self.send(404, {"error": f"no {what} here"})

        def file(self, one: Repository, path: str) -> dict[str, Any]:
            data = one.files[path]
            oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            return {"type": "file", "path": path, "size": len(data), "oid": oid}

        def tree(self, one: Repository, folder: str, recursive: bool) -> None:
            start = f"{folder}/" if folder else ""
            found = [path for path in sorted(one.files) if path.startswith(start)]
            if folder and not found:
                return self.send(404, {"error": "none"}, {"X-Error-Code": "EntryNotFound"})
            told = []
            for path in found:
                if recursive or "/" not in path.removeprefix(start):
                    told.append(self.file(one, path))
            self.send(200, told)

        def commit(self, one: Repository, name: str, body: bytes) -> None:
            while hub.before_commit:
                hub.before_commit.pop()()
            lines = [json.loads(line) for line in body.splitlines()]
            parent = lines[0]["value"].get("parentCommit")
            if parent is not None and parent != one.sha:
                return self.send(412, {"error": "a commit has happened since"})
            for line in lines[1:]:
                path = line["value"]["path"]
                if line["key"] == "file":
                    one.files[path] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del one.files[path]
            one.commits += 1
            address = f"{hub.address}/{name}/commit/{one.sha}"
            self.send(200, {"commitUrl": address, "commitOid": one.sha})

        def resolve(self, one: Repository, path: str) -> None:
            data = one.files.get(path)
            if data is None:
                headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": one.sha}
                return self.send(404, {"error": "none"}, headers)
            tag = hashlib.sha256(data).hexdigest()
            self.send_bytes(200, data, {"ETag": f'"{tag}"', "X-Repo-Commit": one.sha})

        def send(self, status: int, told: Any, headers: dict[str, str] | None = None) -> None:
            given = {"Content-Type": "application/json", **(headers or {})}
            self.send_bytes(status, json.dumps(told).encode(), given)

    with loopback.serving(Handler) as hub.address:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub
