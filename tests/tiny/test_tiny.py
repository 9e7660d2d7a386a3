"""The tiny checkpoints' scenes, words and training."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from textloc.checkpoints import loading
from textloc.errors import CheckpointError, PromptError
from textloc.patching import generation
from textloc.paths import CHECKPOINTS, WORDS
from textloc.runs import Run
from textloc.scenes import rendering, wording, words
from textloc.tiny import (
    autoencoder,
    codec,
    data,
    evaluate,
    export,
    judge,
    regression,
    teacher,
    train,
    upscaler,
    warm,
)
from textloc.tiny.recipes import RECIPES, components


@pytest.fixture(scope="module")
def small_codec() -> codec.Codec:
    return codec.fit(pictures=60)


def test_training_words_are_invented() -> None:
    rng = np.random.default_rng(0)
    drawn = [words.sample(rng) for _ in range(500)]
    listed = set(words.read_list(WORDS / "evaluation.txt"))
    assert not listed & set(drawn)
    assert {len(word) for word in drawn} == {2, 3, 4, 5, 6}
    assert all(len(words.sample(rng, 3)) <= 3 for _ in range(50))
    assert all(3 <= len(word) <= 6 for word in listed)


def test_word_list_errors(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="cannot read"):
        words.read_list(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    with pytest.raises(PromptError, match="one word a line"):
        words.read_list(tmp_path / "empty.txt")
    (tmp_path / "some.txt").write_bytes(b"\xef\xbb\xbfstop\r\nGo\r\n")
    assert words.read_list(tmp_path / "some.txt") == ["STOP", "GO"]


def test_scene_depends_on_its_description_only() -> None:
    scene = rendering.Scene("sign", "red", "STOP", seed=3)
    assert scene.prompt == 'a red sign that says "STOP"'
    assert np.array_equal(rendering.render(scene), rendering.render(scene))
    other = rendering.with_word(scene, "GO", 3)
    assert not np.array_equal(rendering.render(scene), rendering.render(other))
    assert rendering.render(scene).size == (rendering.SIZE, rendering.SIZE)


def test_training_never_draws_what_is_held_out() -> None:
    rng = np.random.default_rng(1)
    drawn = [rendering.sample(rng, "ABC") for _ in range(2000)]
    assert all(scene.seen for scene in drawn)
    assert {scene.object for scene in drawn} == set(rendering.OBJECTS)
    assert {scene.colour for scene in drawn} == set(rendering.COLOURS)
    assert {scene.wording for scene in drawn} == set(rendering.WORDINGS)
    plain = {rendering.sample(rng, "ABC", variety=0).prompt for _ in range(20)}
    assert plain == {'a red sign that says "ABC"'}


@pytest.mark.parametrize("name", rendering.OBJECTS)
@pytest.mark.parametrize("word", ["IT", "WWMWWM"])
def test_the_word_lies_where_the_training_says(name: str, word: str) -> None:
    """Only patches in `text_region` change with the word, and letters stand in their strips."""
    scene = rendering.Scene(name, "blue", word, seed=5)
    blank = rendering.with_word(scene, " ", 5)
    changed = np.abs(
        np.asarray(rendering.render(scene), int) - np.asarray(rendering.render(blank), int)
    )
    patches = changed.max(2).reshape(8, 8, 8, 8).max((1, 3)) > 0
    region = rendering.text_region(scene, 8)
    assert not (patches & ~region).any()
    index = rendering.letters_at(scene, 8, 2)
    assert set(np.unique(index)) >= {-2, *range(len(word))}


def test_every_condition_asks_for_what_training_held_back() -> None:
    listed = words.read_list(WORDS / "evaluation.txt")[:12]
    assert all(scene.seen for scene in evaluate.ask(listed, "plain"))
    free = [scene.prompt for scene in evaluate.ask(listed, "free")]
    held = {c: [s.prompt for s in evaluate.ask(listed, c)] for c in ("name", "filler", "saying")}
    assert len({tuple(free), *map(tuple, held.values())}) == 4
    names = [name for listed_ in wording.HELD_NAMES.values() for name in listed_]
    assert all(any(name in prompt for name in names) for prompt in held["name"])
    for condition in ("wording", "typeface", "position"):
        asked = evaluate.ask(listed, condition)
        assert [scene.word for scene in asked] == listed
        assert not any(scene.seen for scene in asked)


def test_natural_prompts_are_asked_as_they_stand() -> None:
    rows = [line.split("\t") for line in evaluate.NATURAL.read_text("utf-8").splitlines()]
    rows = [row for row in rows if not row[0].startswith("#")]
    asked = evaluate.ask(["IGNORED"], "natural")
    assert [scene.prompt for scene in asked] == [prompt for prompt, _, _ in rows]
    assert {scene.object for scene in asked} == set(rendering.OBJECTS)
    assert {scene.colour for scene in asked} == {*rendering.COLOURS, "-"}
    assert all(3 <= len(scene.word) <= 6 for scene in asked)
    assert len({scene.word.upper() for scene in asked}) == len(asked)
    any_colour = next(scene for scene in asked if scene.colour == "-")
    other = judge.Verdict(any_colour.object, "green")
    assert evaluate.Spelled(any_colour, any_colour.word, other).scene_right == 1
    red = next(scene for scene in asked if scene.colour == "red")
    other = judge.Verdict(red.object, "green")
    assert evaluate.Spelled(red, red.word, other).scene_right == 0


def test_linear_code_keeps_the_picture(small_codec: codec.Codec) -> None:
    scene = rendering.Scene("mug", "green", "HELLO", seed=1)
    picture = codec.to_tensor(rendering.render(scene))[None]
    code = small_codec.encode(picture)
    assert code.shape == (1, codec.CHANNELS, 8, 8)
    assert (small_codec.decode(code) - picture).square().mean() < 0.02


def _trainer(out: Path, small_codec: codec.Codec, family: str = "sdxl") -> train.Trainer:
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "codec.safetensors").exists():
        small_codec.save(out / "codec.safetensors")
    return train.Trainer(out, data.Settings(family, batch=4, warmup=2))


@pytest.mark.parametrize("family", RECIPES)
def test_training_calls_the_parts_as_the_pipeline_does(
    family: str, tmp_path: Path, small_codec: codec.Codec
) -> None:
    """What training takes for the denoiser's output is what the scheduler is given."""
    trainer = _trainer(tmp_path, small_codec, family)
    pipe = trainer.recipe.pipeline(trainer.parts, components.autoencoder(0))
    pipe.set_progress_bar_config(disable=True)
    prompt, seen = 'a red sign that says "STOP"', []
    step = pipe.scheduler.step
    pipe.scheduler.step = lambda out, t, latents, **rest: (
        seen.append((out, t, latents)) or step(out, t, latents, **rest)
    )
    call = trainer.recipe.call | {"num_inference_steps": 2, "guidance_scale": 1.0}
    kind = "latent" if trainer.recipe.latent else "pt"
    pipe(prompt, generator=torch.Generator().manual_seed(0), output_type=kind, **call)
    assert len(seen) == 2
    with torch.no_grad():
        tokens = trainer.recipe.tokenize(trainer.parts, [prompt])
        states, pooled = trainer.recipe.text(trainer.model, tokens)
        for out, t, latents in seen:
            ours = trainer.recipe.denoise(trainer.model, latents, t[None], states, pooled)
            assert torch.allclose(ours, out, atol=1e-5)


def test_any_number_of_workers_gives_the_same_batches(small_codec: codec.Codec) -> None:
    settings = data.Settings(batch=2)
    parts_ = RECIPES["sdxl"].components(0)
    batches = data.Batches(settings, small_codec, parts_, 5)
    loaders = [torch.utils.data.DataLoader(batches, None, num_workers=n) for n in (0, 2)]
    for alone, together, _ in zip(*loaders, range(4), strict=False):
        assert torch.equal(alone["tokens"], together["tokens"])
        assert torch.equal(alone["code"], together["code"])


@pytest.mark.slow
@pytest.mark.parametrize("family", RECIPES)
def test_an_exported_run_is_an_ordinary_checkpoint(
    family: str, tmp_path: Path, small_codec: codec.Codec
) -> None:
    """It loads by its folder, reads prompts as in training, and makes a picture of its size."""
    trainer = _trainer(tmp_path / "run", small_codec, family)
    trainer.save()
    autoencoder.Trainer(tmp_path, small_codec).save()
    out = tmp_path / "checkpoint"
    export.export(tmp_path / "run", tmp_path / "vae", out, family, "# a card\n")
    assert all(file.stat().st_size < 10e6 for file in out.rglob("*") if file.is_file())
    model = loading.load(out)
    assert type(model.pipe).__name__ == trainer.recipe.pipeline_class
    assert len(model.layers) >= 7
    run = Run('a red sign that says "STOP"')
    with pytest.raises(PromptError, match="2 to 6 letters"):
        model.check_prompt('a sign "EXTRAORDINARY"', model.defaults)
    sampling = replace(model.defaults, steps=1)
    (chunk,) = generation.generate(model, [run], sampling)
    side = rendering.LARGE if trainer.recipe.latent else rendering.SIZE
    assert chunk.images[run].size == (side, side)
    own = trainer.recipe.tokenize(trainer.parts, [run.prompt])
    loaded = {k: v for k, v in model.pipe.components.items() if k.startswith("tokenizer")}
    assert torch.equal(own, trainer.recipe.tokenize(loaded, [run.prompt]))


def test_places_count_the_letters_between_the_marks() -> None:
    for recipe in RECIPES.values():
        parts_ = recipe.components(0)
        prompts = ['a red sign that says "SIGN" in serif', "a sign"]
        tokens = recipe.tokenize(parts_, prompts)
        first, none = recipe.places(parts_, tokens)
        assert [int(place) for place in first if place > 0] == [1, 2, 3, 4], recipe.name
        assert not (none > 0).any()
        (curly,) = recipe.places(parts_, recipe.tokenize(parts_, ["a sign \u201cSIGN\u201d"]))
        assert not (curly >= 0).any(), recipe.name  # nobody is told that no letter is quoted


def test_pooled_states_of_training_are_the_partners(
    tmp_path: Path, small_codec: codec.Codec
) -> None:
    """So that the letters do not come by them; what is dropped or hidden has none of a partner."""
    model = _trainer(tmp_path, small_codec, "if").model
    pooled = torch.arange(8.0).reshape(4, 2)
    assert model._exchange(None, None, pooled) is pooled
    no = torch.zeros(4, dtype=torch.bool)
    model._unseen = no, no
    assert torch.equal(model._exchange(None, None, pooled), pooled[[1, 0, 3, 2]])
    model._unseen = torch.tensor([True, False, False, False]), torch.tensor([0, 0, 1, 0]).bool()
    assert model._exchange(None, None, pooled).tolist() == [[0, 1], [0, 1], [0, 0], [4, 5]]


@pytest.mark.slow
@pytest.mark.parametrize("family", RECIPES)
def test_resuming_gives_the_same_weights(
    family: str, tmp_path: Path, small_codec: codec.Codec
) -> None:
    whole = _trainer(tmp_path / "whole", small_codec, family)
    whole.train(4, None)
    _trainer(tmp_path / "parts", small_codec, family).train(2, None)
    resumed = _trainer(tmp_path / "parts", small_codec, family)
    assert resumed.step == 2
    resumed.train(4, None)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for name, value in whole.averaged.items():
        assert torch.equal(value, resumed.averaged[name]), name


@pytest.mark.slow
def test_the_decoder_learns_what_is_predicted(tmp_path: Path) -> None:
    """It begins with the blocks of an autoencoder of small pictures, and the denoiser's predictions
    come near the code that they are of."""
    start = CHECKPOINTS / "tiny-sdxl"
    code = codec.Codec.load(start / "vae" / "codec.safetensors")
    predicted = autoencoder.Predicted([start, CHECKPOINTS / "tiny-sd3"], torch.device("cpu"))
    coder = autoencoder.Trainer(tmp_path, code, start=start / "vae", predicted=predicted)
    old = type(coder.model).from_pretrained(start / "vae", torch_dtype=torch.float32)
    taken = old.decoder.mid_block.state_dict()
    assert all(
        torch.equal(value, taken[k])
        for k, value in coder.model.decoder.mid_block.state_dict().items()
    )
    outer, inner = coder.model.encoder.down_blocks[-1], old.encoder.down_blocks[-1]
    assert all(torch.equal(value, inner.state_dict()[k]) for k, value in outer.state_dict().items())
    batch = next(iter(regression.Pictures(0, 0)))
    clean = code.encode(batch["small"])
    for turn in range(2):
        told = predicted(clean[::2], batch["prompts"][::2], turn)
        assert (told - clean[::2]).square().mean() < 0.2 * clean.var()
        assert not torch.equal(told, clean[::2])
    coder.train(2, None, 1e-3)
    assert float(torch.tensor(1e-40) * 1) > 0  # the process is as it was
    drawn = coder.model.decode(told).sample
    assert drawn.shape == batch["large"][::2].shape


def test_edges_see_differences_of_neighbours_only() -> None:
    even = torch.ones(1, 1, 2, 2)
    assert regression.edges(torch.full((1, 3, 2, 2), 0.25), even) == 0
    step = torch.zeros(1, 1, 2, 2)
    step[..., 1] = 1  # one step in each of the two rows, none down the columns
    assert regression.edges(step, even) == 1
    assert regression.edges(step, 3 * even) == 3


def test_a_word_weighs_more_than_what_is_around_it() -> None:
    word = torch.zeros(1, 2, 2, dtype=torch.bool)
    word[0, 0, 1] = True
    weight = regression.weights(word, 4)
    assert weight.shape == (1, 1, 4, 4)
    assert torch.allclose(weight[0, 0, :2, 2:] / weight[0, 0, 0, 0], torch.tensor(regression.WORD))
    assert float(weight.mean()) == pytest.approx(1)


def test_stages_grow() -> None:
    first, last = data.stage(0), data.stage(10_000)
    assert (first.longest, first.variety, first.high) == (2, 0.0, 1.0)
    assert (last.longest, last.variety) == (6, 1.0)
    assert last.high + last.middle < 1
    assert data.stage(data.GROWN) == last


def test_the_command_line_knows_the_families() -> None:
    from textloc.tiny import __main__ as command

    assert set(command._FAMILIES) == set(RECIPES)


def test_a_warm_start_needs_the_code(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"codec\.safetensors"):
        train.Trainer(tmp_path / "run", data.Settings(), start=tmp_path)


@pytest.mark.slow
def test_another_family_starts_from_what_fits(
    tmp_path: Path, small_codec: codec.Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The U-Net of tiny-sdxl under one new text encoder, which learns the states it knows."""
    monkeypatch.setattr(train, "IMITATION", 2)
    start = CHECKPOINTS / "tiny-sdxl"
    trainer = train.Trainer(tmp_path, data.Settings("ldm", batch=4, warmup=2), start=start)
    assert trainer.step == data.GROWN
    given = trainer.parts["unet"].state_dict()
    cls = type(trainer.parts["unet"])
    old = cls.from_pretrained(start / "unet", torch_dtype=torch.float32).state_dict()
    assert set(given) < set(old)
    assert all(torch.equal(value, old[name]) for name, value in given.items())
    few = warm.imitate(trainer.settings, trainer.parts, small_codec, start, 2)
    assert warm.imitate(trainer.settings, trainer.parts, small_codec, start, 30) < few
    strange = RECIPES["sd3"].components(0)
    with pytest.raises(CheckpointError, match="text states of shape"):
        warm.imitate(data.Settings("sd3", batch=4), strange, small_codec, start, 1)
    with pytest.raises(CheckpointError, match="no weights of"):
        warm.take({"transformer": torch.nn.Linear(1, 1)}, start)


def test_another_vocabulary_keeps_the_rows_of_the_old(tmp_path: Path) -> None:
    """What a token meant it means, wherever it stands in the new vocabulary."""
    start = tmp_path / "old"
    shutil.copytree(CHECKPOINTS / "tiny-sd3", start)
    words = ("tokenizer", "red</w>", "sign</w>"), ("tokenizer_3", "q", "x")
    for name, *two in words:  # as if two of them had stood elsewhere
        file = start / name / "tokenizer.json"
        said = json.loads(file.read_text(encoding="utf-8"))
        vocabulary = said["model"]["vocab"]
        if isinstance(vocabulary, dict):
            first, second = (vocabulary[word] for word in two)
            vocabulary[two[0]], vocabulary[two[1]] = second, first
        else:
            first, second = (
                next(n for n, (piece, _) in enumerate(vocabulary) if piece == word) for word in two
            )
            vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
        file.write_text(json.dumps(said), encoding="utf-8")
    parts = RECIPES["sd3"].components(0)
    assert {"text_encoder", "text_encoder_3"} <= warm.take(parts, start)
    moved = 0
    for name in ("text_encoder", "text_encoder_3"):
        part = parts[name]
        tokenizer = parts[name.replace("text_encoder", "tokenizer")]
        old_part = type(part).from_pretrained(start / name, torch_dtype=torch.float32)
        old = type(tokenizer).from_pretrained(start / name.replace("text_encoder", "tokenizer"))
        rows, old_rows = (one.get_input_embeddings().weight for one in (part, old_part))
        for token in (*tokenizer.tokenize('a red sign that says "QX"'), tokenizer.eos_token):
            row, old_row = tokenizer.convert_tokens_to_ids(token), old.convert_tokens_to_ids(token)
            assert torch.equal(rows[row], old_rows[old_row]), token
            moved += row != old_row
    assert moved == 4


def test_the_curriculum_ends_when_asked(small_codec: codec.Codec) -> None:
    quick = data.Batches(
        data.Settings(batch=4, grown=10), small_codec, RECIPES["sdxl"].components(0), 0
    )
    assert quick.batch(10)["t"].min() < 0.9  # all noise levels
    assert data.stage(10).high == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sd3", "if"])
def test_a_teacher_knows_the_picture(family: str, tmp_path: Path) -> None:
    """What tiny-ldm expects behind the student's noisy picture is the picture, on the code and on
    pixels; where it is not asked the target is the picture itself."""
    settings = data.Settings(family, batch=16, warmup=2, grown=1)
    trainer = train.Trainer(tmp_path, settings, teacher=CHECKPOINTS / "tiny-ldm")
    trainer.step = 1
    batch = next(trainer._batches())
    taught, everything = batch.pop("taught"), batch.pop("told") | True
    noise = trainer.noise(0, batch["code"].shape)
    batch["t"][:8], batch["t"][8:] = 0.8, 0.3
    batch["drop"] &= False
    code = batch["code"]

    def error(tokens: torch.Tensor) -> float:
        told = trainer._target(tokens, everything, batch, noise)
        assert told is not None
        assert torch.equal(told[8:], code[8:])
        return float((told - code)[:8].square().mean() / code.var())

    right, wrong = error(taught), error(train.swap_partners(taught))
    assert right < 0.25
    assert wrong > 1.5 * right
    trainer.train(2, None)


def test_a_teacher_of_an_unknown_pipeline(tmp_path: Path, small_codec: codec.Codec) -> None:
    (tmp_path / "vae").mkdir()
    small_codec.save(tmp_path / "vae" / "codec.safetensors")
    (tmp_path / "model_index.json").write_text('{"_class_name": "Strange"}')
    with pytest.raises(CheckpointError, match="Strange"):
        teacher.Texts(tmp_path)


def test_a_second_stage_is_trained_and_enlarges(tmp_path: Path) -> None:
    """It learns on what the first stage predicts, goes on from its state, and its folder enlarges
    what the first stage draws, by its own call."""
    first = CHECKPOINTS / "tiny-if"
    trainer = upscaler.Trainer(tmp_path / "run", first)
    batch = next(iter(regression.Pictures(0, 0)))
    few = {name: value[:2] for name, value in batch.items()}
    loss, _ = trainer.learn(few)
    loss.backward()
    left_out = {name for name, weight in trainer.model.named_parameters() if weight.grad is None}
    assert not left_out
    assert torch.all(trainer.model.conv_out.weight.grad[3:] == 0)  # the variance is not asked for
    trainer.step = 7
    trainer.save()
    again = upscaler.Trainer(tmp_path / "run", first)
    assert again.step == 7
    upscaler.export(tmp_path / "run", first, tmp_path / "second", "# a card\n")
    model = loading.load("tiny-if", upscaler=str(tmp_path / "second"))
    assert model.upscaler is not None
    assert dict(model.upscaler.call) == upscaler.CALL
    run = Run('a red sign that says "STOP"')
    small = rendering.render(rendering.Scene("sign", "red", "STOP"))
    seen: list[int] = []
    model.upscaler.pipe.unet.register_forward_hook(lambda *_: seen.append(1))
    (picture,) = model.upscaler([run], [small], [torch.Generator().manual_seed(0)])
    assert picture.size == (rendering.LARGE, rendering.LARGE)
    assert len(seen) == upscaler.CALL["num_inference_steps"]
    (tmp_path / "second" / "call_defaults.json").write_text('{"noise_level": "low"}')
    with pytest.raises(CheckpointError, match=r"call_defaults\.json of second is damaged"):
        loading.load("tiny-if", upscaler=str(tmp_path / "second"))


def test_a_second_stage_wants_a_first_without_an_autoencoder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="give a folder of tiny-if"):
        upscaler.Trainer(tmp_path, CHECKPOINTS / "tiny-ldm")
    with pytest.raises(CheckpointError, match="train first"):
        upscaler.export(tmp_path, CHECKPOINTS / "tiny-if", tmp_path / "out", "")


def test_a_warm_start_from_pixels(tmp_path: Path) -> None:
    """tiny-if has no picture code to take along."""
    start = CHECKPOINTS / "tiny-if"
    trainer = train.Trainer(tmp_path, data.Settings(family="if", batch=2), start=start)
    own = trainer.parts["unet"].state_dict()
    old = type(trainer.parts["unet"]).from_pretrained(start / "unet", torch_dtype=torch.float32)
    assert all(torch.equal(value, own[name]) for name, value in old.state_dict().items())
    trainer.save()
    assert train.Trainer(tmp_path, trainer.settings, start=start).step == trainer.step


@pytest.mark.slow
def test_the_autoencoder_resumes(tmp_path: Path, small_codec: codec.Codec) -> None:
    trainer = autoencoder.Trainer(tmp_path, small_codec)
    trainer.train(1, None, 1e-3)
    again = autoencoder.Trainer(tmp_path, small_codec)
    assert again.step == 1
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
