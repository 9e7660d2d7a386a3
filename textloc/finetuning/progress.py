"""What a run needs to go on after it was stopped or killed.

Batches and noise depend on (seed, step) alone, so a state is the weights of the LoRA, their
average, the optimiser's moments and the step. States are written whole or not at all, and the one
before the last is kept, too.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from textloc.errors import TrainingError
from textloc.files import new_folder, replace_file

if TYPE_CHECKING:
    from torch.nn import Parameter

KEPT = 2
"""States kept."""

LOG = "log.jsonl"
_STATES = "states"
_NAME = re.compile(r"step-([0-9]{7})")


@dataclass
class Trained:
    """What is trained: the LoRA's parameters in order, the optimiser, the average
    (`diffusers.training_utils.EMAModel`)."""

    parameters: Sequence[Parameter]
    optimizer: Any
    ema: Any


def save(out: Path, step: int, digest: str, trained: Trained) -> None:
    """Write the state after `step` steps; `digest` is that of settings and data."""
    folder = out / _STATES / f"step-{step:07d}"
    with new_folder(folder) as new:
        torch.save(
            {
                "parameters": [parameter.detach().cpu() for parameter in trained.parameters],
                "optimizer": trained.optimizer.state_dict(),
                "ema": trained.ema.state_dict(),
            },
            new / "state.pt",
        )
        text = json.dumps({"step": step, "digest": digest})
        (new / "about.json").write_text(text, encoding="utf-8")
    for old in _states(out)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def _states(out: Path) -> list[Path]:
    folder = out / _STATES
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if _NAME.fullmatch(path.name))


def begun(out: Path) -> bool:
    """Whether there is a state to go on from."""
    return bool(_states(out))


def restore(out: Path, digest: str, trained: Trained) -> int:
    """Put the last good state back; returns its step, 0 where there is none.

    Raises:
        TrainingError: it was made with other settings or data.
    """
    for folder in reversed(_states(out)):
        try:
            about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
            state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
        except Exception:  # what a damaged file raises depends on where it is damaged
            continue  # the one before it is kept for this
        if about["digest"] != digest:
            raise TrainingError(
                f"the run in {out} was begun with other settings, data or checkpoint; resume it "
                "with the same (only --steps may grow), or choose another --out"
            )
        with torch.no_grad():
            for parameter, saved in zip(trained.parameters, state["parameters"], strict=True):
                parameter.copy_(saved)
        trained.optimizer.load_state_dict(state["optimizer"])
        trained.ema.load_state_dict(state["ema"])
        trained.ema.to(trained.parameters[0].device)
        return int(about["step"])
    return 0


class Log:
    """`log.jsonl`: one JSON object a line, each with its `step`. What a run wrote after its last
    state is written again when it goes on, so those lines are dropped then."""

    def __init__(self, out: Path, step: int) -> None:
        self.path = out / LOG
        kept = [line for line in read(out) if line["step"] <= step] if step else []
        text = "".join(json.dumps(line) + "\n" for line in kept)
        replace_file(self.path, lambda file: file.write_text(text, encoding="utf-8"))

    def write(self, line: dict[str, Any]) -> None:
        """Add a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read(out: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; a last one that is cut off is left out."""
    path = out / LOG
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
