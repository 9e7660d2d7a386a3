"""How a checkpoint is loaded: a known one, a folder, or any other on the Hub.

Weights are read from safetensors only and no remote code is run. A checkpoint is identified by a
digest of its weights, so a stored result says exactly what it was made with.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textloc.checkpoints import given, known
from textloc.checkpoints.known import KNOWN, KnownCheckpoint
from textloc.errors import CheckpointError, PromptError
from textloc.layers import TextLayer
from textloc.paths import CHECKPOINTS
from textloc.prompts import quoted
from textloc.runs import Sampling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diffusers import DiffusionPipeline
    from PIL import Image

    from textloc.checkpoints.families import Family
    from textloc.runs import Run

    Upscaler = Callable[[Sequence[Run], Sequence[Image.Image], Sequence[Any]], list[Image.Image]]


@dataclass(frozen=True)
class Spelling:
    """What a checkpoint can spell: `letters` after upper-casing, texts of `least` to `most`."""

    letters: str
    least: int
    most: int


@dataclass(frozen=True)
class Lora:
    """A LoRA that a model carries (`loras`).

    name: as asked for. digest: of its file. scale: of what it adds. base: digest of the checkpoint
    without it.
    """

    name: str
    digest: str
    scale: float
    base: str


@dataclass
class Model:
    """A loaded checkpoint.

    name: as asked for. revision: Hub commit or None. digest: of its weights. pipe: the diffusers
    pipeline. denoiser: its U-Net or transformer. layers: its text layers. defaults: its usual
    call. spelling: what it can spell, where its folder says so (`spelling.json`). upscaler:
    the second stage, called with (runs, pictures, noise generators), or None. lora: what it carries
    beside its weights, or None; `digest` is then of both.
    """

    name: str
    revision: str | None
    digest: str
    pipe: Any
    family: Family
    layers: tuple[TextLayer, ...]
    defaults: Sampling
    spelling: Spelling | None = None
    switched_off: dict[str, str | None] = field(default_factory=dict)
    upscaler: Upscaler | None = None
    lora: Lora | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What a request says of the checkpoint: `name`, `revision`, `digest`, and `lora` (`name`,
        `digest`, `scale`, and the `base`'s digest) where it carries one."""
        found: dict[str, Any] = {
            "name": self.name,
            "revision": self.revision,
            "digest": self.digest,
        }
        return found if self.lora is None else found | {"lora": vars(self.lora)}

    @property
    def denoiser(self) -> Any:
        """The component that the text layers belong to."""
        return getattr(self.pipe, self.family.DENOISER)

    @property
    def device(self) -> str:
        """Where it runs, also where its weights are only moved there bit by bit."""
        return str(getattr(self.pipe, "_execution_device", self.denoiser.device))

    @property
    def dtype(self) -> str:
        """Number format of the denoiser, such as `float32`."""
        return str(self.denoiser.dtype).removeprefix("torch.")

    @cached_property
    def parameters(self) -> int:
        """Parameters of the denoiser."""
        return sum(p.numel() for p in self.denoiser.parameters())

    def kv_parameters(self, layers: tuple[int, ...]) -> int:
        """Key and value weights of these layers."""
        return sum(self.layers[i].kv_parameters for i in layers)

    def check_length(self, prompt: str, sampling: Sampling | None = None) -> None:
        """Check that no end of a prompt or negative prompt is cut off in this call.

        Raises:
            PromptError: more tokens than the checkpoint reads.
        """
        for tokenizer, limit in self.family.readers(self.pipe, sampling or self.defaults):
            tokens = len(tokenizer(prompt).input_ids)
            if tokens > limit:
                raise PromptError(
                    f"the prompt has {tokens} tokens and {self.name} reads {limit}; shorten it: "
                    f"{prompt[:80]!r}"
                )

    def check_prompt(self, prompt: str, sampling: Sampling | None = None) -> None:
        """Check that the prompt fits into this call.

        Raises:
            PromptError: more tokens than the checkpoint reads, or letters it never learned.
        """
        self.check_length(prompt, sampling)
        if self.spelling is None:
            return
        for text in quoted(prompt):
            strange = sorted(set(text.upper()) - set(self.spelling.letters))
            if strange:
                raise PromptError(
                    f"{self.name} cannot spell {', '.join(map(repr, strange))} in {text!r}; it "
                    f"knows the letters {self.spelling.letters}"
                )
            if not self.spelling.least <= len(text) <= self.spelling.most:
                raise PromptError(
                    f"{self.name} spells words of {self.spelling.least} to {self.spelling.most} "
                    f"letters and {text!r} has {len(text)}"
                )

    def rows_that_fit(self, sampling: Sampling) -> int:
        """Rows of one call that should fit into the memory that is free; at least 1.

        An estimate: a row keeps about 24 maps of the widest resolution alive, twice for guidance.
        A call that does not fit after all is halved (`generation.generate`).
        """
        import psutil
        import torch

        config = self.denoiser.config
        scale = getattr(self.pipe, "vae_scale_factor", 8)
        side = (sampling.height or 512) * (sampling.width or 512) / scale**2
        channels = getattr(config, "block_out_channels", None)
        wide = channels[0] if channels else 1024
        row = 2 * 24 * side * wide * self.denoiser.dtype.itemsize
        if self.device.startswith("cuda"):
            free, _ = torch.cuda.mem_get_info(self.device)
        else:
            free = psutil.virtual_memory().available
        return max(1, int(0.6 * free / row))


def load(
    model: str | Path | Model | DiffusionPipeline,
    device: str | None = None,
    dtype: str | None = None,
    upscaler: str | None = None,
) -> Model:
    """Load a checkpoint: a known name, a folder, or a Hub name; or take a loaded pipeline.

    Args:
        model: name or path; a `Model` is given back as it is. A diffusers pipeline is used where
            and as it is, and left so (`given`).
        device: None takes CUDA where there is one, else the CPU.
        dtype: `float32`, `float16` or `bfloat16`; None takes the checkpoint's usual one on CUDA
            (float16 where it is not known), else float32.
        upscaler: folder or Hub name of a second stage (DeepFloyd IF); None takes the known one.

    Raises:
        CheckpointError: unknown, incomplete, gated, unreachable, without safetensors, of an
            unknown family, or a device that is not there; a pipeline that cannot be used as it is
            (`given.check`). The message says what to do.
    """
    if isinstance(model, Model):
        return model
    import torch

    from textloc.checkpoints import families

    if given.is_pipeline(model):
        return _given(model, device, dtype, upscaler)
    if not isinstance(model, (str, Path)):
        raise CheckpointError(
            f"a {type(model).__name__} is no checkpoint: give a known name, a folder, a Hub name "
            "or a diffusers pipeline"
        )

    entry = known.find(str(model))
    folder, revision = _folder(str(model), entry)
    device = _device(device)
    usual = entry.dtype if entry is not None else "float16"
    dtype = dtype or (usual if device.startswith("cuda") else "float32")
    if dtype not in ("float32", "float16", "bfloat16"):
        raise CheckpointError(f"unknown dtype {dtype!r}; use float32, float16 or bfloat16")
    pipe = _pipeline(folder, entry, getattr(torch, dtype))
    family = families.of_pipeline(pipe)
    switched_off = family.prepare(pipe)
    second = upscaler or (entry.upscaler if entry is not None else None)
    loaded = Model(
        name=str(model),
        revision=revision,
        digest=digest(folder),
        pipe=pipe,
        family=family,
        layers=families.text_layers(getattr(pipe, family.DENOISER)),
        defaults=_defaults(folder, entry, pipe),
        spelling=_spelling(folder),
        switched_off=switched_off,
        upscaler=_upscaler(pipe, family, second, device) if second else None,
    )
    _place(pipe, device)
    return loaded


def _given(pipe: Any, device: str | None, dtype: str | None, upscaler: str | None) -> Model:
    """A loaded pipeline as it is."""
    from textloc.checkpoints import families

    family = families.of_pipeline(pipe)
    denoiser = getattr(pipe, family.DENOISER)
    given.check(pipe, str(getattr(pipe, "_execution_device", denoiser.device)), device, dtype)
    name, revision, folder, entry = given.origin(pipe)
    own = given.shared(pipe)
    switched_off = family.prepare(own)
    own.set_progress_bar_config(disable=True)
    model = Model(
        name=name,
        revision=revision,
        digest=digest(folder) if given.is_still(pipe, folder) else given.digest(pipe),
        pipe=own,
        family=family,
        layers=families.text_layers(denoiser),
        defaults=_defaults(folder, entry, own),
        spelling=_spelling(folder),
        switched_off=switched_off,
    )
    if upscaler:
        model.upscaler = _upscaler(own, family, upscaler, model.device)
    return model


def _upscaler(pipe: Any, family: Family, name: str, device: str) -> Upscaler:
    """The second stage, which shares the text encoder of the first."""
    if family.enlarge is None:
        raise CheckpointError(f"{type(pipe).__name__} has no second stage; leave the upscaler out")
    folder, _ = _folder(name, None)
    shared = {"text_encoder": pipe.text_encoder, "tokenizer": pipe.tokenizer}
    second = _pipeline(folder, None, pipe.text_encoder.dtype, **shared)
    family.prepare(second)
    _place(second, device)
    return partial(family.enlarge, second)


def placement(weights: int, largest: int, free: int) -> str:
    """How to hold weights on an accelerator: `whole`, `model` (one component at a time) or
    `sequential` (one module at a time). All in bytes: weights of all components, of the largest
    one, and the memory that is free."""
    room = 0.85 * free - 2**30  # for activations
    if weights <= room:
        return "whole"
    return "model" if largest <= room else "sequential"


def _place(pipe: Any, device: str) -> None:
    """Move the pipeline to the device, or have it moved there bit by bit where memory is short."""
    import torch

    pipe.set_progress_bar_config(disable=True)
    if not device.startswith("cuda"):
        pipe.to(device)
        return
    sizes = [
        sum(p.numel() * p.element_size() for p in part.parameters())
        for part in pipe.components.values()
        if isinstance(part, torch.nn.Module)
    ]
    free, _ = torch.cuda.mem_get_info(device)
    how = placement(sum(sizes), max(sizes), free)
    if how == "whole":
        pipe.to(device)
    elif how == "model":
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.enable_sequential_cpu_offload(device=device)


def _device(asked: str | None) -> str:
    import torch

    cuda = torch.cuda.is_available()
    if asked is None:
        return "cuda" if cuda else "cpu"
    try:
        kind = torch.device(asked).type
    except RuntimeError as error:
        raise CheckpointError(f"there is no device {asked!r}; use cpu or cuda") from error
    if kind == "cuda" and not cuda:
        raise CheckpointError("this machine, or its build of torch, has no CUDA device; use cpu")
    return asked


def _folder(name: str, entry: KnownCheckpoint | None) -> tuple[Path, str | None]:
    """The checkpoint's folder on this machine, downloaded where needed, and its Hub commit."""
    if entry is not None and entry.shipped:
        return _complete(CHECKPOINTS / entry.source), None
    here = entry is None and _exists(name)
    if here and Path(name).is_dir():
        return _complete(Path(name)), None
    if here or (entry is None and not re.fullmatch(r"[\w.-]+/[\w.-]+", name)):
        names = ", ".join(k.name for k in KNOWN)
        raise CheckpointError(
            f"there is no checkpoint {name[:80]!r}: give one of {names}, a diffusers folder, or a "
            "Hub name such as owner/model"
        )
    return _download(entry.source if entry else name, entry.variant if entry else None)


def _exists(name: str) -> bool:
    try:
        return bool(name) and Path(name).exists()
    except OSError:  # longer than any name
        return False


def _complete(folder: Path) -> Path:
    if not _read_json(folder / "model_index.json"):
        raise CheckpointError(
            f"{folder} is no diffusers checkpoint: it has no model_index.json. A single-file "
            "checkpoint is converted by pipe.save_pretrained(folder) after from_single_file"
        )
    return folder


def _download(source: str, variant: str | None) -> tuple[Path, str | None]:
    import httpx
    from diffusers import DiffusionPipeline

    _be_quiet()
    try:
        path = Path(
            DiffusionPipeline.download(
                source, variant=variant, use_safetensors=True, trust_remote_code=False
            )
        )
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise CheckpointError(why_not(source, error)) from error
    return path, path.name if path.parent.name == "snapshots" else None


def why_not(source: str, error: Exception) -> str:
    """What keeps a checkpoint or LoRA from being downloaded, and the next step."""
    import httpx
    from huggingface_hub import errors

    # diffusers wraps what the Hub says, which itself wraps what came over the network
    chain = (error, error.__cause__)
    cause = error.__cause__ or error

    def told(kind: Any) -> bool:
        return any(isinstance(one, kind) for one in chain)

    if told(errors.GatedRepoError):
        return (
            f"{source} is gated: accept its licence at https://huggingface.co/{source}, then run "
            "`hf auth login`"
        )
    if told(errors.RepositoryNotFoundError):
        return (
            f"the Hub has no model {source!r}, or it is private; check the name, or run "
            "`hf auth login`"
        )
    if getattr(error, "errno", None) == errno.ENOSPC:
        return f"the disk is full; free some space, or set HF_HOME to a larger disk ({source})"
    if told((ConnectionError, httpx.TransportError)):
        return (
            f"{source} is not on this machine and the Hub cannot be reached; check the network "
            "and HF_HUB_OFFLINE, or use a checkpoint that is here: `textloc models` lists them"
        )
    return f"cannot download {source}: {_first_line(cause)}; is it a diffusers checkpoint?"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(" .")


def _pipeline(folder: Path, entry: KnownCheckpoint | None, dtype: Any, **components: Any) -> Any:
    from diffusers import DiffusionPipeline

    _be_quiet()
    variant = entry.variant if entry is not None and not entry.shipped else None
    try:
        return DiffusionPipeline.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            variant=variant,
            local_files_only=True,
            **components,
        )
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{folder.name} does not load: {_first_line(error)}. Is the download complete, and "
            "does it hold safetensors weights?"
        ) from error


def _be_quiet() -> None:
    """Loading prints bars and hints of three libraries; our own progress is enough."""
    import diffusers.utils.logging
    import transformers.utils.logging

    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.disable_progress_bar()
        logging.set_verbosity_error()


def _read_json(path: Path, *required: str) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no file."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}; restore the file") from error
    missing = [name for name in required if not isinstance(found, dict) or name not in found]
    if missing or not isinstance(found, dict):
        raise CheckpointError(
            f"{path} is damaged: it lacks {', '.join(missing) or 'an object'}; restore the file"
        )
    return found


def _defaults(folder: Path, entry: KnownCheckpoint | None, pipe: Any) -> Sampling:
    given = _read_json(folder / "call_defaults.json", "num_inference_steps", "guidance_scale")
    if given:
        return Sampling(
            steps=int(given["num_inference_steps"]),
            guidance=float(given["guidance_scale"]),
            height=given.get("height"),
            width=given.get("width"),
            text_length=given.get("max_sequence_length"),
        )
    if entry is not None:
        return Sampling(entry.steps, entry.guidance, entry.size, entry.size)
    side = getattr(pipe, "default_sample_size", None)
    side = int(side) * int(pipe.vae_scale_factor) if side else None
    return Sampling(steps=50, guidance=7.5, height=side, width=side)


def _spelling(folder: Path) -> Spelling | None:
    given = _read_json(folder / "spelling.json", "letters", "least", "most")
    return Spelling(given["letters"], given["least"], given["most"]) if given else None


def digest(folder: Path) -> str:
    """`sha256:` of the names and contents of a checkpoint's weights and configs.

    Files in the Hub's cache are links to blobs named by their SHA-256; those are not read again.
    """
    total = hashlib.sha256()
    for path in _identity_files(folder):
        blob = path.resolve().name
        if not (path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", blob)):
            with path.open("rb") as file:
                blob = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()} {blob}\n".encode())
    return f"sha256:{total.hexdigest()}"


def _identity_files(folder: Path) -> Iterator[Path]:
    """Weights, configs and tokenizer files of the pipeline's components; not cards or defaults."""
    for path in sorted(folder.glob("*/*")):
        if path.suffix in (".safetensors", ".json", ".txt") and path.name != "codec.safetensors":
            yield path
