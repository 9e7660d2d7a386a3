"""LoRA on chosen layers: the loss, the samples, the loop, what a killed run goes on from."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests import hub_stand_in
from tests.tiny_pipelines import FAMILIES, OTHERS, precise
from textloc.checkpoints import loras
from textloc.checkpoints.loading import Model
from textloc.cli import main
from textloc.errors import Cancelled, CheckpointError, TrainingError
from textloc.finetuning import adapter, card, data, fidelity, progress
from textloc.finetuning.conditions import conditions, unconditional
from textloc.finetuning.encoded import Filter, prepare
from textloc.finetuning.objective import Objective
from textloc.finetuning.settings import Settings
from textloc.finetuning.training import Reports, finetune_stream
from textloc.paths import ROOT
from textloc.runs import Run

MODELS: dict[str, Any] = {**FAMILIES, **OTHERS}
TRAINED = ("sd", "sdxl", "if", "sd3")
ROUNDED = {"atol": 1e-5, "rtol": 1e-5}
"""Of weights around 1 that two sums of other lengths led to, through a model in double precision.

The adapter's weights and Adam's steps stay in single precision (1e-7). In a model of single
precision, rounding decides the sign of what is nearly zero, and Adam makes a whole step of it."""

QUIET = Reports(every=2, validate=0, save=2, tracker=None, pictures=1)


def settings(**given: Any) -> Settings:
    usual: dict[str, Any] = {"layers": (0,), "steps": 4, "batch": 4, "lr": 1e-2, "rank": 2}
    return Settings(**usual | {"warmup": 0, "held_out": 1} | given)


def train(model: Model, folder: Path, out: Path, **given: Any) -> dict[str, torch.Tensor]:
    """Train to the end; the weights that are written."""
    from safetensors.torch import load_file

    options = {name: given.pop(name) for name in ("resume", "reports") if name in given}
    options.setdefault("reports", QUIET)
    for _ in finetune_stream(model, str(folder), settings(**given), out, **options):
        pass
    return load_file(out / loras.FILE)


# ---------------------------------------------------------------------------- the loss


def scheduler(prediction: str) -> Any:
    from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

    if prediction == "flow":
        return FlowMatchEulerDiscreteScheduler(shift=3.0)
    return DDIMScheduler(prediction_type=prediction)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample", "flow"])
def test_the_wanted_output_leads_back_to_the_clean_picture(prediction: str) -> None:
    objective = Objective(scheduler(prediction))
    clean, noise = torch.randn(5, 3, 4, 4), torch.randn(5, 3, 4, 4)
    batch = objective.noised(clean, noise, torch.tensor([0.05, 0.3, 0.6, 0.9, 0.99]))
    if prediction == "flow":
        sigma = batch.time.view(-1, 1, 1, 1) / 1000
        found = batch.latents - sigma * batch.wanted
    else:
        alphas = objective.ddpm.alphas_cumprod[batch.time].view(-1, 1, 1, 1)
        signal_, sigma = alphas.sqrt(), (1 - alphas).sqrt()
        found = {
            "epsilon": (batch.latents - sigma * batch.wanted) / signal_,
            "v_prediction": signal_ * batch.latents - sigma * batch.wanted,
            "sample": batch.wanted,
        }[prediction]
    torch.testing.assert_close(found, clean, atol=2e-3, rtol=1e-3)
    even = torch.ones(5, 4, 4)
    assert objective.loss(batch.wanted, batch, even).abs().max() == 0
    twice = torch.cat([batch.wanted, noise], 1)  # with a variance beside it
    assert objective.loss(twice, batch, even).abs().max() == 0


def test_the_text_weighs_more() -> None:
    objective = Objective(scheduler("sample"))
    clean = torch.zeros(1, 1, 2, 2)
    batch = objective.noised(clean, torch.zeros_like(clean), torch.tensor([0.5]))
    output = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    weight = torch.tensor([[[5.0, 1.0], [1.0, 1.0]]])
    assert float(objective.loss(output, batch, torch.ones(1, 2, 2))) == pytest.approx(1 / 4)
    assert float(objective.loss(output, batch, weight)) == pytest.approx(5 / 8)


def test_levels_lie_between_nothing_and_pure_noise() -> None:
    for name in ("uniform", "logit-normal", "high"):
        levels = Objective(scheduler("epsilon"), name).draw(2000, torch.Generator().manual_seed(0))
        assert 0 < levels.min() < levels.max() <= 1
        if name == "high":
            assert 0.78 < (levels > 0.6).float().mean() < 0.86


def test_an_unknown_prediction_is_refused() -> None:
    strange = scheduler("epsilon")
    strange.register_to_config(prediction_type="score")
    with pytest.raises(TrainingError, match="predicts 'score'"):
        Objective(strange)


# ---------------------------------------------------------------------------- what is asked


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"layers": ()}, "at least one layer"),
        ({"targets": ("q", "x")}, "targets: x is not known"),
        ({"targets": ()}, "targets: nothing"),
        ({"rank": 0}, "rank is 0"),
        ({"lr": 0.0}, "greater than 0"),
        ({"lr": float("nan")}, "greater than 0"),
        ({"drop": 1.0}, r"\[0, 1\)"),
        ({"noise_levels": "low"}, "noise levels: low"),
        ({"resolution": 1}, "no side"),
        ({"text_weight": 0.5}, "1 to 100"),
        ({"mixed_precision": "fp8"}, "fp8 is not known"),
    ],
)
def test_settings_out_of_range(given: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        settings(**given)


def test_the_rate_warms_up_and_decays() -> None:
    asked = settings(lr=1.0, warmup=10, steps=110, decay=True)
    assert asked.rate(1) == pytest.approx(0.1)
    assert asked.rate(10) == pytest.approx(1.0)
    assert asked.rate(60) == pytest.approx(0.5)
    assert asked.rate(110) == pytest.approx(0.0)
    assert replace(asked, decay=False).rate(110) == 1.0


@pytest.mark.parametrize("name", TRAINED)
def test_modules_are_those_that_read_the_text(name: str) -> None:
    model = MODELS[name]()
    found = adapter.modules(model, (0,), ("q", "k", "v", "out"))
    layer = model.layers[0]
    assert layer.key in found
    assert layer.value in found
    assert all(one.startswith(layer.name) for one in found)
    assert len(found) == 4
    every = adapter.modules(model, None, ("q", "k", "v", "out"))
    assert set(found) < set(every)
    with pytest.raises(TrainingError, match="none of"):
        adapter.modules(model, (0,), ("nothing",))


def test_a_family_that_cannot_be_trained(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(TrainingError, match="cannot be fine-tuned here; the pipelines that can"):
        finetune_stream(MODELS["pixart"](), str(folder), settings(), tmp_path / "out")


# ---------------------------------------------------------------------------- what it sees


@pytest.mark.parametrize("name", TRAINED)
def test_conditions_are_what_the_call_sends(name: str) -> None:
    model = MODELS[name]()
    prompts = ['a "AB"', 'the "C"']
    rows = conditions(model, prompts, model.defaults)
    assert all(len(value) == 2 for value in rows.values())
    alone = conditions(model, prompts[1:], model.defaults)
    for key, value in rows.items():
        torch.testing.assert_close(value[1:], alone[key], atol=1e-5, rtol=1e-4)
    asked = model.family.asked(model.denoiser, torch.zeros(2), torch.zeros(2), rows)
    assert len(asked["encoder_hidden_states"]) == 2
    empty = unconditional(model, model.defaults)
    assert {k: v.shape[1:] for k, v in empty.items()} == {k: v.shape[1:] for k, v in rows.items()}
    assert "forward" not in vars(model.denoiser)


# ---------------------------------------------------------------------------- the loop


@pytest.mark.parametrize("name", TRAINED)
def test_a_lora_is_trained_and_plain_diffusers_loads_it(
    name: str, folder: Path, tmp_path: Path
) -> None:
    model = MODELS[name]()
    run = Run('a sign "AB"', 3)
    from textloc.patching.generation import generate

    def picture(of: Model) -> Any:
        (chunk,) = generate(of, [run], of.defaults)
        return np.asarray(chunk.images[run], int)

    before = picture(model)
    weights = {key: value.clone() for key, value in model.denoiser.state_dict().items()}
    written = train(model, folder, tmp_path / "out")
    assert set(model.denoiser.state_dict()) == set(weights)
    assert all(torch.equal(weights[k], v) for k, v in model.denoiser.state_dict().items())
    assert np.array_equal(picture(model), before)
    assert any(value.abs().max() > 0 for key, value in written.items() if "lora_B" in key)
    assert all(model.layers[0].name in key for key in written)
    assert "LoRA on layer 0" in (tmp_path / "out" / "README.md").read_text()

    model.pipe.load_lora_weights(tmp_path / "out")
    assert np.abs(picture(model) - before).max() > 2  # of 255 levels; rounding changes one
    model.pipe.unload_lora_weights()
    assert np.array_equal(picture(model), before)


def test_resuming_gives_the_weights_of_never_stopping(folder: Path, tmp_path: Path) -> None:
    whole = train(MODELS["sdxl"](), folder, tmp_path / "whole", steps=6)
    stopped = iter([False] * 3 + [True])
    with pytest.raises(Cancelled, match="after step 3"):
        for _ in finetune_stream(
            MODELS["sdxl"](),
            str(folder),
            settings(steps=6),
            tmp_path / "parts",
            reports=QUIET,
            cancelled=lambda: next(stopped),
        ):
            pass
    parts = train(MODELS["sdxl"](), folder, tmp_path / "parts", steps=6, resume=True)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    log = progress.read(tmp_path / "parts")
    steps = [line["step"] for line in log if line["kind"] == "train"]
    assert steps == [2, 4, 6]


@pytest.mark.slow
def test_a_killed_run_goes_on(folder: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of a run; what is there then is enough to go on."""
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.finetuning.test_training import train\n"
        "from tests.tiny_pipelines import FAMILIES, precise\n"
        "train(precise(FAMILIES['sd']()), Path(sys.argv[1]), Path(sys.argv[2]),\n"
        "      steps=int(sys.argv[3]), resume=True)\n"
    )
    root = ROOT
    environment = os.environ | {"PYTHONPATH": str(root)}

    def start(out: Path, steps: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(script), str(folder), str(out), str(steps)]
        return subprocess.Popen(command, env=environment, cwd=root)

    killed = start(tmp_path / "killed", 2000)
    waited = time.monotonic() + 120
    while len(progress.read(tmp_path / "killed")) < 5:
        assert time.monotonic() < waited
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    reached = max(line["step"] for line in progress.read(tmp_path / "killed"))
    steps = reached + 6
    assert start(tmp_path / "killed", steps).wait(120) == 0
    from safetensors.torch import load_file

    first = load_file(tmp_path / "killed" / loras.FILE)
    second = train(precise(MODELS["sd"]()), folder, tmp_path / "whole", steps=steps)
    assert first.keys() == second.keys()
    for key in first:
        torch.testing.assert_close(first[key], second[key], **ROUNDED)


def test_a_damaged_state_is_passed_over(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole = train(MODELS["sd"](), folder, tmp_path / "whole", steps=6)
    train(MODELS["sd"](), folder, out, steps=6)
    *_, last = sorted((out / "states").iterdir())
    (last / "state.pt").write_bytes(b"half")
    again = train(MODELS["sd"](), folder, out, steps=6, resume=True)
    assert all(torch.equal(whole[key], again[key]) for key in whole)


def test_a_run_is_neither_overwritten_nor_mixed(folder: Path, tmp_path: Path) -> None:
    train(MODELS["sd"](), folder, tmp_path / "out")
    with pytest.raises(TrainingError, match="give --resume"):
        train(MODELS["sd"](), folder, tmp_path / "out")
    with pytest.raises(TrainingError, match="other settings"):
        train(MODELS["sd"](), folder, tmp_path / "out", lr=1e-3, resume=True)


def test_small_passes_give_the_same_weights(folder: Path, tmp_path: Path) -> None:
    whole = train(precise(MODELS["sd"]()), folder, tmp_path / "whole")
    small = replace(QUIET, micro=1, checkpointing=True)
    parts = train(precise(MODELS["sd"]()), folder, tmp_path / "parts", reports=small)
    for key in whole:
        torch.testing.assert_close(whole[key], parts[key], **ROUNDED)


def test_validation_is_logged_and_seen(folder: Path, tmp_path: Path) -> None:
    looked: list[int] = []

    def examine(model: Model, step: int) -> dict[str, float]:
        looked.append(step)
        return {"more": 1.0}

    reports = Reports(
        every=2, validate=2, save=2, prompts=("a", "b"), tracker="tensorboard", examine=examine
    )
    train(MODELS["sd"](), folder, tmp_path / "out", reports=reports)
    assert looked == [0, 2, 4]
    kinds = [(line["step"], line["kind"]) for line in progress.read(tmp_path / "out")]
    assert kinds == [(0, "validate"), *((s, k) for s in (2, 4) for k in ("train", "validate"))]
    assert (tmp_path / "out" / "samples" / "step-0000004.png").is_file()
    assert list((tmp_path / "out").rglob("events.out.tfevents*"))


def test_what_is_not_installed_is_named_at_once(folder: Path, tmp_path: Path) -> None:
    asked = (MODELS["sd"](), str(folder), settings(), tmp_path / "out")
    with pytest.raises(TrainingError, match=r"there is no tracker 'paper'; use .*tensorboard"):
        finetune_stream(*asked, reports=replace(QUIET, tracker="paper"))
    with pytest.raises(TrainingError, match="is not installed: pip install aim"):
        finetune_stream(*asked, reports=replace(QUIET, tracker="aim"))
    if importlib.util.find_spec("bitsandbytes") is None:
        with pytest.raises(TrainingError, match="pip install bitsandbytes"):
            finetune_stream(asked[0], asked[1], settings(optimizer="adamw8bit"), asked[3])


def test_too_few_samples(folder: Path, tmp_path: Path) -> None:
    (folder / "metadata.jsonl").write_text('{"file_name": "none.png", "text": "a"}')
    with pytest.raises(TrainingError, match="1 skipped: the picture is missing"):
        train(MODELS["sd"](), folder, tmp_path / "out")


@pytest.mark.slow
def test_two_processes_share_a_run(folder: Path, tmp_path: Path) -> None:
    """`accelerate launch` unchanged, two processes on the CPU."""
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.finetuning.test_training import train\n"
        "from tests.tiny_pipelines import FAMILIES, precise\n"
        "train(precise(FAMILIES['sd']()), Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    alone = train(precise(MODELS["sd"]()), folder, tmp_path / "alone")
    root = ROOT
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes=2"]
    launch += ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"]
    done = subprocess.run(
        [*launch, str(script), str(folder), str(tmp_path / "two")],
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    from safetensors.torch import load_file

    both = load_file(tmp_path / "two" / loras.FILE)
    for key in alone:
        torch.testing.assert_close(alone[key], both[key], **ROUNDED)


# ---------------------------------------------------------------------------- samples


def kept(place: Path | str, **options: Any) -> tuple[list[str], data.Report]:
    report = data.Report()
    return [s.caption for s, _ in data.samples(str(place), report, **options)], report


def test_an_image_folder_counts_what_is_damaged(folder: Path) -> None:
    (folder / "3.png").write_bytes(b"no picture")
    (folder / "5.png").unlink()
    with (folder / "metadata.jsonl").open("a") as file:
        file.write('\n{"file_name": "../0.png", "text": "out"}\nno json\n{"text": "x"}\n')
        file.write('{"file_name": "0.png"}\n{"file_name": "1.png", "prompt": " "}\n')
    captions, report = kept(folder)
    assert len(captions) == 10
    assert report.kept == 10
    assert dict(report.skipped) == {
        "the picture cannot be read": 1,
        "the picture is missing": 1,
        "the file_name leads out of the folder": 1,
        "the line of metadata is no JSON object": 1,
        "the metadata names no file_name": 1,
        "the metadata has no text, caption, prompt": 1,
        "without a caption": 1,
    }
    assert report.examples["the picture is missing"] == "5.png"
    assert any("7.png" not in line for line in report.lines())


def test_a_table_of_metadata(folder: Path) -> None:
    (folder / "metadata.jsonl").unlink()
    (folder / "metadata.csv").write_text('file_name,caption\n0.png,"a, b"\n1.png,c\n')
    assert kept(folder)[0] == ["a, b", "c"]


def test_mario_and_its_filter(tmp_path: Path) -> None:
    for number, (caption, read) in enumerate(
        [("Keep Calm poster", "KEEP 1,2,3 0.9\nCalm 1,2 0.8"), ("a cat", "SALE 0,0 0.9"), ("x", "")]
    ):
        place = tmp_path / "28330" / f"28330000{number}"
        place.mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(place / "image.jpg")
        (place / "caption.txt").write_text(caption)
        (place / "ocr.txt").write_text(read)
    (tmp_path / "28330" / "283300002" / "image.jpg").write_bytes(b"")
    captions, report = kept(tmp_path)
    assert captions == ["Keep Calm poster", "a cat"]
    assert report.skipped == {"the picture cannot be read": 1}
    captions, report = kept(tmp_path, least_agreement=0.5)
    assert captions == ["Keep Calm poster"]
    assert kept(tmp_path, smallest=32)[0] == []
    assert kept(tmp_path, limit=1)[0] == ["Keep Calm poster"]


def test_agreement() -> None:
    assert data.agreement('a sign "STOP"', ("Stop",)) == 1
    assert data.agreement("a big sale", ("SALE", "NOW!")) == pytest.approx(4 / 7)
    assert data.agreement("a sign", ()) == 0


def shard(path: Path, members: dict[str, bytes]) -> None:
    import io
    import tarfile

    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))


def test_webdataset_shards(tmp_path: Path) -> None:
    import io

    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "PNG")
    png = buffer.getvalue()
    first = {"a.png": png, "a.txt": b"one", "b.png": png, "b.json": b'{"caption": "two"}'}
    shard(tmp_path / "000.tar", first)
    more = {"c.png": b"?", "c.txt": b"three", "d.txt": b"four", "e.png": png, "e.json": b"{"}
    shard(tmp_path / "001.tar", {**more, "f.png": png})
    whole = (tmp_path / "000.tar").read_bytes()
    (tmp_path / "002.tar").write_bytes(whole[:700])
    captions, report = kept(tmp_path)
    assert captions == ["one", "two"]
    assert report.skipped["the shard is damaged"] == 1
    assert report.skipped["the caption cannot be read"] == 1
    assert report.skipped["without a caption"] == 2  # the last one is cut off
    assert report.skipped["the picture is missing"] == 1
    assert report.skipped["the picture cannot be read"] == 1
    assert kept(f"{tmp_path}/{{000..001}}.tar")[0] == ["one", "two"]
    with pytest.raises(TrainingError, match="there is no shard"):
        kept(f"{tmp_path}/009.tar")


def test_scenes_are_drawn_alike_each_time() -> None:
    first, report = kept("scenes:digits:5")
    assert first == kept("scenes:digits:5")[0]
    assert report.kept == 5
    assert data.digest("scenes:digits:5") != data.digest("scenes:digits:6")
    with pytest.raises(TrainingError, match="there are no scenes"):
        kept("scenes:nothing")


def test_mixed_scenes_ask_for_numbers_and_words() -> None:
    texts = [caption.split('"')[1] for caption in kept("scenes:mixed:40")[0]]
    numbers = [text for text in texts if text.isdigit()]
    assert 10 <= len(numbers) <= 30
    assert all(text.isalpha() for text in texts if text not in numbers)


def test_a_place_that_holds_no_data(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"metadata\.jsonl"):
        kept(tmp_path)


def test_preparing_goes_on_and_looks_at_what_changed(folder: Path, tmp_path: Path) -> None:
    model = MODELS["sd"]()
    digest = data.digest(str(folder))
    found = prepare(model, str(folder), model.defaults, tmp_path / "cache", Filter())
    latents, region, rows = found.rows([3, 0])
    assert latents.shape[0] == 2
    assert region.shape == (2, *latents.shape[-2:])
    assert region.min() == 1
    one = conditions(model, [found.captions[3]], model.defaults)
    for key, value in one.items():
        torch.testing.assert_close(rows[key][:1], value, atol=1e-5, rtol=1e-4)
    (folder / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "a"}')
    assert data.digest(str(folder)) != digest


# ---------------------------------------------------------------------------- LoRA files


def test_a_model_carries_a_lora(folder: Path, tmp_path: Path) -> None:
    train(MODELS["sdxl"](), folder, tmp_path / "out")
    model = MODELS["sdxl"]()
    with loras.attached(model, str(tmp_path / "out"), 0.5) as carrying:
        assert carrying.digest != model.digest
        assert carrying.identity["lora"]["scale"] == 0.5
        with pytest.raises(CheckpointError, match="carries the LoRA"):
            loras.attach(carrying, str(tmp_path / "out"))
        other = replace(model)
        assert carrying.pipe is other.pipe
    assert not getattr(model.denoiser, "peft_config", None)
    assert "lora" not in model.identity
    file = tmp_path / "out" / loras.FILE
    with loras.attached(model, str(file)) as carrying:
        assert carrying.lora is not None


def test_loras_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    model = MODELS["sd"]()
    with pytest.raises(CheckpointError, match="there is no LoRA"):
        loras.attach(model, "no such thing")
    with pytest.raises(CheckpointError, match="found none"):
        loras.attach(model, str(tmp_path))
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="no safetensors"):
        loras.attach(model, str(tmp_path / "a.bin"))
    with pytest.raises(CheckpointError, match="outside 0 to 10"):
        loras.attach(model, str(tmp_path), -1)
    train(MODELS["sd3"](), folder, tmp_path / "out")
    with pytest.raises(CheckpointError, match="does not fit"):
        loras.attach(model, str(tmp_path / "out"))
    assert not getattr(model.denoiser, "peft_config", None)
    (tmp_path / "bad.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="is no safetensors file"):
        loras.attach(model, str(tmp_path / "bad.safetensors"))


@pytest.mark.slow
def test_a_lora_from_the_hub(folder: Path, tmp_path: Path) -> None:
    train(MODELS["sd"](), folder, tmp_path / "out")
    model = tmp_path / "model"
    MODELS["sd"]().pipe.save_pretrained(model)
    root = ROOT
    asked = ["localize", "--model", str(model), "--lora", "stand-in/lora", "--layers", "0"]
    asked += ["--source", 'a "AB"', "--target", "XY", "--steps", "1", "--json", "-"]

    def run(address: str, lora: str) -> subprocess.CompletedProcess[str]:
        asked[4] = lora
        return subprocess.run(
            [sys.executable, "-m", "textloc", *asked],
            cwd=root,
            env=os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=240,
        )

    with hub_stand_in.serve({"stand-in/lora": tmp_path / "out"}) as address:
        done = run(address, "stand-in/lora")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)["request"]["checkpoint"]["lora"]
        assert said["name"] == "stand-in/lora"
        gone = run(address, "stand-in/nothing")
    assert gone.returncode == 2
    assert "the Hub has no model 'stand-in/nothing'" in gone.stderr.splitlines()[-1]


def test_what_is_uploaded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    with pytest.raises(TrainingError, match="no finished LoRA"):
        card.push(tmp_path / "none", "owner/name")
    train(MODELS["sd"](), folder, tmp_path / "out")
    asked: dict[str, Any] = {}

    class Hub:
        def create_repo(self, name: str, exist_ok: bool) -> None:
            if name == "owner/away":
                raise ConnectionError("no route")

        def upload_folder(self, **given: Any) -> Any:
            asked.update(given)
            return type("Commit", (), {"commit_url": "https://hub/owner/name/commit/1"})

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert card.push(tmp_path / "out", "owner/name").endswith("commit/1")
    assert "states/*" not in asked["allow_patterns"]
    assert loras.FILE in asked["allow_patterns"]
    with pytest.raises(TrainingError, match="cannot upload to owner/away: no route"):
        card.push(tmp_path / "out", "owner/away")


# ---------------------------------------------------------------------------- variety


def test_precision_and_recall() -> None:
    rng = np.random.default_rng(0)
    wide, same = rng.normal(size=(300, 4)), rng.normal(size=(300, 4))
    narrow = rng.normal(size=(300, 4)) * 0.2
    alike = fidelity.precision_recall(wide, same)
    fewer = fidelity.precision_recall(wide, narrow)
    assert alike.precision > 0.8
    assert alike.recall > 0.8
    assert fewer.precision > 0.95
    assert fewer.recall < 0.3
    away = fidelity.precision_recall(wide, same + 50)
    assert away == (0, 0)
    with pytest.raises(ValueError, match="k = 3"):
        fidelity.precision_recall(wide[:3], same)


@pytest.mark.parametrize("name", TRAINED)
def test_features_of_ones_own(name: str) -> None:
    model = MODELS[name]()
    rng = np.random.default_rng(0)
    side = model.defaults.height or 16
    some = [Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)) for _ in range(5)]
    found = fidelity.own(some, model)
    assert found.shape[0] == 5
    assert np.allclose(fidelity.own(some[2:3], model), found[2:3], atol=1e-4)
    assert np.isfinite(found).all()


# ---------------------------------------------------------------------------- the command


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main(["finetune", "--data", "scenes:digits:20", "--rank", "0", *out]) == 2
    assert "rank is 0" in capsys.readouterr().err
    prompts = ["--prompts", str(tmp_path / "none.txt")]
    assert main(["finetune", "--data", "scenes:digits:20", *prompts, *out]) == 2
    assert "cannot read the prompts" in capsys.readouterr().err
