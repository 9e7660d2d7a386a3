"""What the owner of a page sets, read from the environment; no Gradio, no torch.

| variable | what it sets | in public | else |
|---|---|---|---|
| `TEXTLOC_PUBLIC` | 1 serves strangers, 0 does not | 1 where `SPACE_ID` is set | 0 |
| `TEXTLOC_MODELS` | the models offered, such as `sdxl,sd3`, Hub names too | what fits | what fits |
| `TEXTLOC_LORAS` | LoRAs offered beside those that ship, as Hub names | none | any |
| `TEXTLOC_MAX_STEPS` | denoising steps of a call | 50 | 1000 |
| `TEXTLOC_MAX_PAIRS` | prompts, or pairs of prompts, of a run | 4 | 16 |
| `TEXTLOC_MAX_SEEDS` | seeds of a run | 4 | 16 |
| `TEXTLOC_MAX_LETTERS` | characters of a prompt | 500 | no limit |
| `TEXTLOC_MAX_SIZE` | pixels of a side of the pictures that are made | 1024 | no limit |
| `TEXTLOC_MAX_UPLOAD` | megabytes of a file that is uploaded | 20 | no limit |
| `TEXTLOC_MAX_BODY` | megabytes of any other request | 1 | no limit |
| `TEXTLOC_MAX_WAITING` | runs that are going on or waiting, of all visitors | 8 | no limit |
| `TEXTLOC_MAX_RUNS` | the same of one visitor | 1 | no limit |
| `TEXTLOC_KEEP_UPLOADS` | minutes until an uploaded file is removed | 60 | 1440 |
| `TEXTLOC_MAX_UPLOADS` | megabytes of all uploaded files; the oldest go first | 500 | no limit |
| `TEXTLOC_KEEP_RUNS` | minutes that a run goes on after its page was closed | 2 | 60 |
| `TEXTLOC_MAX_SILENCE` | minutes without news that end a run, once its model is loaded | 10 | 60 |
| `TEXTLOC_MAX_GPU` | seconds that a run may ask of a ZeroGPU | 120 | 120 |
| `TEXTLOC_WORKER` | 1 runs in a process of their own, 0 in that of the page | 1 | 1 |

A visitor is an Internet address. On a Space, or with `TEXTLOC_PROXY=1`, it is the last one in
`X-Forwarded-For` that is not of a private network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from textloc.checkpoints.known import KNOWN, find
from textloc.errors import SettingError

_MEGABYTE = 1_000_000
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Settings:
    """How a page is served; the module says what each variable is.

    models, loras: empty where nothing is listed. letters, size, upload, uploads, body, waiting,
    runs: None is no limit. upload, uploads, body: in bytes. keep_uploads, keep_runs, silence,
    gpu_seconds: in seconds. proxy: whether to believe `X-Forwarded-For`.
    """

    public: bool
    models: tuple[str, ...]
    loras: tuple[str, ...]
    steps: int
    pairs: int
    seeds: int
    letters: int | None
    size: int | None
    upload: int | None
    uploads: int | None
    body: int | None
    waiting: int | None
    runs: int | None
    keep_uploads: int
    keep_runs: int
    silence: int
    gpu_seconds: int
    worker: bool
    proxy: bool


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of an environment, by default of this process.

    Raises:
        SettingError: a variable cannot be read.
    """
    given = os.environ if environment is None else environment
    space = bool(given.get("SPACE_ID"))
    public = _switch(given, "TEXTLOC_PUBLIC", space)

    def most(name: str, strict: int, open_: int | None) -> int | None:
        return _number(given, f"TEXTLOC_{name}", strict if public else open_)

    def bytes_(name: str, strict: int) -> int | None:
        megabytes = most(name, strict, None)
        return None if megabytes is None else megabytes * _MEGABYTE

    return Settings(
        public=public,
        models=tuple(_model(name) for name in _listed(given, "TEXTLOC_MODELS")),
        loras=tuple(_lora(name) for name in _listed(given, "TEXTLOC_LORAS")),
        steps=most("MAX_STEPS", 50, 1000) or 1,
        pairs=most("MAX_PAIRS", 4, 16) or 1,
        seeds=most("MAX_SEEDS", 4, 16) or 1,
        letters=most("MAX_LETTERS", 500, None),
        size=most("MAX_SIZE", 1024, None),
        upload=bytes_("MAX_UPLOAD", 20),
        uploads=bytes_("MAX_UPLOADS", 500),
        body=bytes_("MAX_BODY", 1),
        waiting=most("MAX_WAITING", 8, None),
        runs=most("MAX_RUNS", 1, None),
        keep_uploads=60 * (most("KEEP_UPLOADS", 60, 1440) or 1),
        keep_runs=60 * (most("KEEP_RUNS", 2, 60) or 1),
        silence=60 * (most("MAX_SILENCE", 10, 60) or 1),
        gpu_seconds=most("MAX_GPU", 120, 120) or 1,
        worker=_switch(given, "TEXTLOC_WORKER", True),
        proxy=_switch(given, "TEXTLOC_PROXY", space),
    )


def _switch(given: Mapping[str, str], name: str, usual: bool) -> bool:
    said = given.get(name, "").strip()
    if said not in ("", "0", "1"):
        raise SettingError(f"{name} is {said[:40]!r}; set it to 1 or 0, or leave it out")
    return usual if not said else said == "1"


def _number(given: Mapping[str, str], name: str, usual: int | None) -> int | None:
    said = given.get(name, "").strip()
    if not said:
        return usual
    if not (said.isascii() and said.isdecimal() and len(said) <= 9 and int(said)):
        raise SettingError(f"{name} is {said[:40]!r}; set it to a whole number from 1 on")
    return int(said)


def _listed(given: Mapping[str, str], name: str) -> list[str]:
    said = given.get(name, "").replace(",", " ").split()
    return list(dict.fromkeys(said))


def _model(name: str) -> str:
    entry = find(name)
    if entry is None and not _HUB_NAME.fullmatch(name):
        known = ", ".join(entry.name for entry in KNOWN)
        raise SettingError(
            f"TEXTLOC_MODELS names {name[:80]!r}, which is no model: list names of {known}, or Hub "
            "names such as owner/model, separated by commas"
        )
    return name if entry is None else entry.name


def _lora(name: str) -> str:
    if not _HUB_NAME.fullmatch(name):
        raise SettingError(
            f"TEXTLOC_LORAS names {name[:80]!r}; list Hub names such as owner/model, separated by "
            "commas (those that ship are offered anyhow)"
        )
    return name
