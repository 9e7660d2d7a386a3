"""What the tabs share: opening stored results, running what the form asks for, and sharing.

Every handler of one visitor shares a `Session`; a run that is going on changes it in place, so a
pick made meanwhile holds.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import gradio as gr

from textloc.errors import TextlocError
from textloc.results import store, unlisted
from textloc.results.inlined import Pictures
from textloc.ui import (
    fields,
    html,
    limits,
    links,
    live,
    models,
    own,
    runs,
    settings,
    status,
    stored,
)
from textloc.ui.figure import following, share
from textloc.ui.runner import timing
from textloc.ui.session import LateSession, Session
from textloc.ui.stored import View

DEVICE = "device"
"""Concurrency id of everything that computes on the device."""

QUIET: dict[str, Any] = {
    "show_progress": "hidden",
    "api_visibility": "private",
    "concurrency_limit": None,
}
"""Options of a listener that is no part of the API and waits for nothing."""

LOOKING: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}
"""The same of one that shows what fields hold: the last value counts, also one that is given while
an earlier one is on its way, which Gradio otherwise drops."""

CLICKING: dict[str, Any] = {**QUIET, "trigger_mode": "multiple"}
"""The same of one that shows what is clicked (`Tab.clicked`). Every click is sent: asked for the
last one alone, Gradio sends the first one again."""

_CHOSEN = """(model) => {{
    const same = {0}.was === (model ?? "");
    {0}.was = model ?? "";
    return [same ? null : model];
}}"""
"""Tells a model that was chosen from one that was only tabbed past, which Gradio does not: null."""

_SHOWING = threading.Lock()
"""Clicks are shown one after the other; it takes some milliseconds."""

_SOON = 1000
"""Milliseconds between two clicks within which their answers may cross."""

_USED = (gr.Dropdown, gr.Slider)
"""What one may just be using: told again, it would take its value back."""

BARE: dict[str, Any] = {"show_label": False, "container": False}
"""Options of a field whose name is plain from its content."""


_KEPT = (
    "Your result gets a link and is listed nowhere. Whoever has the link, or runs just the same, "
    "sees your prompts and all pictures, one of your own included. You can delete it below, under "
    "<em>Share this result</em>."
)
_DELETED = "Your result is deleted; its link opens no more."
_SHARED = "It is no longer yours. Others made just the same result, and it stays for them."
_NOT_KEPT = "What you run here is shown to you alone and not kept."
_LISTED = (
    "Your result is stored on this machine, with your prompts and all pictures, one of your own "
    "included, and listed below."
)
_FINDING = "Its pictures appear as soon as the first are made.", "Your run is shown here."
_NOT_YOURS = "The run of this address was asked for in another browser, which alone shows it."
_NO_RUN = (
    "The run of this address is not known here: it is long over, or the page was started anew "
    "since. What was finished is among the stored results."
)


class Tab(ABC):
    """A result to look at and a form to make one.

    A subclass builds its components with `_top`, `_buttons` and `_lists` among them, and wires
    them with `_wire_common`.
    """

    KIND: ClassVar[str]
    """Kind of result, as `store.kind` tells it."""

    NAME: ClassVar[str]
    """Begins the `elem_id`s of what the tabs share; empty for the first tab."""

    STORED: ClassVar[bool] = True
    """Whether its results are stored, listed and shared."""

    KEEPS: ClassVar[bool] = True
    """Whether what is run in it is stored."""

    session: gr.State
    model: gr.Dropdown

    # -- components ------------------------------------------------------------------------

    def _top(self) -> None:
        self.notice = gr.HTML(
            elem_id=self._id("notice"), elem_classes="tl-told", apply_default_css=False
        )
        self.headline = gr.HTML(
            elem_id=self._id("headline"), apply_default_css=False, min_height=100
        )

    def _buttons(self) -> None:
        with gr.Row(elem_classes="tl-buttons"):
            self.run = gr.Button("Run", variant="primary", elem_id=self._id("run"), min_width=80)
            self.stop = gr.Button("Stop", elem_id=self._id("stop"), interactive=False, min_width=80)
        self.estimate = gr.HTML(
            status.estimate(""), elem_id=self._id("estimate"), apply_default_css=False
        )
        kept = (_KEPT if settings.read().public else _LISTED) if self.KEEPS else _NOT_KEPT
        gr.HTML(f'<p class="tl-hint">{kept}</p>', apply_default_css=False)
        told: dict[str, Any] = {"elem_classes": "tl-told", "apply_default_css": False}
        self.progress = following(elem_id=self._id("progress"), **told)
        self.trouble = gr.HTML(elem_id=self._id("trouble"), **told)

    def _settings(self, title: str = "Model and settings") -> gr.Accordion:
        """The block of every form that unfolds; `with` it a tab adds what is its own."""
        offered = models.offered()
        model = offered[0][1]
        steps, guidance = fields.usual(model)
        with gr.Accordion(title, open=False, elem_id=self._id("options")) as block:
            self.model = gr.Dropdown(
                offered,
                value=model,
                label="Model",
                **models.field("a diffusers folder, or a Hub name such as owner/model"),
                elem_id=self._id("model"),
            )
            self.seeds = gr.Textbox(
                "0", label="Seeds", info="Such as 0,1", elem_id=self._id("seeds")
            )
            usual: dict[str, Any] = {"placeholder": "usual", "min_width": 80}
            with gr.Row():
                self.steps = gr.Number(
                    steps, label="Steps", precision=0, elem_id=self._id("steps"), **usual
                )
                self.guidance = gr.Number(
                    guidance, label="Guidance", elem_id=self._id("guidance"), **usual
                )
            self.ocr = gr.Dropdown(
                fields.engines(),
                value="auto",
                label="Read by",
                info="The OCR engine that reads the pictures",
                elem_id=self._id("ocr"),
            )
        return block

    def _lists(self) -> None:
        with gr.Column(elem_classes="tl-card"):
            gr.HTML('<h2 class="tl-title">Stored results</h2>', apply_default_css=False)
            self.results = gr.Dropdown(label="Open", elem_id=self._id("results"))
            self.damaged = gr.HTML(
                elem_id=self._id("damaged"), elem_classes="tl-told", apply_default_css=False
            )
        with gr.Column(elem_classes="tl-card"):
            gr.HTML('<h2 class="tl-title">Share this result</h2>', apply_default_css=False)
            self.share = share(elem_id=self._id("share"))

    def _id(self, name: str) -> str:
        return f"{self.NAME}-{name}" if self.NAME else name

    # -- events ----------------------------------------------------------------------------

    def _wire_common(self, asking: list[Any]) -> None:
        """Wire the list of results and the run; `asking` are events that ask for what the form
        says."""
        session, form = self.session, self.form
        drawn = [session, *form]
        if self.STORED:
            shown = [session, self.results]
            self.results.input(self.open_stored, shown, self.opened, **QUIET).then(
                self.open_rest, drawn, self._rest, **QUIET
            )
            opened = [self.notice, *self._first, self.results]
            self.model.input(self.open_of_model, [session, self.model], opened, **QUIET).then(
                self.open_rest, drawn, self._rest, **QUIET
            )
            self.share.pick(self.delete, session, self.opened, **QUIET).then(
                self.open_rest, drawn, self._rest, **QUIET
            )
        of_model = [self.steps, self.guidance, *self._of_model]
        field = f"document.getElementById('{self._id('model')}').dataset"
        self.model.focus(None, self.model, js=f"(model) => {{ {field}.was = model ?? ''; }}")
        self.model.input(self._asked_of, self.model, of_model, js=_CHOSEN.format(field), **QUIET)
        buttons = [self.run, self.stop, self.progress]
        for asked in (
            gr.on([self.run.click, *asking], self.ask, drawn, [self.trouble, *buttons], **QUIET),
            self.progress.pick(self.again, session, [self.trouble, *buttons, *form], **QUIET),
        ):
            asked.then(
                self.follow, session, [self.trouble, *buttons, *self._first, *self._rest], **QUIET
            ).then(self.foresee, form, self.estimate, **QUIET)
        self.stop.click(self.halt, session, [*buttons, *self._rest], queue=False, **QUIET)

    def _wire_estimate(self, changed: list[Any]) -> None:
        """Wire the estimate to events of fields that nothing else looks at; to steps and guidance,
        which change with the model, it is wired too."""
        gr.on(
            [*changed, self.steps.change, self.guidance.change],
            self.foresee,
            self.form,
            self.estimate,
            **LOOKING,
        )

    @property
    def opened(self) -> list[Any]:
        """What changes at once when a result is opened."""
        return [self.notice, *self._first, self.results, *self._fields]

    @property
    def rest(self) -> list[Any]:
        """What is drawn after that, by `open_rest`."""
        return self._rest

    @property
    @abstractmethod
    def _first(self) -> list[Any]:
        """What is drawn at once, the headline first."""

    @property
    @abstractmethod
    def _further(self) -> list[Any]:
        """What of its own is drawn after that."""

    @property
    def _rest(self) -> list[Any]:
        listed = [self.results, self.damaged, self.share] if self.STORED else []
        return [*self._further, *listed, self.estimate]

    @property
    @abstractmethod
    def form(self) -> list[Any]:
        """The fields of the form, as `_order` takes them."""

    @property
    @abstractmethod
    def _fields(self) -> list[Any]:
        """The fields of the form that follow what is opened."""

    @property
    def _of_model(self) -> list[Any]:
        """The fields that say something of one model's layers and steps."""
        return []

    def _asked_of(self, model: str | None) -> list[Any]:
        """Steps, guidance and `_of_model` once another model is chosen, None where it is the same:
        nothing of the last one's is left."""
        if model is None:
            return skips(2 + len(self._of_model))
        return [*fields.usual(model), *(field.value for field in self._of_model)]

    # -- looking ---------------------------------------------------------------------------

    @abstractmethod
    def _nothing(self) -> str:
        """The headline where nothing is stored."""

    @abstractmethod
    def _filled(self, view: View) -> list[Any]:
        """Values of `_fields`, those that the view was made with."""

    @abstractmethod
    def _draw(self, session: Session) -> list[Any]:
        """Values of `_first` for the view of the session."""

    @abstractmethod
    def _draw_further(self, session: Session) -> list[Any]:
        """Values of `_further` for the view of the session."""

    @abstractmethod
    def _order(self, *fields: Any) -> live.Order:
        """What the form asks for; raises `TextlocError` where it cannot be right."""

    def open(self, session: Session, request: gr.Request) -> list[Any]:
        """The result of `?r=`, else the usual one; nothing where `?run=` names a run of this tab,
        which the page then asks to follow (`again`)."""
        asked = request.query_params.get("r") if request else None
        run = links.run_asked(request)
        if run == self.KIND:
            first = [html.nothing(*_FINDING), *skips(self._first[1:])]
            return [gr.skip(), *first, gr.skip(), *skips(self._fields)]
        view, problem = stored.opening(asked, self.KIND)
        if run == links.NO_RUN and self.KIND == stored.LOCALIZE:
            problem = problem or _NO_RUN
            session.follow = True  # the address is no longer that of the run
            session.run = str(request.query_params["run"]), ""
        if view is not None and asked == view.document["id"]:
            session.show(view)
            wrong = links.look(session, dict(request.query_params))
            problem = problem or wrong
        return self._opened(session, view, problem)

    def linked(self, session: Session) -> Any:
        """The link follows what one looks at."""
        return gr.HTML(place=links.query(session))

    def settled(
        self, session: Session, look: Callable[[Session, str], list[Any]], count: int
    ) -> list[Any]:
        """The link to what was clicked, and after quick clicks what `look` shows once more, else
        `count` skips: the answers to them may have come in another order."""
        with _SHOWING:
            shown = look(session, session.pick) if session.quick else skips(count)
        return [self.linked(session), *shown]

    def open_stored(self, session: Session, result_id: str | None) -> list[Any]:
        """A result of the list. The one that is shown stays, and the form with it: Gradio's list
        says that it was chosen when one only tabs past it, though nothing be chosen in it."""
        view = session.view
        shown = view.document["id"] if view is not None and view.stored else None
        if not result_id or result_id == shown:
            return skips(len(self.opened))
        session.follow = True
        try:
            return self._opened(session, stored.stored_view(result_id), "")
        except TextlocError as error:
            return self._opened(session, session.view, str(error))

    def open_of_model(self, session: Session, model: str) -> list[Any]:
        """A stored result of the model that was chosen, where there is one; the form stays."""
        shown = session.view.document["checkpoint"]["name"] if session.view else ""
        count = len(self._first) + 2
        if session.job is not None or shown == model:
            return skips(count)
        view = stored.of_model(self.KIND, model)
        if view is None:
            return skips(count)
        session.follow = True
        return self._opened(session, view, "")[:count]

    def open_view(self, session: Session, view: View) -> list[Any]:
        """A view that another tab has, as the values of `opened`."""
        session.follow = True
        if isinstance(session, LateSession):
            session.opened = session.drawn = True
        return self._opened(session, view, "")

    def try_view(self, view: View) -> None:
        """Draw a view for nothing; raises whatever its document makes wrong."""
        session: Session = type(self.session.value)()
        session.show(view)
        self._draw(session)
        self._draw_further(session)
        self._filled(view)

    def delete(self, session: Session) -> list[Any]:
        """Delete the result that is looked at, where it is the visitor's own."""
        if session.view is None or not session.view.stored:
            return skips(len(self.opened))
        try:
            gone = unlisted.delete(session.view.document["id"], session.visitor.key)
        except TextlocError as error:
            return self._opened(session, session.view, str(error))
        session.follow = True
        return self._opened(session, self._usual(), _DELETED if gone else _SHARED)

    def _opened(self, session: Session, view: View | None, problem: str) -> list[Any]:
        if view is None:
            first = [self._nothing(), *skips(self._first[1:])]
            return [status.notice(problem), *first, gr.skip(), *skips(self._fields)]
        if view is not session.view:
            session.show(view)
            session.run = ("", "")
        here = gr.Dropdown(
            choices=[(store.title(view.document), view.document["id"])], value=view.document["id"]
        )
        return [status.notice(problem), *self._draw(session), here, *self._filled(view)]

    def open_rest(self, session: Session, *form: Any) -> list[Any]:
        """`_rest` for the view of the session. form: what the fields hold; without it the estimate
        stays."""
        estimate = self.foresee(*form) if form else gr.skip()
        if not self.STORED:
            further = self._draw_further(session) if session.view else skips(self._further)
            return [*further, estimate]
        summaries = stored.listing(self.KIND)
        listed, damaged = stored.listed(summaries), stored.damaged(summaries)
        view = session.view
        if view is None:
            choices = gr.Dropdown(choices=listed)
            return [*skips(self._further), choices, damaged, gr.skip(), estimate]
        shown = view.document["id"] if view.stored else None
        if shown and shown not in {result_id for _, result_id in listed}:
            listed = [(f"{store.title(view.document)} (opened by its link)", shown), *listed]
        return [
            *self._draw_further(session),
            gr.Dropdown(choices=listed, value=shown),
            damaged,
            gr.HTML(
                value={
                    **stored.share(view, session.visitor.key),
                    "follow": session.follow,
                    "receipt": session.receipts.get(view.document["id"], ""),
                    "run": session.run[0],
                },
                place=links.query(session),
            ),
            estimate,
        ]

    def clicked(
        self, session: Session, event: gr.EventData, look: Callable[[Any], list[Any]], count: int
    ) -> list[Any]:
        """What `look` shows of what was clicked; `count` skips where a later click was shown.

        Quick clicks may arrive in any order; `turn` of the event counts the milliseconds of the
        page.
        """
        with _SHOWING:
            turn = event._data.get("turn")
            if isinstance(turn, int | float):
                if turn < session.turn:
                    return skips(count)
                session.quick = turn - session.turn < _SOON
                session.turn = turn
            return look(event._data.get("custom"))

    # -- running ---------------------------------------------------------------------------

    def again(self, session: Session, event: gr.EventData) -> list[Any]:
        """Find the run that the address names, with what the form held; `follow` shows it."""
        said = event._data.get("custom")
        token, key = said if isinstance(said, list) and len(said) == 2 else ("", "")
        run = runs.find(token)
        if run is None or run.kind != self.KIND or session.job is not None:
            return skips(4 + len(self.form))
        session.run = str(token), str(key)
        if not run.known_to(key):
            session.found = self._usual()
            return [status.notice(_NOT_YOURS), *skips(3 + len(self.form))]
        held = [
            gr.skip() if isinstance(field, gr.File) else value  # an upload is not sent back
            for field, value in zip(self.form, run.fields, strict=True)
        ]
        if run.job is None:
            try:
                session.found = stored.stored_view(run.result)
            except TextlocError as error:
                return [status.notice(str(error)), *skips(3), *held]
            return [status.notice(""), *skips(3), *held]
        session.job, session.waiting = run.job, True
        return [status.notice(""), *_running(run.job.last, session.run), *held]

    def foresee(self, *form: Any) -> str:
        """How long it is likely to take to run what the form asks for, those who wait first
        included; an empty line for what would be refused."""
        try:
            limits.check_texts(form)
            order = self._order(*form)
            limits.check(order.asked)
            if order.before() is not None:
                return status.estimate(status.STORED)
        except TextlocError:
            return status.estimate("")
        return status.likely(timing.TIMINGS.seconds(order), *limits.LINE.ahead())

    def _usual(self) -> View | None:
        """What the tab opens with."""
        return stored.opening(None, self.KIND)[0]

    def ask(self, session: Session, *fields: Any) -> list[Any]:
        """Check the form at once; a good one waits for the device."""
        if session.job is not None:
            return skips(4)
        try:
            limits.check_texts(fields)
            order = self._order(*fields)
            before = order.before()
            if before is not None:
                session.found = stored.stored_view(before)
                if before not in session.receipts:
                    own.share(before)
                return [status.notice(""), *skips(2), status.found()]
            session.job = live.Job(order, session.visitor, runs.alone())
        except TextlocError as error:
            session.waiting = False
            return [status.notice(str(error)), *skips(3)]
        session.waiting = True
        session.run = runs.remember(session.job, self.KIND, fields)
        first = limits.LINE.before(session.job)
        return [status.notice(""), *_running(live.Update(before=first), session.run)]

    def follow(self, session: Session) -> Iterator[list[Any]]:
        """Run what was asked and show it as it grows."""
        job = session.job
        if session.found is not None:
            session.show(session.found)
            session.found, session.follow = None, True
            yield [*skips(4), *self._draw(session), *self.open_rest(session)]
            return
        if job is None or not session.waiting:
            yield skips(4 + len(self._first) + len(self._rest))
            return
        session.waiting = False
        run, images = session.run, dict[str, Any]()
        pictures = Pictures(images.__getitem__)
        # All that is drawn is said with every update: of two that arrive together Gradio's client
        # applies the second as a change to the first, and forgets what only the first one set.
        drawn, place = skips(self._first) + skips(self._rest), session.place
        try:
            for update in job.updates():
                ended = update.state in ("complete", "stopped", "failed")
                grown = (update.fresh or ended) and update.document is not None
                if grown:
                    assert update.document is not None
                    images.update(update.images or {})
                    document = update.document
                    if ended and not document["complete"]:
                        document = {**document, "stopped": True}
                    view = View(document, pictures, stored=False)
                    if session.view is None or session.view.pictures is not pictures:
                        session.show(view)
                    session.view = view
                if ended:
                    session.job, session.run = None, run
                    if job.receipt:
                        assert update.document is not None
                        session.receipts[update.document["id"]] = job.receipt
                    notice = self._ended(session, update)
                    yield [
                        status.notice(notice),
                        *_ready(update, self._id("headline"), self._told(session, run)),
                        *(self._draw(session) if grown else skips(self._first)),
                        *self.open_rest(session),
                    ]
                    return
                if grown or (place != session.place and update.document is not None):
                    drawn, place = self._growing(session), session.place
                yield [gr.skip(), *_running(update, run), *drawn]
                drawn = [gr.skip() if isinstance(one, _USED) else one for one in drawn]
        finally:
            if session.job is job:  # the page was closed: the run may be found again
                session.job = None

    def _growing(self, session: Session) -> list[Any]:
        """Values of `_first` and `_rest` for the view of a run that is going on: nothing of an
        earlier result is left beside it."""
        rest: dict[Any, Any] = dict.fromkeys(self._rest, gr.skip())
        rest |= zip(self._further, self._draw_further(session), strict=True)
        if self.STORED:
            assert session.view is not None
            rest[self.results] = gr.Dropdown(value=None)
            rest[self.share] = gr.HTML(value=stored.share(session.view), place="")
        return [*self._draw(session), *rest.values()]

    def _told(self, session: Session, run: tuple[str, str]) -> tuple[str, str]:
        """The run by which the page finds what has ended; empty where its result has a link."""
        if session.view is None or not session.view.stored:
            return run
        runs.stored(run[0], session.view.document["id"])
        return "", ""

    def _ended(self, session: Session, update: live.Update) -> str:
        """Look at the stored result of a complete run; what there is to say of the end."""
        finished = update.state == "complete" and update.document is not None
        if self.STORED and finished and not update.message:
            assert update.document is not None
            session.view = stored.stored_view(update.document["id"])
            session.follow = True
        return "" if update.state == "stopped" else update.message

    def halt(self, session: Session) -> list[Any]:
        """Stop the run; what is finished stays.

        A run that has begun says itself that it has stopped: told from here, that could reach the
        page before a step that was told earlier, and the page would go on waiting.
        """
        job, began = session.job, not session.waiting
        if job is None:
            return skips(len(self._rest) + 3)
        job.stop()
        if began:
            return [gr.skip(), gr.Button(interactive=False), gr.skip(), *skips(self._rest)]
        session.job, session.waiting = None, False
        ended = _ready(replace(job.last, state="stopped"), self._id("headline"), ("", ""))
        return [*ended, *self.open_rest(session)]


def model_of(view: View) -> Any:
    """Value of the field of the model: that of the result, unless it cannot be run here."""
    name = str(view.document["checkpoint"]["name"])
    return name if fields.can_be_run(name) else gr.skip()


def skips(count: int | list[Any]) -> list[Any]:
    """As many updates that change nothing."""
    return [gr.skip() for _ in range(count if isinstance(count, int) else len(count))]


def places(session: Session) -> list[Any]:
    """Updates of the pickers of pair and seed."""
    assert session.view is not None
    request = session.view.document["request"]
    pairs = [
        (f"{pair['source_text']} → {pair['target_text']}", number)
        for number, pair in enumerate(request["pairs"])
    ]
    seeds = [(f"seed {seed}", seed) for seed in request["seeds"]]
    return [
        gr.Dropdown(choices=pairs, value=session.pair, visible=len(pairs) > 1),
        gr.Dropdown(choices=seeds, value=session.seed, visible=len(seeds) > 1),
    ]


def _running(update: live.Update, run: tuple[str, str]) -> list[Any]:
    """Run off, Stop on, and how the run stands."""
    return [gr.Button(interactive=False), gr.Button(interactive=True), status.running(update, run)]


def _ready(update: live.Update, headline: str, run: tuple[str, str]) -> list[Any]:
    """Run on, Stop off, and how the run ended."""
    ended = status.ended(update, headline, run)
    return [gr.Button(interactive=True), gr.Button(interactive=False), ended]
