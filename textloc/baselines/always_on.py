"""What methods have in common that work without a detector, on every prompt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from textloc.baselines.negative_prompt import check_generated
from textloc.reading.ocr import Reading
from textloc.runs import Run


@dataclass(frozen=True)
class AlwaysOn:
    """A method (a `Baseline`) that is itself the control of the runs that it makes: a subclass adds
    the rest of `runs.Control`."""

    always: ClassVar[bool] = True

    @property
    def leader(self) -> Run | None:
        """None: no other run is followed."""
        return None

    def run(
        self,
        source: Run,
        target: str,
        reading: Reading | None = None,
        size: tuple[int, int] | None = None,
    ) -> Run:
        """The source run with this control; nothing else is read.

        Raises:
            LayerError: a source with patches or a control.
        """
        check_generated(source)
        control: Any = self
        return replace(source, control=control)
