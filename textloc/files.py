"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def write_new(path: Path, content: bytes) -> None:
    """Write a file that is not there yet, through to the disk."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the names in a folder written through to the disk."""
    if os.name != "posix":  # elsewhere a folder cannot be opened for flushing
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Have a file that others wrote written through to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` write a temporary file, then put it where `path` is."""
    temporary = path.with_name(f".writing-{secrets.token_hex(4)}-{path.name}")
    try:
        write(temporary)
        sync_file(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` at the end of the block; what stood there goes."""
    temporary = path.with_name(f".writing-{secrets.token_hex(4)}-{path.name}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.iterdir():
            sync_file(file)
        sync_folder(temporary)
        if path.exists():
            aside = path.with_name(f".old-{secrets.token_hex(4)}-{path.name}")
            path.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        temporary.rename(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
