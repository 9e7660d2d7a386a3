"""Rendered scenes, without files: `scenes:KIND` or `scenes:KIND:COUNT`.

What is drawn is that of `textloc.scenes.lessons`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from textloc.errors import TrainingError
from textloc.finetuning.data.sample import Damaged, Sample
from textloc.scenes import lessons

KINDS = tuple(f"scenes:{name}" for name in lessons.LESSONS)
"""Names that can be given as data."""

_USUAL = 4096
_PLACE = re.compile(r"scenes:([a-z-]+)(?::([0-9]+))?")


def fits(place: str) -> bool:
    """A name that begins so."""
    return place.startswith("scenes:")


def files(place: str) -> list[Path]:
    """None: the name decides."""
    return []


def read(place: str) -> Iterator[Sample | Damaged]:
    """So many as asked for, 4096 where it is not said."""
    match = _PLACE.fullmatch(place)
    if match is None or match[1] not in lessons.LESSONS or match[2] == "0":
        raise TrainingError(
            f"there are no scenes {place!r}; use {', '.join(KINDS)}, with a count behind if you "
            "like, such as scenes:digits:2000"
        )
    for number in range(int(match[2] or _USUAL)):
        scene = lessons.draw(match[1], number)
        yield Sample(
            f"{place}#{number}",
            scene.prompt,
            partial(lessons.picture, scene),
            (scene.word,),
            partial(lessons.region, scene),
        )
