"""Requests that no browser sends, from a seed: paths out of the folder, damaged bodies, scripts.

Each is told as it goes over the wire. They are for a server with limits (`TEXTLOC_PUBLIC=1`).
"""

from __future__ import annotations

import gzip
import io
import json
import random
import secrets
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
_NAMES = [
    *(
        "..",
        "../..",
        "../../../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
    ),
    *("..\\..\\windows", "/etc/passwd", "//etc/passwd", "%00", "a%00b", "%0d%0aX-Evil:%201", "."),
    *("0" * 15, "0" * 17, "G" * 16, "ffffffffffffffff", "F" * 16, "0" * 16, "unlisted", ".last"),
    *("index.json", "𝟎" * 16, "٠" * 16, "%ff%fe", "%c0%ae%c0%ae", "a" * 3000, SCRIPT, IMAGE, ""),
    *("null", "None", "undefined", "-1", "1e9", "{}", "[]", "p0-s0-source", "..;/", "%252e%252e"),
]
_QUERIES = [
    "r",
    "layer",
    "lang",
    "pair",
    "seed",
    "tab",
    "view",
    "embed",
    "compare",
    "learn",
    "job",
    "page",
    "deep_link",
    "__theme",
]
_ROUTES = [
    *("run/predict", "run/localize", "api/predict", "queue/join", "call/list", "call/get"),
    *("call/localize", "call/nothing", "call/v2/get", "call/v2/nothing", "reset", "cancel"),
    *("component_server", "upload", "process_recording", "vibe-edit", "vibe-code", "stream/x"),
    *("stream/x/close", "undo-vibe-edit", "vibe-starter-queries", "run-history/connect", "mcp/"),
    *("mcp/sse", "mcp/messages/", "nothing", "heartbeat/x", "queue/data", "profiling/clear"),
]
_PLACES = [
    *("gradio_api/textloc/{}.zip", "gradio_api/textloc/{}.png", "gradio_api/textloc/{}.html"),
    *("gradio_api/textloc/{}/p0-s0-source.png", "gradio_api/textloc/0000000000000000/{}.png"),
    *("gradio_api/textloc/{}/{}.small.png", "gradio_api/textloc/{}.js", "gradio_api/textloc/{}"),
    *("gradio_api/file={}", "gradio_api/file=/srv/{}", "gradio_api/file/{}", "file={}", "{}"),
    *("static/{}", "assets/{}", "svelte/{}", "gradio_api/{}", "gradio_api/proxy={}", "config/{}"),
    *("gradio_api/custom_component/{}/client/component/{}", "gradio_api/call/get/{}", "login"),
    *("gradio_api/call/{}/{}", "gradio_api/stream/{}/{}/{}/playlist.m3u8", "pwa_icon/{}"),
    *("gradio_api/upload_progress?upload_id={}", "monitoring/{}", "gradio_api/runs", "theme.css"),
    *("gradio_api/run-history/records/{}/{}/assets/{}", "gradio_api/deep_link?session_hash={}"),
    *("gradio_api/info?page={}", "config?page={}", "gradio_api/openapi.json", "manifest.json"),
    *("gradio_api/file=http://127.0.0.1:1/{}", "?__theme={}", "gradio_api/textloc/plotly-{}"),
]


def sent(address: tuple[str, int], request: bytes, patience: float = 300) -> tuple[int, bytes]:
    """Send what stands there, and nothing else; status and all of the answer, 0 for none.

    Of a stream without an end the first part is taken.
    """
    with socket.create_connection(address, timeout=patience) as line:
        answer = b""
        with suppress(OSError):  # it may be refused before it is all sent
            line.sendall(request)
        with suppress(OSError):
            while block := line.recv(65536):
                answer += block
                if b"text/event-stream" in answer[:2000]:
                    break
    head = answer[:12].split()
    return (int(head[1]) if len(head) > 1 and head[1].isdigit() else 0), answer


class Hostile:
    """A visitor who means harm. config: of the page, which anybody may read."""

    def __init__(self, seed: int, config: dict[str, Any]) -> None:
        self.dice = random.Random(seed)
        self.events = [one["id"] for one in config["dependencies"]]
        self.kinds = (self._path, self._query, self._body, self._event, self._call, self._head)
        self.rare = (self._upload, self._huge)

    def requests(self, count: int) -> Iterator[bytes]:
        """So many requests."""
        for number in range(count):
            kind = self.dice.choice(self.rare if number % 25 == 0 else self.kinds)
            yield kind()

    # -- what is asked for -----------------------------------------------------------------

    def _name(self) -> str:
        name = self.dice.choice(_NAMES)
        return quote(name, safe="%/.\\:;<>\"'()=-") if not name.isascii() or " " in name else name

    def _path(self) -> bytes:
        place = self.dice.choice(_PLACES)
        for _ in range(place.count("{}")):
            place = place.replace("{}", self._name(), 1)
        return _request(self.dice.choice(["GET", "GET", "HEAD"]), f"/{place}")

    def _query(self) -> bytes:
        names = self.dice.choices(_QUERIES, k=self.dice.randint(1, 4))
        said = "&".join(f"{name}={self._name()}" for name in names)
        said += self.dice.choice(
            ["", "&", "&&=", "&r", ";r=1", "&r[]=1", "&%", "#", "?", "&" * 2000]
        )
        where = self.dice.choice(["/", "/", "/config", "/gradio_api/run/predict"])
        if where.endswith("predict"):
            loads = {"data": [None], "fn_index": self.dice.choice(self.events), "session_hash": "s"}
            return _request("POST", f"{where}?{said}", json.dumps(loads).encode())
        return _request("GET", f"{where}?{said}")

    def _body(self) -> bytes:
        route = self.dice.choice(_ROUTES)
        method = self.dice.choice(["POST", "POST", "POST", "PUT", "DELETE", "PATCH", "GET"])
        return _request(method, f"/gradio_api/{route}", self._junk(), self._type())

    def _event(self) -> bytes:
        """An event of the page with values that no page sends."""
        body = {
            "data": [self._value() for _ in range(self.dice.randint(0, 12))],
            "fn_index": self.dice.choice([*self.events, -1, 10**9, "0", None, 1.5, [], True]),
            "session_hash": self.dice.choice(["s", "", None, secrets.token_hex(4), 7, SCRIPT]),
            "event_data": self.dice.choice([None, {"custom": self._value()}, {"ref": IMAGE}, 3]),
            "trigger_id": self.dice.choice([None, 0, -5, "x"]),
        }
        route = self.dice.choice(["run/predict", "queue/join", "api/predict", "component_server"])
        return _request("POST", f"/gradio_api/{route}", json.dumps(body).encode())

    def _call(self) -> bytes:
        """An endpoint by its name."""
        name = self.dice.choice(
            ["localize", "edit", "suppress", "read", "list", "get", "attribute"]
        )
        count = self.dice.randint(0, 12)
        values = [self._value() for _ in range(count)]
        return _request("POST", f"/gradio_api/call/{name}", json.dumps({"data": values}).encode())

    def _head(self) -> bytes:
        """Headers that no browser sends."""
        name, value = self.dice.choice(
            [
                ("Cookie", f"textloc-language={self._name()}; ;;=; {SCRIPT}"),
                ("Accept-Language", "q=;q=,;;q=x,pl;q=nan,ja;q=1e999," + "a," * 500),
                ("X-Forwarded-For", "1.2.3.4, , ::1, " + SCRIPT + ",999.999.999.999"),
                ("X-Forwarded-Host", IMAGE),
                ("X-Forwarded-Proto", "javascript"),
                ("X-Gradio-User", "api"),
                ("Range", "bytes=-1,0-,9-1"),
                ("Accept-Encoding", "gzip;q=x, br, *"),
                ("Content-Length", "-1"),
                ("Content-Length", "99999999999999999999"),
                ("Origin", "null"),
                ("Referer", "http://\\"),
                ("If-None-Match", "\\" * 99),
            ]
        )
        where = self.dice.choice(["/", "/?r=0000000000000000", "/config", "/gradio_api/info"])
        return _request("GET", where, headers={name: value})

    # -- what is sent ----------------------------------------------------------------------

    def _value(self) -> Any:
        return self.dice.choice(
            [
                *(None, True, -1, 10**400, 1e308, "", "\x00", "\ud800", SCRIPT, "../../etc/passwd"),
                *(
                    f'a sign that says "{SCRIPT}"',
                    "A" * 5000,
                    [],
                    {},
                    [[]] * 9,
                    {"path": "/etc/passwd"},
                ),
                {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
                {
                    "path": "../../../etc/passwd",
                    "url": "file:///etc/passwd",
                    "meta": {"_type": "x"},
                },
                {"url": "http://127.0.0.1:1/", "path": "", "meta": {"_type": "gradio.FileData"}},
                f"data:image/png;base64,{'A' * 400}",
                "data:image/svg+xml;base64,PHN2Zy8+",
                {"__type__": "update", "value": SCRIPT},
            ]
        )

    def _junk(self) -> bytes:
        return self.dice.choice(
            [
                *(b"", b"{", b"[]", b"null", b"3", b'"x"', b"\x00" * 40, b"\xff\xfe{", b"{}{}"),
                *(b'{"data": ', b'{"data": NaN}', b'{"data": [], "fn_index": 1e999}', b"[" * 5000),
                *(
                    b'{"a":' * 3000,
                    b'{"data":"x"}',
                    b'{"data":{"0":1}}',
                    b'{"data":[],"fn_index":{}}',
                ),
                *(
                    b"session_hash=1",
                    b'{"event_id":"..","session_hash":"../.."}',
                    b"--x\r\n\r\n--x--",
                ),
                b'{"session_hash":"s","fn_index":0,"component_id":1,"fn_name":"__init__","data":[]}',
                b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"..","arguments":[]}}',
                gzip.compress(b"0" * 9000),
            ]
        )

    def _type(self) -> str:
        return self.dice.choice(
            [
                *(
                    "application/json",
                    "text/plain",
                    "multipart/form-data",
                    "multipart/form-data; boundary=x",
                ),
                *("application/x-www-form-urlencoded", "application/json; charset=utf-7", "x", ""),
            ]
        )

    def _upload(self) -> bytes:
        name = self.dice.choice(
            [
                "../../evil.zip",
                "/etc/cron.d/x",
                "a\x00.png",
                "x" * 400 + ".zip",
                "r.json",
                "",
                "é.svg",
            ]
        )
        content = self.dice.choice(list(FILES.values()))()
        return _request("POST", "/gradio_api/upload", *form(name, content))

    def _huge(self) -> bytes:
        route = self.dice.choice(["run/predict", "queue/join", "call/get", "nothing"])
        if self.dice.random() < 0.5:
            return _request(
                "POST", f"/gradio_api/{route}", b'{"data":["' + b"A" * 3_000_000 + b'"]}'
            )
        chunks = b"".join(b"8000\r\n" + b"A" * 0x8000 + b"\r\n" for _ in range(80)) + b"0\r\n\r\n"
        return _request(
            "POST", f"/gradio_api/{route}", chunks, headers={"Transfer-Encoding": "chunked"}
        )


def _request(
    method: str,
    where: str,
    body: bytes | None = None,
    kind: str = "application/json",
    headers: dict[str, str] | None = None,
) -> bytes:
    told = {"Host": "127.0.0.1", "Connection": "close", **(headers or {})}
    if body is not None:
        told["Content-Type"] = kind
        if "Transfer-Encoding" not in told:
            told["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"{method} {where} HTTP/1.1\r\n{head}\r\n".encode("utf-8", "replace") + (body or b"")


def form(name: str, content: bytes) -> tuple[bytes, str]:
    """The body of a form with a file, and its type."""
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"


# ---------------------------------------------------------------------------- files


def zip_bomb() -> bytes:
    """An archive of a result whose document unpacks to 400 MB."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("0" * 16 + "/result.json", "w", force_zip64=True) as out,
    ):
        for _ in range(400):
            out.write(bytes(1_000_000))
    return file.getvalue()


def zip_of(names: dict[str, bytes]) -> bytes:
    """An archive of these files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return file.getvalue()


def png_bomb(side: int = 60_000) -> bytes:
    """A small file that says it is a picture of so many pixels a side."""
    size = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(10_000_000))

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    parts = chunk(b"IHDR", size) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def text_bomb() -> bytes:
    """A picture whose compressed comment unpacks to 20 MB."""
    from PIL import Image, PngImagePlugin

    about = PngImagePlugin.PngInfo()
    about.add_text("a", "A" * 20_000_000, zip=True)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=about)
    return file.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    "zip-bomb": zip_bomb,
    "png-bomb": png_bomb,
    "text-bomb": text_bomb,
    "zip-slip": lambda: zip_of({"../../../evil": b"x", f"{'0' * 16}/result.json": b"{}"}),
    "zip-nul": lambda: zip_of({f"{'0' * 16}/images/p0-s0-x\x00.png": b"x"}),
    "zip-of-zips": lambda: zip_of({f"{'0' * 16}/result.json": zip_of({"a": b"x" * 10})}),
    "zip-of-a-bomb": lambda: zip_of(
        {f"{'0' * 16}/result.json": b"{}", f"{'0' * 16}/images/p0-s0-source.png": png_bomb()}
    ),
    "svg": lambda: f'<svg xmlns="http://www.w3.org/2000/svg">{SCRIPT}</svg>'.encode(),
    "html": lambda: f"<html>{SCRIPT}</html>".encode(),
    "pickle": lambda: b"\x80\x04cposix\nsystem\n(S'touch owned'\ntR.",
    "deep": lambda: b"[" * 200_000,
    "elf": lambda: b"\x7fELF" + bytes(500),
    "nothing": lambda: b"",
    "document": lambda: json.dumps(
        {"schema": "textloc.localize/1", "id": "0" * 16, "request": {"pairs": [SCRIPT]}}
    ).encode(),
}
"""Files by what is wrong with them."""
