"""What one visitor looks at and runs."""

from dataclasses import dataclass

from textloc.ui import live, picks, replay


@dataclass
class Session:
    """The state that all handlers of a visitor share, and a run changes in place.

    view: what is shown. pick: what was picked in it; `""` follows the selected or strongest layers.
    pair, seed: whose pictures are shown. job: the run that is wanted or going on. waiting: whether
    it has not begun yet. follow: whether the address bar follows to the link of the result.
    """

    view: replay.View | None = None
    pick: str = ""
    pair: int = 0
    seed: int = 0
    job: live.Job | None = None
    waiting: bool = False
    follow: bool = False

    def show(self, view: replay.View) -> None:
        """Look at another result, from its beginning."""
        self.view, self.pick, self.pair = view, "", 0
        self.seed = view.document["request"]["seeds"][0]

    @property
    def shown(self) -> str:
        """The pick that is shown; `""` while there is nothing to see."""
        if self.view is None:
            return ""
        known = picks.entries(self.view.document)
        return self.pick if self.pick in known else picks.usual_pick(self.view.document)
