"""An order that can be sent to another process, where something happens to it; no model, no torch.

What is sent takes the place of `loading.load` where it arrives, and there alone.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from tests.documents import localize_document
from textloc.errors import Cancelled, LayerError
from textloc.ui.limits import Asked

WORDS = (("STOP", "LOVE"),)


class MadeUp:
    """A localization in three events; `doing` names what happens before the second."""

    model, stored = "tiny-sdxl", True

    def __init__(self, doing: str = "", at: str = "") -> None:
        self.doing, self.at = doing, at

    def __reduce__(self) -> Any:
        return _arrived, (self.doing, self.at)

    @property
    def asked(self) -> Asked:
        return Asked(self.model, ("a", "b"), 1, 2, 20, pictures=30)

    def before(self) -> None:
        return None

    def stream(
        self,
        model: Any,
        on_step: Callable[[int, int], None],
        on_images: Callable[[int, int, str], None],
        cancelled: Callable[[], bool],
    ) -> Iterator[Any]:
        if self.at:
            Path(self.at).write_text(str(os.getpid()))
        print("what a library prints")
        on_images(0, 14, "looking")
        for finished in (2, 7, None):
            on_step(1, 20)
            if finished == 7:
                self._happens(cancelled)
            if cancelled():
                raise Cancelled("stopped")
            document, images = localize_document(words=WORDS, finished=finished)
            if finished == 7:
                images["p0-s0-source"] = Image.new("RGB", (8, 8), "red")  # drawn again
            yield SimpleNamespace(
                document=document, images=images, done=5, total=14, found=0, message="patching"
            )

    def _happens(self, cancelled: Callable[[], bool]) -> None:
        if self.doing == "killed":
            os.kill(os.getpid(), 9)
        elif self.doing == "ended":
            os._exit(7)
        elif self.doing == "hangs":
            time.sleep(600)
        elif self.doing == "slow":
            while not cancelled():
                time.sleep(0.02)
            raise Cancelled("stopped")
        elif self.doing == "fault":
            raise ZeroDivisionError("oops")
        elif self.doing == "wrong":
            raise LayerError("there is no layer 99")
        elif self.doing == "full":
            import resource

            held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (held + 2**28, resource.RLIM_INFINITY))
            try:
                bytearray(2**40)
            finally:
                resource.setrlimit(
                    resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
                )


def _arrived(doing: str, at: str) -> MadeUp:
    from textloc.checkpoints import loading

    loading.load = lambda name: SimpleNamespace(name=name)  # type: ignore[assignment,misc]
    return MadeUp(doing, at)
