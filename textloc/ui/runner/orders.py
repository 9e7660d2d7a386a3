"""What a form, or an endpoint, asks to be run."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from textloc.ui.limits import Asked


class Order(Protocol):
    """What a form asks for: plain data that can be pickled."""

    @property
    def model(self) -> str:
        """Name of the checkpoint to load; `""` where it takes none, and no GPU."""

    @property
    def stored(self) -> bool:
        """Whether the result is kept."""

    @property
    def asked(self) -> Asked:
        """What it takes of the page."""

    def before(self) -> str | None:
        """ID of a stored result of just this run, or None."""

    def stream(
        self,
        model: Any,
        on_step: Callable[[int, int], None],
        on_images: Callable[[int, int, str], None],
        cancelled: Callable[[], bool],
    ) -> Iterator[Any]:
        """Do it with the loaded `model`, None where it takes none; yields `localize.Event`s.

        on_step: told (steps done, steps) of a call. on_images: told (pictures done, expected, what
        is done) of work before the first event. cancelled: asked between steps.
        """
