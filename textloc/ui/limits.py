"""What a run may take of this page: its size, and its place in the line.

Every run goes through `live.Job`, which asks here, whether a tab or the API makes it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Protocol

from textloc.checkpoints.known import find
from textloc.errors import LimitError, PromptError
from textloc.ui import settings

_ELSEWHERE = "; on a machine or a Space of your own there is no such limit"
_PATIENCE = 600.0  # seconds that a run which was asked for and has not begun keeps its place


@dataclass(frozen=True)
class Asked:
    """What a run takes. prompts: each text that is drawn, of pairs both. pairs: how many runs of
    the form they are. steps: None is the model's usual. size: of the pictures; None is usual.
    pictures: how many a pair and seed take, about; a gradient counts as three."""

    model: str
    prompts: tuple[str, ...]
    pairs: int
    seeds: int
    steps: int | None
    size: int | None = None
    pictures: int = 2

    @property
    def steps_each(self) -> int | None:
        """Denoising steps of a picture; None where only the checkpoint itself says them."""
        known = find(self.model)
        return self.steps or (known.steps if known is not None else None)

    def picture_steps(self, steps: int) -> int:
        """Denoising steps of all pictures, of `steps` each."""
        return self.pictures * self.pairs * self.seeds * steps


def check(asked: Asked) -> None:
    """Check what a run takes.

    Raises:
        LimitError: it is more than the page gives; the message says which limit.
    """
    here, known = settings.read(), find(asked.model)
    steps = asked.steps_each or 0
    size = asked.size or (known.size if known else 0)
    letters = max(map(len, asked.prompts), default=0)
    for name, value, most in (
        ("denoising steps", steps, here.steps),
        ("pairs or prompts", asked.pairs, here.pairs),
        ("seeds", asked.seeds, here.seeds),
        ("characters in a prompt", letters, here.letters),
        ("pixels a side", size, here.size),
    ):
        if most is not None and value > most:
            raise LimitError(
                f"{value} {name} are too many for this page: give {most} or fewer{_ELSEWHERE}"
            )


def check_texts(fields: Iterable[object]) -> None:
    """Check the texts of a form before anything is read in them.

    Raises:
        LimitError: one is longer than all prompts of a run may be together.
    """
    here = settings.read()
    if here.letters is None:
        return
    most = (here.letters + 2) * here.pairs  # a line each
    longest = max((len(text) for text in fields if isinstance(text, str)), default=0)
    if longest > most:
        raise LimitError(
            f"a text of {longest} characters is too long for this page: give {here.letters} or "
            f"fewer in a prompt{_ELSEWHERE}"
        )


def check_upload(file: str) -> Path:
    """The path of a file that a visitor uploaded. A public page takes no other file of the server.

    Raises:
        LimitError: it is too large. PromptError: it is not there (any longer), or never was one.
    """
    here, path = settings.read(), Path(file)
    if here.public and not _uploaded(path):
        raise PromptError("the uploaded file is no longer here: upload it again")
    if here.upload is not None and path.is_file() and path.stat().st_size > here.upload:
        raise LimitError(
            f"the file is larger than {here.upload // 1_000_000} MB, which is the most that this "
            f"page takes{_ELSEWHERE}"
        )
    return path


def _uploaded(path: Path) -> bool:
    from gradio.utils import get_upload_folder

    folder = Path(get_upload_folder()).resolve()
    try:
        return path.resolve().is_relative_to(folder) and path.is_file()
    except (OSError, ValueError):  # too long for a name, or a zero byte
        return False


# ---------------------------------------------------------------------------- the line


@dataclass(frozen=True)
class Visitor:
    """Who asks. address: whose runs are counted together. key: a secret of the browser's own, by
    which its results are its own; empty where there is none. session: of the page that is open."""

    address: str = ""
    key: str = field(default="", repr=False)
    session: str = ""


def address_of(host: str | None, headers: Mapping[str, str]) -> str:
    """Whose runs count together: an address, of version 6 its network (/64).

    `X-Forwarded-For` is believed where the settings say so, and from its end: what a visitor wrote
    there stands before what the proxies added.
    """
    found = host or ""
    if settings.read().proxy:
        said = headers.get("x-forwarded-for", "").split(",")
        found = next((one for one in reversed([s.strip() for s in said]) if _public(one)), found)
    try:
        address = ip_address(found)
    except ValueError:
        return found
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ip_network((address, 64), strict=False))
    return str(address)


def _public(text: str) -> bool:
    try:
        return ip_address(text).is_global
    except ValueError:
        return False


class Waiting(Protocol):
    """A run in the line."""

    @property
    def over(self) -> bool:
        """Whether it has ended, or was stopped before it began."""

    @property
    def began(self) -> bool:
        """Whether it is at the device, or waits for nothing else."""

    @property
    def left(self) -> float | None:
        """Seconds that it is likely to take from now on; None where that is not known."""

    def stop(self) -> None:
        """End it."""


@dataclass(frozen=True)
class _Place:
    run: Waiting
    visitor: Visitor
    since: float


class Line:
    """The runs that are going on or wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: list[_Place] = []

    def enter(self, run: Waiting, visitor: Visitor) -> None:
        """Take a place for a run; one that has a place keeps it. It is free again once the run is
        over, or has not begun for long.

        Raises:
            LimitError: the line is full, or the visitor has as many runs in it as one may.
        """
        here, now = settings.read(), time.monotonic()
        with self._lock:
            self._places = [place for place in self._places if _held(place, now)]
            if any(place.run is run for place in self._places):
                return
            own = [place for place in self._places if place.visitor.address == visitor.address]
            if here.runs is not None and len(own) >= here.runs:
                raise LimitError(
                    f"you have {runs(len(own))} going on or waiting, the most that this page "
                    "gives one visitor: wait until it ends, or stop it"
                )
            if here.waiting is not None and len(self._places) >= here.waiting:
                raise LimitError(
                    f"{runs(len(self._places))} are going on or waiting, the most that this page "
                    "takes: try again in a few minutes, or look at the stored results meanwhile"
                )
            self._places.append(_Place(run, visitor, now))

    def before(self, run: Waiting) -> int:
        """How many runs are going on or wait in front of one that has a place."""
        now = time.monotonic()
        with self._lock:
            held = [place.run for place in self._places if _held(place, now)]
        return next((n for n, other in enumerate(held) if other is run), len(held))

    def turn(self, run: Waiting) -> bool:
        """Whether no run that waits for the device, or is at it, stands before this one."""
        return next(iter(self._begun()), run) is run

    def waits(self, run: Waiting) -> bool:
        """Whether another run waits for the device, or is at it."""
        return any(other is not run for other in self._begun())

    def _begun(self) -> list[Waiting]:
        now = time.monotonic()
        with self._lock:
            return [one.run for one in self._places if _held(one, now) and one.run.began]

    def ahead(self) -> tuple[int, float | None]:
        """How many runs a new one would wait for, and the seconds that they are likely to take;
        None where that is not known of one."""
        now = time.monotonic()
        with self._lock:
            left = [place.run.left for place in self._places if _held(place, now)]
        known = [seconds for seconds in left if seconds is not None]
        return len(left), sum(known) if len(known) == len(left) else None

    def leave(self, session: str) -> None:
        """A page was closed: its run that has not begun never will."""
        with self._lock:
            for place in self._places:
                if session and place.visitor.session == session and not place.run.began:
                    place.run.stop()

    def __len__(self) -> int:
        with self._lock:
            return sum(_held(place, time.monotonic()) for place in self._places)


def _held(place: _Place, now: float) -> bool:
    return not place.run.over and (place.run.began or now - place.since < _PATIENCE)


def runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


LINE = Line()
"""That of this process."""
