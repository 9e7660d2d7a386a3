"""`textloc cache`."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from typing import Any

from textloc.cli.common import add_json, written
from textloc.errors import StoreError


def add(verbs: Any) -> None:
    """Add the verb."""
    from textloc.results.cache import SIZE_VARIABLE, VARIABLE

    verb = verbs.add_parser(
        "cache",
        help="show or clear what is kept of jobs that were not ended",
        description="Finished pictures, readings and shares are kept as a job goes, so that the "
        "same command goes on where it was stopped. Shows how much that is, by model, or clears "
        f"it. {VARIABLE} names its folder, or is `off`; {SIZE_VARIABLE}, such as 5GB, is the most "
        "that is kept: beyond that, what was used longest ago goes.",
    )
    verb.add_argument("--clear", action="store_true", help="remove all of it")
    verb.add_argument("--model", help="with --clear, what is kept of this model only")
    verb.add_argument(
        "--shrink", metavar="SIZE", help="remove what was used longest ago, down to this size: 2GB"
    )
    add_json(verb)
    verb.set_defaults(run=_cache)


def _cache(options: argparse.Namespace) -> None:
    from textloc.results import cache

    if options.model is not None and not options.clear:
        raise StoreError("--model goes with --clear; `textloc cache` alone shows every model")
    if options.clear and options.shrink is not None:
        raise StoreError("give --clear or --shrink, not both")
    most = None if options.shrink is None else cache.parse_size(options.shrink)
    kept = cache.opened()
    if kept is None:
        if options.clear or most is not None:
            raise StoreError(
                f"nothing is kept: {cache.VARIABLE} is off; unset it, or name a folder"
            )
        if not written({"folder": None, "most": 0, "held": []}, options.json):
            print(f"off ({cache.VARIABLE})")
        return
    if options.clear:
        labels = [shelf.label for shelf in kept.held()]
        if options.model is not None and options.model not in labels:
            raise StoreError(
                f"nothing is kept of {options.model[:80]!r}; there is "
                f"{', '.join(dict.fromkeys(labels)) or 'nothing at all'}"
            )
        _tell_gone(*kept.clear(options.model))
    elif most is not None:
        _tell_gone(*kept.shrink(most))
    held = kept.held()
    said = {"folder": str(kept.root), "most": kept.most, "held": [vars(one) for one in held]}
    if not written(said, options.json):
        print(table(said))


def _tell_gone(entries: int, size: int) -> None:
    from textloc.results.cache import display_size

    counted = "1 entry" if entries == 1 else f"{entries} entries"
    print(f"removed {counted}, {display_size(size)}", file=sys.stderr)


def table(said: dict[str, Any]) -> str:
    """What is kept, for a terminal."""
    from textloc.results.cache import display_size

    held = said["held"]
    whole = display_size(sum(one["bytes"] for one in held))
    lines = [f"{said['folder']}: {whole} of at most {display_size(said['most'])}"]
    if not held:
        return "\n".join(lines)
    wide = max(len("model"), *(len(one["label"]) for one in held))
    lines += ["", f"{'model':{wide}}  {'entries':>7}  {'size':>9}  last used"]
    for one in held:
        used = datetime.fromtimestamp(one["used"]).strftime("%Y-%m-%d %H:%M")
        size = display_size(one["bytes"])
        lines.append(f"{one['label']:{wide}}  {one['entries']:>7}  {size:>9}  {used}")
    return "\n".join(lines)
