"""Messages without the places of files on the server, which are nobody's business outside."""

import re
import tempfile
from pathlib import Path

from textloc.paths import ROOT
from textloc.results import store

_NAME = r"[^\s'\"<>:;,()/\\]"
_PATH = re.compile(rf"(?<![\w.:/\\])(?:~|[A-Za-z]:)?[/\\](?:{_NAME}+[/\\])+({_NAME}*)")
_QUOTED = re.compile(r"(['\"])(?:~|[A-Za-z]:)?[/\\][^'\"\n]*?([^'\"/\\\n]*)\1")


def without_paths(text: str) -> str:
    """The text with names of files in the place of their paths; addresses of the Web stay."""
    for folder in (*store.roots(), ROOT, Path.home(), Path(tempfile.gettempdir())):
        if len(folder.parts) > 1:
            text = text.replace(f"{folder}/", "").replace(str(folder), folder.name)
    text = _QUOTED.sub(r"\1\2\1", text)
    return _PATH.sub(lambda match: match[1] or "a folder", text)
