"""The localize tab: a stored result to look at, and a form to run one.

Every handler of one visitor shares a `Session`; a run that is going on changes it in place, so a
pick made meanwhile holds. What is drawn comes from `replay`; what is run, from `live`.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from textloc import store
from textloc.errors import TextlocError
from textloc.ui import live, order, picks, replay, status
from textloc.ui.figure import figure, picking, share
from textloc.ui.pictures import Pictures
from textloc.ui.session import Session

DEVICE = "device"
"""Concurrency id of everything that computes on the device."""

_ABOUT = """<p>A text-to-image model reads its prompt in its <em>text layers</em>. Each bar shows
what happens when <b>one</b> of them reads the target prompt while all the others go on reading the
source prompt: how far the written words move from the source (0) to what all layers together write
(1). The few layers with tall bars write the letters; others of the selected set may write nothing
alone and place the word, if it is longer or shorter. The picture around it stays.</p>
<p>Method: Staniszewski et al., <a href="https://arxiv.org/abs/2502.09935" target="_blank"
rel="noopener"><cite>Precise Parameter Localization for Textual Generation in Diffusion
Models</cite></a>, ICLR 2025.</p>"""


class LocalizeTab:
    """Builds the components into the Blocks that are open, and wires them."""

    def __init__(self, page: gr.Blocks) -> None:
        self.session = gr.State(Session())
        with gr.Row(elem_classes="tl-columns"):
            with gr.Column(scale=3, min_width=320, elem_classes="tl-main-column"):
                self._result()
            with gr.Column(scale=1, min_width=280, elem_classes="tl-side-column"):
                self._form()
                self._stored()
        self._wire(page)

    # -- components ------------------------------------------------------------------------

    def _result(self) -> None:
        self.notice = gr.HTML(elem_id="notice", apply_default_css=False)
        self.headline = gr.HTML(elem_id="headline", apply_default_css=False, min_height=100)
        with gr.Column(elem_classes="tl-card"):
            with gr.Row(elem_classes="tl-choice"):
                bare: dict[str, Any] = {"show_label": False, "container": False}
                self.pick = gr.Dropdown(
                    label="Layers to look at", elem_id="pick", scale=3, min_width=200, **bare
                )
                self.pair = gr.Dropdown(
                    label="Words", elem_id="pair", visible=False, min_width=130, **bare
                )
                self.seed = gr.Dropdown(
                    label="Seed", elem_id="seed", visible=False, min_width=90, **bare
                )
            self.panel = gr.HTML(elem_id="panel", apply_default_css=False, min_height=270)
        with gr.Column(elem_classes="tl-card"):
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
        with gr.Accordion("All layers as a table", open=False, elem_classes="tl-card"):
            self.table = picking(elem_id="table")
        gr.HTML(f'<div class="tl-about">{_ABOUT}</div>', apply_default_css=False)

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
            with gr.Row(elem_classes="tl-buttons"):
                self.run = gr.Button("Run", variant="primary", elem_id="run", min_width=80)
                self.stop = gr.Button("Stop", elem_id="stop", interactive=False, min_width=80)
            self.progress = gr.HTML(elem_id="progress", apply_default_css=False)
            self.trouble = gr.HTML(elem_id="trouble", apply_default_css=False)
            self._options()

    def _options(self) -> None:
        offered = order.offered()
        model = offered[0][1]
        steps, guidance = order.usual(model)
        with gr.Accordion("Model and settings", open=False, elem_id="options"):
            self.model = gr.Dropdown(
                offered,
                value=model,
                label="Model",
                info="Or type a diffusers folder, or a Hub name such as owner/model",
                allow_custom_value=True,
                elem_id="model",
            )
            self.seeds = gr.Textbox("0", label="Seeds", info="Such as 0,1", elem_id="seeds")
            with gr.Row():
                self.steps = gr.Number(
                    steps,
                    label="Steps",
                    placeholder="usual",
                    precision=0,
                    elem_id="steps",
                    min_width=80,
                )
                self.guidance = gr.Number(
                    guidance,
                    label="Guidance",
                    placeholder="usual",
                    elem_id="guidance",
                    min_width=80,
                )
            self.start = gr.Number(
                0,
                label="Patch from step",
                info="Earlier steps follow the source prompt",
                precision=0,
                elem_id="start",
            )
            self.layers = gr.Textbox(
                label="Layers to try", info="Such as 0,3,7-9; empty tries all", elem_id="layers"
            )

    def _stored(self) -> None:
        with gr.Column(elem_classes="tl-card"):
            gr.HTML('<h2 class="tl-title">Stored results</h2>', apply_default_css=False)
            self.results = gr.Dropdown(label="Open", elem_id="results")
            self.damaged = gr.HTML(elem_id="damaged", apply_default_css=False)
        with gr.Column(elem_classes="tl-card"):
            gr.HTML('<h2 class="tl-title">Share this result</h2>', apply_default_css=False)
            self.share = share(elem_id="share")

    # -- events ----------------------------------------------------------------------------

    def _wire(self, page: gr.Blocks) -> None:
        quiet: dict[str, Any] = {
            "show_progress": "hidden",
            "api_visibility": "private",
            "concurrency_limit": None,
        }
        session = self.session
        first = [self.notice, *self._first, self.results, *self._fields]
        page.load(self.open, session, first, queue=False, **quiet).then(
            self.open_rest, session, self._rest, **quiet
        )
        self.results.input(self.open_stored, [session, self.results], first, **quiet).then(
            self.open_rest, session, self._rest, **quiet
        )
        looked = [self.pick, self.effect, self.strip, self.table, self.panel]
        for component in (self.effect, self.curve, self.strip, self.table):
            component.pick(self.look_clicked, session, looked, **quiet)
        self.readings.pick(self.look_cell, session, [self.pair, self.seed, *looked], **quiet)
        self.pick.input(self.look, [session, self.pick], looked, **quiet)
        for component in (self.pair, self.seed):
            component.input(
                self.look_elsewhere,
                [session, self.pair, self.seed],
                [*looked],
                **quiet,
            )
        self.model.input(order.usual, self.model, [self.steps, self.guidance], **quiet)

        form = [self.model, self.source, self.target, self.seeds, self.steps, self.guidance]
        form += [self.start, self.layers]
        buttons = [self.run, self.stop, self.progress]
        asked = gr.on(
            [self.run.click, self.source.submit, self.target.submit],
            self.ask,
            [session, *form],
            [self.trouble, *buttons],
            **quiet,
        )
        asked.then(
            self.follow,
            session,
            [self.trouble, *buttons, *self._first, *self._rest],
            show_progress="hidden",
            api_visibility="private",
            concurrency_id=DEVICE,
            concurrency_limit=1,
        )
        self.stop.click(self.halt, session, [*buttons, *self._rest], queue=False, **quiet)

    @property
    def _first(self) -> list[Any]:
        """What is drawn at once."""
        return [
            *(self.headline, self.effect, self.strip, self.pick, self.pair, self.seed, self.panel),
        ]

    @property
    def _rest(self) -> list[Any]:
        """What is drawn after that."""
        drawn = [self.curve_card, self.curve, self.readings_card, self.readings, self.table]
        return [*drawn, self.results, self.damaged, self.share]

    @property
    def _fields(self) -> list[Any]:
        return [self.source, self.target, self.seeds, self.steps, self.guidance, self.start]

    # -- looking ---------------------------------------------------------------------------

    def open(self, session: Session, request: gr.Request) -> list[Any]:
        """The result of `?r=`, else the usual one."""
        asked = request.query_params.get("r") if request else None
        view, problem = replay.opening(asked)
        return self._opened(session, view, problem)

    def open_stored(self, session: Session, result_id: str) -> list[Any]:
        """A result of the list."""
        session.follow = True
        try:
            return self._opened(session, replay.stored_view(result_id), "")
        except TextlocError as error:
            return self._opened(session, session.view, str(error))

    def _opened(self, session: Session, view: replay.View | None, problem: str) -> list[Any]:
        if view is None:
            first = [replay.nothing(), *_skips(self._first[1:])]
            return [status.notice(problem), *first, gr.skip(), *_skips(self._fields)]
        if view is not session.view:
            session.show(view)
        request = view.document["request"]
        first = request["pairs"][0]
        fields = [
            *(first["source"], first["target"], ",".join(map(str, request["seeds"]))),
            *(request["steps"], request["guidance"], request["start_step"]),
        ]
        here = gr.Dropdown(
            choices=[(store.title(view.document), view.document["id"])], value=view.document["id"]
        )
        return [status.notice(problem), *self._draw(session), here, *fields]

    def _draw(self, session: Session) -> list[Any]:
        """`_first` for the view of the session."""
        view = session.view
        assert view is not None
        document, pick = view.document, session.shown
        request = document["request"]
        pairs = [
            (f"{pair['source_text']} → {pair['target_text']}", number)
            for number, pair in enumerate(request["pairs"])
        ]
        seeds = [(f"seed {seed}", seed) for seed in request["seeds"]]
        return [
            replay.headline(document),
            gr.HTML(value=replay.effect_figure(document), picked=_pointed(view, pick)),
            gr.HTML(value=replay.strip(view, session.pair, session.seed), picked=pick),
            gr.Dropdown(choices=picks.choices(document), value=pick or None),
            gr.Dropdown(choices=pairs, value=session.pair, visible=len(pairs) > 1),
            gr.Dropdown(choices=seeds, value=session.seed, visible=len(seeds) > 1),
            replay.panel(view, pick, session.pair, session.seed),
        ]

    def open_rest(self, session: Session) -> list[Any]:
        """`_rest` for the view of the session."""
        summaries = store.listing(only="textloc.localize")
        listed = replay.listed(summaries)
        view = session.view
        if view is None:
            lists = [gr.Dropdown(choices=listed), replay.damaged(summaries)]
            return [*_skips(5), *lists, gr.skip()]
        document = view.document
        curve = replay.sets_figure(document)
        readings = replay.readings_figure(document)
        shown = document["id"] if view.stored else None
        return [
            gr.Column(visible=curve is not None),
            gr.HTML(value=curve),
            gr.Column(visible=readings is not None),
            gr.HTML(value=readings),
            gr.HTML(value=replay.table(document), picked=session.shown),
            gr.Dropdown(choices=listed, value=shown),
            replay.damaged(summaries),
            {**replay.share(view), "follow": session.follow},
        ]

    def look_clicked(self, session: Session, event: gr.EventData) -> list[Any]:
        """A click in a figure, in the strip or in the table."""
        if session.view is None:
            return _skips(5)
        pick = picks.pick_of_click(session.view.document, event._data.get("custom"))
        return self.look(session, pick) if pick else _skips(5)

    def look(self, session: Session, pick: str) -> list[Any]:
        """Show another pick."""
        session.pick = pick
        view, shown = session.view, session.shown
        if view is None or not shown:
            return _skips(5)
        return [
            shown,
            gr.HTML(picked=_pointed(view, shown)),
            gr.HTML(picked=shown),
            gr.HTML(picked=shown),
            replay.panel(view, shown, session.pair, session.seed),
        ]

    def look_cell(self, session: Session, event: gr.EventData) -> list[Any]:
        """A click in the map of all readings."""
        custom = event._data.get("custom")
        cell = picks.cell_of_click(session.view.document, custom) if session.view else None
        if session.view is None or cell is None:
            return _skips(7)
        pick, session.pair, session.seed = cell
        shown = self.look(session, pick)
        shown[2] = gr.HTML(
            value=replay.strip(session.view, session.pair, session.seed), picked=pick
        )
        return [session.pair, session.seed, *shown]

    def look_elsewhere(self, session: Session, pair: int, seed: int) -> list[Any]:
        """Show another pair or seed."""
        view, shown = session.view, session.shown
        if view is None:
            return _skips(5)
        session.pair, session.seed = pair, seed
        return [
            gr.skip(),
            gr.skip(),
            gr.HTML(value=replay.strip(view, pair, seed), picked=shown),
            gr.skip(),
            replay.panel(view, shown, pair, seed),
        ]

    # -- running ---------------------------------------------------------------------------

    def ask(self, session: Session, *fields: Any) -> list[Any]:
        """Check the form at once; a good one waits for the device."""
        if session.job is not None:
            return _skips(4)
        try:
            session.job = live.Job(order.read(*fields))
        except TextlocError as error:
            session.waiting = False
            return [status.notice(str(error)), *_skips(3)]
        session.waiting = True
        return [status.notice(""), *_running(live.Update())]

    def follow(self, session: Session) -> Iterator[list[Any]]:
        """Run what was asked and show it as it grows."""
        job = session.job
        if job is None or not session.waiting:
            yield _skips(4 + len(self._first) + len(self._rest))
            return
        session.waiting = False
        images: dict[str, Any] = {}
        pictures = Pictures(images.__getitem__)
        try:
            for update in job.updates():
                ended = update.state in ("complete", "stopped", "failed")
                drawn = _skips(self._first)
                # the last one says all again: of two updates that arrive together, Gradio's client
                # applies the second as a change to the first and forgets what the first one set
                if (update.fresh or ended) and update.document is not None:
                    images.update(update.images or {})
                    view = replay.View(update.document, pictures, stored=False)
                    if session.view is None or session.view.pictures is not pictures:
                        session.show(view)
                    session.view = view
                    drawn = self._draw(session)
                if ended:
                    session.job = None
                    notice = self._ended(session, update)
                    yield [status.notice(notice), *_ready(update), *drawn, *self.open_rest(session)]
                    return
                yield [gr.skip(), *_running(update), *drawn, *_skips(self._rest)]
        finally:
            job.stop()
            if session.job is job:
                session.job = None

    def _ended(self, session: Session, update: live.Update) -> str:
        """Look at the stored result of a complete run; what there is to say of the end."""
        if update.state == "complete" and update.document is not None and not update.message:
            session.view = replay.stored_view(update.document["id"])
            session.follow = True
        return "" if update.state == "stopped" else update.message

    def halt(self, session: Session) -> list[Any]:
        """Stop the run; what is finished stays.

        A run that has begun says itself that it has stopped: told from here, that could reach the
        page before a step that was told earlier, and the page would go on waiting.
        """
        job, began = session.job, not session.waiting
        if job is None:
            return _skips(len(self._rest) + 3)
        job.stop()
        if began:
            return [gr.skip(), gr.Button(interactive=False), gr.skip(), *_skips(self._rest)]
        session.job, session.waiting = None, False
        return [*_ready(replace(job.last, state="stopped")), *self.open_rest(session)]


# ---------------------------------------------------------------------------- parts


def _skips(count: int | list[Any]) -> list[Any]:
    return [gr.skip() for _ in range(count if isinstance(count, int) else len(count))]


def _pointed(view: replay.View, pick: str) -> list[int]:
    """The layers that the figure points at: those of the pick, unless it is all of them."""
    return [] if pick in ("", "all") else picks.picked_layers(view.document, pick)


def _running(update: live.Update) -> list[Any]:
    """Run off, Stop on, and how the run stands."""
    return [gr.Button(interactive=False), gr.Button(interactive=True), status.running(update)]


def _ready(update: live.Update) -> list[Any]:
    """Run on, Stop off, and how the run ended."""
    return [gr.Button(interactive=True), gr.Button(interactive=False), status.ended(update)]
