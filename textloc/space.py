"""A Space of one's own: what it needs, and how it gets to the Hub.

`plan` looks at the checkout alone; `send` makes the Space, or updates one that `send` made before,
or began to make. What runs is sent last, in one commit, so that a Space never runs a half of it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textloc import paths
from textloc.errors import SpaceError, StoreError
from textloc.results.places import RESULTS_VARIABLE
from textloc.results.remote import stores

_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?/[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?")
_HARDWARE = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_ALONE = ("app.py", "requirements.txt", "LICENSE")
_OURS = ("textloc/", "assets/", "cached_results/")
"""Folders of the Space in which what the plan does not have is removed."""
_MARK = "textloc/version.py"
"""A file that a Space of textloc has."""
_FRESH = {".gitattributes", "README.md"}
"""What a Space has that was just made."""
_A_COMMIT = 500
"""Files of pictures and weights in one commit; the Hub is slow at more."""
CARD = "README.md"


@dataclass(frozen=True)
class Plan:
    """What is sent. files: path in the Space → file here, or its content. variables: environment
    of the Space, anybody can read it. results: address or None."""

    name: str
    files: Mapping[str, Path | bytes]
    variables: Mapping[str, str]
    hardware: str | None
    private: bool
    results: str | None


def plan(
    name: str,
    *,
    hardware: str | None = None,
    private: bool = False,
    results: str | None = None,
) -> Plan:
    """What a Space needs: its card, `app.py`, the package, and what a wheel ships with it.

    Args:
        name: `owner/name`. hardware: of the Hub, such as `t4-small`; None leaves it as it is.
        private: whether a new Space is private. results: `hf://datasets/owner/name` or
            `hf://buckets/owner/name`.

    Raises:
        SpaceError: a name, hardware or address that cannot be, or no checkout to send.
    """
    if not _NAME.fullmatch(name) or ".." in name or "--" in name or len(name) > 96:
        raise SpaceError(
            f"{name[:80]!r} is no name of a Space; write owner/name, such as ann/words"
        )
    if hardware is not None and not _HARDWARE.fullmatch(hardware):
        raise SpaceError(f"{hardware[:40]!r} is no hardware of the Hub; such are t4-small, l4x1")
    if hardware is not None and hardware.startswith("zero"):
        raise SpaceError(
            "runs on a ZeroGPU were tried with a stand-in only, so none is asked for from here; "
            "choose a GPU of the Space's own, such as t4-small"
        )
    if results is not None:
        _check_results(results)
    variables = {} if results is None else {RESULTS_VARIABLE: results}
    return Plan(name, _files(), variables, hardware, private, results)


def _check_results(address: str) -> None:
    if not address.startswith("hf://"):
        raise SpaceError(
            "a Space keeps its results on the Hub: give hf://datasets/owner/name or "
            f"hf://buckets/owner/name; for another store set {RESULTS_VARIABLE} in the Space"
        )
    try:
        stores.connect(address)
    except StoreError as error:
        raise SpaceError(str(error)) from error


def _files() -> dict[str, Path | bytes]:
    root = paths.ROOT
    if paths.INSTALLED or not (root / "pyproject.toml").is_file():
        raise SpaceError(
            "a Space is sent from a checkout, and this textloc is installed; `git clone` it, then "
            "run `python -m textloc deploy` there"
        )
    told = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = told["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    found: dict[str, Path | bytes] = {CARD: _card((root / CARD).read_text(encoding="utf-8"))}
    found |= {name: root / name for name in _ALONE}
    for part in ("textloc", *shipped):
        for file in [root / part] if (root / part).is_file() else (root / part).rglob("*"):
            path = file.relative_to(root)
            made = any(one.startswith((".", "__pycache__")) for one in path.parts)
            if file.is_file() and not made:
                found[path.as_posix()] = file
    return dict(sorted(found.items()))


def _card(readme: str) -> bytes:
    """The header that tells the Hub how the Space runs, and what textloc is."""
    match = re.match(r"---\n.*?\n---\n.*?(?=^## )", readme, re.DOTALL | re.MULTILINE)
    if match is None:
        raise SpaceError("README.md does not begin with the header of a Space; restore it")
    return match[0].rstrip().encode() + b"\n"


def _sizes(files: Mapping[str, Path | bytes]) -> dict[str, int]:
    return {
        path: len(one) if isinstance(one, bytes) else one.stat().st_size
        for path, one in files.items()
    }


def told(planned: Plan, sent: bool) -> dict[str, Any]:
    """A plan as plain data."""
    return {
        "sent": sent,
        "space": planned.name,
        "address": address(planned.name),
        "files": _sizes(planned.files),
        "variables": dict(planned.variables),
        "hardware": planned.hardware,
        "private": planned.private,
        "secrets": ["HF_TOKEN"] if planned.results else [],
    }


def address(name: str) -> str:
    """Where a Space is seen."""
    return f"https://huggingface.co/spaces/{name}"


def text(told: Mapping[str, Any]) -> str:
    """The same for a terminal."""
    sizes = told["files"]
    whole = f"{len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB"
    seen = "private" if told["private"] else "public"
    hardware = told["hardware"] or "as it is (a new Space: cpu-basic)"
    lines = [f"hardware: {hardware}", f"a new Space is {seen}"]
    lines += [f"variable: {name}={value}" for name, value in told["variables"].items()]
    for name in told["secrets"]:
        lines.append(
            f"secret to set: {name}, a token that can write to the results, at "
            f"{told['address']}/settings"
        )
    if told["sent"]:
        return "\n".join([f"sent {whole}", *lines, told["address"]])
    listed = [f"{size:>10}  {path}" for path, size in sizes.items()]
    return "\n".join([*listed, f"would send {whole}; nothing was sent", *lines, told["address"]])


# ---------------------------------------------------------------------------- sending


def send(planned: Plan, say: Callable[[str], object] = lambda _: None) -> str:
    """Make the Space of a plan, or update it; the address of the commit.

    say: is told each step.

    Raises:
        SpaceError: there is no token, it may not write there, the Space is another's work, or the
            Hub cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token

    if not get_token():
        raise SpaceError(
            "there is no token; run `hf auth login`, or set HF_TOKEN to one that writes"
        )
    api, name = HfApi(library_name="textloc"), planned.name
    with _asking(name):
        say(f"making or finding the Space {name}")
        api.create_repo(
            name,
            repo_type="space",
            space_sdk="gradio",
            private=planned.private or None,
            exist_ok=True,
        )
        seen = api.repo_info(name, repo_type="space")
        there = set(api.list_repo_files(name, repo_type="space", revision=seen.sha))
        of_a_plan = {path for path in planned.files if path.startswith(_OURS)}
        if _MARK not in there and there - _FRESH - of_a_plan:
            raise SpaceError(f"the Space {name} holds something else; give a name that is free")
        if planned.results:
            say(f"making or finding {planned.results}")
            _make_results(api, planned.results)
        known = api.get_space_variables(name)
        for key, value in planned.variables.items():
            if key not in known or known[key].value != value:
                api.add_space_variable(name, key, value)
        stale = [
            path for path in sorted(there) if path.startswith(_OURS) and path not in planned.files
        ]
        sent, parent = 0, seen.sha
        for batch in _batches(planned.files):
            operations: list[Any] = [
                CommitOperationAdd(path, planned.files[path]) for path in batch
            ]
            sent += len(batch)
            if sent == len(planned.files):
                operations += [CommitOperationDelete(path) for path in stale]
            made = api.create_commit(
                name,
                operations,
                commit_message="textloc",
                repo_type="space",
                parent_commit=parent,
            )
            parent = made.oid
            say(f"sent {sent} of {len(planned.files)} files")
        if planned.hardware:
            say(f"asking for {planned.hardware}")
            hardware: Any = planned.hardware
            api.request_space_hardware(name, hardware)
    return str(made.commit_url)


def _batches(files: Mapping[str, Path | bytes]) -> list[list[str]]:
    """Paths by commit: what is looked up first, what runs last."""
    code = [path for path in files if not path.startswith(("assets/", "cached_results/"))]
    data = [path for path in files if path not in set(code)]
    most = _A_COMMIT
    return [*(data[first : first + most] for first in range(0, len(data), most)), code]


def _make_results(api: Any, address: str) -> None:
    """A private dataset or bucket where there is none yet: unlisted results lie in it, too."""
    _, _, kind, owner, name, *_ = address.split("/")
    if kind == "datasets":
        api.create_repo(f"{owner}/{name}", repo_type="dataset", private=True, exist_ok=True)
    else:
        api.create_bucket(f"{owner}/{name}", private=True, exist_ok=True)


@contextmanager
def _asking(name: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError

    owner = name.partition("/")[0]
    try:
        yield
    except SpaceError:
        raise
    except HfHubHTTPError as error:
        why = _REFUSED.get(error.response.status_code, str(error).strip().splitlines()[0])
        raise SpaceError(why.format(owner=owner, name=name)) from error
    except Exception as error:  # the network's errors are httpx's or another's, by version
        raise SpaceError(
            f"the Hub cannot be reached ({str(error).strip() or type(error).__name__}); check the "
            "network and run the same command again"
        ) from error


_REFUSED = {
    401: "the Hub does not know the token; run `hf auth login` again",
    402: "the Hub asks for payment: this hardware, or a Space that runs code, needs billing or a "
    "subscription of {owner}; see https://huggingface.co/pricing",
    403: "the token may not write for {owner}; make one with write access at "
    "https://huggingface.co/settings/tokens",
    404: "the Hub does not find {name}, or the token may not see it",
    412: "somebody else has changed {name} just now; run the same command again",
    429: "the Hub asks to wait: too many requests; run the same command again later",
}
