"""What the verbs share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textloc.errors import PromptError

if TYPE_CHECKING:
    from textloc.localize import Event


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read seeds such as `0,1,2`.

    Raises:
        PromptError: not a list of different whole numbers of 0 or more.
    """
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise PromptError(f"cannot read the seeds {text!r}; write numbers, such as 0,1") from error
    if len(set(seeds)) != len(seeds) or min(seeds) < 0 or max(seeds) >= 2**63:
        raise PromptError(f"the seeds {text!r} must differ and be 0 or greater")
    return seeds


def parse_start(text: str) -> int | None:
    """Read a start step: a number, or `auto`, which gives None.

    Raises:
        PromptError: neither.
    """
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError as error:
        raise PromptError(f"cannot read the start step {text!r}; give a number or auto") from error


def parse_methods(text: str) -> list[str]:
    """Read names of editing methods, such as `prompt-swap,inpainting`, or `all`."""
    from textloc.baselines import BASELINES

    return list(BASELINES) if text == "all" else [name for name in text.split(",") if name]


def shown(bar: Any) -> Callable[[int], None]:
    """Shows a count in a progress bar."""

    def done(count: int) -> None:
        bar.n = count
        bar.refresh()

    return done


def followed(bar: Any, stream: Iterable[Event]) -> Event:
    """Run a job to its end, shown in a progress bar; the last event."""
    event = None
    for event in stream:
        bar.total, bar.n = event.total, event.done
        bar.set_description(event.message)
    assert event is not None
    return event


def kept(event: Event) -> None:
    """Store a finished result and say where it is and what shows it."""
    from textloc import sharing, store

    print(f"saved {store.save(event.document, event.images)}", file=sys.stderr)
    link = sharing.permalink("http://127.0.0.1:7860/", event.document["id"])
    print(f"`python app.py` shows it at {link}", file=sys.stderr)


def written(document: Any, json_file: str | None) -> bool:
    """Write a document where `--json` says; whether that was standard output, which then holds
    nothing else."""
    if json_file == "-":
        json.dump(document, sys.stdout, ensure_ascii=False)
        print()
        return True
    if json_file:
        text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
        Path(json_file).write_text(text, encoding="utf-8")
    return False


def check_writable(json_file: str | None) -> None:
    """Check that there is a folder to write the file of `--json` in.

    Raises:
        PromptError: there is none.
    """
    if json_file and json_file != "-" and not Path(json_file).resolve().parent.is_dir():
        raise PromptError(f"there is no folder to write {json_file} in; create it first")
