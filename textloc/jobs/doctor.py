"""Does a checkpoint work here: a minute of checks, in words that can be pasted into an issue.

Loads it, makes a call of two steps, and looks at what the whole of textloc rests on: that patching
nothing changes nothing, that patching everything gives the other prompt's picture, that rows do not
depend on their neighbours, and that the model is left as it was. Then it says what fits into memory
and how long a localization would take. Every check is on its own: one that fails costs no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from textloc.baselines import BASELINES
from textloc.checkpoints import families, memory
from textloc.checkpoints.latents import check_steps
from textloc.checkpoints.loading import Model
from textloc.errors import TextlocError
from textloc.jobs import choosing, comparing
from textloc.patching.generation import MAX_ROWS, generate
from textloc.reading import ocr
from textloc.results import provenance
from textloc.runs import Patch, Run, Sampling

SCHEMA = "textloc.doctor/1"
STEPS = 2
NEAR = 4
"""Most of 255 that pixels may differ by where sums are made in another order; in half precision
`NEAR_HALF`."""
NEAR_HALF = 48
PAIRS = 100
"""Prompt pairs of the paper's localization."""

SOURCE, TARGET = Run('a red sign that says "STOP"'), Run('a red sign that says "LOVE"')


@dataclass(frozen=True)
class Finding:
    """One check. ok: None where there is only something to say. said: in words."""

    name: str
    ok: bool | None
    said: str
    seconds: float


@dataclass
class _Patient:
    """A loaded checkpoint while it is looked at."""

    model: Model
    sampling: Sampling = field(init=False)
    pictures: dict[str, NDArray[Any]] = field(default_factory=dict)
    row_s: float | None = None  # seconds of one row and step, guidance included

    def __post_init__(self) -> None:
        self.sampling = replace(self.model.defaults, steps=STEPS)

    @property
    def near(self) -> int:
        return NEAR if self.model.dtype == "float32" else NEAR_HALF

    def make(self, runs: dict[str, Run], **options: Any) -> dict[str, NDArray[Any]]:
        """Pictures (H, W, 3) of these runs, each by its name."""
        made: dict[Run, Image.Image] = {}
        wanted = list(dict.fromkeys(runs.values()))
        for chunk in generate(self.model, wanted, self.sampling, share=False, **options):
            made |= chunk.images
        return {name: np.asarray(made[run].convert("RGB"), int) for name, run in runs.items()}

    # -- the checks ------------------------------------------------------------------------

    def weights(self) -> tuple[bool | None, str]:
        model = self.model
        held = memory.size_of(model.denoiser) / 2**30
        named = f"{type(model.pipe).__name__}, {type(model.denoiser).__name__}"
        return None, (
            f"{named}, {model.parameters / 1e6:,.0f} million parameters ({held:.2f} GiB) in "
            f"{model.dtype} on {model.device}; {len(model.layers)} text layers; scheduler "
            f"{type(model.pipe.scheduler).__name__}; {model.digest}"
        )

    def layers(self) -> tuple[bool | None, str]:
        found = choosing.layers_of(self.model)
        if found is None:
            return None, "no layers that write are known; `textloc localize --save` finds them"
        return None, choosing.told(*found)

    def call(self) -> tuple[bool | None, str]:
        began: list[float] = []

        def stepped(_done: int, _steps: int) -> None:
            began.append(time.perf_counter())

        found = self.make({"source": SOURCE, "target": TARGET}, on_step=stepped)
        self.pictures |= found
        if len(began) >= STEPS:
            self.row_s = (began[1] - began[0]) / 2
        flat = [name for name, picture in found.items() if picture.std() < 0.5]
        if flat:
            return False, (
                f"the picture of the {flat[0]} prompt is of one colour; are there numbers out of "
                f"range in {self.model.dtype}? Try --dtype bfloat16 or float32"
            )
        height, width = found["source"].shape[:2]
        return True, f"two steps give pictures of {width} x {height} pixels"

    def rows(self) -> tuple[bool | None, str]:
        alone = self.pictures["alone"] = self.make({"source": SOURCE})["source"]
        return self._close(alone, self.pictures["source"], "a row alone and beside another")

    def nothing(self) -> tuple[bool | None, str]:
        late = SOURCE.patched(Patch(tuple(range(len(self.model.layers))), TARGET, start=STEPS))
        made = self.make({"late": late})["late"]
        return self._close(made, self.pictures["source"], "patched after the last step and not")

    def everything(self) -> tuple[bool | None, str]:
        channels = tuple(one.name for one in families.text_channels(self.model.denoiser))
        every = Patch(tuple(range(len(self.model.layers))), TARGET, channels=channels)
        made = self.make({"all": SOURCE.patched(every)})["all"]
        apart = np.abs(self.pictures["source"] - self.pictures["target"]).max()
        ok, said = self._close(made, self.pictures["target"], "all patched and the target prompt")
        if not apart:
            return False, (
                "the two prompts give the same picture, so nothing can be said of patching; is the "
                "end of a prompt cut off?"
            )
        return ok, f"{said} (the two prompts differ by {apart})"

    def restored(self) -> tuple[bool | None, str]:
        again = self.make({"source": SOURCE})["source"]
        differ = int(np.abs(self.pictures["alone"] - again).max())
        said = f"a call before and after all this differs by {differ} of 255"
        if differ and self.model.device != "cpu":
            return None, f"{said} (kernels of the device may do so)"
        return not differ, said

    def _close(self, one: Any, other: Any, what: str) -> tuple[bool, str]:
        differ = int(np.abs(one - other).max())
        return differ <= self.near, f"{what} differ by {differ} of 255 ({self.near} may be)"

    def encoding(self) -> tuple[bool | None, str]:
        import torch

        height, width = self.sampling.height, self.sampling.width
        if height is None or width is None:
            return None, "the checkpoint names no size; give --size to follow a picture"
        grey = Image.new("RGB", (width, height), "grey")
        with torch.no_grad():
            self.model.family.encode(self.model.pipe, [grey], self.sampling)
        check_steps(self.model.pipe.scheduler, self.model.defaults.steps)
        return True, "pictures of one's own can be followed (`edit --image`)"

    def methods(self) -> tuple[bool | None, str]:
        found = comparing.refused(BASELINES, self.model, self.model.defaults)
        if not found:
            return True, "every method can be compared with (`edit --compare all`)"
        return None, "; ".join(f"{name}: {why}" for name, why in found.items())

    def reading(self) -> tuple[bool | None, str]:
        return True, " ".join((ocr.describe("auto") or {}).values())

    def memory(self) -> tuple[bool | None, str]:
        rows = self.model.rows_that_fit(self.model.defaults)
        said = f"{min(rows, MAX_ROWS)} rows fit into one call"
        if self.model.device.startswith("cuda"):
            import torch

            free, total = torch.cuda.mem_get_info(self.model.device)
            peak = torch.cuda.max_memory_allocated(self.model.device)
            said += (
                f"; {free / 2**30:.1f} of {total / 2**30:.1f} GiB are free, {peak / 2**30:.1f} "
                "were used at most"
            )
        return None, said

    def sweep(self) -> tuple[bool | None, str]:
        if self.row_s is None:
            return None, "no step was timed"
        pictures = len(self.model.layers) + 3
        seconds = pictures * self.model.defaults.steps * self.row_s
        return None, (
            f"a step takes {self.row_s:.2g} s a row, so a sweep of all {len(self.model.layers)} "
            f"layers takes about {_duration(seconds)} a pair and {_duration(PAIRS * seconds)} for "
            f"{PAIRS}, and the search for the set some more; `--search attribution` asks for far "
            "fewer pictures"
        )


CHECKS: dict[str, tuple[str, Callable[[_Patient], tuple[bool | None, str]]]] = {
    "weights": ("what is loaded", _Patient.weights),
    "layers": ("layers that write", _Patient.layers),
    "call": ("a call", _Patient.call),
    "rows": ("rows stand alone", _Patient.rows),
    "nothing": ("patching nothing", _Patient.nothing),
    "everything": ("patching everything", _Patient.everything),
    "restored": ("left as it was", _Patient.restored),
    "encoding": ("own pictures", _Patient.encoding),
    "methods": ("other methods", _Patient.methods),
    "reading": ("OCR", _Patient.reading),
    "memory": ("memory", _Patient.memory),
    "sweep": ("a localization", _Patient.sweep),
}
"""By name: title and check. Those from `rows` to `restored` look at the pictures of `call`."""

_OF_CALL = ("rows", "nothing", "everything", "restored")


def examine(model: Model) -> Iterator[Finding]:
    """Look at a loaded checkpoint; a finding after each check.

    What a check raises is its finding: nothing but a keyboard interrupt ends the others.
    """
    patient = _Patient(model)
    for name, (title, check) in CHECKS.items():
        began = time.perf_counter()
        if name in _OF_CALL and not patient.pictures:
            yield Finding(title, None, "not looked at, for no call came to its end", 0.0)
            continue
        try:
            ok, said = check(patient)
        except TextlocError as error:
            ok, said = False, str(error)
        except Exception as error:
            ok, said = False, f"{type(error).__name__}: {error}"
        yield Finding(title, ok, said, time.perf_counter() - began)


def document(model: Model, findings: list[Finding]) -> dict[str, Any]:
    """The findings as a document (`textloc.doctor/1`)."""
    return {
        "schema": SCHEMA,
        "complete": True,
        "checkpoint": model.identity,
        "environment": provenance.describe(model.device, ocr.describe("auto")),
        "findings": [asdict(finding) for finding in findings],
        "failed": [finding.name for finding in findings if finding.ok is False],
    }


def line(finding: Finding) -> str:
    """A finding for a terminal."""
    mark = {True: "ok", False: "FAILS", None: "-"}[finding.ok]
    return f"{mark:>5}  {finding.name:20} {finding.said} ({finding.seconds:.1f} s)"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"
