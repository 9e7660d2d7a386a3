"""What the endpoint `read` asks for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

from PIL import Image

from textloc.ui.limits import Asked


@dataclass(frozen=True, eq=False)
class ReadOrder:
    """A picture to read, RGB, by an engine of `reading.ocr`; no model is loaded for it."""

    picture: Image.Image
    engine: str

    model: ClassVar[str] = ""
    stored: ClassVar[bool] = False

    @property
    def asked(self) -> Asked:
        """What it takes of the page, as `live.Order` says."""
        return Asked(self.model, (), 1, 1, None)

    def before(self) -> None:
        """Nothing of it is stored."""

    def stream(
        self,
        model: Any,
        on_step: Callable[[int, int], None],
        on_images: Callable[[int, int, str], None],
        cancelled: Callable[[], bool],
    ) -> Iterator[Any]:
        """Read it, as `live.Order` says."""
        from textloc.reading import ocr

        found = ocr.read([self.picture], self.engine)[0]
        boxes = [
            {"text": box.text, "score": float(box.score), "polygon": [list(c) for c in box.polygon]}
            for box in found.boxes
        ]
        read = {"text": found.text, "boxes": boxes, **ocr.describe(self.engine)}
        document = {"complete": True, "read": read}
        yield SimpleNamespace(
            document=document, images={}, done=1, total=1, found=0, message="done"
        )
