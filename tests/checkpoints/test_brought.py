"""Checkpoints as people bring them: one file, odd folders, fused or quantized, any scheduler."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import original_layout, tiny_pipelines
from textloc.checkpoints import families, loading, original, schedulers
from textloc.errors import CheckpointError, LayerError, PromptError
from textloc.patching.generation import generate
from textloc.runs import Run
from textloc.tiny.recipes import components

PROMPT = 'a red sign "AB"'


def drawn(model: loading.Model) -> Any:
    (chunk,) = generate(model, [Run(PROMPT)], model.defaults)
    return np.asarray(next(iter(chunk.images.values())), int)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sd") / "saved"
    tiny_pipelines.sd().pipe.save_pretrained(folder)
    call = {"num_inference_steps": 2, "guidance_scale": 2.0, "height": 16, "width": 16}
    (folder / "call_defaults.json").write_text(json.dumps(call))
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "mine"))


def index(folder: Path, change: dict[str, Any]) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


# -- folders ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"_class_name": ["diffusers", "StableDiffusionPipeline"]},
        {"_class_name": ["StableDiffusionPipeline"]},
        {"safety_checker": None, "feature_extractor": None, "image_encoder": None},
        {"requires_safety_checker": None},
    ],
)
def test_odd_indices_load_the_same(folder: Path, saved: Path, change: dict[str, Any]) -> None:
    index(folder, change)
    before = (folder / "model_index.json").read_text()
    model = loading.load(folder)
    assert np.array_equal(drawn(model), drawn(loading.load(saved)))
    assert model.digest == loading.load(saved).digest
    assert (folder / "model_index.json").read_text() == before


def test_null_defaults_are_the_usual_ones(folder: Path) -> None:
    path = folder / "call_defaults.json"
    path.write_text('{"num_inference_steps": null, "guidance_scale": null, "height": 16}')
    found = loading.load(folder).defaults
    assert (found.steps, found.guidance, found.height) == (50, 7.5, 16)
    path.write_text('{"num_inference_steps": [], "guidance_scale": 1}')
    with pytest.raises(CheckpointError, match=r"call_defaults\.json of mine is damaged"):
        loading.load(folder)


def only_half_files(folder: Path) -> None:
    for part in ("unet", "vae", "text_encoder"):
        for path in (folder / part).glob("*.safetensors"):
            path.rename(path.with_name(path.name.replace(".safe", ".fp16.safe")))


def test_a_folder_of_a_variant_alone(folder: Path, saved: Path) -> None:
    only_half_files(folder)
    assert np.array_equal(drawn(loading.load(folder)), drawn(loading.load(saved)))


def as_pickles(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()


def without_weights(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def own_code(folder: Path) -> None:
    index(folder, {"_class_name": ["pipeline", "MyPipeline"]})


def cut_off(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def page(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_text("<html>log in</html>")


def as_gguf(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_suffix(".gguf"))


def no_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


def quantized(folder: Path) -> None:
    path = folder / "unet" / "config.json"
    about = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": about}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (as_pickles, r"the unet of mine has its weights as a pickle.*save_pretrained"),
        (without_weights, r"the unet of mine has no weights; is the download complete"),
        (own_code, r"code of its own \(pipeline, MyPipeline\)"),
        (cut_off, r"unet/diffusion\S+ of mine is cut off or no safetensors"),
        (page, r"unet/diffusion\S+ of mine is cut off or no safetensors"),
        (as_gguf, r"is a GGUF file.*GGUFQuantizationConfig"),
        (no_index, r"it has no model_index\.json.*name the \.safetensors file"),
        (quantized, r"mine does not load: .*quantized \(bitsandbytes\)"),
    ],
)
def test_folders_that_do_not_load(folder: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=f"(?s){said}") as told:
        loading.load(folder)
    assert str(folder.parent) not in str(told.value)


# -- one file --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(saved: Path) -> dict[str, torch.Tensor]:
    pipe = loading.load(saved).pipe
    return original_layout.stable_diffusion(pipe)


def test_one_file_gives_the_same_pictures(
    folder: Path, saved: Path, weights: dict[str, torch.Tensor]
) -> None:
    """With its configs beside it, as there are none of its size."""
    save_file(weights, folder / "mine.safetensors")
    for part in ("unet", "vae", "text_encoder"):
        for path in (folder / part).glob("*.safetensors"):
            path.unlink()
    model, usual = loading.load(folder / "mine.safetensors"), loading.load(saved)
    assert np.abs(drawn(model) - drawn(usual)).max() <= 1
    assert model.layers == usual.layers
    assert model.defaults == usual.defaults
    assert model.digest == original.digest(folder / "mine.safetensors") != usual.digest


def test_one_file_of_sdxl_gives_the_same_pictures(tmp_path: Path) -> None:
    """Its second text encoder is in OpenCLIP's layout."""
    saved = tiny_pipelines.sdxl()
    saved.pipe.text_encoder_2 = components.text_encoder(64, 2, 16, 2)  # of another width than one
    torch.manual_seed(0)
    saved.pipe.unet = type(saved.pipe.unet).from_config(
        saved.pipe.unet.config, cross_attention_dim=32 + 64
    )
    saved.pipe.save_pretrained(tmp_path)
    save_file(original_layout.sdxl(saved.pipe), tmp_path / "mine.safetensors")
    for path in tmp_path.glob("*/*.safetensors"):
        path.unlink()
    model = loading.load(tmp_path / "mine.safetensors")
    assert type(model.pipe).__name__ == "StableDiffusionXLPipeline"
    model.defaults = saved.defaults
    assert np.abs(drawn(model) - drawn(saved)).max() <= 1


def test_one_file_that_is_not_whole(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    some = {key: value for key, value in weights.items() if "output_blocks.1." not in key}
    save_file(some, folder / "mine.safetensors")
    with pytest.raises(CheckpointError, match=r"mine\.safetensors"):
        loading.load(folder / "mine.safetensors")


def lora(path: Path) -> None:
    save_file({"lora_unet_x.lora_down.weight": torch.ones(2, 2)}, path)


def other(path: Path) -> None:
    save_file({"something": torch.ones(2)}, path)


def inpainting(path: Path) -> None:
    save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.ones(8, 9, 3, 3)}, path)


def refiner(path: Path) -> None:
    first = "model.diffusion_model.input_blocks"
    save_file(
        {
            f"{first}.0.0.weight": torch.ones(8, 4, 3, 3),
            f"{first}.4.1.transformer_blocks.0.attn2.to_k.weight": torch.ones(8, 1280),
        },
        path,
    )


def denoiser_alone(path: Path) -> None:
    first = "model.diffusion_model.input_blocks"
    save_file(
        {
            f"{first}.0.0.weight": torch.ones(8, 4, 3, 3),
            f"{first}.1.1.transformer_blocks.0.attn2.to_k.weight": torch.ones(8, 768),
        },
        path,
    )


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lora, "is a LoRA; give it with --lora"),
        (other, "of no layout that is known"),
        (inpainting, "wants a picture beside the prompt"),
        (refiner, "is a refiner or of another size"),
        (denoiser_alone, "a U-Net without text encoders"),
        (lambda path: path.write_bytes(b"<html>"), "is cut off; download it again"),
        (lambda path: path.write_bytes(b""), "is cut off; download it again"),
    ],
)
def test_files_that_are_no_checkpoint(
    tmp_path: Path, write: Callable[[Path], Any], said: str
) -> None:
    path = tmp_path / "mine.safetensors"
    write(path)
    with pytest.raises(CheckpointError, match=said) as told:
        loading.load(path)
    assert str(tmp_path) not in str(told.value)


@pytest.mark.parametrize("ending", [".ckpt", ".pt", ".bin", ".gguf"])
def test_files_of_other_kinds(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"mine{ending}"
    path.write_bytes(b"GGUF" if ending == ".gguf" else b"PK\x03\x04")
    with pytest.raises(CheckpointError, match="GGUF file" if ending == ".gguf" else "is a pickle"):
        loading.load(path)


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("sd-1", {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}),
        ("sd-2", {"unet": 865_910_724, "vae": 83_653_863, "text_encoder": 340_387_840}),
        ("sdxl", {"unet": 2_567_463_684, "vae": 83_653_863, "text_encoder_2": 694_659_840}),
    ],
)
def test_bundled_configs_are_those_of_the_published_checkpoints(
    kind: str, parameters: dict[str, int]
) -> None:
    """Counted on the meta device; the numbers are those of the weights on the Hub."""
    import diffusers
    import transformers

    with original._configs(kind, {}) as place:
        named = json.loads((place / "model_index.json").read_text())
        for part, count in parameters.items():
            library, name = named[part]
            cls = getattr(diffusers if library == "diffusers" else transformers, name)
            with torch.device("meta"):
                if library == "diffusers":
                    module = cls.from_config(cls.load_config(place / part))
                else:
                    module = cls(transformers.CLIPTextConfig.from_pretrained(place / part))
            assert sum(p.numel() for p in module.parameters()) == count, part


def test_the_bundled_tokenizer_is_that_of_clip() -> None:
    from transformers import CLIPTokenizer

    with original._configs("sdxl", {}) as place:
        first = CLIPTokenizer.from_pretrained(place / "tokenizer")
        second = CLIPTokenizer.from_pretrained(place / "tokenizer_2")
    assert first("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert len(first) == 49408
    assert first("ŻÓŁW stop").input_ids[-1] == 49407
    assert first("a", padding="max_length").input_ids[2:] == [49407] * 75
    assert second("a", padding="max_length").input_ids[3:] == [0] * 74


# -- fused, number formats, prompts ----------------------------------------------------------


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "flux"])
def test_projections_are_fused_while_they_are(name: str) -> None:
    model = {**tiny_pipelines.FAMILIES, **tiny_pipelines.OTHERS}[name]()
    before = drawn(model)
    model.denoiser.fuse_qkv_projections()
    with pytest.raises(LayerError, match=r"fused|unfuse"):
        families.text_layers(model.denoiser)
    model.denoiser.unfuse_qkv_projections()
    assert families.text_layers(model.denoiser) == model.layers
    assert np.array_equal(drawn(model), before)


def test_bfloat16_loads_and_draws(folder: Path) -> None:
    model = loading.load(folder, dtype="bfloat16")
    assert model.dtype == "bfloat16"
    assert drawn(model).shape == (16, 16, 3)


@pytest.mark.parametrize("kind", ["weights", "both"])
def test_quantized_pipelines_work(kind: str) -> None:
    """By torchao; the layers hold as many weights as before, and the digest is another one."""
    quantization = pytest.importorskip("torchao.quantization")
    model = tiny_pipelines.OTHERS["sd3"]()
    before = loading.load(model.pipe).digest
    config = {
        "weights": quantization.Int8WeightOnlyConfig,
        "both": quantization.Int8DynamicActivationInt8WeightConfig,
    }[kind]
    quantization.quantize_(model.denoiser, config())
    quantized_model = loading.load(model.pipe)
    assert quantized_model.digest not in (before, None)
    assert quantized_model.digest == loading.load(model.pipe).digest
    assert quantized_model.layers == model.layers
    quantized_model.defaults = model.defaults
    assert drawn(quantized_model).shape == (16, 16, 3)


# -- schedulers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("EulerAncestralDiscreteScheduler", "PNDMScheduler", "KDPM2AncestralDiscreteScheduler"),
        *("KDPM2DiscreteScheduler", "EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"),
    ],
)
def test_schedulers_that_cannot_do_what_is_predicted(name: str) -> None:
    """All random pipelines predict the picture (`sample`)."""
    import diffusers

    model = tiny_pipelines.sd()
    own = model.pipe.scheduler
    cls = getattr(diffusers, name)
    model.pipe.scheduler = cls.from_config(own.config)
    with pytest.raises(CheckpointError, match=rf"{name} cannot .* the picture.*DDIMScheduler") as e:
        drawn(model)
    for able in str(e.value).rpartition(": ")[2].split(", "):
        model.pipe.scheduler = getattr(diffusers, able).from_config(own.config)
        assert drawn(model).shape == (16, 16, 3), able


def test_schedulers_that_can_are_let_through() -> None:
    for name in ("sd3", "flux", "sana", "qwen-image"):
        schedulers.check(tiny_pipelines.OTHERS[name]().pipe.scheduler)
    noise = tiny_pipelines.sd().pipe.scheduler
    import diffusers

    for cls in (diffusers.EulerAncestralDiscreteScheduler, diffusers.PNDMScheduler):
        schedulers.check(cls.from_config(noise.config, prediction_type="epsilon"))


# -- textual inversion -----------------------------------------------------------------------


def test_tokens_of_several_vectors_count_as_many(folder: Path) -> None:
    model = loading.load(folder)
    limit = model.pipe.tokenizer.model_max_length
    side = model.pipe.text_encoder.config.hidden_size
    vectors = torch.randn(limit, side, generator=torch.Generator().manual_seed(0))
    before = drawn(model)
    model.pipe.load_textual_inversion({"<mine>": vectors[:3]})
    model.check_prompt("<mine>")
    assert np.abs(drawn(model) - before).max() == 0
    model.pipe.load_textual_inversion({"<long>": vectors})
    with pytest.raises(PromptError, match="tokens"):
        model.check_prompt("<long>")
