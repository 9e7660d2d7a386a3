"""The command line: thin verbs over the package, one module a group.

Results go to standard output, progress and errors to standard error. Exit status: 0 on success,
2 with a one-line message for bad input, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from textloc import threads
from textloc.cli import (
    attributing,
    benches,
    caching,
    deploying,
    doctor,
    editing,
    finetuning,
    localizing,
    results,
    suppressing,
)
from textloc.cli.common import check_writable
from textloc.errors import TextlocError
from textloc.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console that lacks a sign shows another
            stream.reconfigure(errors="replace")
    threads.leave_a_core()
    options = _parser().parse_args(arguments)
    try:
        keeps = bool(getattr(options, "save", False) or getattr(options, "keeps", False))
        check_writable(getattr(options, "json", None), keeps, getattr(options, "makes", None))
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # such as `textloc show | head`: what is left has no reader
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except TextlocError as error:
        print(f"textloc: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:  # such as a full disk
        print(f"textloc: cannot write: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("textloc: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="textloc",
        description="Find the attention layers of a text-to-image model that write the words, and "
        "use them.",
    )
    parser.add_argument("--version", action="version", version=f"textloc {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    jobs = (localizing, attributing, editing, suppressing, finetuning)
    groups = (*jobs, results, deploying, caching, doctor, benches)
    for group in groups:
        group.add(verbs)
    return parser
