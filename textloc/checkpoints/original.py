"""A checkpoint in one `.safetensors` file of the layout that it was trained in.

`from_single_file` of diffusers reads the weights; what the file does not hold, the configs and the
tokenizers, is bundled here for Stable Diffusion 1 and 2 and SDXL, so that no network is needed. A
folder that holds a `model_index.json` beside the file comes before them. Stable Diffusion 3 and
FLUX read their texts by T5, whose tokenizer is not bundled: diffusers takes it from the Hub.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textloc.checkpoints import hub
from textloc.errors import CheckpointError

_BUNDLED = Path(__file__).parent / "originals"
_UNET = "model.diffusion_model."
_FIRST = f"{_UNET}input_blocks.0.0.weight"
_WIDTH = f"{_UNET}input_blocks.{{}}.1.transformer_blocks.0.attn2.to_k.weight"
_MARKS = ("joint_blocks.0.", "double_blocks.0.", f"{_UNET}joint_", f"{_UNET}double_")
_OF_BASE = 875_000
"""Training steps that Stable Diffusion 2 base says of itself, which predicts noise, not velocity.
"""

_TEXTS = (
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
    "cond_stage_model.model.token_embedding.weight",
    "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight",
)


def digest(path: Path) -> str:
    """`sha256:` of the file's content."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def load(path: Path, dtype: Any) -> Any:
    """The pipeline of a file.

    Args:
        dtype: torch's number format.

    Raises:
        CheckpointError: it is no whole checkpoint in safetensors, of a layout that is not known, or
            its configs cannot be fetched; the message says what to do.
    """
    import diffusers

    shapes = _shapes(path)
    index = path.parent / "model_index.json"
    try:
        if index.is_file():
            named = json.loads(index.read_text(encoding="utf-8")).get("_class_name")
            cls = getattr(diffusers, named if isinstance(named, str) else named[-1])
            pipe = _read(cls, path, dtype, config=str(path.parent))
        elif any(key.startswith(_MARKS) for key in shapes):
            three = any("joint_blocks" in key for key in shapes)
            cls = diffusers.StableDiffusion3Pipeline if three else diffusers.FluxPipeline
            pipe = _read(cls, path, dtype)
        else:
            kind = _kind(path, shapes)
            with _configs(kind, _prediction(path, kind, shapes)) as folder:
                named = json.loads((folder / "model_index.json").read_text())["_class_name"]
                pipe = _read(getattr(diffusers, named), path, dtype, config=str(folder))
    except CheckpointError:
        raise
    except Exception as error:  # what is missing raises almost anything in diffusers
        raise CheckpointError(_why_not(path.name, error)) from error
    _check_whole(pipe, path.name)
    return pipe


def _read(cls: Any, path: Path, dtype: Any, **options: Any) -> Any:
    local = {"local_files_only": True} if options else {}
    return cls.from_single_file(str(path), torch_dtype=dtype, **local, **options)


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the weights of a file that may be a checkpoint."""
    from safetensors import SafetensorError, safe_open

    name = path.name
    if path.suffix in (".ckpt", ".pt", ".pth", ".bin"):
        raise CheckpointError(
            f"{name} is a pickle, which can run code when it is opened, and is not read; convert "
            "it to safetensors first"
        )
    if path.suffix == ".gguf":
        raise CheckpointError(
            f"{name} is a GGUF file, the quantized weights of one component; load it by diffusers "
            "(GGUFQuantizationConfig) and give the pipeline to textloc in Python"
        )
    try:
        with safe_open(path, "pt") as file:
            names = file.keys()
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in names}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{name} is no safetensors file, or is cut off; download it again"
        ) from error
    if any("lora_" in key for key in shapes) and _FIRST not in shapes:
        raise CheckpointError(f"{name} is a LoRA; give it with --lora beside its checkpoint")
    if shapes.get(_FIRST, (0, 4))[1] != 4:
        raise CheckpointError(
            f"{name} wants a picture beside the prompt (inpainting); give a text-to-image one"
        )
    return shapes


def _kind(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The entry of the bundled configs that the weights are of."""
    widths = {shapes[key][-1] for n in (1, 2, 4) if (key := _WIDTH.format(n)) in shapes}
    if _FIRST not in shapes or len(widths) != 1:
        such = next(iter(shapes), "nothing")
        raise CheckpointError(
            f"{path.name} is of no layout that is known (it holds {such} and others); known are "
            "whole files of Stable Diffusion 1 to 3.5, SDXL and FLUX. Others load as a diffusers "
            "folder"
        )
    kind = {768: "sd-1", 1024: "sd-2", 2048: "sdxl"}.get(widths.pop())
    if kind is None:
        raise CheckpointError(
            f"{path.name} is a refiner or of another size than Stable Diffusion 1, 2 and SDXL; "
            "load it as a diffusers folder"
        )
    if not any(key in shapes for key in _TEXTS):
        raise CheckpointError(
            f"{path.name} holds a U-Net without text encoders; take the whole checkpoint, or a "
            "diffusers folder"
        )
    return kind


def _prediction(path: Path, kind: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """What the file says of its prediction, as settings of the scheduler."""
    from safetensors import safe_open

    found: dict[str, Any] = {}
    if kind == "sd-2" and "global_step" in shapes:
        with safe_open(path, "pt") as file:
            found["base"] = int(file.get_tensor("global_step")) == _OF_BASE
    if "v_pred" in shapes:  # as trainers of SDXL mark it
        found["prediction_type"] = "v_prediction"
    if "ztsnr" in shapes:
        found["rescale_betas_zero_snr"] = True
    return found


@contextmanager
def _configs(kind: str, prediction: dict[str, Any]) -> Iterator[Path]:
    """A folder of configs and tokenizers, as a diffusers folder has them."""
    if prediction.pop("base", False):
        kind = f"{kind}-base"
    bundled = json.loads((_BUNDLED / "configs.json").read_text(encoding="utf-8"))[kind]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, config in bundled.items():
            if name == "model_index":
                (folder / "model_index.json").write_text(json.dumps(config))
                continue
            (folder / name).mkdir()
            if name.startswith("tokenizer"):
                _write_tokenizer(folder / name, config["pad_token"])
            elif name == "scheduler":
                text = json.dumps(config | prediction)
                (folder / name / "scheduler_config.json").write_text(text)
            else:
                (folder / name / "config.json").write_text(json.dumps(config))
        yield folder


def _write_tokenizer(folder: Path, pad: str) -> None:
    """CLIP's tokenizer: its byte pairs in the order in which they are merged (Radford et al., ICML
    2021; file of openai/CLIP, MIT), and the vocabulary, which follows from them."""
    merges = gzip.decompress((_BUNDLED / "clip_merges.txt.gz").read_bytes()).decode()
    letters = _letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += ["".join(pair.split()) for pair in merges.splitlines()]
    first, last = "<|startoftext|>", "<|endoftext|>"
    vocabulary = {word: number for number, word in enumerate([*words, first, last])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}", "utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "do_lower_case": True,
        "bos_token": first,
        "eos_token": last,
        "unk_token": last,
        "pad_token": pad,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def _letters() -> list[str]:
    """A printable sign for each byte, in the order of GPT-2's encoder (Radford et al., 2019)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [*map(chr, plain), *(chr(256 + number) for number in range(len(others)))]


def _check_whole(pipe: Any, name: str) -> None:
    """Check that every weight of the pipeline came from the file."""
    import torch

    for part, module in pipe.components.items():
        if isinstance(module, torch.nn.Module):
            lost = [key for key, value in module.named_parameters() if value.is_meta]
            if lost:
                raise CheckpointError(
                    f"{name} lacks {len(lost)} weights of the {part}, such as {lost[0]}; it is not "
                    "whole"
                )


def _why_not(name: str, error: Exception) -> str:
    chain = (error, error.__cause__, error.__context__)
    said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(" .")[:200]
    if any(isinstance(one, hub.http_errors()) for one in chain):
        return (
            f"{name} needs configs and tokenizers that come from the Hub, which cannot be had "
            f"({said}); accept the licence and run `hf auth login`, check the network, or put the "
            "file into a folder with the model_index.json, configs and tokenizers of its family"
        )
    if "missing in the checkpoint" in str(error):
        return f"{name} holds a part of the checkpoint only ({said}); take a diffusers folder"
    return f"{name} does not load: {said}. Is it a whole text-to-image checkpoint?"
