"""The edit tab: a stored edit to look at beside what else could make it, and a form to make one.

What is drawn comes from `edit_replay`; what is run, from `live`.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import gradio as gr
from PIL import Image

from textloc.errors import TextlocError
from textloc.layers import format_layers
from textloc.pictures import ENDINGS
from textloc.ui import status, stored
from textloc.ui.edit import order, picks, replay
from textloc.ui.figure import figure, picking
from textloc.ui.session import LateSession, Session
from textloc.ui.stored import View
from textloc.ui.tab import BARE, CLICKING, LOOKING, QUIET, Tab, model_of, places, skips

_ABOUT = """<p>The edit is generated from the source prompt and its noise, as the source picture is;
only the text that the few <em>localized</em> layers read is that of the target prompt. So the words
change and the picture around them stays. Patching may begin late: what the steps before have drawn
stays as it is. The latest step from which the words still change is looked for by bisection.</p>
<p>A picture of your own is followed on its way from noise, together with the prompt that describes
it, and patched in the same way. It is cut to the shape of the model's pictures.</p>"""


@dataclass
class EditSession(LateSession):
    """What one visitor looks at and runs: an edit."""

    PICKS: ClassVar[ModuleType] = picks


class EditTab(Tab):
    """Builds the components into the tab that is open, and wires them.

    `tab` is that tab: the usual edit is drawn when it is first looked at.
    """

    KIND, NAME = stored.EDIT, "edit"

    def __init__(self, page: gr.Blocks, tab: gr.Tab) -> None:
        self.session = gr.State(EditSession())
        with gr.Row(elem_classes="tl-columns"):
            with gr.Column(scale=3, min_width=320, elem_classes="tl-main-column"):
                self._result()
            with gr.Column(scale=1, min_width=280, elem_classes="tl-side-column"):
                self._form()
                self._lists()
        self._wire(page, tab)

    # -- components ------------------------------------------------------------------------

    def _result(self) -> None:
        self._top()
        with gr.Column(elem_classes="tl-card"):
            with gr.Row(elem_classes="tl-choice"):
                self.pick = gr.Dropdown(
                    label="What to look at", elem_id="edit-pick", scale=3, min_width=200, **BARE
                )
                self.pair = gr.Dropdown(
                    label="Words", elem_id="edit-pair", visible=False, min_width=130, **BARE
                )
                self.seed = gr.Dropdown(
                    label="Seed", elem_id="edit-seed", visible=False, min_width=90, **BARE
                )
            self.panel = gr.HTML(elem_id="edit-panel", apply_default_css=False, min_height=270)
            self.strip = picking(elem_id="edit-strip")
            self.from_step = gr.Slider(
                0,
                20,
                step=1,
                label="Patch from step",
                info="Shows the nearest step that was tried; later steps keep more of the picture",
                visible=False,
                elem_id="from-step",
            )
        with gr.Column(elem_classes="tl-card", visible=False) as self.slider_card:
            gr.HTML(
                '<h2 class="tl-title">Source and edit, one over the other</h2>'
                '<p class="tl-hint">Drag the line: the source is on its left, the edit on its '
                "right.</p>",
                apply_default_css=False,
            )
            self.slider = gr.ImageSlider(
                format="png",
                type="pil",
                interactive=False,
                label="Source and edit",
                show_label=False,
                max_height=420,
                buttons=["fullscreen"],
                elem_id="slider",
            )
        with gr.Column(elem_classes="tl-card", visible=False) as self.curve_card:
            gr.HTML(
                '<h2 class="tl-title">How late may patching begin?</h2><p class="tl-hint">Click a '
                "point to see its picture.</p>",
                apply_default_css=False,
            )
            self.curve = figure(height=380, elem_id="starts")
        with gr.Column(elem_classes="tl-card"):
            gr.HTML(
                '<h2 class="tl-title">Beside what people would use instead</h2>',
                apply_default_css=False,
            )
            self.table = picking(elem_id="methods-table")
        gr.HTML(f'<div class="tl-about">{_ABOUT}</div>', apply_default_css=False)

    def _form(self) -> None:
        with gr.Column(elem_classes="tl-card", elem_id="edit-form"):
            gr.HTML('<h2 class="tl-title">Change the words</h2>', apply_default_css=False)
            self.source = gr.Textbox(
                label="Source prompt",
                elem_id="edit-source",
                max_lines=3,
                placeholder='a red sign that says "STOP"',
            )
            self.target = gr.Textbox(
                label="New words, or the whole target prompt",
                elem_id="edit-target",
                max_lines=3,
                placeholder="LOVE",
            )
            self.picture = gr.File(
                label="Your own picture (optional)",
                file_types=list(ENDINGS),
                type="filepath",
                height=130,
                elem_id="edit-picture",
            )
            self.preview = gr.HTML(
                elem_id="edit-preview", elem_classes="tl-told", apply_default_css=False
            )
            self._buttons()
            self._options()

    def _options(self) -> None:
        with self._settings("Model, methods and settings"):
            self.methods = gr.CheckboxGroup(
                list(order.METHODS), label="Compare with", elem_id="edit-methods"
            )
            self.start = gr.Textbox(
                "auto",
                label="Patch from step",
                info="A step, or auto: the latest that still changes the words",
                elem_id="edit-start",
            )
            self.layers = gr.Textbox(
                "auto",
                label="Layers to patch",
                info="Such as 7-9; auto takes the localized ones of this model",
                elem_id="edit-layers",
            )

    # -- events ----------------------------------------------------------------------------

    def _wire(self, page: gr.Blocks, tab: gr.Tab) -> None:
        session = self.session
        first = [self.notice, *self._first, self.results, *self._fields]
        for event, opens in ((page.load, self.open_asked), (tab.select, self.open_usual)):
            event(opens, session, first, queue=False, **QUIET).then(
                self.open_rest_once, [session, *self.form], self._rest, **QUIET
            )
        looked = [self.pick, self.strip, self.from_step, self.curve, self.table, self.panel]
        looked += [self.slider_card, self.slider]
        for component in (self.strip, self.curve, self.table):
            component.pick(self.look_clicked, session, looked, **CLICKING).then(
                self.settle, session, [self.share, *looked], **QUIET
            )
        looks = [self.pick.input(self.look, [session, self.pick], looked, **LOOKING)]
        asked = [session, self.from_step]
        looks.append(self.from_step.release(self.look_from, asked, looked, **LOOKING))
        place = [session, self.pair, self.seed]
        for component in (self.pair, self.seed):
            looks.append(component.input(self.look_elsewhere, place, looked, **LOOKING))
        for look in looks:
            look.then(self.linked, session, self.share, **QUIET)
        said = [self.preview, self.trouble]
        self.picture.change(self.look_at_upload, [self.model, self.picture], said, **QUIET)
        changed = [self.model.input, self.source.blur, self.target.blur, self.picture.change]
        changed += [self.seeds.input, self.methods.input, self.start.input, self.layers.input]
        self._wire_estimate(changed)
        self._wire_common([self.source.submit, self.target.submit])

    @property
    def _first(self) -> list[Any]:
        drawn = [self.headline, self.strip, self.pick, self.pair, self.seed, self.from_step]
        return [*drawn, self.panel, self.slider_card, self.slider]

    @property
    def _further(self) -> list[Any]:
        return [self.curve_card, self.curve, self.table]

    @property
    def form(self) -> list[Any]:
        """As `Tab` says."""
        asked = [self.model, self.source, self.target, self.picture, self.seeds, self.methods]
        return [*asked, self.start, self.layers, self.steps, self.guidance, self.ocr]

    @property
    def _fields(self) -> list[Any]:
        numbers = [self.steps, self.guidance, self.start, self.layers]
        return [self.model, self.source, self.target, self.seeds, *numbers, self.methods]

    @property
    def _of_model(self) -> list[Any]:
        return [self.start, self.layers]

    # -- looking ---------------------------------------------------------------------------

    def open_asked(self, session: EditSession, request: gr.Request) -> list[Any]:
        """The edit of `?r=`, if that is one."""
        asked = request.query_params.get("r") if request else None
        if stored.asked_kind(asked) != stored.EDIT:
            return self._unopened()
        session.opened = True
        return self.open(session, request)

    def open_usual(self, session: EditSession, request: gr.Request) -> list[Any]:
        """The usual edit when the tab is first looked at."""
        if session.opened:
            return self._unopened()
        session.opened = True
        return self.open(session, request)

    def _unopened(self) -> list[Any]:
        return skips(2 + len(self._first) + len(self._fields))

    def open_rest_once(self, session: EditSession, *form: Any) -> list[Any]:
        """What is drawn later of the edit that was opened."""
        if not session.opened or session.drawn:
            return skips(self._rest)
        session.drawn = True
        return self.open_rest(session, *form)

    def _nothing(self) -> str:
        return replay.nothing()

    def _filled(self, view: View) -> list[Any]:
        request = view.document["request"]
        first = request["pairs"][0]
        seeds = ",".join(map(str, request["seeds"]))
        start = request["start_step"]
        return [
            *(model_of(view), first["source"], first["target"], seeds),
            *(request["steps"], request["guidance"], "auto" if start is None else str(start)),
            _layers(view.document),
            list(request["methods"]),
        ]

    def _draw(self, session: Session) -> list[Any]:
        view = session.view
        assert view is not None
        document, pick = view.document, session.shown
        return [
            replay.headline(document),
            gr.HTML(value=replay.strip(view, session.pair, session.seed), picked=pick),
            gr.Dropdown(choices=picks.choices(document), value=pick or None),
            *places(session),
            self._starts(session),
            *self._pictures(session),
        ]

    def _draw_further(self, session: Session) -> list[Any]:
        assert session.view is not None
        document, pick = session.view.document, session.shown
        curve = replay.starts_figure(document)
        return [
            gr.Column(visible=curve is not None),
            gr.HTML(value=curve, picked=_pointed(session)),
            gr.HTML(value=replay.table(document), picked=pick),
        ]

    def _starts(self, session: Session) -> Any:
        """The slider of start steps: there where several were tried, at the one that is shown."""
        assert session.view is not None
        document = session.view.document
        ways = picks.entries(document)
        starts = [way.start for way in ways.values() if way.start is not None]
        way = ways.get(session.shown)
        here = {"value": way.start} if way is not None and way.start is not None else {}
        many = len(starts) > 1
        return gr.Slider(maximum=document["request"]["steps"], visible=many, **here)

    def _pictures(self, session: Session) -> list[Any]:
        """Panel, and slider of two pictures where both are made."""
        view = session.view
        assert view is not None
        place = (session.shown, session.pair, session.seed)
        both = replay.compared(view, *place)
        panel = replay.panel(view, *place)
        return [panel, gr.Column(visible=both is not None), both if both else gr.skip()]

    def _order(self, *fields: Any) -> order.EditOrder:
        return order.read(*fields)

    def foresee(self, *form: Any) -> str:
        """As `Tab` says. A picture of one's own is not read for that."""
        place = self.form.index(self.picture)
        picture = form[place] and Image.new("RGB", (1, 1))
        return super().foresee(*form[:place], picture, *form[place + 1 :])

    def look_clicked(self, session: Session, event: gr.EventData) -> list[Any]:
        """A click in the figure, in the strip or in the table."""

        def look(custom: Any) -> list[Any]:
            pick = picks.pick_of_click(session.view.document, custom) if session.view else None
            return self.look(session, pick) if pick else skips(8)

        return self.clicked(session, event, look, 8)

    def settle(self, session: Session) -> list[Any]:
        """After a click."""
        return self.settled(session, self.look, 8)

    def look_from(self, session: Session, start: float) -> list[Any]:
        """The tried start step next to that of the slider."""
        pick = picks.nearest(session.view.document, start) if session.view else None
        return self.look(session, pick) if pick else skips(8)

    def look(self, session: Session, pick: str) -> list[Any]:
        """Show another pick."""
        session.pick = pick
        if session.view is None or not session.shown:
            return skips(8)
        return [
            session.shown,
            gr.HTML(picked=session.shown),
            self._starts(session),
            gr.HTML(picked=_pointed(session)),
            gr.HTML(picked=session.shown),
            *self._pictures(session),
        ]

    def look_elsewhere(self, session: Session, pair: int, seed: int) -> list[Any]:
        """Show another pair or seed."""
        view = session.view
        if view is None:
            return skips(8)
        session.pair, session.seed = pair, seed
        shown = self.look(session, session.shown)
        shown[1] = gr.HTML(value=replay.strip(view, pair, seed), picked=session.shown)
        return shown

    def look_at_upload(self, model: str, path: str | None) -> list[Any]:
        """The picture that was uploaded, or why it cannot be used; what was said of an earlier one
        goes."""
        try:
            return [replay.preview(path, str(model)) if path else "", ""]
        except TextlocError as error:
            return [status.notice(str(error)), ""]


def _pointed(session: Session) -> list[int]:
    """The start step that the figure points at."""
    assert session.view is not None
    way = picks.entries(session.view.document).get(session.shown)
    return [] if way is None or way.start is None else [way.start]


def _layers(document: stored.Document) -> str:
    """What the field of layers said: `auto`, unless they were given."""
    given = document["layers_from"] == "given"
    return format_layers(document["layers"]) if given else "auto"
