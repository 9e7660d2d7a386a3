"""What one visitor looks at and runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import ClassVar

from textloc.ui import limits, live
from textloc.ui.stored import View


@dataclass
class Session:
    """The state that all handlers of a visitor share, and a run changes in place.

    view: what is shown. pick: what was picked in it; `""` follows the selected or strongest layers.
    pair, seed: whose pictures are shown. job: the run that is wanted or going on. waiting: whether
    it has not begun yet. run: token and key by which it is found again (`runs`). found: a result
    to show in place of a run. follow: whether the address bar follows to the link of the result.
    turn: when the last click was made. quick: whether it came soon after the one before. receipts:
    by ID, those of the results that were made here (`own`). visitor: who it is.
    """

    PICKS: ClassVar[ModuleType]
    """Each tab's own: what there is to pick in a document, and what is shown unless one picks."""

    view: View | None = None
    pick: str = ""
    pair: int = 0
    seed: int = 0
    job: live.Job | None = None
    waiting: bool = False
    run: tuple[str, str] = ("", "")
    found: View | None = None
    follow: bool = False
    turn: float = 0.0
    quick: bool = False
    receipts: dict[str, str] = field(default_factory=dict)
    visitor: limits.Visitor = field(default_factory=limits.Visitor)

    def show(self, view: View) -> None:
        """Look at another result, from its beginning."""
        self.view, self.pick, self.pair = view, "", self.PICKS.usual_pair(view.document)
        self.seed = view.document["request"]["seeds"][0]

    @property
    def place(self) -> tuple[object, ...]:
        """What decides what is drawn; compared with what decided it before."""
        return self.view, self.pick, self.pair, self.seed

    def told(self) -> dict[str, str]:
        """What a link says of more than pick, pair and seed."""
        return {}

    def hear(self, said: Mapping[str, str]) -> list[str]:
        """Take that from a link; the names of what is wrong and passed over."""
        return [name for name in ("map", "cell") if name in said]

    @property
    def shown(self) -> str:
        """The pick that is shown; `""` while there is nothing to see."""
        if self.view is None:
            return ""
        known = self.PICKS.entries(self.view.document)
        usual: str = self.PICKS.usual_pick(self.view.document)
        return self.pick if self.pick in known else usual


@dataclass
class LateSession(Session):
    """The same in a tab whose result is opened when it is first looked at.

    opened: whether one was opened. drawn: whether all of it is drawn.
    """

    opened: bool = False
    drawn: bool = False
