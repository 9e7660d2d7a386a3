"""The page: its header, its tabs, and how it is served.

Another job's tab is a module like `localize_tab` and a line in `build`.
"""

import inspect
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from textloc import threads
from textloc.results import places
from textloc.ui import languages, links, settings, stored, visitors, warming
from textloc.ui.edit.tab import EditTab
from textloc.ui.endpoints import register, tools
from textloc.ui.endpoints.register import Page
from textloc.ui.finetune.tab import LoraTab
from textloc.ui.gallery.tab import GALLERY, GalleryTab
from textloc.ui.learn import tour
from textloc.ui.localize.tab import LocalizeTab
from textloc.ui.runner import places as running
from textloc.ui.serving.bodies import Bodies
from textloc.ui.serving.files import ResultFiles
from textloc.ui.serving.plotly_first import EarlyScript
from textloc.ui.serving.refusals import Refusals
from textloc.ui.serving.uploads import Uploads
from textloc.ui.suppress.tab import SuppressTab
from textloc.ui.tab import QUIET
from textloc.ui.theme import STATIC, STYLES, theme

_LOG = logging.getLogger(__name__)

_HEADER = """<header class="tl-header"><span class="tl-brand">textloc</span>
<span>finds the few layers of a text-to-image model that write the words</span>
<nav class="tl-languages" aria-label="Language" translate="no">{languages}</nav></header>"""


def build() -> Page:
    """The page; it loads no model and imports no torch."""
    threads.leave_a_core()
    here = settings.read()
    page = Page(
        title="textloc: which layers write the words?",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(min(600, here.keep_uploads), here.keep_uploads),
    )
    with page:
        named = languages.NAMES.items()
        links_to = (f'<a href="?lang={code}" lang="{code}">{name}</a>' for code, name in named)
        with gr.Row(elem_classes="tl-head"):
            gr.HTML(_HEADER.format(languages="".join(links_to)), apply_default_css=False)
            tour.tour(page, QUIET)
        with gr.Tabs(elem_id="jobs", selected=stored.LOCALIZE) as tabs:
            with gr.Tab("Localize", id=stored.LOCALIZE):
                localizing = LocalizeTab(page)
            with gr.Tab("Edit", id=stored.EDIT) as edit:
                editing = EditTab(page, edit)
            with gr.Tab("Suppress", id="textloc.suppress") as suppress:
                suppressing = SuppressTab(suppress)
            with gr.Tab("Fine-tune", id=stored.LORA) as lora:
                training = LoraTab(page, lora)
            with gr.Tab("Gallery", id=GALLERY) as gallery:
                GalleryTab(page, gallery, tabs, [localizing, editing, training])
        page.jobs = [localizing, editing, suppressing, training]
        visitors.wire(page, [job.session for job in page.jobs])
        register.add(page)
        _sign(page)
        page.load(_tab_asked, None, tabs, queue=False, js=_ADDRESS, **QUIET)
    return page


def _sign(page: Page) -> None:
    """Note the signatures of the components' classes where `inspect.signature` looks first: Gradio
    asks for that of every component for every visitor."""
    for kind in {type(block) for block in page.blocks.values()}:
        kind.__init__.__signature__ = inspect.signature(kind.__init__)


_ADDRESS = (STATIC / "address.js").read_text(encoding="utf-8")


def _tab_asked(request: gr.Request) -> Any:
    """The tab that `?tab=` names, else that of the run or the result that the address names."""
    asked = request.query_params if request else {}
    run = links.run_asked(request)
    kind = "" if run == links.NO_RUN else run
    kind = kind or links.TABS.get(asked.get("tab", "")) or stored.asked_kind(asked.get("r"))
    return gr.Tabs(selected=kind) if kind else gr.skip()


def launch(page: Page, **options: Any) -> None:
    """Serve the page; host and port come from `GRADIO_SERVER_NAME` and `GRADIO_SERVER_PORT`.

    `options` are those of `gr.Blocks.launch`; MCP tools are served where `mcp` is installed.
    Server-side rendering is off unless `ssr_mode=True`, whatever `GRADIO_SSR_MODE` says (a Space
    sets it): Node would then answer for the HTML of the page, which is where a link's preview, the
    language and the early script are put in here. The page itself is filled after it has loaded, so
    there is little to render before.
    """
    if options.setdefault("ssr_mode", False) is False and _ssr_asked():
        _LOG.warning(
            "textloc: server-side rendering is off, though GRADIO_SSR_MODE asks for it: the page's "
            "HTML would pass by its link previews and languages; launch(ssr_mode=True) turns it on"
        )
    # the last one is next to Gradio
    around = [Middleware(one) for one in (Bodies, EarlyScript, ResultFiles, Refusals)]
    around.insert(1, Middleware(Uploads, files=page.temp_file_sets))
    own: dict[str, Any] = {"middleware": around}
    own |= tools.serving(page, options.pop("mcp_server", None))
    returns = options.pop("prevent_thread_lock", False) or sys.flags.interactive
    running.prepare()
    places.start()
    try:
        with _ended():
            page.launch(
                prevent_thread_lock=True,
                theme=theme(),
                css_paths=[*STYLES, tour.STYLE],
                app_kwargs=own,
                mcp_server=False,
                max_file_size=settings.read().upload,
                footer_links=["api", "settings"],
                run_history=False,
                **options,
            )
            warming.start(page.jobs)
            if not returns:
                page.block_thread()
    finally:
        if told := places.send():
            _LOG.warning(told)


def _ssr_asked() -> bool:
    return os.environ.get("GRADIO_SSR_MODE", "").lower() == "true"


@contextmanager
def _ended() -> Iterator[None]:
    """A request to end, as a Space gets one before it restarts, is an exception within the block
    where that can be had: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def serve(**options: Any) -> None:
    """Build the page and serve it."""
    launch(build(), **options)
