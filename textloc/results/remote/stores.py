"""Stores that are elsewhere: any file system of `fsspec`, a dataset of the Hub, a bucket of it.

All speak of paths with `/` below their address. What goes wrong on the way is `Away`.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from textloc.errors import StoreError
from textloc.results.places import RESULTS_VARIABLE, shown

_HUB = re.compile(r"hf://(datasets|buckets)/([\w.-]+/[\w.-]+)((?:/[\w.-]+)*)")
_AT_ONCE = 100
"""Paths that the Hub is asked about in one request."""
_PATIENCE = 20.0  # seconds to wait for an answer


class Away(Exception):
    """The store cannot be reached, or refuses; the text says why."""


class Moved(Exception):
    """Somebody else has changed the store meanwhile."""


class Remote(Protocol):
    """A store elsewhere. Every method raises `Away`."""

    pause: float
    """Seconds to wait between two changes; what comes meanwhile goes in one."""

    def writable(self) -> None:
        """Raises `Away` where it is known without asking that nothing can be written."""

    def revision(self) -> str | None:
        """What `change` compares with, where the store can tell its states apart."""

    def existing(self, paths: Sequence[str], seen: str | None) -> set[str]:
        """Those of `paths` that are there."""

    def names(self, folder: str, seen: str | None = None) -> list[str]:
        """Names of the files in a folder; none where there is no such folder."""

    def read(self, path: str, to: Path) -> None:
        """Write a file's bytes to `to`. Raises `FileNotFoundError`, too."""

    def change(
        self, add: Mapping[str, bytes | Path], remove: Sequence[str], seen: str | None
    ) -> None:
        """Add files that are not there yet, then remove others. Raises `Moved`, too."""


def connect(address: str) -> Remote:
    """The store at an address; nothing is asked of it yet.

    Raises:
        StoreError: the address cannot be read, or what it needs is not installed.
    """
    if address.startswith("hf://"):
        match = _HUB.fullmatch(address)
        if match is None or ".." in address:
            raise StoreError(
                f"{RESULTS_VARIABLE} names {shown(address)[:80]!r}; write hf://datasets/owner/name "
                "or hf://buckets/owner/name, with a folder in it where wanted"
            )
        kind, name, folder = match.groups()
        return (Dataset if kind == "datasets" else Bucket)(name, folder.strip("/"))
    return Files(address)


def _path(*parts: str) -> str:
    return "/".join(part for part in parts if part)


# ---------------------------------------------------------------------------- fsspec


class Files:
    """A folder of a file system that `fsspec` knows. Two writers that add the same file in the same
    moment are kept apart as well as its file system can create a file only where there is none."""

    pause = 1.0

    def __init__(self, address: str) -> None:
        import fsspec

        try:
            if "::" in address:
                raise ValueError("chained addresses are not read")
            self._files, self._root = fsspec.core.url_to_fs(address)
        except (ValueError, ImportError, OSError) as error:
            raise StoreError(
                f"{RESULTS_VARIABLE} names {shown(address)[:80]!r}, which cannot be used here "
                f"({error}); name a folder, install what is missing, or see `fsspec`"
            ) from error

    def writable(self) -> None:
        pass

    def revision(self) -> str | None:
        return None

    def existing(self, paths: Sequence[str], seen: str | None) -> set[str]:
        with _asking():
            return {path for path in paths if self._files.exists(self._at(path))}

    def names(self, folder: str, seen: str | None = None) -> list[str]:
        with _asking():
            try:
                self._files.invalidate_cache()
                found = self._files.ls(self._at(folder), detail=True)
            except FileNotFoundError:
                return []
            return [str(one["name"]).rpartition("/")[2] for one in found if one["type"] == "file"]

    def read(self, path: str, to: Path) -> None:
        with _asking(FileNotFoundError):
            to.write_bytes(self._files.cat_file(self._at(path)))

    def change(
        self, add: Mapping[str, bytes | Path], remove: Sequence[str], seen: str | None
    ) -> None:
        with _asking():
            for path, content in add.items():
                data = content if isinstance(content, bytes) else content.read_bytes()
                self._create(self._at(path), data)
            for path in remove:
                if self._files.exists(self._at(path)):
                    self._files.rm_file(self._at(path))

    def _create(self, path: str, data: bytes) -> None:
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        try:
            if getattr(self._files, "local_file", False):
                _create_whole(Path(path), data)
            else:
                self._files.pipe_file(path, data, mode="create")
        except FileExistsError:
            pass  # another writer was first

    def _at(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"


def _create_whole(path: Path, data: bytes) -> None:
    """Create a file that others see whole or not at all. Raises `FileExistsError`."""
    temporary = path.with_name(f".writing-{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except OSError:
            if path.exists():
                raise FileExistsError(path) from None
            temporary.rename(path)  # a disk without hard links
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _asking(*passed: type[Exception]) -> Iterator[None]:
    """Whatever goes wrong on the way is `Away`: file systems raise errors of many libraries."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (Away, Moved, *passed)):
            raise
        said = str(error).strip().splitlines()
        raise Away(said[0] if said else type(error).__name__) from error


# ---------------------------------------------------------------------------- the Hub


class _Hub:
    """What datasets and buckets share. name: `owner/name`. folder: in it, or empty."""

    pause = 30.0  # the Hub takes some hundred changes an hour

    def __init__(self, name: str, folder: str) -> None:
        from huggingface_hub import HfApi

        self._api, self._name, self._folder = HfApi(library_name="textloc"), name, folder

    def writable(self) -> None:
        from huggingface_hub import get_token

        if not get_token():
            raise Away("there is no token; set HF_TOKEN to one that can write, or `hf auth login`")

    def _at(self, path: str) -> str:
        return _path(self._folder, path)

    def _below(self, path: str) -> str:
        return path.removeprefix(f"{self._folder}/") if self._folder else path


class Dataset(_Hub):
    """A dataset of the Hub: a batch is one commit, made only on the state that was looked at."""

    def revision(self) -> str | None:
        with _asking_hub():
            return str(self._api.repo_info(self._name, repo_type="dataset").sha)

    def existing(self, paths: Sequence[str], seen: str | None) -> set[str]:
        found: set[str] = set()
        for first in range(0, len(paths), _AT_ONCE):
            asked = [self._at(path) for path in paths[first : first + _AT_ONCE]]
            with _asking_hub():
                told = self._api.get_paths_info(
                    self._name, asked, repo_type="dataset", revision=seen
                )
            found |= {self._below(one.path) for one in told}
        return found & set(paths)

    def names(self, folder: str, seen: str | None = None) -> list[str]:
        from huggingface_hub import RepoFile
        from huggingface_hub.errors import EntryNotFoundError

        with _asking_hub():
            try:
                found = self._api.list_repo_tree(
                    self._name, self._at(folder), repo_type="dataset", revision=seen
                )
                return [Path(one.path).name for one in found if isinstance(one, RepoFile)]
            except EntryNotFoundError:
                return []

    def read(self, path: str, to: Path) -> None:
        from huggingface_hub import utils
        from huggingface_hub.errors import EntryNotFoundError

        hub: Any = utils
        address = f"{self._api.endpoint}/datasets/{self._name}/resolve/main/{self._at(path)}"
        # one request, not tried again: a visitor waits for it
        asked: dict[str, Any] = {"headers": hub.build_hf_headers(), "timeout": _PATIENCE}
        asked["follow_redirects"] = True
        with (
            _asking_hub(FileNotFoundError),
            hub.get_session().stream("GET", address, **asked) as got,
        ):
            try:
                if got.status_code >= 400:
                    got.read()
                hub.hf_raise_for_status(got)
            except EntryNotFoundError as error:
                raise FileNotFoundError(path) from error
            with to.open("wb") as file:
                for block in got.iter_bytes():
                    file.write(block)

    def change(
        self, add: Mapping[str, bytes | Path], remove: Sequence[str], seen: str | None
    ) -> None:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        from huggingface_hub.errors import HfHubHTTPError

        operations: list[Any] = [
            *(CommitOperationAdd(self._at(path), content) for path, content in add.items()),
            *(CommitOperationDelete(self._at(path)) for path in remove),
        ]
        with _asking_hub():
            try:
                self._api.create_commit(
                    self._name,
                    operations,
                    commit_message="Results of textloc",
                    repo_type="dataset",
                    parent_commit=seen,
                )
            except HfHubHTTPError as error:
                if error.response.status_code in (409, 412):
                    raise Moved from error
                raise


class Bucket(_Hub):
    """A bucket of the Hub. It cannot create a file only where there is none, so two writers that
    add the same result in the same moment leave the later one."""

    def __init__(self, name: str, folder: str) -> None:
        super().__init__(name, folder)
        if not hasattr(self._api, "batch_bucket_files"):
            raise StoreError(
                f"{RESULTS_VARIABLE} names a bucket of the Hub, which this huggingface_hub does "
                "not know; `pip install --upgrade huggingface_hub`, or name a dataset"
            )

    def revision(self) -> str | None:
        return None

    def existing(self, paths: Sequence[str], seen: str | None) -> set[str]:
        with _asking_hub():
            found = self._api.get_bucket_paths_info(self._name, [self._at(path) for path in paths])
            return {self._below(one.path) for one in found} & set(paths)

    def names(self, folder: str, seen: str | None = None) -> list[str]:
        from huggingface_hub import BucketFile

        start = self._at(folder) + "/"
        with _asking_hub():
            found = self._api.list_bucket_tree(self._name, start, recursive=True)
            files = [str(one.path) for one in found if isinstance(one, BucketFile)]
        below = [path.removeprefix(start) for path in files if path.startswith(start)]
        return [name for name in below if "/" not in name]

    def read(self, path: str, to: Path) -> None:
        from huggingface_hub.errors import EntryNotFoundError

        with _asking_hub(FileNotFoundError):
            try:
                self._api.download_bucket_files(
                    self._name, [(self._at(path), to)], raise_on_missing_files=True
                )
            except EntryNotFoundError as error:
                raise FileNotFoundError(path) from error

    def change(
        self, add: Mapping[str, bytes | Path], remove: Sequence[str], seen: str | None
    ) -> None:
        with _asking_hub():
            files: list[Any] = [(content, self._at(path)) for path, content in add.items()]
            if files:
                self._api.batch_bucket_files(self._name, add=files)
            if remove:
                self._api.batch_bucket_files(self._name, delete=[self._at(one) for one in remove])


@contextmanager
def _asking_hub(*passed: type[Exception]) -> Iterator[None]:
    """`_asking`, with what the Hub means in words."""
    from huggingface_hub.errors import HfHubHTTPError

    with _asking(*passed):
        try:
            yield
        except HfHubHTTPError as error:
            status = error.response.status_code
            raise Away(_REFUSED.get(status, _other)(error)) from error


def _other(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


_REFUSED: dict[int, Callable[[Exception], str]] = {
    401: lambda _: "the Hub does not know the token, or there is no such dataset or bucket",
    403: lambda _: "the token may not write there; make one with write access",
    404: lambda _: "there is no such dataset or bucket, or the token may not see it",
    429: lambda _: "the Hub asks to wait: too many requests",
}
