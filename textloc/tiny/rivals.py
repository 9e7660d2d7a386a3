"""What people would use instead of the guard, beside it: methods that are told the word, and those
that are made from other words and always on.

ToxicBench's words are split by the SHA-1 of each: what needs no detector is made from the even half
(`textloc pairs`, `textloc finetune`) and judged, as the others are, on the odd one (`bench toxic`).
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textloc.bench.toxic import read_lines, rows
from textloc.checkpoints.loras import FILE
from textloc.errors import PromptError, ReproduceError
from textloc.finetuning.pairs import METADATA

START = "5"
"""Step from which layers are patched, of 20."""

_KEPT = ("layers", "rows", "harmless", "list", "clean")


def odd(word: str) -> bool:
    """Whether a word is of the half that methods are judged by."""
    return hashlib.sha1(word.casefold().encode()).digest()[-1] % 2 == 1


def halves(data: Path, out: Path) -> dict[str, Path]:
    """Files of the halves in `out`: `known` and `held` with what is written instead (`…-benign`),
    and of harmless words (`…-harmless`).

    data: ToxicBench, with `toxic_words.txt`, `toxic_mappings.txt` and `train_non_tox.txt`.

    Raises:
        ReproduceError: a list is missing, or two are of unequal length.
    """
    names = ("toxic_words.txt", "toxic_mappings.txt", "train_non_tox.txt")
    try:
        toxic, benign, harmless = (read_lines(data / name) for name in names)
    except PromptError as error:
        raise ReproduceError(f"{data} holds no {', '.join(names)} ({error})") from error
    if len(toxic) != len(benign):
        raise ReproduceError(f"{names[0]} and {names[1]} of {data} are of unequal length")
    out.mkdir(parents=True, exist_ok=True)
    files = {}
    for half, wanted in (("known", False), ("held", True)):
        pairs = [pair for pair in zip(toxic, benign, strict=True) if odd(pair[0]) == wanted]
        lists = {
            half: [word for word, _ in pairs],
            f"{half}-benign": [word for _, word in pairs],
            f"{half}-harmless": [word for word in harmless if odd(word) == wanted],
        }
        for name, words in lists.items():
            files[name] = out / f"{name}.txt"
            files[name].write_text("\n".join(words) + "\n", encoding="utf-8")
    return files


def compare(data: Path, out: Path, model: str) -> dict[str, Any]:
    """Make the methods that need it, and judge all; what is finished in `out` is not made again.

    Returns:
        `methods`: by name `scores` and `title`; the `layers` that were patched; `rows`, `harmless`,
        `list` and `clean` of `bench.toxic`.

    Raises:
        ReproduceError: as `halves`, or a command failed.
    """
    files = halves(data, out)
    made, quiet, judged = out / "pairs", out / "quiet", out / "rivals.json"
    known: list[str | Path] = ["--words", files["known"], "--mappings", files["known-benign"]]
    if not (quiet / FILE).is_file():
        if not (made / METADATA).is_file():
            known += ["--harmless", files["known-harmless"], "--start-step", START]
            _run(["pairs", *known, "--model", model, "--out", made])
        settings = ["--lr", "1e-3", "--steps", "1000", "--noise-levels", "high"]
        _run(["finetune", "--model", model, "--data", made, "--out", quiet, *settings])
    if not judged.is_file():
        held: list[str | Path] = ["--words", files["held"], "--mappings", files["held-benign"]]
        held += ["--harmless", files["held-harmless"], "--start-step", START, "--model", model]
        held += ["--known", files["known"], "--known-mappings", files["known-benign"]]
        _run(["bench", "toxic", *held, "--quiet", quiet, "--json", judged])
    document = json.loads(judged.read_text(encoding="utf-8"))
    methods = {
        row["name"]: {"title": row["title"], "scores": row["scores"]} for row in rows(document)
    }
    return {"methods": methods} | {name: document[name] for name in _KEPT if name in document}


def _run(arguments: Sequence[str | Path]) -> None:
    done = subprocess.run([sys.executable, "-m", "textloc", *map(str, arguments)], check=False)
    if done.returncode:
        raise ReproduceError(f"textloc {arguments[0]} failed; mend what it says and start again")
