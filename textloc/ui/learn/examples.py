"""Which stored results a tour can be told with: those that show by themselves what it says.

No Gradio, no torch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from textloc.errors import StoreError
from textloc.reading.metrics import exact_match
from textloc.results import store
from textloc.results.judging import doubt
from textloc.ui import stored
from textloc.ui.stored import Document, View

MOST_SHOWN = 12
"""Layers that are shown one by one; of more, the set and others evenly between."""

_MOST_WRITING = 8


@dataclass(frozen=True)
class Example:
    """A localization, and the pair and seed whose pictures show it: source and target picture read
    just their words, and the picture with the set patched reads the target's."""

    view: View
    pair: int
    seed: int

    @property
    def document(self) -> Document:
        """The result."""
        return self.view.document

    @property
    def words(self) -> Document:
        """The pair of prompts."""
        words: Document = self.document["request"]["pairs"][self.pair]
        return words

    @property
    def selected(self) -> tuple[int, ...]:
        """The layers that write."""
        return tuple(sorted(self.document["selected"]))

    @property
    def total(self) -> int:
        """Text layers of the model."""
        return _total(self.document)

    @property
    def chosen(self) -> Document:
        """The entry of the selected set."""
        return _set(self.document) or {}

    @property
    def shown(self) -> list[int]:
        """The layers that are shown one by one."""
        numbers = [int(layer["index"]) for layer in _alone(self.document, self.pair, self.seed)]
        others = [number for number in numbers if number not in self.selected]
        room = MOST_SHOWN - len(self.selected)
        if len(others) > room:
            others = [others[place * len(others) // room] for place in range(room)]
        return sorted([*self.selected, *others])

    def read(self, entry: Document) -> Document:
        """What was read with an entry of the document, and the key of its picture."""
        found = _read(entry, self.pair, self.seed)
        assert found is not None
        return found

    def layer(self, number: int) -> Document:
        """The entry of one layer."""
        entry: Document = next(e for e in self.document["layers"] if e["index"] == number)
        return entry


def example_of(view: View) -> Example | None:
    """A stored result as an example; None where it does not show clearly what a tour says."""
    document = view.document
    if store.kind(document) != stored.LOCALIZE or not document["complete"] or doubt(document):
        return None
    entry, selected = _set(document), set(document["selected"])
    if entry is None or not document["selection"]["reached"]:
        return None
    if len(selected) > min(_MOST_WRITING, _total(document) // 2):
        return None  # not few
    rivals = [control["scores"]["ocr_f1_target"] for control in document["controls"]]
    if rivals and max(rivals) >= entry["scores"]["ocr_f1_target"]:
        return None
    references = document["references"]
    for read in entry["read"]:
        pair, seed = read["pair"], read["seed"]
        words = document["request"]["pairs"][pair]
        source = _read(references.get("source"), pair, seed)
        target = _read(references.get("target"), pair, seed)
        alone = {layer["index"] for layer in _alone(document, pair, seed)}
        if (
            source is not None
            and target is not None
            and exact_match(source["text"], words["source_text"])
            and exact_match(target["text"], words["target_text"])
            and exact_match(read["text"], words["target_text"])
            and alone > selected
        ):
            return Example(view, pair, seed)
    return None


def usual(asked: str | None = None) -> Example | None:
    """The example of the tour: the result of `?r=` where it is clear, else the one that the page
    opens with, else the clearest one that is stored."""
    for result_id in (asked, store.default_id(only=stored.LOCALIZE)):
        if result_id and (found := _example(result_id)) is not None:
            return found
    return next(_clearest(), None)


def another(example: Example) -> Example | None:
    """The clearest result of the same checkpoint that found other layers for other words."""
    for found in _clearest():
        same = found.document["checkpoint"]["digest"] == example.document["checkpoint"]["digest"]
        if (
            same
            and found.selected != example.selected
            and found.words["target_text"] != example.words["target_text"]
        ):
            return found
    return None


def _example(result_id: str) -> Example | None:
    try:
        return example_of(stored.stored_view(result_id))
    except StoreError:
        return None


def _clearest() -> Iterator[Example]:
    """All examples that are stored, the clearest first."""
    listed = tuple(
        sorted((one.id, one.created) for one in stored.listing(stored.LOCALIZE) if not one.damaged)
    )
    return (one for name in _ranked(listed) if (one := _example(name)) is not None)


@lru_cache(maxsize=4)
def _ranked(listed: tuple[tuple[str, float], ...]) -> Sequence[str]:
    """IDs of the stored results that are examples, the clearest first; remembered until what is
    stored changes."""
    found = [(name, _example(name)) for name, _ in listed]
    clear = [(_clearness(one), name) for name, one in found if one is not None]
    return tuple(name for _, name in sorted(clear, reverse=True))


def _clearness(example: Example) -> tuple[float, float, float]:
    """How clearly it shows what a tour says: other layers leave the word as it is, few write it,
    the picture stays."""
    others = [n for n in example.shown if n not in example.selected]
    kept = [
        exact_match(example.read(example.layer(n))["text"], example.words["source_text"])
        for n in others
    ]
    stays = example.chosen["scores"].get("ssim_source") or 0.0
    return sum(kept) / len(kept), -len(example.selected) / example.total, float(stays)


def _total(document: Document) -> int:
    sizes = [len(entry["layers"]) for entry in document["sets"]]
    return max([len(document["request"]["layers"]), *sizes])


def _set(document: Document) -> Document | None:
    selected = sorted(document["selected"])
    if not selected:
        return None
    return next((e for e in document["sets"] if sorted(e["layers"]) == selected), None)


def _alone(document: Document, pair: int, seed: int) -> list[Any]:
    """The layers that were patched alone for a pair and a seed, with an effect."""
    return [
        layer
        for layer in document["layers"]
        if _read(layer, pair, seed) and layer["scores"].get("effect") is not None
    ]


def _read(entry: Document | None, pair: int, seed: int) -> Document | None:
    reads = entry["read"] if entry else ()
    return next((r for r in reads if r["pair"] == pair and r["seed"] == seed), None)
