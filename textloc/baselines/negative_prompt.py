"""The words that must not be written as negative prompt, guided away from at every step.

Classifier-free guidance (Ho and Salimans, arXiv 2207.12598, section 3.2) leads from the denoiser's
output without text to that with the prompt. A negative prompt takes the place of no text, so the
picture is led away from it. It is the pipeline's own argument; nothing else is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from textloc.errors import LayerError, PromptError
from textloc.prompts import quoted_text
from textloc.reading.ocr import Reading
from textloc.runs import Run, Sampling

TITLE = "Negative prompt"
PAPER = "arXiv 2207.12598"


@dataclass(frozen=True)
class Guided:
    """Refuse a call without guidance, where a negative prompt does nothing (a `runs.Control`)."""

    LEAN: ClassVar[bool] = True

    @property
    def leader(self) -> Run | None:
        """None: no other run is followed."""
        return None

    @staticmethod
    @contextmanager
    def around(
        model: Any, batch: Sequence[Run], rows: Sequence[int], sampling: Sampling
    ) -> Iterator[None]:
        """Check the call.

        Raises:
            LayerError: no guidance.
        """
        check_guided(sampling)
        yield


def check(model: Any, sampling: Sampling) -> None:
    """Check that the call guides.

    Raises:
        LayerError: it does not. PromptError: the pipeline takes no negative prompt.
    """
    check_guided(sampling)
    model.family.arguments(model.pipe, [Run("a", negative_prompt="b")], sampling)


def check_guided(sampling: Sampling) -> None:
    """Check that a call guides.

    Raises:
        LayerError: its guidance is 1 or less.
    """
    if sampling.guidance <= 1:
        raise LayerError(
            f"guidance {sampling.guidance:g} is none, and there is nothing to lead a picture away "
            "from words by; set it above 1"
        )


def check_generated(source: Run) -> None:
    """Check that a run is plain: that neither patches nor a control decide its picture.

    Raises:
        LayerError: they do.
    """
    if source.patches or source.control is not None:
        raise LayerError(
            "words are kept out of a picture that is generated from its prompt alone; give the "
            "source's run without patches and without a picture that it follows"
        )


def run(
    source: Run,
    target: str,
    reading: Reading | None = None,
    size: tuple[int, int] | None = None,
    text: str | None = None,
) -> Run:
    """The source run, of the unwanted words, with these as negative prompt, after the source's own.

    Args:
        source: the run without patches or control.
        target: not read: the prompt stays the source's.
        reading, size: not read.
        text: the negative prompt; None takes what the source prompt quotes.

    Raises:
        PromptError: nothing is quoted and no text is given, or an empty one. LayerError: a source
        with patches or a control. The call then raises PromptError where its pipeline takes no
        negative prompt (LDM, FLUX) and LayerError where its guidance is 1 or less.
    """
    check_generated(source)
    words = quoted_text(source.prompt) if text is None else text.strip()
    if not words:
        raise PromptError("the negative prompt is empty; name the words to keep out")
    negative = f"{source.negative_prompt}, {words}" if source.negative_prompt else words
    return replace(source, negative_prompt=negative, control=Guided())
