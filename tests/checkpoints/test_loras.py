"""LoRA files of every layout: what is carried is the formula's, all of it or nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import tiny_pipelines
from textloc.checkpoints import loras
from textloc.checkpoints.loading import Model
from textloc.errors import CheckpointError

Weights = dict[str, torch.Tensor]
LAYERS = ("to_k", "to_v", "to_out.0")


def places(model: Model, count: int = 4) -> list[str]:
    """Paths of linear layers of the denoiser's cross-attention."""
    names = [name for name, _ in model.denoiser.named_modules()]
    return [n for n in names if ".attn2." in n and n.endswith(LAYERS)][:count]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape))) / 4


def sizes(model: Model, place: str) -> tuple[int, int]:
    out, into = model.denoiser.get_submodule(place).weight.shape
    return int(out), int(into)


def kohya(place: str) -> str:
    return f"lora_unet_{place.replace('.', '_')}"


def check(
    model: Model, path: Path, changes: dict[str, torch.Tensor], part: Any = None, scale: float = 0.5
) -> None:
    """With the LoRA each layer gives W x + scale * change x, and W x again after it."""
    owner = part if part is not None else model.denoiser
    inputs = {p: random(3, owner.get_submodule(p).weight.shape[1]) for p in changes}
    with torch.no_grad():
        before = {p: owner.get_submodule(p)(inputs[p]) for p in changes}
        with loras.attached(model, str(path), scale):
            for place, change in changes.items():
                found = owner.get_submodule(place)(inputs[place])
                wanted = before[place] + scale * inputs[place] @ change.T
                assert change.abs().max() > 0.01
                torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
        for place in changes:
            assert torch.equal(owner.get_submodule(place)(inputs[place]), before[place])


# -- what is carried -------------------------------------------------------------------------


def test_kohya_with_mixed_ranks_and_alphas(tmp_path: Path) -> None:
    model = tiny_pipelines.sd()
    weights: Weights = {}
    changes = {}
    for number, place in enumerate(places(model)):
        out, into = sizes(model, place)
        rank = (2, 4, 4, 8)[number]
        down, up = random(rank, into), random(out, rank, seed=number)
        weights |= {f"{kohya(place)}.lora_down.weight": down, f"{kohya(place)}.lora_up.weight": up}
        alpha = (1.0, None, 4.0, 2.0)[number]  # without one it is the rank
        if alpha is not None:
            weights[f"{kohya(place)}.alpha"] = torch.tensor(alpha)
        changes[place] = up @ down * ((alpha or rank) / rank)
    save_file(weights, tmp_path / "a.safetensors")
    check(model, tmp_path / "a.safetensors", changes)


def test_kohya_with_text_encoders(tmp_path: Path) -> None:
    model = tiny_pipelines.sdxl()
    weights: Weights = {}
    place = places(model, 1)[0]
    out, into = sizes(model, place)
    down, up = random(2, into), random(out, 2)
    weights |= {f"{kohya(place)}.lora_down.weight": down, f"{kohya(place)}.lora_up.weight": up}
    inner = "encoder.layers.0.self_attn.q_proj"
    for number, name in ((1, "text_encoder"), (2, "text_encoder_2")):
        side = getattr(model.pipe, name).config.hidden_size
        first = f"lora_te{number}_text_model_{inner.replace('.', '_')}"
        weights[f"{first}.lora_down.weight"] = random(2, side, seed=number)
        weights[f"{first}.lora_up.weight"] = random(side, 2, seed=number)
        weights[f"{first}.alpha"] = torch.tensor(1.0)
    save_file(weights, tmp_path / "a.safetensors")
    path = tmp_path / "a.safetensors"
    check(model, path, {place: up @ down})
    for number, name in ((1, "text_encoder"), (2, "text_encoder_2")):
        encoder = getattr(model.pipe, name)
        q = next(n for n, _ in encoder.named_modules() if n.endswith(inner))
        side = encoder.config.hidden_size
        change = random(side, 2, seed=number) @ random(2, side, seed=number) / 2
        check(model, path, {q: change}, encoder)
        assert not getattr(encoder, "peft_config", None)


def in_diffusers(model: Model, prefix: str = "unet.") -> tuple[Weights, dict[str, torch.Tensor]]:
    weights: Weights = {}
    changes = {}
    for number, place in enumerate(places(model)):
        out, into = sizes(model, place)
        rank = (2, 4, 4, 8)[number % 4]
        down, up = random(rank, into), random(out, rank, seed=number)
        weights[f"{prefix}{place}.lora_A.weight"] = down
        weights[f"{prefix}{place}.lora_B.weight"] = up
        changes[place] = up @ down
    return weights, changes


def test_diffusers_layout_with_mixed_ranks(tmp_path: Path) -> None:
    for prefix in ("unet.", ""):
        model = tiny_pipelines.sd()
        weights, changes = in_diffusers(model, prefix)
        save_file(weights, tmp_path / "a.safetensors")
        check(model, tmp_path / "a.safetensors", changes)


@pytest.mark.parametrize("build", [tiny_pipelines.OTHERS["sd3"], tiny_pipelines.OTHERS["flux"]])
def test_transformers(build: Callable[[], Model], tmp_path: Path) -> None:
    model = build()
    place = model.layers[0].key
    out, into = sizes(model, place)
    down, up = random(2, into), random(out, 2)
    weights = {
        f"transformer.{place}.lora_A.weight": down,
        f"transformer.{place}.lora_B.weight": up,
    }
    save_file(weights, tmp_path / "a.safetensors")
    check(model, tmp_path / "a.safetensors", {place: up @ down})


@pytest.mark.parametrize(
    ("config", "strength"),
    [
        ({"lora_alpha": 8}, 8 / 4),
        ({"lora_alpha": 8, "use_rslora": True}, 8 / math.sqrt(4)),
        ({"lora_alpha": 1, "alpha_pattern": {"to_k": 2, "to_v": 2, "to_out.0": 2}}, 2 / 4),
    ],
)
def test_peft_with_its_strength(config: dict[str, Any], strength: float, tmp_path: Path) -> None:
    model = tiny_pipelines.sd()
    weights: Weights = {}
    changes = {}
    for number, place in enumerate(places(model)):
        out, into = sizes(model, place)
        down, up = random(4, into), random(out, 4, seed=number)
        weights[f"base_model.model.{place}.lora_A.weight"] = down
        weights[f"base_model.model.{place}.lora_B.weight"] = up
        changes[place] = up @ down * strength
    path = tmp_path / "adapter_model.safetensors"
    save_file(weights, path)
    with pytest.raises(CheckpointError, match=r"strength stands in adapter_config\.json"):
        loras.attach(model, str(path))
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 4} | config)
    )
    check(model, path, changes)
    digest = loras.find(str(path)).digest
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "lora_alpha": 9}')
    assert loras.find(str(path)).digest != digest


@pytest.mark.parametrize("kind", ["LORA", "DORA", "LOHA", "LOKR"])
def test_what_peft_itself_saves(kind: str, tmp_path: Path) -> None:
    """The same layers give the same as in the model that PEFT trained."""
    import peft

    model, trained = tiny_pipelines.sd(), tiny_pipelines.sd()
    targets = places(model)
    made: dict[str, Any] = {
        "LORA": lambda: peft.LoraConfig(r=2, lora_alpha=3, target_modules=targets),
        "DORA": lambda: peft.LoraConfig(r=2, lora_alpha=3, target_modules=targets, use_dora=True),
        "LOHA": lambda: peft.LoHaConfig(r=2, alpha=3, target_modules=targets),
        "LOKR": lambda: peft.LoKrConfig(
            r=2, alpha=3, target_modules=targets, decompose_both=True, decompose_factor=4
        ),
    }
    network = peft.get_peft_model(trained.denoiser, made[kind]())
    with torch.no_grad():
        for number, (name, value) in enumerate(network.named_parameters()):
            if "magnitude" in name:
                value.mul_(1.1)
            elif value.requires_grad:
                value.copy_(random(*value.shape, seed=number))
    network.save_pretrained(tmp_path)
    with loras.attached(model, str(tmp_path)), torch.no_grad():
        for place in targets:
            x = random(3, sizes_of(network.base_model.model.get_submodule(place)))
            wanted = network.base_model.model.get_submodule(place)(x)
            found = model.denoiser.get_submodule(place)(x)
            assert not torch.allclose(wanted, tiny(place)(x), atol=1e-2)
            torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def sizes_of(layer: Any) -> int:
    return int(layer.base_layer.weight.shape[1])


def tiny(place: str) -> Any:
    return tiny_pipelines.sd().denoiser.get_submodule(place)


def lycoris(kind: str, out: int, into: int) -> tuple[Weights, torch.Tensor]:
    """Weights of one layer and what it adds; by the formulas of LyCORIS."""
    if kind == "loha":
        w = {f"hada_w{n}_a": random(out, 3, seed=n) * 2 for n in (1, 2)}
        w |= {f"hada_w{n}_b": random(3, into, seed=n + 2) * 2 for n in (1, 2)}
        one, two = (w[f"hada_w{n}_a"] @ w[f"hada_w{n}_b"] for n in (1, 2))
        return w | {"alpha": torch.tensor(1.5)}, one * two * 1.5 / 3
    if kind == "lokr":
        w = {"lokr_w1": random(4, 4) * 2, "lokr_w2_a": random(out // 4, 2) * 2}
        w |= {"lokr_w2_b": random(2, into // 4) * 2, "alpha": torch.tensor(1.0)}
        return w, torch.kron(w["lokr_w1"], w["lokr_w2_a"] @ w["lokr_w2_b"]) / 2
    w = {"lokr_w1": random(4, 4), "lokr_w2": random(out // 4, into // 4) * 4}
    return w | {"alpha": torch.tensor(1e10)}, torch.kron(w["lokr_w1"], w["lokr_w2"])


@pytest.mark.parametrize("kind", ["loha", "lokr", "lokr-full"])
def test_lycoris(kind: str, tmp_path: Path) -> None:
    model = tiny_pipelines.sd()
    weights: Weights = {}
    changes = {}
    for place in places(model):
        parts, changes[place] = lycoris(kind, *sizes(model, place))
        weights |= {f"{kohya(place)}.{name}": value for name, value in parts.items()}
    save_file(weights, tmp_path / "a.safetensors")
    check(model, tmp_path / "a.safetensors", changes)


@pytest.mark.parametrize("tucker", [False, True])
def test_convolutions_of_locon(tucker: bool, tmp_path: Path) -> None:
    model = tiny_pipelines.sd()
    place = "down_blocks.0.resnets.0.conv1"
    layer = model.denoiser.get_submodule(place)
    out, into = layer.weight.shape[:2]
    name = "lora_unet_down_blocks_0_resnets_0_conv1"
    down, up = random(2, into, 3, 3), random(out, 2, 1, 1)
    weights = {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
    change = torch.einsum("or,rihw->oihw", up[:, :, 0, 0], down)
    if tucker:
        down, mid = random(2, into, 1, 1), random(2, 2, 3, 3, seed=9)
        weights |= {f"{name}.lora_down.weight": down, f"{name}.lora_mid.weight": mid}
        change = torch.einsum("op,pqhw,qi->oihw", up[:, :, 0, 0], mid, down[:, :, 0, 0])
    save_file(weights, tmp_path / "a.safetensors")
    x = random(2, into, 6, 6)
    with torch.no_grad():
        before = layer(x)
        wanted = before + torch.nn.functional.conv2d(x, change, padding=1, stride=layer.stride)
        with loras.attached(model, str(tmp_path / "a.safetensors")):
            found = model.denoiser.get_submodule(place)(x)
    assert change.abs().max() > 0.01
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_dora_of_kohyas_layout(tmp_path: Path) -> None:
    """W' = m (W + BA) / ||W + BA|| by rows (Liu et al., equation 5)."""
    model = tiny_pipelines.sd()
    weights: Weights = {}
    wanted = {}
    for number, place in enumerate(places(model)):
        out, into = sizes(model, place)
        down, up = random(2, into), random(out, 2, seed=number)
        base = model.denoiser.get_submodule(place).weight.detach().clone()
        scale = base.norm(dim=1, keepdim=True) * 1.2
        first = kohya(place)
        weights |= {f"{first}.lora_down.weight": down, f"{first}.lora_up.weight": up}
        weights |= {f"{first}.dora_scale": scale, f"{first}.alpha": torch.tensor(1.0)}
        moved = base + up @ down / 2
        wanted[place] = scale * moved / moved.norm(dim=1, keepdim=True)
    save_file(weights, tmp_path / "a.safetensors")
    with loras.attached(model, str(tmp_path / "a.safetensors")), torch.no_grad():
        for place, weight in wanted.items():
            layer = model.denoiser.get_submodule(place)
            x = random(3, weight.shape[1])
            bias = 0 if layer.base_layer.bias is None else layer.base_layer.bias
            torch.testing.assert_close(layer(x), x @ weight.T + bias, atol=1e-4, rtol=1e-4)
    some = {k: v for k, v in weights.items() if "dora_scale" not in k or kohya(place) in k}
    save_file(some, tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match="magnitudes for some layers only"):
        loras.attach(model, str(tmp_path / "b.safetensors"))


def test_a_lora_of_the_text_encoder_alone(tmp_path: Path) -> None:
    """It changes the picture, and is out of the way where the checkpoint is drawn without it."""
    import numpy as np

    from textloc.patching.generation import generate
    from textloc.runs import Run

    model = tiny_pipelines.sd()
    inner = "encoder.layers.0.self_attn.v_proj"
    weights = {
        f"text_encoder.text_model.{inner}.lora_A.weight": random(2, 32) * 4,
        f"text_encoder.text_model.{inner}.lora_B.weight": random(32, 2) * 4,
    }
    save_file(weights, tmp_path / "a.safetensors")

    def drawn() -> Any:
        (chunk,) = generate(model, [Run("a red sign")], model.defaults)
        return np.asarray(next(iter(chunk.images.values())), int)

    plain = drawn()
    with loras.attached(model, str(tmp_path / "a.safetensors")) as carrying:
        assert carrying.digest != model.digest
        carried = drawn()
        with loras.bare(carrying):
            assert np.array_equal(drawn(), plain)
        assert np.array_equal(drawn(), carried)
    assert np.abs(carried - plain).max() > 2
    assert np.array_equal(drawn(), plain)


# -- what is refused -------------------------------------------------------------------------


def changed(change: Callable[[Weights, str], None]) -> Callable[[Model, Path], None]:
    def write(model: Model, path: Path) -> None:
        weights, _ = in_diffusers(model)
        change(weights, next(iter(weights)))
        save_file(weights, path)

    return write


def bytes_of(content: bytes) -> Callable[[Model, Path], None]:
    return lambda _model, path: (path.write_bytes(content), None)[1]


def cut(share: float) -> Callable[[Model, Path], None]:
    def write(model: Model, path: Path) -> None:
        save_file(in_diffusers(model)[0], path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])

    return write


def half_elsewhere(weights: Weights, key: str) -> None:
    for name in [name for name in weights if "lora_A" in name][::2]:
        for one in (name, name.replace("lora_A", "lora_B")):
            weights[one.replace("blocks.0", "blocks.7")] = weights.pop(one)


def without_b(weights: Weights, key: str) -> None:
    del weights[key.replace("lora_A", "lora_B")]


def without_a(weights: Weights, key: str) -> None:
    del weights[key.replace("lora_B", "lora_A")]


def no_number(weights: Weights, key: str) -> None:
    weights[key][0, 0] = float("nan")


def infinite(weights: Weights, key: str) -> None:
    weights[key][0, 0] = float("inf")


def other_size(weights: Weights, key: str) -> None:
    weights[key] = torch.ones(weights[key].shape[0], 7)


def beside_it(weights: Weights, key: str) -> None:
    weights["unet.conv_in.diff_b"] = torch.ones(3)


def foreign_encoder(weights: Weights, key: str) -> None:
    for part in "AB":
        weights[f"text_encoder_2.encoder.layers.0.self_attn.q_proj.lora_{part}.weight"] = (
            torch.ones(2, 32) if part == "A" else torch.ones(32, 2)
        )


def kohya_with(name: str, value: torch.Tensor) -> Callable[[Model, Path], None]:
    def write(model: Model, path: Path) -> None:
        place = places(model, 1)[0]
        out, into = sizes(model, place)
        pair = {"lora_down.weight": random(2, into), "lora_up.weight": random(out, 2), name: value}
        save_file({f"{kohya(place)}.{k}": v for k, v in pair.items()}, path)

    return write


def of_names(*names: str) -> Callable[[Model, Path], None]:
    return lambda _model, path: save_file({name: torch.ones(2) for name in names}, path)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (bytes_of(b""), "is empty"),
        (bytes_of(b"<!DOCTYPE html><html>log in</html>"), "is a web page"),
        (bytes_of(b"  <html>" + b" " * 900), "is a web page"),
        (bytes_of(b"version https://git-lfs.github.com/spec/v1\n"), "pointer of Git LFS"),
        (bytes_of(b"PK\x03\x04" + b"\0" * 900), "is a pickle"),
        (bytes_of(b'{"error": "Invalid username or password."}'), "answer of a server"),
        (bytes_of(b"half"), "no safetensors file"),
        (cut(0.02), "is cut off"),
        (cut(0.9), r"is cut off \(\d+ of \d+ bytes\)"),
        (changed(half_elsewhere), r"2 of its 4 layers for the unet .* such as .*blocks\.7"),
        (changed(without_b), "lacks lora_B for 1 of its 4 layers"),
        (changed(without_a), "lacks lora_A for 1 of its 4 layers"),
        (changed(no_number), "numbers that are none"),
        (changed(infinite), "numbers that are none"),
        (changed(other_size), "layers have other sizes"),
        (changed(foreign_encoder), "1 of its 1 layers for the text_encoder_2"),
        (changed(beside_it), "does not fit"),
        (kohya_with("alpha", torch.tensor(0.0)), "an alpha of 0"),
        (kohya_with("alpha", torch.tensor(float("nan"))), "numbers that are none"),
        (
            kohya_with("diff_b", torch.ones(3)),
            "of a kind that is not carried here, such as .*diff_b",
        ),
        (kohya_with("oft_blocks", torch.ones(3)), "not carried here, such as .*oft_blocks"),
        (kohya_with("lora_mid.weight", torch.ones(5)), "is not whole: the parts of"),
        (of_names("model.diffusion_model.input_blocks.0.0.weight"), "is a whole checkpoint"),
        (of_names("emb_params"), "is a textual inversion"),
        (of_names("clip_l", "clip_g"), "is a textual inversion"),
        (of_names("ip_adapter.1.to_k_ip.weight"), "is an IP-Adapter"),
        (of_names("something.else"), "does not fit"),
    ],
)
def test_what_is_not_carried_is_told(
    write: Callable[[Model, Path], None], said: str, tmp_path: Path
) -> None:
    model = tiny_pipelines.sd()
    path = tmp_path / "mine.safetensors"
    write(model, path)
    with pytest.raises(CheckpointError, match=said) as told:
        loras.attach(model, str(path))
    assert "mine.safetensors" in str(told.value)
    assert str(tmp_path) not in str(told.value)
    for part in (model.denoiser, model.pipe.text_encoder):  # nothing of it is left
        assert not getattr(part, "peft_config", None)
        assert not any("lora" in name for name, _ in part.named_modules())


def test_a_lora_of_another_network(tmp_path: Path) -> None:
    weights, _ = in_diffusers(tiny_pipelines.sdxl("odd-heads"))
    save_file(weights, tmp_path / "a.safetensors")
    model = tiny_pipelines.sd()
    with pytest.raises(CheckpointError, match="does not fit"):
        loras.attach(model, str(tmp_path / "a.safetensors"))
    assert not getattr(model.denoiser, "peft_config", None)


def test_numbers_too_large_for_the_number_format(tmp_path: Path) -> None:
    model = tiny_pipelines.sd()
    weights, _ = in_diffusers(model)
    weights[next(iter(weights))][:] = 1e6
    save_file(weights, tmp_path / "a.safetensors")
    model.pipe.to(torch.float16)
    with pytest.raises(CheckpointError, match="number format too small"):
        loras.attach(model, str(tmp_path / "a.safetensors"))


def test_ones_own_adapters_are_not_switched_off(tmp_path: Path) -> None:
    from peft import LoraConfig

    model = tiny_pipelines.sd()
    model.denoiser.add_adapter(LoraConfig(target_modules=["to_k"]), "theirs")
    save_file(in_diffusers(tiny_pipelines.sd())[0], tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="unet of random carries an adapter already"):
        loras.attach(model, str(tmp_path / "a.safetensors"))
    assert model.denoiser.active_adapters() == ["theirs"]


@pytest.mark.parametrize("name", loras.shipped())
def test_shipped_loras_are_carried(name: str) -> None:
    from textloc.checkpoints import loading

    model = loading.load("tiny-sdxl")
    stored = load_file(loras.find(name).path)
    with loras.attached(model, name) as carrying:
        has = [n for n, _ in carrying.denoiser.named_parameters() if ".lora_" in n]
    assert len(has) == len(stored)
