"""`python -m textloc.tiny reproduce`, and what it runs beside `textloc`: `ship`, `picture`,
`figures`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textloc import paths
from textloc.errors import ReproduceError

# those of pictures.SHOTS, without a browser, and their files
PICTURES = {name: f"{name}.png" for name in ("page", "shares", "edit", "finetune")}
PICTURES["walk"] = "walk.webp"


def add(verbs: Any) -> None:
    """Add the verbs."""
    verb = verbs.add_parser(
        "reproduce",
        help="make anew what ships and is made from the checkpoints",
        description="Runs every command of textloc/tiny/reproducing/manifest.toml whose output was "
        "not made from the present weights, cheap ones first; then results have new IDs, and links "
        "in README, docs, tests and code follow. Started again after a kill it goes on.",
    )
    verb.add_argument("--only", nargs="+", metavar="NAME", default=[], help="and what they need")
    verb.add_argument("--list", action="store_true", help="entries, their state, how long it took")
    verb.add_argument("--jobs", type=int, default=1, help="commands at a time (1)")
    verb.add_argument(
        "--data", type=Path, help="folder with toxicbench/, whose words do not ship with textloc"
    )
    verb.set_defaults(run=_reproduce)

    ship = verbs.add_parser("ship", help="put a trained LoRA where those that ship are")
    ship.add_argument("folder", type=Path, help="of the training")
    ship.add_argument("name", help="what --lora will know it by")
    ship.set_defaults(run=_ship)

    picture = verbs.add_parser("picture", help="draw a picture of README or docs, by Chromium")
    picture.add_argument("name", choices=PICTURES)
    picture.add_argument("result", help="ID of the result that the page shows")
    picture.set_defaults(run=_picture)

    figures = verbs.add_parser(
        "figures", help="write the figures of README and docs from results and measures"
    )
    figures.add_argument("--check", action="store_true", help="only say which differ")
    figures.set_defaults(run=_figures)


def checkout() -> Path:
    """The checkout that textloc runs from.

    Raises:
        ReproduceError: it is installed.
    """
    if paths.INSTALLED:
        raise ReproduceError(
            "what ships is made in a checkout of textloc, not where it is installed"
        )
    return paths.ROOT


def _reproduce(options: argparse.Namespace) -> None:
    from textloc.tiny import figures
    from textloc.tiny.reproducing import manifest
    from textloc.tiny.reproducing.running import Reproduction

    if options.jobs < 1:
        raise ReproduceError(f"--jobs is at least 1, not {options.jobs}")
    root = checkout()
    entries = manifest.read()
    work = Reproduction(root, entries, options.data, options.jobs, _say)
    if options.list:
        wanted = manifest.with_needs(entries, options.only or entries)
        for line in work.listing():
            if line.name in wanted:
                took = "" if line.seconds is None else f"{line.seconds:,.0f} s"
                print(f"{line.name:28}  {line.makes:7}  {took:>8}  {line.state}")
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        work.run(options.only)
    finally:
        _tell(*figures.write(root))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _tell(changed: list[str], left: Mapping[str, str]) -> None:
    """Say what became of the figures of README and docs."""
    for name in changed:
        _say(f"README and docs: the figures {name} are written")
    for name, why in left.items():
        _say(f"README and docs: the figures {name} stay as they are: {why}")


def _figures(options: argparse.Namespace) -> None:
    from textloc.tiny import figures

    root = checkout()
    if not options.check:
        _tell(*figures.write(root))
        return
    differing, left = figures.compare(root)
    for name, why in left.items():
        _say(f"{name} cannot be compared: {why}")
    if differing:
        raise ReproduceError(
            f"the figures {', '.join(differing)} of README and docs are not those of the stored "
            "results; `python -m textloc.tiny figures` writes them"
        )


def _ship(options: argparse.Namespace) -> None:
    from textloc.tiny.reproducing.running import ship

    _say(f"wrote {ship(options.folder, options.name, checkout() / 'assets' / 'loras')}")


def _picture(options: argparse.Namespace) -> None:
    from textloc.tiny.reproducing.pictures import draw

    root = checkout()
    draw(options.name, options.result, root / "assets" / PICTURES[options.name], root)
