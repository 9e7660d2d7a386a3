"""What the jobs do with each of the newer families, or say of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests import tiny_newer, tiny_pipelines, tiny_siblings
from tests.jobs import test_guard as guarding
from tests.patching.test_invariants import whole
from textloc import guard
from textloc.checkpoints import families, loras
from textloc.checkpoints.latents import check_steps
from textloc.checkpoints.loading import Model
from textloc.errors import (
    CheckpointError,
    GuardError,
    LayerError,
    NoWayError,
    PromptError,
    TrainingError,
)
from textloc.finetuning.settings import Settings
from textloc.finetuning.training import finetune_stream
from textloc.jobs import guard as guards
from textloc.jobs.attribute import attribute_stream
from textloc.jobs.edit import edit_stream
from textloc.jobs.localize import localize_stream
from textloc.jobs.suppress import suppress_stream
from textloc.patching import generation
from textloc.patching.attribution import record, shares
from textloc.paths import ROOT
from textloc.pictures import reference
from textloc.prompts import parse_pair
from textloc.runs import Run

EVERY = sorted(tiny_newer.NEWER.keys() - {"omnigen"})  # whose scheduler has one time
PAGE = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")
SOURCE, TARGET = 'a "CAT"', 'a "DOG"'
LONGER = 'a mug of which someone says "CATS AND DOGS"'
PAIR = parse_pair(SOURCE, TARGET)

NO_WAY = {"lumina2"}
"""Texts of any length have places of their own."""
JUMPS = {"hidream"}
"""Experts are chosen along the way, so the shares do not sum to 1."""
CARRIED = {
    *(
        "aura-flow",
        "bria",
        "cogview3",
        "flux2",
        "flux2-klein",
        "flux2-klein-kv",
        "kolors",
        "lumina2",
        "ovis-image",
    ),
    *("qwen-image-21", "z-image"),
}
"""The guard's benign text can be read beside the prompt's own, or in its place."""
NO_LORA = {
    *("bria", "cogview3", "hunyuan-dit", "hunyuan-image", "kandinsky3", "longcat-image", "lumina"),
    *("nucleus", "ovis-image", "prx"),
}
"""diffusers loads none into them."""
TRAINED = {"chroma", "flux2", "flux2-klein", "z-image"}
"""Fine-tuned: tests/finetuning/test_families.py."""


@pytest.fixture(autouse=True)
def single_thread() -> None:
    torch.set_num_threads(1)


def last(stream: Any) -> Any:
    *_, event = stream
    return event


@pytest.mark.parametrize("name", tiny_newer.cases(EVERY))
def test_shares_sum_to_the_whole_or_it_is_said_why_not(name: str) -> None:
    model = tiny_newer.model(name)
    runs = Run(SOURCE, 1), Run(TARGET, 1)
    if name in NO_WAY:
        with pytest.raises(NoWayError, match=r"places of its own.*--search sweep"):
            shares(model, *runs, steps=[0])
        return
    found = shares(model, *runs, steps=[0], points=32)
    assert len(found.by_layer) == len(model.layers)
    assert np.isfinite(found.by_token).all()
    assert found.reached or name in JUMPS
    assert abs(found.by_layer.sum() - 1) < (0.2 if name in JUMPS else 0.05)


@pytest.mark.parametrize(
    "name", tiny_newer.cases(set(EVERY) - {"hunyuan-dit"})
)  # has two encoders' texts
def test_no_end_of_a_prompt_is_cut_off(name: str) -> None:
    """The last letter of the longest prompt that is not refused is read."""
    model = tiny_newer.model(name)
    least, most = 1, 200

    def refused(length: int) -> bool:
        try:
            model.check_length("a" * length)
        except PromptError:
            return True
        return False

    assert not refused(least)
    if refused(most):
        while most - least > 1:
            middle = (least + most) // 2
            least, most = (least, middle) if refused(middle) else (middle, most)
    else:
        least = most
    runs = [Run("a" * (least - 1) + letter, 1) for letter in "ab"]
    record(model, *runs, model.defaults, [0], lambda: False)  # raises where both read alike


@pytest.mark.parametrize("name", ["z-image", "qwen-image-21", "chroma", "ideogram4"])
def test_texts_of_other_lengths_have_no_way_between_them(name: str) -> None:
    model = tiny_newer.model(name)
    with pytest.raises(NoWayError, match="as many tokens, or use `--search sweep`"):
        shares(model, Run(SOURCE, 1), Run(LONGER, 1), steps=[0], points=4)


@pytest.mark.parametrize("name", ["lumina2", "z-image"])
def test_localize_sweeps_where_there_is_no_way(name: str) -> None:
    pair = parse_pair(SOURCE, LONGER)
    found = last(localize_stream(tiny_newer.model(name), [pair], search="auto")).document
    assert found["complete"]
    assert "search" not in found["request"]  # as a sweep that was asked for
    assert [layer["index"] for layer in found["layers"]] == [0, 1, 2]


@pytest.mark.parametrize("name", ["flux2", "qwen-image-21", "z-image"])
def test_localize_goes_by_shares_where_there_is_a_way(name: str) -> None:
    found = last(localize_stream(tiny_newer.model(name), [PAIR], search="auto")).document
    assert found["request"]["search"] == "attribution"


@pytest.mark.parametrize("name", tiny_newer.cases(EVERY))
def test_every_method_edits_and_suppresses_or_says_why_not(name: str) -> None:
    model = tiny_newer.model(name)
    edited = last(edit_stream(model, [PAIR], [0], start_step=0, methods=["all"])).document
    kept = last(
        suppress_stream(
            model, [SOURCE], [0], words=["cat"], replacements={"cat": "DOG"}, methods=["all"]
        )
    ).document
    for document in (edited, kept):
        said = [m["error"] for m in document["methods"] if m.get("error")]
        assert all("; " in why and "Error" not in why for why in said)


@pytest.mark.parametrize("name", tiny_newer.cases(EVERY))
def test_a_picture_of_ones_own_comes_out_as_its_latents_decode(name: str) -> None:
    """The edit's source row ends as the picture: encoded as the pipeline decodes."""
    model = tiny_newer.model(name)
    side = model.defaults.height or 0
    given = Image.radial_gradient("L").resize((side, side)).convert("RGB")
    check_steps(model.pipe.scheduler, model.defaults.steps)
    document = last(edit_stream(model, [PAIR], [0], start_step=0, pictures=[given]))
    source = next(image for key, image in document.images.items() if key.endswith("source"))
    autoencoder = getattr(model.pipe, "vae", None) or model.pipe.movq
    pixels = torch.from_numpy(np.asarray(given, np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    if type(autoencoder).__name__.endswith(("QwenImage", "Wan")):  # of videos
        pixels = pixels[:, :, None]
    with torch.no_grad():
        found = autoencoder.encode(pixels)
        spread = getattr(found, "latent_dist", None)
        code = found.latents if spread is None else spread.mode()
        more = {"force_not_quantize": True} if hasattr(model.pipe, "movq") else {}
        decoded = autoencoder.decode(code, **more).sample
    decoded = decoded[:, :, 0] if pixels.ndim == 5 else decoded
    wanted = ((decoded[0] / 2 + 0.5).clamp(0, 1) * 255).permute(1, 2, 0).numpy()
    assert source.size == given.size
    assert np.abs(np.asarray(source, np.float32) - wanted).max() <= 2


@pytest.mark.parametrize("name", tiny_newer.cases())
def test_the_guard_keeps_a_word_out_or_refuses(name: str) -> None:
    model = tiny_newer.model(name)
    exact = {"output_type": "np"}  # in [0, 1], not rounded to levels
    if name not in CARRIED:
        with (
            pytest.raises((GuardError, LayerError), match=r"suppress|too, past the guarded"),
            guard(model.pipe, "all", **guarding.KEEP),
        ):
            guarding.pictures(model, [guarding.BAD])
        return
    model = tiny_pipelines.precise(model)
    texts = (guarding.BAD, guarding.GOOD)
    plain, swapped = (guarding.pictures(model, [text], **exact) for text in texts)
    clean = guarding.pictures(model, [guarding.CLEAN], **exact)
    with guard(model.pipe, "all", **guarding.KEEP) as state:
        guarded = guarding.pictures(model, [guarding.BAD], **exact)
        assert np.array_equal(clean, guarding.pictures(model, [guarding.CLEAN], **exact))
    assert [told.benign for told in state.guarded] == [guarding.GOOD]
    whole = guarding.apart(plain, swapped)
    assert guarding.apart(guarded, plain) > 0.5 * whole
    assert guarding.apart(guarded, swapped) < 0.8 * whole
    assert np.array_equal(plain, guarding.pictures(model, [guarding.BAD], **exact))


def test_the_readme_names_the_pipelines_that_can_be_guarded() -> None:
    """Those that are tried here and beside."""
    made = [tiny_newer.NEWER[name][0]() for name in CARRIED]
    made += [make().pipe for make in (*guarding.STATIC.values(), *guarding.JOINT.values())]
    made.append(tiny_pipelines.OTHERS["qwen-image"]().pipe)
    tried = {type(pipe).__name__ for pipe in made} | tiny_siblings.DRAWING.keys()
    row = re.search(r"^\| `guard` \(pipelines\) \| (.*) \|$", PAGE, flags=re.M)
    assert row is not None
    named = {f"{name}Pipeline" for name in row[1].split(", ")}
    assert named == tried | {"FluxKontextPipeline"}


def test_of_a_fused_projection_only_keys_and_values_are_kept() -> None:
    """FLUX.2's single blocks: between passes that carry, a text keeps its queries."""
    from textloc.patching.injection import Words, injected

    model = tiny_newer.model("flux2")
    layer = model.layers[-1]
    own, given = (guarding.encoded(model, [text])[-1] for text in texts_of(model))
    seen: list[torch.Tensor] = []
    with injected(model.denoiser, model.layers, [layer.index], [Words(own, given)], every=2):
        hook = model.denoiser.get_submodule(layer.key).register_forward_hook(
            lambda _module, _args, output: seen.append(output.clone())
        )
        guarding.pictures(model, [guarding.BAD])
        hook.remove()
    text, (start, stop) = len(own), layer.key_part or (0, 0)
    other = seen[0][-1, text : 2 * text]
    assert torch.equal(seen[1][-1, :text, start:stop], other[:, start:stop])
    assert not torch.equal(seen[1][-1, :text, :start], other[:, :start])


def texts_of(_model: Model) -> tuple[str, str]:
    return guarding.BAD, guarding.GOOD


@pytest.mark.parametrize("name", tiny_newer.cases())
def test_a_lora_is_carried_or_it_is_said_why_not(name: str, tmp_path: Path) -> None:
    model = tiny_newer.model(name)
    noise = torch.Generator().manual_seed(0)
    places = {place: model.denoiser.get_submodule(place) for place in model.layers[0].parts}
    weights, changes = {}, {}
    for place, module in places.items():
        down = torch.randn(2, module.weight.shape[1], generator=noise)
        up = torch.randn(module.weight.shape[0], 2, generator=noise)
        key = f"{model.family.DENOISER}.{place}"
        weights |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
        changes[place] = up @ down
    file = tmp_path / "lora.safetensors"
    save_file(weights, file)
    if name in NO_LORA | {"omnigen"}:
        with (
            pytest.raises(CheckpointError, match="takes no LoRA"),
            loras.attached(model, str(file)),
        ):
            pass
        return
    inputs = {p: torch.randn(3, m.weight.shape[1], generator=noise) for p, m in places.items()}
    with torch.no_grad():
        before = {p: m(inputs[p]) for p, m in places.items()}
        with loras.attached(model, str(file), 0.5):
            for place, change in changes.items():
                found = model.denoiser.get_submodule(place)(inputs[place])
                wanted = before[place] + 0.5 * inputs[place] @ change.T
                torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
        for place in places:
            after = model.denoiser.get_submodule(place)(inputs[place])
            assert torch.equal(after, before[place])


@pytest.mark.parametrize("name", tiny_newer.cases(tiny_newer.NEWER.keys() - TRAINED))
def test_what_cannot_be_trained_says_so_at_once(name: str, tmp_path: Path) -> None:
    model = tiny_newer.model(name)
    with pytest.raises(TrainingError, match=r"cannot be fine-tuned here; .* carried by --lora"):
        last(finetune_stream(model, "scenes:digits", Settings(layers=(0,)), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", sorted(tiny_newer.NEWER))
def test_the_architecture_of_every_family_has_a_name(name: str) -> None:
    model = tiny_newer.model(name)
    assert len(model.architecture) == 16
    assert model.architecture == families.architecture(model.denoiser, model.layers)


# ---------------------------------------------------------------------------- with a picture


def pictured(name: str) -> Model:
    """At the least size that FLUX.2 takes pictures of."""
    siblings = name in tiny_siblings.SIBLINGS
    model = tiny_siblings.model(name) if siblings else tiny_newer.model(name)
    return replace(model, defaults=replace(model.defaults, height=64, width=64))


def shade(side: int, light: bool) -> Image.Image:
    return Image.radial_gradient("L").resize((side, side)).point(lambda v: v if light else 255 - v)


@pytest.mark.parametrize("name", ["flux2", "flux2-klein", "flux2-klein-kv", "FluxKontextPipeline"])
def test_a_picture_beside_the_prompt_is_seen_and_kept_by_its_digest(name: str) -> None:
    model = pictured(name)
    side = model.defaults.height or 0
    found = [
        last(localize_stream(model, [PAIR], image=image, search="sweep", seeds=[0]))
        for image in (None, shade(side, True), shade(2 * side, False))
    ]
    asked = [event.document["request"].get("image") for event in found]
    assert asked[0] is None
    assert asked[1] != asked[2]
    assert len({event.document["id"] for event in found}) == 3
    sources = [np.asarray(e.images["p0-s0-source"], int) for e in found]
    assert (sources[0] != sources[1]).any()
    assert (sources[1] != sources[2]).any()
    call = replace(model.defaults, reference=reference(shade(side, True), model.defaults))
    source, target = Run(PAIR.source, 0), Run(PAIR.target, 0)
    moved = source.patched(whole(model, target))
    images: dict[Run, Any] = {}
    for chunk in generation.generate(model, [source, target, moved], call):
        images.update(chunk.images)
    levels = [np.asarray(images[run], int) for run in (moved, target)]
    assert np.abs(levels[0] - levels[1]).max() <= 1
    shares = last(attribute_stream(model, [PAIR], image=shade(side, True), steps_at=[0]))
    assert shares.document["request"]["image"] == asked[1]


@pytest.mark.parametrize("name", ["flux2", "flux2-klein", "FluxKontextPipeline"])
def test_the_guard_keeps_a_word_out_beside_a_picture(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_pipelines.precise(pictured(name))
    picture = shade(model.defaults.height or 0, True).convert("RGB")
    kontext = name == "FluxKontextPipeline"
    more = {"image": picture, "_auto_resize": False} if kontext else {"image": [picture]}
    # the pooled state of FLUX's first encoder reaches no text layer, and stays as it was
    text = "prompt_2" if kontext else "prompt"
    plain = guarding.pictures(model, [guarding.BAD], output_type="np", **more)
    benign = more | {text: [guarding.GOOD]}
    swapped = guarding.pictures(model, [guarding.BAD], output_type="np", **benign)
    with guard(model.pipe, "all", **guarding.KEEP) as state:
        guarded = guarding.pictures(model, [guarding.BAD], output_type="np", **more)
        monkeypatch.setattr(guards, "_EVERY", 1)  # the benign text is carried in every pass
        always = guarding.pictures(model, [guarding.BAD], output_type="np", **more)
    assert len(state.guarded) == 2
    assert guarding.apart(guarded, plain) > 0
    assert np.abs(guarded - swapped).mean() < np.abs(plain - swapped).mean()
    assert guarding.apart(always, swapped) < 1e-5
    assert guarding.apart(plain, swapped) > 1e-4


def test_the_guard_refuses_kept_keys_of_a_picture() -> None:
    """`Flux2KleinKVPipeline` attends to a picture's own keys by a call apart."""
    model = pictured("flux2-klein-kv")
    picture = shade(model.defaults.height or 0, True).convert("RGB")
    with (
        guard(model.pipe, "all", **guarding.KEEP),
        pytest.raises(LayerError, match="no picture beside the prompt"),
    ):
        guarding.pictures(model, [guarding.BAD], image=[picture])


@pytest.mark.parametrize("name", ["z-image", "qwen-image-21", "cogview4"])
def test_a_picture_where_none_is_taken_is_refused(name: str) -> None:
    model = tiny_newer.model(name)
    with pytest.raises(PromptError, match=r"takes no picture beside its prompt .* leave"):
        localize_stream(model, [PAIR], image=shade(32, True))
