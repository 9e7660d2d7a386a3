"""The fine-tune tab without a browser, and a LoRA beside its base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from tests.documents import CHOICES, lora_document
from tests.finetuning.conftest import folder  # noqa: F401  (a fixture)
from tests.finetuning.test_training import train
from tests.tiny_pipelines import FAMILIES
from textloc.cli import main
from textloc.errors import Cancelled, CheckpointError, LayerError, PromptError
from textloc.jobs.lora_trial import trial_stream
from textloc.results import export, plots, sentences, store
from textloc.results.inlined import Pictures
from textloc.ui.finetune import order, replay
from textloc.ui.finetune.tab import LoraSession, LoraTab
from textloc.ui.stored import View

PROMPTS = ('a sign "AB"', 'a mug "CD"')


def view_of(document: dict[str, Any], images: dict[str, Any]) -> View:
    return View(document, Pictures(images.__getitem__), stored=True)


# ---------------------------------------------------------------------------- experiments


def test_an_experiment_is_shown() -> None:
    document, images = lora_document()
    said = replay.headline(document)
    assert "LoRA on every attention writes numbers best" in said
    assert "within the intervals localized layers may do as well." in said
    assert "scenes:digits:100" in said
    panel = replay.panel(view_of(document, images))
    assert panel.count("<img") == 2 * len(CHOICES)
    assert "&lt;blue&gt;" in panel
    table = replay.table(document)
    assert "55,296" in table
    assert table.count("<tr>") == 1 + len(CHOICES)
    curves = replay.curves(document)
    assert curves is not None
    assert {"light", "dark"} <= set(curves)
    assert replay.prompts(document).splitlines() == [
        'a red sign that says "2048"',
        'a <blue> mug that says "TEA"',
    ]


def test_nothing_is_claimed_where_intervals_overlap() -> None:
    document, _ = lora_document()
    assert "Variety (recall): base 1.00, localized layers 0.90" in sentences.describe_lora(document)
    for choice in document["choices"]:
        choice["scores"]["numbers"] |= {"exact": [0.1, 0.0, 0.2], "characters": [0.3, 0.2, 0.4]}
    assert sentences.describe_lora(document).startswith("No LoRA writes numbers better")
    document["choices"][1]["scores"]["numbers"]["characters"] = [0.6, 0.5, 0.7]
    assert sentences.describe_lora(document).startswith(
        "LoRA on localized layers gets more letters of numbers right than the base, but does not"
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_curves(theme: Any) -> None:
    document, _ = lora_document()
    figure = plots.lora_figure(document, theme)
    thick = [trace for trace in figure.data if trace.name and trace.showlegend is not None]
    assert len(thick) == 3 * 3  # choices, in three panels
    assert list(thick[0].x) == [0, 100, 200]
    single, _ = lora_document(seeds=(0,))
    assert len(plots.lora_figure(single, theme).data) == 3 * 3


def test_an_experiment_is_stored_listed_and_shared(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document, images = lora_document()
    store.save(document, images)
    assert store.listing(only="textloc.lora")[0].title == "LoRA of made-up on scenes:digits:100"
    rows = export.to_table(document)
    assert len(rows) == 2 * len(CHOICES)
    assert rows[2]["choice"] == "localized"
    assert main(["show", document["id"]]) == 0
    assert "Every attention" in capsys.readouterr().out
    assert main(["show", document["id"], "--csv"]) == 0
    assert capsys.readouterr().out.startswith("choice,group,parameters")


# ---------------------------------------------------------------------------- beside the base


def test_both_are_drawn_from_the_same_noise(
    folder: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    train(FAMILIES["sdxl"](), folder, tmp_path / "out")
    model = FAMILIES["sdxl"]()
    *events, last = trial_stream(model, str(tmp_path / "out"), PROMPTS, seeds=(0, 1), chunk_rows=2)
    assert len(events) == 4
    assert not events[0].document["complete"]
    assert "pictures are drawn so far" in sentences.describe_beside(events[0].document)
    document = last.document
    assert document["complete"]
    assert [one["image"] for one in document["base"]][:2] == ["p0-s0-base", "p0-s1-base"]
    assert len(last.images) == 8
    assert document["ssim"] < 1
    assert document["request"]["lora"]["scale"] == 1
    assert not getattr(model.denoiser, "peft_config", None)
    *_, none = trial_stream(model, str(tmp_path / "out"), PROMPTS, scale=0.0)
    assert none.document["ssim"] == pytest.approx(1)
    view = view_of(document, last.images)
    assert replay.panel(view).count("<img") == 8
    assert "With the LoRA" in replay.headline(document)
    assert "read exactly" in replay.table(document)
    assert replay.curves(document) is None
    assert export.to_csv(document).count("\n") == 9
    partial = replay.panel(view_of(events[0].document, events[0].images))
    assert "not made" in partial


def test_a_stop_and_an_error_leave_the_model_as_it_was(
    folder: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    train(FAMILIES["sdxl"](), folder, tmp_path / "out")
    model = FAMILIES["sdxl"]()
    with pytest.raises(Cancelled):
        list(trial_stream(model, str(tmp_path / "out"), PROMPTS, cancelled=lambda: True))
    assert not getattr(model.denoiser, "peft_config", None)
    with pytest.raises(CheckpointError, match="there is no LoRA"):
        list(trial_stream(model, "nothing here", PROMPTS))
    with pytest.raises(PromptError, match="quotes no text"):
        list(trial_stream(model, "x", ["a sign"]))
    with pytest.raises(PromptError, match="at least one prompt"):
        list(trial_stream(model, "x", [" "]))


# ---------------------------------------------------------------------------- the form

FORM: dict[str, Any] = {
    "model": "tiny-sdxl",
    "lora": "somewhere",
    "upload": None,
    "scale": 1,
    "prompts": '\n a "A"\n\nb "B"\n',
    "seeds": "0",
    "steps": None,
    "guidance": None,
}


def test_the_form_makes_an_order() -> None:
    asked = order.read(**FORM)
    assert asked.prompts == ('a "A"', 'b "B"')
    assert asked.lora == "somewhere"
    assert order.read(**FORM | {"upload": "x.safetensors"}).lora == "x.safetensors"


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"lora": " "}, CheckpointError, "no LoRA is given"),
        ({"prompts": " "}, PromptError, "the prompts are empty"),
        ({"prompts": "a sign"}, PromptError, "quotes no text"),
        ({"prompts": 'a "A"\n' * 17}, PromptError, "17 prompts are too many"),
        ({"model": ""}, CheckpointError, "no model"),
        ({"steps": 0}, LayerError, "number of steps"),
    ],
)
def test_a_form_that_cannot_be_right(given: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        order.read(**FORM | given)


def test_the_tab_opens_on_what_is_stored(results: Path) -> None:
    document, images = lora_document()
    with gr.Blocks() as page, gr.Tab("Fine-tune") as tab:
        made = LoraTab(page, tab)
    session = LoraSession()
    request: Any = None
    first = made.open_usual(session, request)
    assert "No result is stored here yet" in first[1]
    store.save(document, images)
    session = LoraSession()
    first = made.open_usual(session, request)
    assert "writes numbers best" in first[1]
    rest = made.open_rest_once(session)
    assert len(rest) == len(made._rest)
    assert rest[-2].value["id"] == document["id"]
    assert made.open_usual(session, request)[1] == gr.skip()
