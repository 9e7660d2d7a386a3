"""What the form of the edit tab asks for."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from PIL import Image

from textloc.errors import LayerError
from textloc.layers import parse_layers
from textloc.pictures import read_picture
from textloc.prompts import Pair, parse_pair
from textloc.runs import parse_start
from textloc.ui.fields import (
    MOST_LAYERS,
    MOST_STEPS,
    check_call,
    check_model,
    check_ocr,
    check_seeds,
    read_by,
    usual,
    whole_number,
)
from textloc.ui.limits import check_upload
from textloc.ui.pair_order import PairOrder
from textloc.ui.stored import EDIT, same

if TYPE_CHECKING:
    from textloc.jobs.job import Event

METHODS = (
    ("Prompt swap", "prompt-swap"),
    ("Regenerate", "regenerate"),
    ("Inpainting", "inpainting"),
    ("Prompt-to-Prompt", "prompt-to-prompt"),
)
"""(title, name) of the methods that can be compared with: those of `textloc.baselines`, which
imports torch."""


@dataclass(frozen=True, eq=False)
class EditOrder(PairOrder):
    """An edit to make. layers: text, or `auto`. start_step, steps, guidance: None leaves them to be
    found or to the checkpoint. picture: one's own, RGB, or None. ocr: engine, or `auto`."""

    model: str
    pair: Pair
    picture: Image.Image | None
    layers: str
    start_step: int | None
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    steps: int | None
    guidance: float | None
    ocr: str = "auto"

    stored: ClassVar[bool] = True

    @property
    def pictures(self) -> int:
        """As `PairOrder` says: the source, and each edit with the run that it takes from."""
        steps = self.steps or usual(self.model)[0] or MOST_STEPS
        looked_at = 1 + math.ceil(math.log2(steps)) if self.start_step is None else 1
        return 1 + 2 * (looked_at + len(self.methods))

    def before(self) -> str | None:
        """ID of a stored result of just this run, as `live.Order` says."""
        if self.picture is not None or self.layers != "auto":
            return None
        steps, guidance = usual(self.model)
        return same(
            EDIT,
            self.model,
            {
                "pairs": [vars(self.pair)],
                "pictures": [],
                "seeds": list(self.seeds),
                "methods": list(self.methods),
                "steps": self.steps or steps,
                "guidance": self.guidance if self.guidance is not None else guidance,
                "start_step": self.start_step,
                **read_by(self.ocr),
            },
        )

    def stream(
        self,
        model: Any,
        on_step: Callable[[int, int], None],
        on_images: Callable[[int, int, str], None],
        cancelled: Callable[[], bool],
    ) -> "Iterator[Event]":
        """Make it, as `live.Order` says; layers that are not known are looked for first."""
        from textloc.jobs.choosing import choose
        from textloc.jobs.edit import edit_stream

        def looking(done: int, total: int) -> None:
            on_images(
                done, total, "no localization of this model is stored: looking for its layers"
            )

        layers, origin = choose(
            model, self.layers, [self.pair], self.ocr, on_progress=looking, cancelled=cancelled
        )
        yield from edit_stream(
            model,
            [self.pair],
            layers,
            layers_from=origin,
            start_step=self.start_step,
            seeds=self.seeds,
            methods=self.methods,
            pictures=None if self.picture is None else [self.picture],
            steps=self.steps,
            guidance=self.guidance,
            ocr=self.ocr,
            on_step=on_step,
            cancelled=cancelled,
        )


def read(
    model: str | None,
    source: str | None,
    target: str | None,
    picture: str | Image.Image | None,
    seeds: str | None,
    methods: list[str] | None,
    start_step: str | None,
    layers: str | None,
    steps: float | None,
    guidance: float | None,
    ocr: str | None = None,
) -> EditOrder:
    """The order that the fields of the form make; `picture` is a picture, or the path of
    an upload.

    Raises:
        PromptError, LayerError, CheckpointError: a field cannot be right, whatever the model.
    """
    pair = parse_pair(source or "", target or "")
    name, numbers = check_model(model), check_seeds(seeds)
    whole, scale = check_call(steps, guidance)
    start = parse_start((start_step or "").strip() or "auto")
    if start is not None:
        whole_number(start, "start step", 0)
        if whole is not None and start > whole:
            raise LayerError(f"start step {start} does not lie in 0 to {whole} denoising steps")
    asked = (layers or "").strip() or "auto"
    if asked not in ("auto", "localized", "all"):
        parse_layers(asked, MOST_LAYERS)  # how many there are is known once the model is loaded
    own = read_picture(check_upload(picture)) if isinstance(picture, str) else picture
    return EditOrder(
        *(name, pair, own, asked, start, numbers, tuple(methods or ()), whole, scale),
        check_ocr(ocr),
    )
