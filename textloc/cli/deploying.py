"""`textloc deploy`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from textloc.cli.common import add_json, printed


def add(verbs: Any) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "deploy",
        help="make or update a Space of your own on the Hub",
        description="Make the page a Space of the Hub, or update one: its files in one commit, its "
        "variables, and its hardware where asked for. Run it from a checkout, with a token that "
        "can write (`hf auth login`).",
    )
    verb.add_argument("name", help="of the Space: owner/name")
    verb.add_argument("--hardware", help="such as t4-small or l4x1; paid by the hour")
    verb.add_argument("--private", action="store_true", help="a new Space that only you see")
    verb.add_argument(
        "--results",
        metavar="ADDRESS",
        help="where results outlive the Space: hf://datasets/owner/name or hf://buckets/owner/name "
        "(made private where it is not there)",
    )
    verb.add_argument("--dry-run", action="store_true", help="say what would be sent; send nothing")
    add_json(verb, "write what is sent as JSON; - for standard output")
    verb.set_defaults(run=_deploy)


def _deploy(options: argparse.Namespace) -> None:
    from textloc import space

    planned = space.plan(
        options.name,
        hardware=options.hardware,
        private=options.private,
        results=options.results,
    )
    if not options.dry_run:
        space.send(planned, lambda said: print(said, file=sys.stderr))
    told = space.told(planned, sent=not options.dry_run)
    printed(told, options.json, lambda: space.text(told))
