"""Runs that a page finds again when it is loaded anew: the address names them (`?run=<token>`).

The token alone says which tab's it is. To see a run, or stop it, takes its key as well, which the
browser keeps that asked for it (`static/follow.js`). Kept in the memory of this process: what goes
on or waits, and the few that ended last.
"""

from __future__ import annotations

import hmac
import re
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from textloc.ui import settings
from textloc.ui.live import Job

_ENDED = 4
"""So many runs that have ended are kept whole, with their pictures."""

_KNOWN = 256
"""So many are remembered by the ID of their stored result."""

_TOKEN = re.compile(r"[\w-]{16}")


@dataclass
class Run:
    """A run of a tab. kind: of the tab. key: a secret of the browser that asked for it. fields:
    what its form held. job: None where the result is stored and the rest was forgotten. result: ID
    of the stored result, `""` where there is none."""

    kind: str
    key: str
    fields: Sequence[Any]
    job: Job | None
    result: str = ""

    def known_to(self, key: object) -> bool:
        """Whether this is its key."""
        return isinstance(key, str) and hmac.compare_digest(
            key.encode("utf-8", "replace"), self.key.encode()
        )


_RUNS: dict[str, Run] = {}
_CHANGING = threading.Lock()


def alone() -> float:
    """Seconds that a run goes on after its page was closed."""
    return float(settings.read().keep_runs)


def remember(job: Job, kind: str, fields: Sequence[Any]) -> tuple[str, str]:
    """Token and key of a run that was asked for."""
    token, key = secrets.token_urlsafe(12), secrets.token_urlsafe(24)
    with _CHANGING:
        _RUNS[token] = Run(kind, key, tuple(fields), job)
        _forget()
    return token, key


def find(token: object) -> Run | None:
    """The run of a token, None where it is not known (any longer)."""
    if not (isinstance(token, str) and _TOKEN.fullmatch(token)):
        return None
    with _CHANGING:
        return _RUNS.get(token)


def stored(token: str, result_id: str) -> None:
    """Its result is stored: that is what is found from now on."""
    with _CHANGING:
        if (run := _RUNS.get(token)) is not None:
            run.job, run.result = None, result_id


def _forget() -> None:
    """Of what has ended, keep the newest."""
    ended = [token for token, run in _RUNS.items() if run.job is not None and run.job.over]
    kept = [token for token, run in _RUNS.items() if run.job is None]
    for token in [*ended[:-_ENDED], *kept[:-_KNOWN]]:
        del _RUNS[token]
