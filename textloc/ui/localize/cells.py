"""A click in a map of shares: the cell that it names, and the order to patch it alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textloc.prompts import Pair
from textloc.ui.fields import check_model
from textloc.ui.limits import Asked
from textloc.ui.stored import Document

if TYPE_CHECKING:
    from textloc.jobs.job import Event

MAPS = (("Steps", "step"), ("Heads", "head"), ("Letters", "letter"), ("Words", "pair"))
"""(title, what the map is by)."""


@dataclass(frozen=True)
class CellOrder:
    """A cell to patch alone. name: of it, for people. heads, steps, tokens: as `jobs.cell.Cell`."""

    model: str
    pair: Pair
    seed: int
    steps_of_call: int
    guidance: float
    name: str
    layer: int
    heads: tuple[int, ...] | None = None
    steps: tuple[int, int] | None = None
    tokens: tuple[int, int] | None = None

    stored: ClassVar[bool] = False

    @property
    def asked(self) -> Asked:
        """What it takes of the page, as `live.Order` says."""
        return Asked(self.model, (self.pair.source, self.pair.target), 1, 1, self.steps_of_call)

    def before(self) -> None:
        """Nothing of it is stored."""

    def stream(
        self,
        model: Any,
        on_step: Callable[[int, int], None],
        on_images: Callable[[int, int, str], None],
        cancelled: Callable[[], bool],
    ) -> "Iterator[Event]":
        """Patch it, as `live.Order` says."""
        from textloc.jobs.cell import Cell, cell_stream

        return cell_stream(
            model,
            self.pair,
            Cell(self.layer, self.heads, self.steps, self.tokens),
            seed=self.seed,
            steps=self.steps_of_call,
            guidance=self.guidance,
            on_step=on_step,
            cancelled=cancelled,
        )


def order_of_click(document: Document, custom: object, pair: int, seed: int) -> CellOrder | None:
    """The cell of a click, whose `custom` is `[layer, by, place]` (`plots.map_figure`); None where
    it names none. pair, seed: whose picture is patched, where the cell does not say it.

    Raises:
        CheckpointError: the result's checkpoint is not one that can be loaded here.
    """
    if not isinstance(custom, list) or len(custom) != 3 or not document.get("shares"):
        return None
    layer, by, place = custom
    if layer not in range(len(document["shares"]["by_layer"])):
        return None
    given: dict[str, Any] = {}
    name = f"Layer {layer}"
    steps = int(document["request"]["steps"])
    if by == "step" and place in range(steps):
        looked = [entry["step"] for entry in document["shares"]["by_step"]]
        stop = next((step for step in looked if step > place), steps)
        given["steps"] = (place, stop)
        name += f", steps {place} to {stop - 1}" if stop - place > 1 else f", step {place}"
    elif by == "head" and place in range(len(document["shares"]["by_head"][layer])):
        given["heads"] = (place,)
        name += f", head {place}"
    elif by == "pair" and isinstance(place, list) and len(place) == 2:
        pair, seed = place
    elif by == "letter" and isinstance(place, list) and len(place) == 2:
        token = _token(document, pair, seed, *place)
        if token is None:
            return None
        given["tokens"] = (token["index"], token["index"] + 1)
        name += f", letter {token['source'] or '·'}→{token['target'] or '·'}"
    else:
        return None
    request = document["request"]
    if pair not in range(len(request["pairs"])) or seed not in request["seeds"]:
        return None
    return CellOrder(
        model=check_model(document["checkpoint"]["name"]),
        pair=Pair(**request["pairs"][pair]),
        seed=seed,
        steps_of_call=steps,
        guidance=float(request["guidance"]),
        name=name,
        layer=layer,
        **given,
    )


def _token(
    document: Document, pair: int, seed: int, tokenizer: object, letter: object
) -> Document | None:
    """The token of a letter in a pair; that of the first pair with shares where this has none."""
    entries = document["shares"]["pairs"]
    here = [one for one in entries if (one["pair"], one["seed"]) == (pair, seed)] or entries[:1]
    for one in here:
        for token in one["tokens"]:
            if (token["tokenizer"], token["letter"]) == (tokenizer, letter):
                return dict(token)
    return None
