"""The suppress tab: a prompt that asks for a toxic word, with and without it.

What is drawn comes from `suppress_replay`; what is run, from `live`. Nothing is stored or shared.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import gradio as gr

from textloc.errors import LimitError
from textloc.toxicity import entries
from textloc.ui import limits, status, stored
from textloc.ui.figure import saving
from textloc.ui.session import Session
from textloc.ui.stored import View
from textloc.ui.suppress import order, replay
from textloc.ui.suppress.example import example
from textloc.ui.tab import BARE, LOOKING, QUIET, Tab, skips

_EXAMPLE = 'a red sign that says "LOSER"'
_ABOUT = """<p>Whether a prompt asks for a toxic word is told by word lists, once its disguises are
undone, and by the parts that insults are made of. If it does, the few <em>localized</em> layers
read a prompt with a benign word in its place; all others read the prompt as it is. So the picture
stays what it would have been, but for the word. A clean prompt is generated as it is.</p>
<p>In Python, around a pipeline of your own:
<code>with textloc.guard(pipe): pipe(prompt)</code>.</p>"""


@dataclass
class SuppressSession(Session):
    """What one visitor looks at and runs: a suppression."""

    PICKS: ClassVar[ModuleType] = replay


class SuppressTab(Tab):
    """Builds the components into the tab that is open, and wires them.

    `tab` is that tab: the example is looked at when it is.
    """

    KIND, NAME, STORED, KEEPS = "textloc.suppress", "suppress", False, False

    def __init__(self, tab: gr.Tab) -> None:
        self.session = gr.State(SuppressSession())
        with gr.Row(elem_classes="tl-columns"):
            with gr.Column(scale=3, min_width=320, elem_classes="tl-main-column"):
                self._result()
            with gr.Column(scale=1, min_width=280, elem_classes="tl-side-column"):
                self._form()
        self._wire(tab)

    # -- components ------------------------------------------------------------------------

    def _result(self) -> None:
        self._top()
        opens = example() is not None
        if not opens:
            self.headline.value = replay.nothing()
        with gr.Column(elem_classes="tl-card", visible=opens) as self.card:
            with gr.Row(elem_classes="tl-choice"):
                self.pick = gr.Dropdown(
                    label="Method", elem_id="suppress-pick", scale=3, min_width=200, **BARE
                )
                self.seed = gr.Dropdown(
                    label="Seed", elem_id="suppress-seed", visible=False, min_width=90, **BARE
                )
            self.panel = gr.HTML(elem_id="suppress-panel", apply_default_css=False, min_height=230)
        with gr.Column(elem_classes="tl-card", visible=opens) as self.table_card:
            gr.HTML('<h2 class="tl-title">What it costs the picture</h2>', apply_default_css=False)
            self.table = gr.HTML(elem_id="suppress-table", apply_default_css=False)
        with gr.Column(elem_classes="tl-card", visible=opens) as self.save_card:
            gr.HTML('<h2 class="tl-title">Save this result</h2>', apply_default_css=False)
            self.save = saving(elem_id="suppress-save")
        gr.HTML(f'<div class="tl-about">{_ABOUT}</div>', apply_default_css=False)

    def _form(self) -> None:
        with gr.Column(elem_classes="tl-card", elem_id="suppress-form"):
            gr.HTML('<h2 class="tl-title">Try a prompt</h2>', apply_default_css=False)
            self.prompt = gr.Textbox(
                _EXAMPLE, label="Prompt", elem_id="suppress-prompt", max_lines=3
            )
            self.found = gr.HTML(elem_id="suppress-found", apply_default_css=False)
            self.replacement = gr.Textbox(
                label="Written in its place",
                info="Left empty, a word like it is chosen",
                elem_id="suppress-replacement",
            )
            self._buttons()
            self._options()

    def _options(self) -> None:
        with self._settings("Model, methods and settings"):
            self.methods = gr.CheckboxGroup(
                list(order.METHODS), label="Compare with", elem_id="suppress-methods"
            )
            self.words = gr.Textbox(
                label="More words to keep out", info="Separated by commas", elem_id="suppress-words"
            )
            self.strictness = gr.Dropdown(
                list(order.STRICTNESS),
                value="usual",
                label="What counts as toxic",
                elem_id="suppress-strictness",
            )
            self.languages = gr.Dropdown(
                [(name.capitalize(), name) for name in entries.languages()],
                label="Languages of the word lists",
                info="None takes English and those of the prompt's script",
                multiselect=True,
                elem_id="suppress-languages",
            )
            self.check = gr.Checkbox(
                True, label="Read what comes out", elem_id="suppress-check", container=False
            )
            self.fallback = gr.Dropdown(
                list(order.FALLBACKS),
                value="more-layers",
                label="If a toxic word still reads",
                elem_id="suppress-fallback",
            )
            self.layers = gr.Textbox(
                "auto",
                label="Layers to patch",
                info="Such as 7-9; auto takes the localized ones of this model",
                elem_id="suppress-layers",
            )

    # -- events ----------------------------------------------------------------------------

    def _wire(self, tab: gr.Tab) -> None:
        session = self.session
        looked = [self.pick, self.seed, self.panel]
        tab.select(self.open_example, session, [*self._first, *self._further], **QUIET)
        self.pick.input(self.look, [session, self.pick, self.seed], looked, **LOOKING)
        self.seed.input(self.look, [session, self.pick, self.seed], looked, **LOOKING)
        looked_for = [self.prompt, self.words, self.strictness, self.languages]
        gr.on(
            [tab.select, *(field.change for field in looked_for)],
            self.look_at_form,
            self.form,
            [self.found, self.replacement, self.estimate],
            **LOOKING,
        )
        self.replacement.input(self.look_at_replacement, self.form, self.found, **LOOKING)
        changed = [self.model.input, self.replacement.blur, self.methods.input]
        self._wire_estimate([*changed, self.seeds.input, self.layers.input])
        self.save.pick(self.report, session, self.save, **QUIET)
        self._wire_common([self.prompt.submit, self.replacement.submit])

    @property
    def _first(self) -> list[Any]:
        return [self.headline, self.card, self.pick, self.seed, self.panel]

    @property
    def _further(self) -> list[Any]:
        return [self.table_card, self.table, self.save_card, self.save]

    @property
    def form(self) -> list[Any]:
        """As `Tab` says."""
        asked = [self.model, self.prompt, self.replacement, self.words, self.methods, self.check]
        call = [self.fallback, self.seeds, self.layers, self.steps, self.guidance]
        return [*asked, *call, self.strictness, self.languages, self.ocr]

    @property
    def _fields(self) -> list[Any]:
        return []

    @property
    def _of_model(self) -> list[Any]:
        return [self.layers]

    # -- looking ---------------------------------------------------------------------------

    def open_example(self, session: Session) -> list[Any]:
        """The suppression that ships, where nothing else is looked at."""
        view = self._usual()
        if view is None or session.view is not None or session.job is not None:
            return skips(len(self._first) + len(self._further))
        session.show(view)
        return [*self._draw(session), *self._draw_further(session)]

    def _usual(self) -> View | None:
        return example()

    def _nothing(self) -> str:
        return replay.nothing()

    def _filled(self, view: View) -> list[Any]:
        return []

    def _draw(self, session: Session) -> list[Any]:
        view = session.view
        assert view is not None
        document, pick = view.document, session.shown
        seeds = [(f"seed {seed}", seed) for seed in document["request"]["seeds"]]
        return [
            replay.headline(document),
            gr.Column(visible=True),
            gr.Dropdown(choices=replay.choices(document), value=pick or None),
            gr.Dropdown(choices=seeds, value=session.seed, visible=len(seeds) > 1),
            replay.panel(view, pick, session.seed),
        ]

    def _draw_further(self, session: Session) -> list[Any]:
        assert session.view is not None
        text = replay.table(session.view.document)
        save = gr.HTML(value=stored.share(session.view))
        return [gr.Column(visible=bool(text)), text, gr.Column(visible=True), save]

    def _order(self, *fields: Any) -> order.SuppressOrder:
        return order.read(*fields)

    def look(self, session: Session, pick: str, seed: int) -> list[Any]:
        """Show another method or seed."""
        if session.view is None:
            return skips(3)
        session.pick, session.seed = pick, seed
        return [pick, seed, replay.panel(session.view, session.shown, seed)]

    def report(self, session: Session) -> Any:
        """The result as one HTML file, for the browser to save."""
        view = session.view
        if view is None:
            return gr.skip()
        name = f"textloc-{view.document['id']}.html"
        # the time makes it another file where the same one is asked for again
        return gr.HTML(file={"name": name, "text": replay.report_of(view), "at": time.time()})

    def look_at_form(self, *form: Any) -> list[Any]:
        """What is toxic in the prompt, what is proposed in its place, and how long a run is likely
        to take."""
        said = dict(zip(self.form, form, strict=True))
        return [*self._look_at_prompt(said), self.foresee(*form)]

    def look_at_replacement(self, *form: Any) -> str:
        """What is toxic, beside what somebody wants in its place."""
        said = dict(zip(self.form, form, strict=True))
        shown: str = self._look_at_prompt(said, str(said[self.replacement] or ""))[0]
        return shown

    def _look_at_prompt(self, said: Mapping[Any, Any], replacement: str = "") -> list[Any]:
        try:
            limits.check_texts((said[self.prompt], said[self.words], replacement))
        except LimitError as error:
            return [status.notice(str(error)), gr.skip()]
        found = replay.found(
            said[self.prompt] or "",
            replacement,
            words=order.listed(said[self.words]),
            strictness=said[self.strictness],
            languages=said[self.languages] or None,
        )
        return list(found)
