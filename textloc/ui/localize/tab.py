"""The localize tab: a stored result to look at, and a form to run one.

What is drawn comes from `replay`; what is run, from `live`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import gradio as gr

from textloc.errors import TextlocError
from textloc.layers import format_layers
from textloc.results.inlined import Pictures
from textloc.ui import live, models, status, stored, typed
from textloc.ui.figure import figure, picking, walking
from textloc.ui.localize import cells, order, picks, replay
from textloc.ui.session import Session
from textloc.ui.stored import View
from textloc.ui.tab import BARE, CLICKING, DEVICE, LOOKING, QUIET, Tab, model_of, places, skips

_ABOUT = """<p>A text-to-image model reads its prompt in its <em>text layers</em>. Each bar shows
what happens when <b>one</b> of them reads the target prompt while all the others go on reading the
source prompt: how far the written words move from the source (0) to what all layers together write
(1). The few layers with tall bars write the letters; others of the selected set may write nothing
alone and place the word, if it is longer or shorter. The picture around it stays.</p>
<p>Method: Staniszewski et al., <a href="https://arxiv.org/abs/2502.09935" target="_blank"
rel="noopener"><cite>Precise Parameter Localization for Textual Generation in Diffusion
Models</cite></a>, ICLR 2025.</p>"""


@dataclass
class LocalizeSession(Session):
    """What one visitor looks at and runs: a localization.

    by: what the map of shares is by. at: line and layer of the cell that is marked in it. cell: the
    cell to patch alone, while it waits.
    """

    PICKS: ClassVar[ModuleType] = picks
    by: str = "step"
    at: tuple[int, int] | None = None
    cell: cells.CellOrder | None = None

    def show(self, view: View) -> None:
        """As `Session` says."""
        super().show(view)
        self.at = None

    @property
    def place(self) -> tuple[object, ...]:
        return *super().place, self.by, self.at

    def told(self) -> dict[str, str]:
        """The map, where it is not the usual one, and the cell that is marked."""
        said = {"map": self.by} if self.by != "step" else {}
        return said | ({"cell": f"{self.at[0]}.{self.at[1]}"} if self.at else {})

    def hear(self, said: Mapping[str, str]) -> list[str]:
        """As `Session` says."""
        wrong = super().hear(said)
        if (by := said.get("map", "step")) in {name for _, name in cells.MAPS}:
            self.by = by
            wrong = [name for name in wrong if name != "map"]
        row, _, layer = said.get("cell", "")[:20].partition(".")
        if self.view is None or not (row.isdecimal() and layer.isdecimal()):
            return wrong
        lines = replay.places(self.view.document, self.by)
        if int(row) < len(lines) and int(layer) < len(lines[int(row)]):
            self.at = int(row), int(layer)
            wrong = [name for name in wrong if name != "cell"]
        return wrong

    @property
    def marked(self) -> cells.CellOrder | None:
        """What a click on the marked cell would patch."""
        if self.view is None or self.at is None:
            return None
        custom = replay.places(self.view.document, self.by)[self.at[0]][self.at[1]]
        try:
            return cells.order_of_click(self.view.document, custom, self.pair, self.seed)
        except TextlocError:  # its checkpoint is not here
            return None


class LocalizeTab(Tab):
    """Builds the components into the Blocks that are open, and wires them."""

    KIND, NAME = stored.LOCALIZE, ""

    def __init__(self, page: gr.Blocks) -> None:
        self.session = gr.State(LocalizeSession())
        with gr.Row(elem_classes="tl-columns tl-figured"):
            with gr.Column(scale=3, min_width=320, elem_classes="tl-main-column"):
                self._result()
            with gr.Column(scale=1, min_width=280, elem_classes="tl-side-column"):
                self._form()
                self._lists()
        self._wire(page)

    # -- components ------------------------------------------------------------------------

    def _result(self) -> None:
        self._top()
        with gr.Column(elem_classes="tl-card tl-sticky"):
            with gr.Row(elem_classes="tl-choice"):
                self.pick = gr.Dropdown(
                    label="Layers to look at", elem_id="pick", scale=3, min_width=200, **BARE
                )
                self.pair = gr.Dropdown(
                    label="Words", elem_id="pair", visible=False, min_width=130, **BARE
                )
                self.seed = gr.Dropdown(
                    label="Seed", elem_id="seed", visible=False, min_width=90, **BARE
                )
                self.walk = walking(elem_id="walk")
            self.panel = gr.HTML(elem_id="panel", apply_default_css=False, min_height=270)
        self._maps()
        with gr.Column(elem_classes="tl-card", visible=False) as self.effect_card:
            gr.HTML(
                '<h2 class="tl-title">Effect of each layer alone</h2><p class="tl-hint">Click a '
                "bar, or a small picture below it, to see what that layer writes.</p>",
                apply_default_css=False,
            )
            self.effect = figure(height=320, elem_id="effect")
            self.strip = picking(elem_id="strip")
        with gr.Column(elem_classes="tl-card", visible=False) as self.curve_card:
            gr.HTML(
                '<h2 class="tl-title">How many layers does it take?</h2>', apply_default_css=False
            )
            self.curve = figure(height=380, elem_id="curve")
        with gr.Column(elem_classes="tl-card", visible=False) as self.readings_card:
            gr.HTML(
                '<h2 class="tl-title">Every picture</h2><p class="tl-hint">A row is a pair of '
                "prompts with one noise, a column a patched layer. Click a cell to see its "
                "picture.</p>",
                apply_default_css=False,
            )
            self.readings = figure(height=0, elem_id="readings")
        late = "tl-late"  # shown with the first figure, whose place is known then
        with gr.Accordion("All layers as a table", open=False, elem_classes=f"tl-card {late}"):
            self.table = picking(elem_id="table")
        about = f'<div class="tl-about">{_ABOUT}</div>'
        gr.HTML(about, apply_default_css=False, elem_classes=late)

    def _maps(self) -> None:
        with gr.Column(elem_classes="tl-card", visible=False, elem_id="shares-card") as card:
            gr.HTML(
                '<h2 class="tl-title">Share of each layer</h2><p class="tl-hint">How much of what '
                "the target prompt changes goes through a layer while all of them change together. "
                "A large share does not say that the layer is enough alone: click a cell of the "
                "map to patch just that and see what it writes. Shares are taken at few steps, as "
                "most is decided early.</p>",
                apply_default_css=False,
            )
            self.shares = figure(height=300, elem_id="shares")
            self.by = gr.Radio(
                list(cells.MAPS), value="step", label="Map of layers by", elem_id="map-by"
            )
            self.map = figure(height=0, elem_id="map")
            self.cell = gr.HTML(elem_id="cell", elem_classes="tl-told", apply_default_css=False)
        self.shares_card = card

    def _form(self) -> None:
        with gr.Column(elem_classes="tl-card", elem_id="form"):
            gr.HTML('<h2 class="tl-title">Try your own words</h2>', apply_default_css=False)
            self.source = gr.Textbox(
                label="Source prompt",
                elem_id="source",
                max_lines=3,
                placeholder='a red sign that says "STOP"',
            )
            self.target = gr.Textbox(
                label="Target prompt or word",
                elem_id="target",
                max_lines=3,
                placeholder='a red sign that says "LOVE"',
            )
            self.hint = gr.HTML(elem_id="hint", elem_classes="tl-told", apply_default_css=False)
            self._buttons()
            self.examples = picking(elem_id="examples", value=typed.offered(models.offered()[0][1]))
            self._options()

    def _options(self) -> None:
        with self._settings():
            self.start = gr.Number(
                0,
                label="Patch from step",
                info="Earlier steps follow the source prompt",
                precision=0,
                elem_id="start",
            )
            self.layers = gr.Textbox(
                "", label="Layers to try", info="Such as 0,3,7-9; empty tries all", elem_id="layers"
            )

    # -- events ----------------------------------------------------------------------------

    def _wire(self, page: gr.Blocks) -> None:
        session = self.session
        first = [self.notice, *self._first, self.results, *self._fields]
        page.load(self.open, session, first, queue=False, **QUIET).then(
            self.open_rest, [session, *self.form], self._rest, **QUIET
        )
        looked = [self.pick, self.effect, self.strip, self.table, self.panel, self.walk]
        self.map.pick(self.ask_cell, session, [self.cell, self.share], **QUIET).then(
            self.follow_cell,
            session,
            self.cell,
            show_progress="hidden",
            api_visibility="private",
            concurrency_id=DEVICE,
            concurrency_limit=1,
        )
        by = self.by.input(self.look_by, [session, self.by], [self.map, self.cell], **LOOKING)
        by.then(self.linked, session, self.share, **QUIET)
        for component in self._picking:
            component.pick(self.look_clicked, session, looked, **CLICKING).then(
                self.settle, session, [self.share, *looked], **QUIET
            )
        cell = [self.pair, self.seed, *looked]
        self.readings.pick(self.look_cell, session, cell, **CLICKING).then(
            self.settle_cell, session, [self.share, *cell], **QUIET
        )
        looks = [self.pick.input(self.look, [session, self.pick], looked, **LOOKING)]
        place = [session, self.pair, self.seed]
        for component in (self.pair, self.seed):
            looks.append(component.input(self.look_elsewhere, place, looked, **LOOKING))
        for look in looks:
            look.then(self.linked, session, self.share, **QUIET)
        said = [self.hint, self.estimate]
        prompts = [self.source, self.target]
        # one listener for all: answers of several would cross. And `blur`: a field that a listener
        # wrote passes over the `input` of a paste over all of it
        typed_in = [one.input for one in (self.model, *prompts)]
        typed_in += [prompt.blur for prompt in prompts]
        gr.on(typed_in, self.look_at_form, self.form, said, **LOOKING)
        self._wire_estimate([self.seeds.input, self.start.input, self.layers.input])
        self.model.change(typed.offered, self.model, self.examples, **QUIET)
        self.examples.pick(self.take_example, [self.model, *prompts], prompts, **QUIET).then(
            self.look_at_form, self.form, said, **QUIET
        )
        self._wire_common([self.source.submit, self.target.submit])

    @property
    def _picking(self) -> list[Any]:
        return [self.effect, self.shares, self.curve, self.strip, self.table, self.walk]

    @property
    def _first(self) -> list[Any]:
        maps = [self.shares_card, self.shares, self.map]
        shown = [self.pick, self.pair, self.seed, self.panel]
        return [self.headline, *maps, self.effect_card, self.effect, self.strip, *shown]

    @property
    def _further(self) -> list[Any]:
        cards = [self.curve_card, self.curve, self.readings_card, self.readings]
        return [*cards, self.table, self.walk, self.by, self.cell]

    @property
    def form(self) -> list[Any]:
        """As `Tab` says."""
        prompts, call = [self.source, self.target], [self.seeds, self.steps, self.guidance]
        return [self.model, *prompts, *call, self.start, self.layers, self.ocr]

    @property
    def _fields(self) -> list[Any]:
        numbers = [self.steps, self.guidance, self.start]
        return [self.model, self.source, self.target, self.seeds, *numbers, self.layers]

    @property
    def _of_model(self) -> list[Any]:
        return [self.start, self.layers]

    # -- looking ---------------------------------------------------------------------------

    def look_at_form(self, model: str, source: str, target: str, *more: Any) -> list[str]:
        """What there is to say of the prompts, and how long a run is likely to take."""
        return [typed.hint(model, source, target), self.foresee(model, source, target, *more)]

    def take_example(self, model: str, source: str, target: str, event: gr.EventData) -> list[Any]:
        """An example is written into the fields; a chip changes what they say."""
        pairs, number = typed.examples(model), str(event._data.get("custom"))
        if (changed := typed.chosen(model, source, number)) is not None:
            other = typed.chosen(model, target, number) if target else None
            return [changed, gr.skip() if other is None else other]
        if not number.isdecimal() or int(number) >= len(pairs):
            return skips(2)
        return list(pairs[int(number)])

    def _nothing(self) -> str:
        return replay.nothing()

    def _filled(self, view: View) -> list[Any]:
        request = view.document["request"]
        first = request["pairs"][0]
        every = len(request["layers"]) == len(picks.all_layers(view.document))
        return [
            model_of(view),
            *(first["source"], first["target"], ",".join(map(str, request["seeds"]))),
            *(request["steps"], request["guidance"], request["start_step"]),
            "" if every else format_layers(request["layers"]),
        ]

    def _draw(self, session: Session) -> list[Any]:
        view = session.view
        assert view is not None
        assert isinstance(session, LocalizeSession)
        document, pick = view.document, session.shown
        shares = replay.shares_figure(document)
        bars = bool(document["layers"]) or shares is None
        return [
            replay.headline(document),
            gr.Column(visible=shares is not None),
            gr.HTML(value=shares, picked=_pointed(view, pick)),
            gr.HTML(value=replay.map_figure(document, session.by), cell=session.at),
            gr.Column(visible=bars),
            gr.HTML(value=replay.effect_figure(document), picked=_pointed(view, pick))
            if bars
            else gr.skip(),
            gr.HTML(value=replay.strip(view, session.pair, session.seed), picked=pick),
            gr.Dropdown(choices=picks.choices(document), value=pick or None),
            *places(session),
            replay.panel(view, pick, session.pair, session.seed),
        ]

    def _draw_further(self, session: Session) -> list[Any]:
        assert session.view is not None
        assert isinstance(session, LocalizeSession)
        document = session.view.document
        curve = replay.sets_figure(document)
        readings = replay.readings_figure(document)
        return [
            gr.Column(visible=curve is not None),
            gr.HTML(value=curve),
            gr.Column(visible=readings is not None),
            gr.HTML(value=readings),
            gr.HTML(value=replay.table(document), picked=session.shown),
            gr.HTML(value=replay.looks(session.view, session.pair, session.seed)),
            session.by,
            replay.marked(session.marked) if session.marked else "",
        ]

    def _order(self, *fields: Any) -> order.LocalizeOrder:
        return order.read(*fields)

    def look_clicked(self, session: Session, event: gr.EventData) -> list[Any]:
        """A click in a figure, in the strip or in the table."""

        def look(custom: Any) -> list[Any]:
            pick = picks.pick_of_click(session.view.document, custom) if session.view else None
            return self.look(session, pick) if pick else skips(6)

        return self.clicked(session, event, look, 6)

    def look(self, session: Session, pick: str) -> list[Any]:
        """Show another pick."""
        session.pick = pick
        view, shown = session.view, session.shown
        if view is None or not shown:
            return skips(6)
        return [
            shown,
            gr.HTML(picked=_pointed(view, shown)),
            gr.HTML(picked=shown),
            gr.HTML(picked=shown),
            replay.panel(view, shown, session.pair, session.seed),
            gr.skip(),
        ]

    def settle(self, session: Session) -> list[Any]:
        """After a click."""
        return self.settled(session, self.look, 6)

    def look_by(self, session: LocalizeSession, by: str) -> list[Any]:
        """The map of shares by something else."""
        session.by = by if by in {name for _, name in cells.MAPS} else "step"
        session.at = None
        if session.view is None:
            return skips(2)
        return [gr.HTML(value=replay.map_figure(session.view.document, session.by), cell=None), ""]

    def ask_cell(self, session: LocalizeSession, event: gr.EventData) -> list[Any]:
        """A click in the map of shares: that cell is patched next."""
        if session.view is None:
            return skips(2)
        custom, document = event._data.get("custom"), session.view.document
        try:
            asked = cells.order_of_click(document, custom, session.pair, session.seed)
        except TextlocError as error:
            return [status.notice(str(error)), gr.skip()]
        if asked is None:
            return skips(2)
        session.cell = asked
        lines = enumerate(replay.places(document, session.by))
        found = [(row, line.index(custom)) for row, line in lines if custom in line]
        session.at = found[0] if found else None
        waiting = replay.cell(session.view, asked, None, "waiting for the device")
        return [waiting, self.linked(session)]

    def follow_cell(self, session: LocalizeSession) -> Iterator[Any]:
        """Patch the cell that was clicked, and show its picture."""
        asked, session.cell = session.cell, None
        if asked is None or session.view is None:
            yield gr.skip()
            return
        try:
            job = live.Job(asked, session.visitor)
        except TextlocError as error:
            yield status.notice(str(error))
            return
        for update in job.updates():
            if update.state == "failed":
                yield status.notice(update.message)
            elif update.state == "complete" and update.document is not None:
                pictures = Pictures((update.images or {}).__getitem__)
                made = View(update.document, pictures, stored=False)
                yield replay.cell(session.view, asked, made, "")
            else:
                step = f"step {update.step} of {update.steps}" if update.step else update.message
                yield replay.cell(session.view, asked, None, step or "waiting for the device")

    def look_cell(self, session: Session, event: gr.EventData) -> list[Any]:
        """A click in the map of all readings."""
        return self.clicked(session, event, lambda custom: self._cell(session, custom), 8)

    def _cell(self, session: Session, custom: Any) -> list[Any]:
        cell = picks.cell_of_click(session.view.document, custom) if session.view else None
        if session.view is None or cell is None:
            return skips(8)
        pick, session.pair, session.seed = cell
        return self._place(session, pick)

    def settle_cell(self, session: Session) -> list[Any]:
        """After a click in that map."""
        return self.settled(session, self._place, 8)

    def _place(self, session: Session, pick: str) -> list[Any]:
        """All of a pick, pair and seed."""
        if session.view is None:
            return skips(8)
        shown = self.look(session, pick)
        shown[5] = gr.HTML(value=replay.looks(session.view, session.pair, session.seed))
        shown[2] = gr.HTML(
            value=replay.strip(session.view, session.pair, session.seed), picked=pick
        )
        return [session.pair, session.seed, *shown]

    def look_elsewhere(self, session: Session, pair: int, seed: int) -> list[Any]:
        """Show another pair or seed."""
        view, shown = session.view, session.shown
        if view is None:
            return skips(6)
        session.pair, session.seed = pair, seed
        return [
            gr.skip(),
            gr.skip(),
            gr.HTML(value=replay.strip(view, pair, seed), picked=shown),
            gr.skip(),
            replay.panel(view, shown, pair, seed),
            gr.HTML(value=replay.looks(view, pair, seed)),
        ]


def _pointed(view: View, pick: str) -> list[int]:
    """The layers that the figure points at: those of the pick, unless it is all of them."""
    return [] if pick in ("", "all") else picks.picked_layers(view.document, pick)
