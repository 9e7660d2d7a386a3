"""Plotly.js for a browser: the copy that the Plotly wheel ships, made lighter to start.

The bundle in the wheel draws fifty kinds of trace and starts all of them; the figures here need
bars, lines and heat maps. Starting it took a browser on a small machine 2.5 to 3.5 s of processor
time, the lighter copy 0.9 s. Two cuts are made, both in text that is checked before:

1. of the list of trace modules that the bundle registers, only the first three stay (bar, box and
   heat map; lines are always there). The other modules are in the file but are never started;
2. the outer function that makes the bundle a CommonJS or global module goes, and with it a second
   parse of the whole file.

A bundle that does not look as expected is taken as it is.
"""

import gzip
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

_REGISTERED = re.compile(r"\.register\(\[((?:[\w$]+\(\),){20,}[\w$]+\(\))\]\)")
_BODY = re.compile(r'"use strict";(var Plotly=\(\(\)=>\{.*return [\w$]+\(\);?\}\)\(\);)', re.DOTALL)
_KEPT = 3


@lru_cache(maxsize=1)
def script() -> tuple[bytes, bytes]:
    """JavaScript as it is, and compressed by gzip. Made once."""
    package = find_spec("plotly")
    assert package is not None, "plotly is a requirement"
    bundle = Path(str(package.origin)).parent / "package_data" / "plotly.min.js"
    text = bundle.read_text(encoding="utf-8")
    data = (lighter(text) or text).encode()
    return data, gzip.compress(data, compresslevel=4, mtime=0)


def lighter(bundle: str) -> str | None:
    """The bundle with both cuts, or None where it does not look as expected."""
    body = _BODY.search(bundle)
    if body is None or len(_BODY.findall(bundle)) != 1:
        return None
    lists = list(_REGISTERED.finditer(body[1]))
    if len(lists) != 1:
        return None
    kept = ",".join(lists[0][1].split(",")[:_KEPT])
    start, stop = lists[0].span(1)
    notice = bundle[: bundle.find("*/") + 2] if bundle.startswith("/*") else ""
    cut = f"{body[1][:start]}{kept}{body[1][stop:]}"
    return f'{notice}\n"use strict";{cut}window.Plotly=Plotly;\n'
