"""Editing: the document, the start step, the other methods, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import tiny_pipelines
from textloc import cli
from textloc.baselines import BASELINES, inpainting, regenerate
from textloc.checkpoints.loading import Model
from textloc.errors import Cancelled, LayerError, PromptError
from textloc.jobs import choosing, edit_measures
from textloc.jobs import edit as editing
from textloc.jobs.edit import edit_stream
from textloc.prompts import Pair, parse_pair
from textloc.reading import metrics
from textloc.reading.ocr import Box, Reading
from textloc.results import export, store
from textloc.results.sentences import describe_edit
from textloc.runs import Run

PAIR = parse_pair('a red sign "AB"', "XYZ")


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_pipelines.precise(tiny_pipelines.sdxl())


def test_the_document_is_whole_and_storable(model: Model, results: Path) -> None:
    *partial, last = edit_stream(
        model, [PAIR], [0, 1], seeds=(0, 1), start_step=1, methods=["prompt-swap", "inpainting"]
    )
    assert partial
    assert not any(event.document["complete"] for event in partial)
    document = last.document
    assert document["complete"]
    assert document["start_step"] == 1
    assert [(e["pair"], e["seed"]) for e in document["edits"]] == [(0, 0), (0, 1)]
    assert [method["name"] for method in document["methods"]] == ["prompt-swap", "inpainting"]
    for entry in [document, *document["methods"]]:
        for edit in entry["edits"]:
            assert {"read_source", "read_edit", "exact_target", "ssim_outside_text"} <= edit.keys()
            assert edit["image"] in last.images
        assert -1 <= entry["scores"]["ssim"][0] <= 1
    json.dumps(document, allow_nan=False)
    store.save(document, last.images)
    found = store.load(document["id"])
    told = export.with_paths(found.document, found)
    assert Path(told["edits"][0]["image"]).is_file()
    assert Path(told["edits"][0]["source"]).is_file()
    assert store.listing(only="textloc.edit")[0].title == "Edit AB → XYZ"
    assert not store.listing(only="textloc.localize")
    assert store.default_id() is None
    assert "cannot be judged" in describe_edit(document)  # a random model writes no words


def test_before_the_start_step_the_edit_is_the_source(model: Model) -> None:
    *_, last = edit_stream(model, [PAIR], [0, 1], start_step=model.defaults.steps)
    assert last.document["edits"][0]["mse"] == 0
    assert last.document["edits"][0]["psnr"] is None


class MadeUp(editing._Edit):
    """An edit whose pictures change the words up to a made-up start step."""

    latest = 0

    def _measure(self, key: str) -> dict[str, float | None]:
        changed = float(not key.endswith("source") and int(key[-2:]) <= self.latest)
        letters = {"precision_target": changed, "recall_target": changed}
        return {**super()._measure(key), "exact_target": changed, **letters}


@pytest.mark.parametrize("latest", [-1, 0, 1, 5, 6])
def test_the_latest_start_step_is_found(
    model: Model, latest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editing, "_Edit", MadeUp)
    monkeypatch.setattr(MadeUp, "latest", latest)
    *_, last = edit_stream(model, [PAIR], [0], steps=7)
    assert last.document["start_step"] == max(latest, 0)
    tried = [point["start_step"] for point in last.document["curve"]]
    assert tried == sorted(tried)
    assert 0 in tried
    assert len(tried) <= 4
    if latest < 0:
        assert tried == [0]


def test_longer_and_shorter_words_keep_their_share(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four pairs the one of another length needs an earlier start, and gets it."""

    class Longer(MadeUp):
        latest = 5

        def _measure(self, key: str) -> dict[str, float | None]:
            self.latest = 1 if key.startswith("p3-") else 5
            return super()._measure(key)

    monkeypatch.setattr(editing, "_Edit", Longer)
    same = [parse_pair(PAIR.source, word) for word in ("QX", "ZY", "WV")]
    longer = parse_pair(PAIR.source, "QXZ")
    *_, last = edit_stream(model, [*same, longer], [0], steps=7)
    assert last.document["start_step"] == 1
    *_, last = edit_stream(model, same, [0], steps=7)
    assert last.document["start_step"] == 5


def test_a_picture_of_ones_own(model: Model, results: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    *_, last = edit_stream(
        model, [PAIR], [0, 1], start_step=0, pictures=[picture], methods=list(BASELINES)
    )
    document = last.document
    (followed,) = document["inversions"]
    assert followed["ssim"] <= 1
    assert isinstance(followed["poor"], bool)
    assert document["request"]["pictures"][0].startswith("sha256:")
    assert "your picture came back" in describe_edit(document).lower()
    store.save(document, last.images)
    *_, other = edit_stream(model, [PAIR], [0, 1], start_step=0)
    assert other.document["id"] != document["id"]
    with pytest.raises(PromptError, match="one a pair"):
        edit_stream(model, [PAIR, PAIR], [0], pictures=[picture])


def test_stopping_keeps_what_is_done(model: Model) -> None:
    seen: list[Any] = []
    stream = edit_stream(model, [PAIR], [0], start_step=0, cancelled=lambda: bool(seen))
    seen.append(next(stream))
    with pytest.raises(Cancelled):
        next(stream)
    assert seen[-1].document["sources"]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"seeds": (0, 0)}, PromptError, "different seeds"),
        ({"methods": ["magic"]}, PromptError, "prompt-to-prompt"),
        ({"start_step": 9}, LayerError, "0 to 3"),
        ({"layers": [99]}, LayerError, "no text layer 99"),
        ({"layers": []}, LayerError, "at least one layer"),
        ({"pairs": []}, PromptError, "one prompt pair"),
    ],
)
def test_bad_input(model: Model, options: dict[str, Any], error: type, said: str) -> None:
    given = {"pairs": [PAIR], "layers": [0], **options}
    with pytest.raises(error, match=said):
        edit_stream(model, given.pop("pairs"), given.pop("layers"), **given)


# --- Methods --------------------------------------------------------------------------------


def box(left: int, top: int, right: int, bottom: int) -> Reading:
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return Reading("AB", (Box("AB", 1.0, tuple((float(x), float(y)) for x, y in corners)),))


def test_inpainting_keeps_all_but_the_box(model: Model) -> None:
    """Blended latent diffusion: outside of the mask the latents are the source's."""
    from textloc.patching.generation import generate

    source = Run(PAIR.source, 0)
    run = inpainting.run(source, PAIR.target, box(0, 0, 4, 4), (16, 16))
    (chunk,) = generate(model, [source, run, Run(PAIR.target, 0)], model.defaults)
    old, new, free = (np.asarray(chunk.images[r], int) for r in (source, run, Run(PAIR.target, 0)))
    assert (new != old).any()
    # the random decoder sees a few latents around; at the far corner it sees the source alone
    assert np.abs(new - old)[:6, :6].mean() > np.abs(new - old)[-4:, -4:].mean()
    assert np.abs(new - old).mean() < np.abs(free - old).mean()
    whole = inpainting.run(source, PAIR.target, Reading(""), (16, 16))
    assert isinstance(whole.control, inpainting.Inpainting)
    assert whole.control.pixels().all()


def test_regenerating_takes_other_noise() -> None:
    seeds = {regenerate.run(Run("x", seed), "y", Reading(""), (1, 1)).seed for seed in range(100)}
    assert len(seeds) == 100
    assert not seeds & set(range(100))


# --- Measures -------------------------------------------------------------------------------


def test_outside_the_text_leaves_the_text_out() -> None:
    source = Image.new("RGB", (32, 32), "white")
    edit = source.copy()
    edit.paste((0, 0, 0), (10, 10, 20, 16))
    read = box(10, 10, 20, 16)
    values = edit_measures.compare(PAIR, edit, read, source, Reading("AB", read.boxes))
    assert values["mse"] != 0
    assert values["mse_outside_text"] == 0
    assert values["psnr_outside_text"] is None
    assert values["ssim"] is not None
    assert values["ssim"] < 1
    covered = edit_measures.compare(PAIR, edit, box(0, 0, 32, 32), source, Reading(""))
    assert covered["ssim_outside_text"] is None


def test_means_are_the_papers() -> None:
    """F1 of mean precision and mean recall; legacy columns are those of `metrics`."""
    pair = Pair("s", "t", "AB", "XYZ")
    pictures = [Image.new("RGB", (16, 16), colour) for colour in ("white", "grey")]
    reads = [Reading("XYZ"), Reading("X")]
    rows = [
        edit_measures.compare(pair, picture, read, pictures[0], Reading("AB"))
        for picture, read in zip(pictures, reads, strict=True)
    ]
    found = edit_measures.means(rows, [0, 1])
    expected = metrics.mean_ocr_f1([("XYZ", "XYZ"), ("X", "XYZ")])
    assert found["ocr_f1_target"][0] == pytest.approx(expected)
    assert found["exact_target"][0] == 0.5
    assert found["psnr"][0] == pytest.approx(rows[1]["psnr"])
    assert found["mse_legacy"][0] == pytest.approx(
        (rows[0]["mse_legacy"] + rows[1]["mse_legacy"]) / 2
    )
    assert found["exact_target"][1:] == [0, 1]


# --- Which layers ---------------------------------------------------------------------------


def test_layers_are_the_stored_ones_of_these_weights(
    model: Model, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from tests.documents import localize_document

    document, images = localize_document()
    assert choosing.layers_of(model) is None
    store.save(document, images)
    assert choosing.layers_of(model) is None
    same = replace(model, digest=document["checkpoint"]["digest"])
    expected = (tuple(document["selected"]), f"stored:{document['id']}")
    assert choosing.layers_of(same) == expected
    assert choosing.choose(same, "auto", [PAIR]) == expected
    assert choosing.choose(same, "all", [PAIR])[0] == tuple(range(len(model.layers)))
    assert choosing.choose(same, "0-1", [PAIR]) == ((0, 1), "given")
    published = replace(model, name="sdxl")
    assert choosing.layers_of(published) == ((55, 56, 57), "published")


# --- The command ----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_edits_and_names_the_files(
    shipped: Model, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["edit", "--source", 'a red sign that says "STOP"', "--target-text", "LOVE"]
    arguments += ["--layers", "8-10", "--start-step", "0", "--json", "-"]
    assert cli.main(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["layers"] == [8, 9, 10]
    (edit,) = document["edits"]
    assert edit["exact_target"] == 1
    assert Path(edit["image"]).is_file()
    assert document["edits"][0]["read_source"] == "STOP"
    assert cli.main(["show", document["id"]]) == 0
    assert "says the new words" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--source", "a sign"], "--target-text"),
        (["--source", "a sign", "--target-text", "LOVE"], "quotes no text"),
        (["--source", 'a "A" and "B"', "--target-text", "LOVE"], "several texts"),
        (["--source", 'a "STOP"', "--target-text", "LOVE", "--start-step", "x"], "start step"),
        (["--source", 'a "STOP"', "--target-text", "LOVE", "--image", "no.png"], "no.png"),
        (["--pairs", "no.tsv", "--source", "x"], "not both"),
    ],
)
def test_the_command_says_what_is_wrong(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["edit", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_from_python(model: Model) -> None:
    import textloc

    event = textloc.edit(model, 'a red sign "AB"', "XYZ", layers="0-1", start_step=0, seeds=(3,))
    assert event.document["complete"]
    assert event.document["edits"][0]["image"] in event.images
    assert event.document["request"]["seeds"] == [3]
