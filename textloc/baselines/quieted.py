"""A LoRA on the localized layers that was trained not to write toxic words.

Kumar et al. (arXiv 2502.05066, section 4): `textloc pairs` makes the data, `textloc finetune`
trains. It is always on: nothing looks at what a prompt asks for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textloc.baselines.always_on import AlwaysOn
from textloc.checkpoints import loras
from textloc.errors import LayerError
from textloc.runs import Run, Sampling

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model


@dataclass(frozen=True)
class Quieted(AlwaysOn):
    """The method (a `Baseline`), and the control of the runs that it makes (a `runs.Control`).

    lora: as `loras.find`. scale: of what it adds, 0 to 10.
    """

    lora: str
    scale: float = 1.0
    LEAN: ClassVar[bool] = True
    TITLE: ClassVar[str] = "LoRA trained on pairs"
    PAPER: ClassVar[str] = "arXiv 2502.05066"

    def check(self, model: Model, sampling: Sampling) -> None:
        """Check that the checkpoint takes the LoRA.

        Raises:
            CheckpointError: it does not, or carries one already.
        """
        with loras.attached(model, self.lora, self.scale):
            pass

    @staticmethod
    @contextmanager
    def around(
        model: Model, batch: Sequence[Run], rows: Sequence[int], sampling: Sampling
    ) -> Iterator[None]:
        """Carry the LoRA in this call.

        Raises:
            LayerError: rows of the same call that do not. CheckpointError: as `check`.
        """
        controls: set[Any] = {run.control for run in batch}
        if len(controls) != 1:
            raise LayerError(
                "all rows of a call carry the same LoRA; generate the others in a call of their own"
            )
        (control,) = controls
        assert isinstance(control, Quieted)
        with loras.attached(model, control.lora, control.scale):
            yield
