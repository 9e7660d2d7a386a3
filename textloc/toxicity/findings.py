"""What is found in a text."""

from __future__ import annotations

from dataclasses import dataclass

from textloc.toxicity.lexicon import Verdict


@dataclass(frozen=True)
class Finding:
    """Something toxic in a text.

    start, stop: its span in the text as it was given, stop exclusive. text: that part. word: what
    it means, lower-case. reason: why, in words. score: how surely, in (0, 1]. detector: what found
    it. severity: one of `lexicon.SEVERITIES`. doubtful: whether it is as often harmless, in other
    company.
    """

    start: int
    stop: int
    text: str
    word: str
    reason: str
    score: float
    detector: str
    severity: str = "vulgar"
    doubtful: bool = False

    @property
    def disguised(self) -> bool:
        """Whether it is not written as `word` is."""
        return "written with" in self.reason or "hidden" in self.reason


@dataclass(frozen=True)
class Found:
    """A finding with the verdict on it."""

    finding: Finding
    verdict: Verdict
