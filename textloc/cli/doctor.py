"""`textloc doctor`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from textloc.cli.common import add_json, add_model, loaded, written
from textloc.errors import CheckpointError
from textloc.version import __version__


def add(verbs: Any) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "doctor",
        help="check a checkpoint on this machine, in a minute",
        description="Load a checkpoint, patch one call of two steps, check what textloc rests on, "
        "and say what fits into memory and how long a localization takes. What is printed can be "
        "pasted into an issue.",
    )
    add_model(verb)
    add_json(verb)
    verb.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> None:
    from textloc.jobs import doctor

    model = loaded(options)
    quiet = options.json == "-"
    findings = []
    if not quiet:
        print(f"textloc {__version__}, {options.model}")
    for finding in doctor.examine(model):
        findings.append(finding)
        print(doctor.line(finding), file=sys.stderr if quiet else sys.stdout, flush=True)
    document = doctor.document(model, findings)
    if not written(document, options.json):
        print(" ".join(f"{name} {value}," for name, value in _said(document)).rstrip(","))
    if document["failed"]:
        raise CheckpointError(
            f"{len(document['failed'])} of {len(findings)} checks failed: "
            f"{', '.join(document['failed'])}; paste the lines above into an issue"
        )


def _said(document: dict[str, Any]) -> list[tuple[str, Any]]:
    """What the environment says in single values."""
    environment = document["environment"]
    return [(k, v) for k, v in environment.items() if isinstance(v, str | int | float)]
