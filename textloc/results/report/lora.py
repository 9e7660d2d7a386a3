"""The reports of a comparison of LoRA trainings, and of one LoRA beside its base."""

from __future__ import annotations

from textloc.results import facts
from textloc.results.picks.lora import is_experiment, rows
from textloc.results.report.figures import figure
from textloc.results.report.sheet import Card, Document, Sheet
from textloc.results.report.tables import exported


def sheet(document: Document) -> Sheet:
    """Curves, numbers and pictures: a row a prompt, a column a choice."""
    experiment = is_experiment(document)
    made = Sheet(
        facts=facts.trained(document) if experiment else facts.tried(document),
        tables=[exported(document, "Choices in numbers" if experiment else "Every picture")],
        rows=[
            (prompt, [Card(title, "", key, read, wanted) for title, key, read, wanted in cells])
            for prompt, cells in rows(document)
        ],
    )
    if experiment:
        hint = (
            "By training step: share of letters that are read right, and variety (recall of the "
            "base's pictures). Thin lines are single runs."
        )
        made.figures = [figure(document, "curves", "While it is trained", hint)]
    return made
