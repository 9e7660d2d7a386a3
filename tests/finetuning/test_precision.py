"""Fine-tuning in half precision: what is encoded, and what the model is afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.finetuning.test_training import QUIET, settings, train
from tests.patching.test_memory import Overflowing, half
from tests.tiny_pipelines import FAMILIES, OTHERS
from textloc.errors import TrainingError
from textloc.finetuning.encoded import Filter, prepare
from textloc.finetuning.training import Reports, finetune_stream
from textloc.patching.generation import generate
from textloc.runs import Run, Sampling

SAMPLING = Sampling(3, 2.0, 16, 16)
MODELS: dict[str, Any] = {**FAMILIES, **OTHERS}


def picture(model: Any) -> np.ndarray:
    (chunk,) = generate(model, [Run('a sign "AB"')], model.defaults)
    return np.asarray(next(iter(chunk.images.values())))


@pytest.mark.parametrize("name", ["sdxl", "sd3"])
@pytest.mark.parametrize("stop", [False, True])
def test_a_bf16_fine_tune_leaves_the_model_bit_for_bit(
    name: str, stop: bool, folder: Path, tmp_path: Path
) -> None:
    model = MODELS[name]()
    model.pipe.to(torch.bfloat16)
    before, own = picture(model), set(vars(model.denoiser))
    weights = {key: value.clone() for key, value in model.denoiser.state_dict().items()}
    for number in range(2):  # wrappers must not nest either
        out = tmp_path / str(number)
        reports = Reports(**{**vars(QUIET), "examine": broken if stop else None})
        if stop:
            with pytest.raises(KeyError):
                train(model, folder, out, reports=reports, mixed_precision="bf16")
        else:
            train(model, folder, out, mixed_precision="bf16")
        assert "forward" not in vars(model.denoiser)
        assert "_original_forward" not in vars(model.denoiser)
        assert np.array_equal(picture(model), before)
    assert set(vars(model.denoiser)) - own <= {"peft_config", "_hf_peft_config_loaded"}
    left = model.denoiser.state_dict()
    assert left.keys() == weights.keys()
    assert all(torch.equal(left[key], weights[key]) for key in weights)


def broken(_model: Any, _step: int) -> dict[str, float]:
    raise KeyError("what looks at it fails")


def test_validations_draw_without_casts(folder: Path, tmp_path: Path) -> None:
    """`bench lora` compares them with pictures of the base, which is not wrapped."""
    model = MODELS["sdxl"]()
    model.pipe.to(torch.bfloat16)
    seen: list[bool] = []

    def examine(carrying: Any, _step: int) -> dict[str, float]:
        seen.append("forward" in vars(carrying.denoiser))
        return {}

    reports = Reports(**{**vars(QUIET), "examine": examine, "validate": 2})
    train(model, folder, tmp_path / "out", reports=reports, mixed_precision="bf16")
    assert len(seen) >= 2
    assert not any(seen)


def test_fp16_without_a_gpu_is_told(folder: Path, tmp_path: Path) -> None:
    model = half(MODELS["sdxl"]())
    stream = finetune_stream(
        model, str(folder), settings(mixed_precision="fp16"), tmp_path / "out", reports=QUIET
    )
    with pytest.raises(TrainingError, match="fp16 needs a GPU; give --mixed-precision bf16 or no"):
        list(stream)


def test_samples_are_encoded_in_float32_and_nothing_else_is_kept(
    folder: Path, tmp_path: Path
) -> None:
    model = MODELS["sdxl"]()
    model.pipe.vae.encoder.conv_in = Overflowing(model.pipe.vae.encoder.conv_in)
    half(model)
    encoded = prepare(model, str(folder), SAMPLING, tmp_path / "good", Filter())
    latents, _, _ = encoded.rows([0, 1])
    assert latents.dtype == torch.float16
    assert torch.isfinite(latents).all()
    model.pipe.vae.register_to_config(force_upcast=False)
    with pytest.raises(Exception, match="no numbers in float16"):
        prepare(model, str(folder), SAMPLING, tmp_path / "bad", Filter())
    assert not list((tmp_path / "bad").glob("*.safetensors"))


def test_text_states_that_are_no_numbers_are_refused(folder: Path, tmp_path: Path) -> None:
    """T5 in float16 leaves the range of numbers."""
    model = MODELS["sdxl"]()
    with torch.no_grad():
        model.pipe.text_encoder_2.text_projection.weight.fill_(float("inf"))
    with pytest.raises(TrainingError, match="are no numbers in float32"):
        prepare(model, str(folder), SAMPLING, tmp_path / "bad", Filter())
    assert not list((tmp_path / "bad").glob("*.safetensors"))


def test_the_precision_of_a_run_is_its_own(folder: Path, tmp_path: Path) -> None:
    """Of several in one process, as in the page or a notebook."""
    for number, precision in enumerate(("bf16", "no", "bf16")):
        out = tmp_path / str(number)
        assert train(MODELS["sd"](), folder, out, mixed_precision=precision)


def test_the_size_of_what_is_prepared_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SD3's text states take 2.7 MB a sample."""
    from textloc.finetuning import encoded as module

    model = MODELS["sd3"]()
    stream = finetune_stream(model, str(folder), settings(), tmp_path / "out", reports=QUIET)
    told = [one for one in stream if one.kind == "prepare" and one.step]
    size = sum(p.stat().st_size for p in (tmp_path / "out").rglob("part-*.safetensors"))
    assert told[0].values["cache_mb"] == pytest.approx(size / 1e6)
    assert told[0].values["mb_a_sample"] == pytest.approx(size / 1e6 / told[0].step)
    monkeypatch.setattr(module, "PART", 4)
    free = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _folder: free)
    with pytest.raises(TrainingError, match="the disk is nearly full: a prepared sample takes"):
        prepare(model, str(folder), model.defaults, tmp_path / "small", Filter())
    assert [p.name for p in (tmp_path / "small").glob("part-*")] == ["part-00000.safetensors"]


def test_an_offloaded_denoiser_is_not_trained(folder: Path, tmp_path: Path) -> None:
    from accelerate import cpu_offload

    model = MODELS["sdxl"]()
    cpu_offload(model.denoiser, "cpu", offload_buffers=True)
    stream = finetune_stream(model, str(folder), settings(), tmp_path / "out", reports=QUIET)
    with pytest.raises(TrainingError, match="give --offload none with --mixed-precision bf16"):
        list(stream)
