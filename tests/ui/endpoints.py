"""A page served with made-up runs, and a proxy that serves it under a prefix, for the tests of its
endpoints."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from tests.browser.serving import MADE_UP, Served, fill


@contextmanager
def served(folder: Path, **environment: str) -> Iterator[tuple[Served, dict[str, str]]]:
    """The page with made-up runs, and the IDs of what is stored in it."""
    ids = fill(folder / "results")
    page = Served([MADE_UP], folder / "results", **environment)
    page.wait()
    try:
        yield page, ids
    finally:
        page.stop()


@contextmanager
def under(address: str, prefix: str) -> Iterator[str]:
    """What is served at an address, served under a prefix as a proxy does; the new address."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass_on(b"")

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers.get("content-length", 0))))

        def _pass_on(self, body: bytes) -> None:
            if not self.path.startswith(prefix):
                self.send_error(404)
                return
            where = address.rstrip("/") + self.path.removeprefix(prefix)
            heads = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
            with httpx.stream(
                self.command, where, content=body, headers=heads, timeout=60
            ) as found:
                self.send_response(found.status_code)
                for name, value in found.headers.items():
                    if name not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                self.end_headers()
                for block in found.iter_raw():
                    self.wfile.write(block)
                    self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{prefix}/"
    finally:
        server.shutdown()
        server.server_close()
