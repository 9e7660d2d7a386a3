"""The fine-tune tab: stored comparisons of LoRA trainings, and a LoRA of one's own beside the base.

What is drawn comes from `lora_replay`; what is run, from `live`. Training is done by the command
`textloc finetune`.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import gradio as gr

from textloc.ui import models, stored
from textloc.ui.figure import figure
from textloc.ui.finetune import order, replay
from textloc.ui.live import Update
from textloc.ui.session import LateSession, Session
from textloc.ui.stored import View
from textloc.ui.tab import QUIET, Tab, skips

_ABOUT = """<p>LoRA adds a small trained change to some projections of a frozen model: here to the
few <em>localized</em> layers, to every attention, or to layers drawn at random. <code>textloc
finetune</code> trains one, <code>textloc bench lora</code> makes the comparison shown here.</p>"""


@dataclass
class LoraSession(LateSession):
    """What one visitor looks at and runs: a comparison of LoRAs."""

    PICKS: ClassVar[ModuleType] = replay


class LoraTab(Tab):
    """Builds the components into the tab that is open, and wires them.

    `tab` is that tab: the usual comparison is drawn when it is first looked at.
    """

    KIND, NAME, KEEPS = stored.LORA, "lora", False

    def __init__(self, page: gr.Blocks, tab: gr.Tab) -> None:
        self.session = gr.State(LoraSession())
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
        with gr.Column(elem_classes="tl-card") as self.curve_card:
            gr.HTML(
                '<h2 class="tl-title">While it is trained</h2><p class="tl-hint">By training step: '
                "share of letters that are read right, and variety (recall of the base's "
                "pictures). Thin lines are single runs.</p>",
                apply_default_css=False,
            )
            self.curve = figure(height=460, elem_id="lora-curves")
        with gr.Column(elem_classes="tl-card"):
            self.table = gr.HTML(elem_id="lora-table", apply_default_css=False)
        with gr.Column(elem_classes="tl-card"):
            gr.HTML('<h2 class="tl-title">Same prompts, same noise</h2>', apply_default_css=False)
            self.panel = gr.HTML(elem_id="lora-panel", apply_default_css=False, min_height=230)
        gr.HTML(f'<div class="tl-about">{_ABOUT}</div>', apply_default_css=False)

    def _form(self) -> None:
        here = models.loras()
        with gr.Column(elem_classes="tl-card", elem_id="lora-form"):
            gr.HTML('<h2 class="tl-title">A LoRA beside its base</h2>', apply_default_css=False)
            self.lora = gr.Dropdown(
                here,
                value=next(
                    (name for name in here if "localized" in name), here[0] if here else None
                ),
                label="LoRA",
                **models.field("a folder, a .safetensors file, or a Hub name such as owner/model"),
                elem_id="lora-name",
            )
            self.upload = gr.File(
                label="Or upload a file",
                file_types=[".safetensors"],
                type="filepath",
                height=150,
                elem_id="lora-upload",
            )
            self.prompts = gr.Textbox(
                label="Prompts, one a line",
                lines=3,
                max_lines=8,
                placeholder='a red sign that says "2048"',
                elem_id="lora-prompts",
            )
            self.scale = gr.Slider(0, 2, value=1, step=0.05, label="Scale", elem_id="lora-scale")
            self._buttons()
            self._settings()

    # -- events ----------------------------------------------------------------------------

    def _wire(self, page: gr.Blocks, tab: gr.Tab) -> None:
        session = self.session
        first = [self.notice, *self._first, self.results, *self._fields]
        for event, opens in ((page.load, self.open_asked), (tab.select, self.open_usual)):
            event(opens, session, first, queue=False, **QUIET).then(
                self.open_rest_once, [session, *self.form], self._rest, **QUIET
            )
        changed = [self.model.input, self.lora.input, self.upload.change, self.prompts.blur]
        self._wire_estimate([*changed, self.seeds.input])
        self._wire_common([])

    @property
    def _first(self) -> list[Any]:
        return [self.headline, self.curve_card, self.curve, self.table, self.panel]

    @property
    def _further(self) -> list[Any]:
        return []

    @property
    def form(self) -> list[Any]:
        """As `Tab` says."""
        asked = [self.model, self.lora, self.upload, self.scale, self.prompts, self.seeds]
        return [*asked, self.steps, self.guidance, self.ocr]

    @property
    def _fields(self) -> list[Any]:
        return [self.prompts]

    # -- looking ---------------------------------------------------------------------------

    def open_asked(self, session: LoraSession, request: gr.Request) -> list[Any]:
        """The comparison of `?r=`, if that is one."""
        asked = request.query_params.get("r") if request else None
        if stored.asked_kind(asked) != stored.LORA:
            return self._unopened()
        session.opened = True
        return self.open(session, request)

    def open_usual(self, session: LoraSession, request: gr.Request) -> list[Any]:
        """The usual comparison when the tab is first looked at."""
        if session.opened:
            return self._unopened()
        session.opened = True
        return self.open(session, request)

    def _unopened(self) -> list[Any]:
        return skips(2 + len(self._first) + len(self._fields))

    def open_rest_once(self, session: LoraSession, *form: Any) -> list[Any]:
        """What is drawn later of the comparison that was opened."""
        if not session.opened or session.drawn:
            return skips(self._rest)
        session.drawn = True
        return self.open_rest(session, *form)

    def _nothing(self) -> str:
        return replay.nothing()

    def _filled(self, view: View) -> list[Any]:
        return [replay.prompts(view.document)]

    def _draw(self, session: Session) -> list[Any]:
        view = session.view
        assert view is not None
        document = view.document
        curve = replay.curves(document)
        return [
            replay.headline(document),
            gr.Column(visible=curve is not None),
            gr.skip() if curve is None else curve,
            replay.table(document),
            replay.panel(view),
        ]

    def _draw_further(self, session: Session) -> list[Any]:
        return []

    def _order(self, *fields: Any) -> order.LoraOrder:
        return order.read(*fields)

    def _ended(self, session: Session, update: Update) -> str:
        """What there is to say of the end; a run beside the base is not stored."""
        return "" if update.state == "stopped" else update.message
