"""What full-size checkpoints bring along: names, variants, digests, usual calls, memory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests import tiny_families, tiny_pipelines
from textloc.bench import layers as layers_bench
from textloc.checkpoints import families, known, loading, memory, weights
from textloc.checkpoints.families import common, full_size
from textloc.errors import CheckpointError
from textloc.jobs import choosing
from textloc.jobs.guard import guard
from textloc.paths import CHECKPOINTS
from textloc.runs import Sampling

SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
CACHED = "/cache/hub/models--stabilityai--stable-diffusion-xl-base-1.0/snapshots/0123abc"


# -- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sdxl", SDXL, SDXL.upper(), CACHED])
def test_known_checkpoints_are_known_by_their_hub_name(name: str) -> None:
    entry = known.find(name)
    assert entry is not None
    assert entry.name == "sdxl"
    assert choosing.layers_known(name, None) == ((55, 56, 57), "published")


@pytest.mark.parametrize("name", ["SDXL", "someone/stable-diffusion-xl-base-1.0", "Tiny-SDXL", ""])
def test_other_names_are_not(name: str) -> None:
    assert known.find(name) is None


@pytest.mark.parametrize("name", ["sdxl", "if", "sd3"])
def test_the_published_architectures_are_those_of_the_full_size_models(name: str) -> None:
    denoiser = full_size.build(name)
    built = families.architecture(denoiser, families.text_layers(denoiser))
    entry = known.of_architecture(built)
    assert entry is not None
    assert entry.name == name
    found = choosing.layers_known("someone/a-fine-tune", None, built)
    assert found == (entry.localized, f"as in {name}")
    said = choosing.told(*found)
    assert entry.about in said
    assert "localize --save" in said


def test_sd35_medium_is_not_taken_for_sd3() -> None:
    """Both have 24 blocks of one width; what was published is SD3's."""
    denoiser = full_size.build("sd3.5-medium")
    built = families.architecture(denoiser, families.text_layers(denoiser))
    assert known.of_architecture(built) is None


@pytest.mark.parametrize("name", [SDXL, "someone/finetuned-sdxl"])
def test_guard_finds_the_layers_of_a_pipeline_from_the_hub(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_pipelines.sdxl()
    entry = known.find("sdxl")
    assert entry is not None
    like = SimpleNamespace(**{**vars(entry), "localized": (1,), "architecture": model.architecture})
    monkeypatch.setattr(known, "KNOWN", (like,))
    model.pipe.register_to_config(_name_or_path=name)
    with guard(model.pipe) as state:
        assert state.layers == (1,)


def test_a_hub_name_loads_as_the_short_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variant, guidance and published layers are those of the table."""
    tiny_pipelines.sdxl().pipe.save_pretrained(tmp_path / "it", variant="fp16")
    asked: list[tuple[str, str | None]] = []

    def download(source: str, variant: str | None, _passed: Any) -> tuple[Path, None]:
        asked.append((source, variant))
        return tmp_path / "it", None

    monkeypatch.setattr(loading, "_download", download)
    model = loading.load(SDXL)
    assert asked == [(SDXL, "fp16")]
    assert model.defaults == Sampling(50, 5.0, 1024, 1024)
    assert choosing.layers_of(model) == ((55, 56, 57), "published")


# -- the digest -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A shipped checkpoint, whose weights come in shards."""
    return Path(shutil.copytree(CHECKPOINTS / "tiny-ldm", tmp_path / "it"))


def twin(path: Path, name: str) -> None:
    save_file({"weight": torch.zeros(1)}, path / name)


@pytest.mark.parametrize(
    "beside",
    [
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model-00001-of-00002.fp16.safetensors",
        "unet/diffusion_pytorch_model.safetensors",  # diffusers reads the shards
        "text_encoder/model-00001-of-00002.safetensors",  # transformers the whole file
        "unet/pytorch_lora_weights.safetensors",
        "vae_1_0/diffusion_pytorch_model.safetensors",
    ],
)
def test_the_digest_is_not_of_what_lies_beside(folder: Path, beside: str) -> None:
    before = weights.digest(folder)
    (folder / beside).parent.mkdir(exist_ok=True)
    twin((folder / beside).parent, Path(beside).name)
    assert weights.digest(folder) == before
    if "model" in Path(beside).name and "vae_1_0" not in beside:
        model = loading.load(folder)  # and that is what is loaded
        assert model.digest == before


@pytest.mark.parametrize(
    "changed",
    ["tokenizer/spiece.model", "tokenizer/tokenizer.model", "tokenizer/vocab.txt"],
)
def test_the_digest_is_of_every_tokenizer_file(folder: Path, changed: str) -> None:
    before = weights.digest(folder)
    (folder / changed).write_bytes(b"one")
    first = weights.digest(folder)
    (folder / changed).write_bytes(b"two")
    assert len({before, first, weights.digest(folder)}) == 3


def test_the_digest_is_of_the_variant_that_is_loaded(tmp_path: Path) -> None:
    model = tiny_pipelines.sdxl()
    model.pipe.save_pretrained(tmp_path / "it")
    plain = weights.digest(tmp_path / "it")
    with torch.no_grad():
        model.denoiser.conv_in.bias.add_(1)
    model.pipe.save_pretrained(tmp_path / "it", variant="fp16")
    first, second = (loading.load(tmp_path / "it", variant=v) for v in (None, "fp16"))
    assert (first.digest, second.digest) == (plain, weights.digest(tmp_path / "it", "fp16"))
    assert first.digest != second.digest
    assert not torch.equal(first.denoiser.conv_in.bias, second.denoiser.conv_in.bias)
    with pytest.raises(CheckpointError, match="no weights of the variant 'bf16'; it has fp16"):
        loading.load(tmp_path / "it", variant="bf16")


def test_a_folder_with_fp16_files_only_loads(tmp_path: Path) -> None:
    tiny_pipelines.sdxl().pipe.save_pretrained(tmp_path / "it", variant="fp16")
    model = loading.load(tmp_path / "it")
    assert model.digest == weights.digest(tmp_path / "it", "fp16")


def test_a_mixture_takes_the_variant_where_a_component_has_nothing_else(tmp_path: Path) -> None:
    for variant in (None, "fp16"):
        tiny_pipelines.sdxl().pipe.save_pretrained(tmp_path / "it", variant=variant)
    (tmp_path / "it/vae/diffusion_pytorch_model.safetensors").unlink()
    assert weights.variant_of(weights.names(tmp_path / "it"), None, "it") == "fp16"
    assert loading.load(tmp_path / "it").denoiser is not None


# -- the usual call of a checkpoint that is not in the table --------------------------------

USUAL: dict[str, tuple[Any, int, float, int]] = {
    "sd": (tiny_pipelines.sd, 50, 7.5, 16),
    "sdxl": (tiny_pipelines.sdxl, 50, 5.0, 16),
    "ldm": (tiny_pipelines.ldm, 50, 1.0, 64),
    "if": (tiny_pipelines.OTHERS["if"], 100, 7.0, 16),
    "sd3": (tiny_pipelines.OTHERS["sd3"], 28, 7.0, 16),
    "flux": (tiny_pipelines.OTHERS["flux"], 28, 3.5, 256),
    "pixart": (tiny_pipelines.OTHERS["pixart"], 20, 4.5, 16),
    "sana": (tiny_pipelines.OTHERS["sana"], 20, 4.5, 16),
    "qwen-image": (tiny_pipelines.OTHERS["qwen-image"], 50, 4.0, 512),
}


@pytest.mark.parametrize("name", USUAL)
def test_an_unlisted_checkpoint_has_its_familys_own_call(name: str, tmp_path: Path) -> None:
    build, steps, guidance, side = USUAL[name]
    build().pipe.save_pretrained(tmp_path / "it")
    found = loading.load(tmp_path / "it").defaults
    assert (found.steps, found.guidance) == (steps, guidance)
    assert (found.height, found.width) == (side, side)


def test_what_is_loaded_takes_options(tmp_path: Path) -> None:
    tiny_pipelines.sdxl(scheduler=pndm()).pipe.save_pretrained(tmp_path / "it")
    own = loading.load(tmp_path / "it")
    assert own.identity.keys() == {"name", "revision", "digest"}
    model = loading.load(tmp_path / "it", size=(32, 16), scheduler="DDIMScheduler")
    assert (model.defaults.height, model.defaults.width) == (32, 16)
    assert type(model.pipe.scheduler).__name__ == "DDIMScheduler"
    assert model.identity["scheduler"] == "DDIMScheduler"  # another scheduler, another result
    with pytest.raises(CheckpointError, match="cannot be replaced by 'Nonesuch'; it can by"):
        loading.load(tmp_path / "it", scheduler="Nonesuch")
    with pytest.raises(CheckpointError, match="give multiples of 8"):
        loading.load(tmp_path / "it", size=(30, 16))
    with pytest.raises(CheckpointError, match="there is no offload 'some'; use auto, none, model"):
        loading.load(tmp_path / "it", offload="some")
    with pytest.raises(CheckpointError, match="offload model moves weights to an accelerator"):
        loading.load(tmp_path / "it", device="cpu", offload="model")


def pndm() -> Any:
    from diffusers import PNDMScheduler

    return PNDMScheduler(skip_prk_steps=True, steps_offset=1)


def test_each_process_of_several_has_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for rank, device in (("1", "cuda:1"), ("0", "cuda:0"), ("5", "cuda"), ("", "cuda")):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert loading._device(None) == device
    assert loading._device("cuda:0") == "cuda:0"


# -- a saved pipeline without one of its encoders --------------------------------------------


def test_sd3_saved_without_t5_loads(tmp_path: Path) -> None:
    pipe = tiny_families.sd3()
    pipe.text_encoder_3 = pipe.tokenizer_3 = None
    pipe.register_to_config(text_encoder_3=(None, None), tokenizer_3=(None, None))
    pipe.save_pretrained(tmp_path / "it")
    index = json.loads((tmp_path / "it/model_index.json").read_text())
    assert index["text_encoder_3"] == [None, None]
    model = loading.load(tmp_path / "it")
    assert model.pipe.text_encoder_3 is None
    assert model.family.readers(model.pipe, model.defaults)


# -- what is downloaded ---------------------------------------------------------------------


def test_the_second_stages_text_encoder_is_not_downloaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers

    first = tiny_pipelines.OTHERS["if"]()
    tiny_families.deepfloyd_if_second().save_pretrained(tmp_path / "second", variant="fp16")
    for shared in ("text_encoder", "tokenizer"):
        shutil.rmtree(tmp_path / "second" / shared)
    asked: list[dict[str, Any]] = []

    def download(source: str, **options: Any) -> str:
        asked.append({"source": source, **options})
        return str(tmp_path / "second")

    monkeypatch.setattr(diffusers.DiffusionPipeline, "download", download)
    made = loading._upscaler(first.pipe, first.family, "DeepFloyd/IF-II-L-v1.0", "cpu", None)
    assert asked[0]["text_encoder"] is made.pipe.text_encoder is first.pipe.text_encoder
    assert {"tokenizer", "safety_checker", "watermarker"} <= asked[0].keys()


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["unet/diffusion_pytorch_model.fp16.safetensors", "vae/config.json"], "fp16"),
        (["unet/diffusion_pytorch_model.bin"], None),
    ],
)
def test_repositories_without_plain_weights(
    files: list[str], found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers
    import huggingface_hub

    asked: list[str | None] = []

    def download(_source: str, variant: str | None, **_: Any) -> str:
        asked.append(variant)
        if variant is None:
            raise OSError("Could not find the necessary `safetensors` weights")
        return "/snapshots/0123"

    monkeypatch.setattr(diffusers.DiffusionPipeline, "download", download)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *_: files)
    if found is None:
        with pytest.raises(CheckpointError, match="cannot download a/b: Could not find the nece"):
            loading._download("a/b", None, {})
        assert asked == [None]
    else:
        assert loading._download("a/b", None, {})[1] == "0123"
        assert asked == [None, found]


# -- memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "side"), [("sana", 1024), ("qwen-image", 1024)])
def test_autoencoders_that_know_no_size_are_sliced_for_large_pictures(name: str, side: int) -> None:
    pipe = tiny_pipelines.OTHERS[name]().pipe
    scale = pipe.vae_scale_factor
    pipe.transformer.register_to_config(sample_size=side // scale)
    pipe.vae.use_slicing = False
    common.decode_one_by_one(pipe, "transformer")
    assert pipe.vae.use_slicing


def test_rows_of_a_model_on_pixels_are_counted_in_pixels() -> None:
    model = tiny_pipelines.OTHERS["if"]()
    like_latent = tiny_pipelines.sd()
    sampling = Sampling(1, 2.0, 2048, 2048)
    few = memory.by_formula(model.pipe, model.denoiser, sampling)
    many = memory.by_formula(like_latent.pipe, like_latent.denoiser, sampling)
    channels = [m.denoiser.config.block_out_channels[0] for m in (model, like_latent)]
    scale = like_latent.pipe.vae_scale_factor**2
    assert few >= 1
    assert many / few == pytest.approx(scale * channels[0] / channels[1], rel=0.5)


def test_packed_weights_are_counted_as_what_they_stand_for() -> None:
    """4-bit linear layers keep two weights a byte in a column of bytes."""
    model = tiny_pipelines.sd()
    counted = memory.parameters(model.denoiser)
    assert counted == sum(p.numel() for p in model.denoiser.parameters())
    layers = model.layers
    for module in model.denoiser.modules():
        if isinstance(module, torch.nn.Linear):
            packed = torch.zeros(module.weight.numel() // 2, 1, dtype=torch.uint8)
            module.weight = torch.nn.Parameter(packed, requires_grad=False)
    assert memory.parameters(model.denoiser) == counted
    assert [x.kv_parameters for x in model.family.find(model.denoiser)] == sorted_like(
        model, layers
    )


def sorted_like(model: Any, layers: Any) -> list[int]:
    """Numbers of weights in the order in which a family finds its layers."""
    by_name = {layer.name: layer.kv_parameters for layer in layers}
    return [by_name[layer.name] for layer in model.family.find(model.denoiser)]


def test_weights_that_project_the_picture_too_are_told_apart() -> None:
    rows = {row["name"]: row for row in layers_bench.measure(["flux-dev", "sd-1.5"])}
    flux = rows["flux-dev"]
    assert 0 < flux["shared_kv"] < flux["kv"]
    assert flux["shared_kv"] == 38 * 2 * 3072**2  # single blocks
    assert "shared_kv" not in rows["sd-1.5"]
    assert f"{flux['shared_kv']:,} of these K+V weights project" in layers_bench.table([flux])
