"""What a link says beside the result: the tab, what is picked in it, its pair and its seed.

`?r=<id>&layer=7-9&pair=3&seed=1&map=head&cell=2.9` restores a view of a localization (the map of
shares by heads, with the cell of the third line and layer 9), `view=` one of other results,
`tab=` opens a tab, `embed=1` leaves everything but the result out. `?run=<token>` finds a run that
is going on, or has ended lately.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from textloc.ui import runs
from textloc.ui.session import Session

TABS = {
    "localize": "textloc.localize",
    "edit": "textloc.edit",
    "suppress": "textloc.suppress",
    "fine-tune": "textloc.lora",
    "gallery": "textloc.gallery",
}
"""What `tab=` may say, and the tab's ID."""


_LONGEST = 20  # characters of a wrong value that are repeated

NO_RUN = "none"
"""What `run_asked` says where the run is not known."""


def run_asked(request: Any) -> str:
    """The kind of the run that `?run=` of a request names, `""` where it names none."""
    token = request.query_params.get("run") if request else None
    if not token:
        return ""
    run = runs.find(token)
    return NO_RUN if run is None else run.kind


def query(session: Session) -> str:
    """What follows `?r=<id>` for what a session looks at, `""` where that is the usual view."""
    if session.view is None:
        return ""
    document = session.view.document
    said: dict[str, str] = {}
    if session.pick and session.shown == session.pick:
        said |= session.PICKS.said(session.pick)
    if session.pair != session.PICKS.usual_pair(document):
        said["pair"] = str(session.pair)
    if session.seed != document["request"]["seeds"][0]:
        said["seed"] = str(session.seed)
    said |= session.told()
    return f"&{urlencode(said)}" if said else ""


def look(session: Session, said: Mapping[str, str]) -> str:
    """Look at what a link says; what it says wrongly is passed over, and told in words."""
    if session.view is None:
        return ""
    document = session.view.document
    request = document["request"]
    wrong = [name for name in ("layer", "view") if name in said]
    if (pick := session.PICKS.meant(document, said)) in session.PICKS.entries(document):
        session.pick, wrong = pick, []
    pair, seed = said.get("pair", ""), said.get("seed", "")
    if pair.isdecimal() and int(pair[:9]) in range(len(request.get("pairs", ()))):
        session.pair = int(pair[:9])
    elif pair:
        wrong.append("pair")
    if seed.isdecimal() and int(seed[:20]) in request["seeds"]:
        session.seed = int(seed[:20])
    elif seed:
        wrong.append("seed")
    wrong += session.hear(said)
    if not wrong:
        return ""
    told = ", ".join(f"{name}={said[name][:_LONGEST]}" for name in wrong)
    return f"The link asks for {told}, which this result does not have; the rest is shown."
