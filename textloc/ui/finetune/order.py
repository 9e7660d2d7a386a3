"""What the form of the fine-tune tab asks for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textloc.errors import CheckpointError, PromptError
from textloc.prompts import quoted_text
from textloc.ui import settings
from textloc.ui.fields import CHUNK_ROWS, check_call, check_model, check_ocr, check_seeds
from textloc.ui.limits import Asked, check_upload
from textloc.ui.models import check_lora

if TYPE_CHECKING:
    from textloc.jobs.job import Event


@dataclass(frozen=True)
class LoraOrder:
    """Prompts to draw without and with a LoRA. lora: as `loras.find`. ocr: engine, or `auto`."""

    model: str
    lora: str
    scale: float
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int | None
    guidance: float | None
    ocr: str = "auto"
    stored: ClassVar[bool] = False

    @property
    def asked(self) -> Asked:
        """What it takes of the page, as `live.Order` says."""
        return Asked(self.model, self.prompts, len(self.prompts), len(self.seeds), self.steps)

    def before(self) -> None:
        """Nothing of it is stored."""

    def stream(
        self,
        model: Any,
        on_step: Callable[[int, int], None],
        on_images: Callable[[int, int, str], None],
        cancelled: Callable[[], bool],
    ) -> "Iterator[Event]":
        """Draw them, as `live.Order` says."""
        from textloc.jobs.lora_trial import trial_stream

        return trial_stream(
            model,
            self.lora,
            self.prompts,
            scale=self.scale,
            seeds=self.seeds,
            steps=self.steps,
            guidance=self.guidance,
            chunk_rows=CHUNK_ROWS,
            ocr=self.ocr,
            on_step=on_step,
            cancelled=cancelled,
        )


def read(
    model: str | None,
    lora: str | None,
    upload: str | None,
    scale: float,
    prompts: str | None,
    seeds: str | None,
    steps: float | None,
    guidance: float | None,
    ocr: str | None = None,
) -> LoraOrder:
    """The order that the fields of the form make; `upload` is the path of a file, which wins.

    Raises:
        PromptError, CheckpointError, LayerError: a field cannot be right, whatever the model.
    """
    name, numbers = check_model(model), check_seeds(seeds)
    whole, much = check_call(steps, guidance)
    named = (lora or "").strip()
    if not (upload or named):
        raise CheckpointError(
            "no LoRA is given: upload a .safetensors file, or name a folder or a Hub model such as "
            "owner/model"
        )
    carried = str(check_upload(upload)) if upload else check_lora(named)
    asked = tuple(line.strip() for line in (prompts or "").splitlines() if line.strip())
    if not asked:
        raise PromptError('the prompts are empty; write one such as: a red sign that says "2048"')
    if len(asked) > (most := settings.read().pairs):
        raise PromptError(f"{len(asked)} prompts are too many for this page; give {most} or fewer")
    for prompt in asked:
        quoted_text(prompt)
    return LoraOrder(name, carried, float(scale), asked, numbers, whole, much, check_ocr(ocr))
