"""What travels with the project: checkpoints that spell, and results that are theirs."""

from __future__ import annotations

import json

import pytest
import torch

from textloc.checkpoints import loading, loras, weights
from textloc.checkpoints.known import KNOWN
from textloc.checkpoints.loading import Model
from textloc.jobs.choosing import layers_of
from textloc.jobs.localize import localize
from textloc.patching.generation import generate
from textloc.paths import CHECKPOINTS, ROOT, WORDS
from textloc.prompts import parse_pair, read_pairs
from textloc.reading import metrics, ocr
from textloc.results import store
from textloc.runs import Patch, Run
from textloc.scenes import words
from textloc.tiny import evaluate

RESULTS = ROOT / "cached_results"
SHIPPED = [entry.name for entry in KNOWN if entry.shipped]
FEW = [name for name in SHIPPED if name != "tiny-sd3"]
"""Most layers of tiny-sd3 take part in writing (README, What it finds)."""


@pytest.fixture(scope="module", params=SHIPPED)
def checkpoint(request: pytest.FixtureRequest) -> Model:
    """Each shipped checkpoint."""
    return loading.load(request.param)


def shipped_results() -> list[str]:
    """What ships; a folder with a dot in front is what a run here has left."""
    return sorted(f.name for f in RESULTS.iterdir() if f.is_dir() and f.name[0] != ".")


def test_at_least_three_results_are_shipped_and_one_is_the_default() -> None:
    assert len(shipped_results()) >= 3
    default = json.loads((RESULTS / "index.json").read_text(encoding="utf-8"))["textloc.localize"]
    assert store.default_id(RESULTS) == default
    assert default in shipped_results()


@pytest.mark.parametrize("result", shipped_results())
def test_shipped_results_are_those_of_the_shipped_weights(result: str) -> None:
    document = store.load(result, RESULTS).document
    checkpoint = document["checkpoint"]
    digest = weights.digest(CHECKPOINTS / checkpoint["name"])
    if (lora := checkpoint.get("lora")) is not None:
        assert lora["base"] == digest
        assert lora["digest"] == loras.find(lora["name"]).digest
        digest = loras.joined(digest, lora["digest"], lora["scale"])
    assert checkpoint["digest"] == digest
    assert document["complete"]


@pytest.mark.parametrize("name", SHIPPED)
def test_files_stay_small(name: str) -> None:
    folder = CHECKPOINTS / name
    assert (folder / "README.md").is_file()
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    assert max(sizes) <= 10_000_000
    assert sum(sizes) <= 30_000_000


@pytest.mark.slow
@pytest.mark.parametrize("name", loras.shipped())
def test_a_shipped_lora_changes_the_words(name: str, shipped: Model) -> None:
    """In a plain diffusers pipeline, of the checkpoint that it names."""
    found = loras.find(name)
    assert found.path.stat().st_size <= 10_000_000
    assert (found.path.parent / "README.md").is_file()
    assert found.about["base"]["digest"] == shipped.digest
    prompt = 'a white sign that says "204"'
    pipe = shipped.pipe

    def letters() -> str:
        image = pipe(
            prompt,
            num_inference_steps=shipped.defaults.steps,
            guidance_scale=shipped.defaults.guidance,
            height=shipped.defaults.height,
            width=shipped.defaults.width,
            generator=torch.Generator().manual_seed(0),
        ).images[0]
        return ocr.read([image])[0].text

    before = letters()
    pipe.load_lora_weights(found.path.parent)
    try:
        after = letters()
    finally:
        pipe.unload_lora_weights()
    assert after != before
    assert letters() == before


@pytest.mark.slow
def test_a_shipped_checkpoint_spells(checkpoint: Model) -> None:
    """A third of the words that it is measured with; the model card has the whole measurement."""
    listed = words.read_list(WORDS / "evaluation.txt")[::3]
    spelled, _ = evaluate.spell(checkpoint, evaluate.ask(listed, "plain"))
    assert sum(s.exact for s in spelled) >= 0.5 * len(spelled)
    assert sum(s.scene_right for s in spelled) >= 0.9 * len(spelled)


def stored_layers(checkpoint: Model) -> tuple[int, ...]:
    found = layers_of(checkpoint)
    assert found is not None
    layers, origin = found
    assert origin.startswith("stored:")
    return layers


@pytest.mark.slow
def test_the_stored_layers_write_and_the_others_do_not(checkpoint: Model) -> None:
    """On words that the stored localization did not have."""
    layers = stored_layers(checkpoint)
    others = tuple(i for i in range(len(checkpoint.layers)) if i not in layers)
    pairs = read_pairs(WORDS / "edits.tsv")[::12]
    scores = {}
    for name, chosen in (("none", ()), ("these", layers), ("others", others), ("all", None)):
        runs = []
        for pair in pairs:
            every = tuple(range(len(checkpoint.layers)))
            patch = Patch(every if chosen is None else chosen or (0,), Run(pair.target))
            source = Run(pair.source)
            runs.append(source if chosen == () else source.patched(patch))
        images = {}
        for chunk in generate(checkpoint, runs, checkpoint.defaults, lean=True):
            images.update(chunk.images)
        readings = ocr.read([images[run] for run in runs])
        texts = [(r.text, p.target_text) for r, p in zip(readings, pairs, strict=True)]
        scores[name] = metrics.mean_ocr_f1(texts)
    effects = {
        name: metrics.effect(score, scores["none"], scores["all"]) or 0.0
        for name, score in scores.items()
    }
    assert scores["all"] > scores["none"] + 0.3
    assert effects["these"] >= 0.8
    assert effects["others"] <= 0.2


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", FEW, indirect=True, scope="module")
def test_a_shipped_checkpoint_has_few_layers_that_write(checkpoint: Model) -> None:
    assert len(stored_layers(checkpoint)) <= len(checkpoint.layers) // 2
    pairs = [
        parse_pair('a red sign that says "STOP"', "LOVE"),
        parse_pair('a blue mug that says "RAIN"', "HOPE"),
    ]
    document = localize(checkpoint, pairs).document
    assert document["ceiling"] > document["floor"] + 0.3
    assert 0 < len(document["selected"]) <= len(checkpoint.layers) // 2
    chosen = next(e for e in document["sets"] if e["layers"] == document["selected"])
    untouched = document["references"]["source"]["scores"]
    assert chosen["scores"]["effect"] >= 0.9
    assert chosen["scores"]["ocr_f1_source"] < untouched["ocr_f1_source"]
    assert document["fraction_of_parameters"] < 0.1
