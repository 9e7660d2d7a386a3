"""The report of a result without pictures: its figures and its table."""

from __future__ import annotations

from textloc.results import facts, store
from textloc.results.report.figures import figure
from textloc.results.report.localize import shares
from textloc.results.report.sheet import Document, Sheet
from textloc.results.report.tables import exported


def sheet(document: Document) -> Sheet:
    """Figures and table of any result."""
    from textloc.results.plots import FIGURES

    known = FIGURES.get(store.kind(document), {})
    names = [name for name, one in known.items() if not one.pictures]
    made = [figure(document, name, name.capitalize()) for name in names]
    return Sheet(figures=made, tables=[exported(document, "In numbers")])


def attributed(document: Document) -> Sheet:
    """Shares alone: nothing was generated."""
    return Sheet(
        facts=facts.asked(document),
        figures=shares(document) if document["shares"] else (),
        tables=[exported(document, "All layers")],
    )
