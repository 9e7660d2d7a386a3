"""Serves Plotly.js: where the page finds it (`results.report.plotlyjs` makes it)."""

import threading
from importlib.metadata import version

from textloc.results.report import plotlyjs
from textloc.results.report.plotlyjs import lighter as lighter

_MAKING = threading.Lock()


def address() -> str:
    """Where the page finds it: relative, so that it works under any root path; new with Plotly."""
    return f"gradio_api/textloc/plotly-{version('plotly')}"


def script() -> tuple[bytes, bytes]:
    """What to serve: JavaScript as it is, and compressed by gzip. Made once."""
    with _MAKING:
        return plotlyjs.script()
