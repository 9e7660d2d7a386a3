"""What a link says beside the result comes back as it was."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest

from tests.documents import edit_document, localize_document
from textloc.results.inlined import Pictures
from textloc.ui import links
from textloc.ui.edit.tab import EditSession
from textloc.ui.localize.tab import LocalizeSession
from textloc.ui.session import Session
from textloc.ui.stored import View

WORDS = [("STOP", "LOVE"), ("CAT", "DOG"), ("TEA", "PIE"), ("RED", "SKY")]


def session(kind: type[Session] = LocalizeSession) -> Session:
    made = edit_document() if kind is EditSession else localize_document(words=WORDS)
    document, images = made
    found = kind()
    found.show(View(document, Pictures(images.__getitem__), stored=True))
    return found


@pytest.mark.parametrize("kind", [LocalizeSession, EditSession])
def test_every_pick_comes_back(kind: type[Session]) -> None:
    looking = session(kind)
    assert looking.view is not None
    assert links.query(looking) == ""
    for pick in looking.PICKS.entries(looking.view.document):
        looking.pick = pick
        again = session(kind)
        assert links.look(again, dict(parse_qsl(links.query(looking)))) == ""
        assert again.shown == pick


def test_pair_and_seed_come_back() -> None:
    looking = session()
    looking.pair, looking.seed = 2, 1
    said = dict(parse_qsl(links.query(looking)))
    assert said == {"pair": "2", "seed": "1"}
    again = session()
    links.look(again, said)
    assert (again.pair, again.seed) == (2, 1)


@pytest.mark.parametrize(
    "said",
    [
        {"layer": "99"},
        {"layer": "9-"},
        {"layer": "<script>"},
        {"pair": "9"},
        {"pair": "-1"},
        {"pair": "1e3"},
        {"seed": "7"},
        {"seed": "9" * 400},
        {"view": "layer-3"},
        {"map": "nose"},
        {"cell": "99.1"},
        {"cell": "no"},
    ],
)
def test_what_a_link_says_wrongly_is_passed_over_and_told(said: dict[str, str]) -> None:
    looking, before = session(), session()
    told = links.look(looking, said)
    ((name, value),) = said.items()
    assert told.startswith(f"The link asks for {name}={value[:20]}, which this result does not")
    assert len(told) < 120
    assert (looking.shown, looking.pair, looking.seed) == (before.shown, before.pair, before.seed)


def test_the_first_pair_shown_is_one_that_the_set_was_patched_for() -> None:
    looking = session()
    assert looking.view is not None
    known = looking.PICKS.entries(looking.view.document)[looking.shown]
    assert looking.pair in {read["pair"] for read in known["read"]}
