"""How a checkpoint is loaded: a known one, a folder, or any other on the Hub.

Weights are read from safetensors only and no remote code is run. A checkpoint is identified by a
digest of its weights, so a stored result says exactly what it was made with.
"""

from __future__ import annotations

import errno
import inspect
import json
import os
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textloc.checkpoints import given, hub, known, memory, weights
from textloc.checkpoints.families import common, refused
from textloc.checkpoints.known import KNOWN, KnownCheckpoint
from textloc.checkpoints.memory import place
from textloc.checkpoints.spelling import Spelling as Spelling
from textloc.checkpoints.spelling import advice
from textloc.checkpoints.spelling import read as read_spelling
from textloc.errors import CheckpointError, PromptError
from textloc.layers import TextLayer
from textloc.paths import CHECKPOINTS
from textloc.prompts import quoted, straightened
from textloc.runs import Run, Sampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusers import DiffusionPipeline
    from PIL import Image

    from textloc.checkpoints.families import Family
    from textloc.runs import Run


@dataclass(frozen=True)
class Upscaler:
    """A second stage. pipe: its pipeline. family: the first stage's. digest: of its weights, where
    they were read from files. call: arguments of its usual call that are not the pipeline's own,
    from its `call_defaults.json`."""

    pipe: Any
    family: Family
    digest: str | None = None
    call: Mapping[str, Any] = field(default_factory=dict)

    def __call__(
        self, runs: Sequence[Run], pictures: Sequence[Image.Image], generators: Sequence[Any]
    ) -> list[Image.Image]:
        """Pictures of these runs, enlarged; `generators` of its noise, one a run."""
        found: list[Image.Image] = self.family.enlarge(
            self.pipe, runs, pictures, generators, self.call
        )
        return found

    def rows_that_fit(self) -> int:
        """Pictures that should fit into the memory that is free, at once; at least 1."""
        height, width = common.native_size(self.pipe, self.pipe.unet)
        return memory.by_formula(self.pipe, self.pipe.unet, Sampling(1, 2.0, height, width))


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
    beside its weights, or None; `digest` is then of both. scheduler: class of the one that was
    asked for in place of the checkpoint's own, or None. rows_known: rows that fit, by
    `memory.call_size`, as far as they were measured.
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
    scheduler: str | None = None
    rows_known: dict[Any, int] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """What a request says of the checkpoint: `name`, `revision`, `digest`, the `scheduler`
        where it is not the checkpoint's own, and `lora` (`name`, `digest`, `scale`, and the
        `base`'s digest) where it carries one."""
        found: dict[str, Any] = {
            "name": self.name,
            "revision": self.revision,
            "digest": self.digest,
        }
        if self.scheduler is not None:
            found["scheduler"] = self.scheduler
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

    @property
    def architecture(self) -> str:
        """Short name of the denoiser's class and text layers: equal for fine-tunes of one model."""
        from textloc.checkpoints import families

        return families.architecture(self.denoiser, self.layers)

    @cached_property
    def parameters(self) -> int:
        """Parameters of the denoiser."""
        return memory.parameters(self.denoiser)

    def kv_parameters(self, layers: tuple[int, ...]) -> int:
        """Key and value weights of these layers."""
        return sum(self.layers[i].kv_parameters for i in layers)

    def check_length(self, prompt: str, sampling: Sampling | None = None) -> None:
        """Check that no end of a prompt or negative prompt is cut off in this call.

        Raises:
            PromptError: more tokens than the checkpoint reads.
        """
        own = getattr(self.pipe, "maybe_convert_prompt", None)  # words of several vectors
        for tokenizer, limit in self.family.readers(self.pipe, sampling or self.defaults):
            tokens = len(tokenizer(own(prompt, tokenizer) if own else prompt).input_ids)
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
            if (why := self.spelling.misspelt(text)) is not None:
                raise PromptError(f"{self.name} {why}")

    def taken(self, prompt: str) -> str:
        """The prompt as the checkpoint is given it: one that was taught to spell was taught so
        with straight double quotation marks, and draws nothing legible of others."""
        return prompt if self.spelling is None else straightened(prompt)

    def advice(self, prompt: str) -> str | None:
        """What is to be said of a prompt before it is run (`spelling.advice`), or None."""
        return advice(self.name, self.spelling, prompt)

    def call(self, **arguments: Any) -> Any:
        """The pipeline's own call, as `family.arguments` writes it.

        Raises:
            CheckpointError: diffusers or transformers refuse what they are given (ValueError), such
                as a size.
        """
        try:
            return self.pipe(**arguments)
        except ValueError as error:
            frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
            raised_in = str(frames[-1].f_globals.get("__name__", ""))
            if raised_in.partition(".")[0] not in ("diffusers", "transformers"):
                raise
            said = " ".join(str(error).split()).rstrip(".")
            raise CheckpointError(
                f"{type(self.pipe).__name__} refuses this call: {said}; leave the size and other "
                "settings of the call out to use those that suit the checkpoint"
            ) from error

    def rows_that_fit(self, sampling: Sampling) -> int:
        """Rows of one call that should fit into the memory that is free (`memory`); at least 1. A
        call that does not fit after all is halved (`generation.generate`)."""
        return memory.rows_that_fit(self, sampling)


def load(
    model: str | Path | Model | DiffusionPipeline,
    device: str | None = None,
    dtype: str | None = None,
    upscaler: str | None = None,
    *,
    size: tuple[int, int] | None = None,
    scheduler: str | None = None,
    variant: str | None = None,
    offload: str | None = None,
) -> Model:
    """Load a checkpoint: a known name, a folder, or a Hub name; or take a loaded pipeline.

    Args:
        model: name or path; a `Model` is given back as it is. A diffusers pipeline is used where
            and as it is, and left so (`given`).
        device: None takes CUDA where there is one, else the CPU.
        dtype: `float32`, `float16` or `bfloat16`; None takes the checkpoint's usual one on CUDA
            (float16 where it is not known), else float32.
        upscaler: folder or Hub name of a second stage (DeepFloyd IF); None takes the known one.
        size: height and width of its pictures in pixels; None takes the usual ones.
        scheduler: class in diffusers, such as `DDIMScheduler`, in place of the checkpoint's own.
        variant: of the weight files, such as `fp16`; None takes the known or the plain one.
        offload: of `memory.OFFLOADS`; None is by the memory that is free.

    Raises:
        CheckpointError: unknown, incomplete, gated, unreachable, without safetensors, of an
            unknown family, or options that it does not take; a pipeline that cannot be used as it
            is (`given.check`). The message says what to do.
    """
    if isinstance(model, Model):
        return model

    if given.is_pipeline(model):
        if any(option is not None for option in (variant, offload)):
            raise CheckpointError("a pipeline is loaded already; leave variant and offload out")
        return _given(model, device, dtype, upscaler, size, scheduler)
    if not isinstance(model, (str, Path)):
        given.check_not_modular(model)
        raise CheckpointError(
            f"a {type(model).__name__} is no checkpoint: give a known name, a folder, a Hub name "
            "or a diffusers pipeline"
        )

    entry = known.find(str(model)) if not _is_folder(str(model)) else None
    single = Path(model) if entry is None and _is_file(str(model)) else None
    if single is not None:
        return _single(single, device, dtype, upscaler, size, scheduler, variant, offload)
    folder, revision = _folder(str(model), entry, variant)
    files = weights.names(folder)
    if variant is None and entry is not None and entry.variant in weights.variants(files):
        variant = entry.variant
    variant = weights.variant_of(files, variant, str(model))
    device = _device(device)
    pipe = _pipeline(folder, variant, _dtype(dtype, device, entry))
    about = (str(model), revision, weights.digest(folder, variant), folder, entry)
    loaded = _model(pipe, *about, size, scheduler)
    if second := upscaler or (entry.upscaler if entry is not None else None):
        loaded.upscaler = _upscaler(pipe, loaded.family, second, device, offload)
    place(pipe, device, offload)
    return loaded


def _model(
    pipe: Any,
    name: str,
    revision: str | None,
    digest: str,
    folder: Path,
    entry: KnownCheckpoint | None,
    size: tuple[int, int] | None,
    scheduler: str | None,
) -> Model:
    """The model of a pipeline that is read; `folder` is where its defaults and spelling stand."""
    from textloc.checkpoints import families

    family = families.of_pipeline(pipe)
    if scheduler is not None:
        _set_scheduler(pipe, scheduler)
    switched_off = family.prepare(pipe)
    return Model(
        name=name,
        revision=revision,
        digest=digest,
        pipe=pipe,
        family=family,
        layers=families.text_layers(getattr(pipe, family.DENOISER)),
        defaults=_sized(pipe, family, _defaults(folder, entry, pipe, family), size),
        spelling=read_spelling(folder),
        switched_off=switched_off,
        scheduler=type(pipe.scheduler).__name__ if scheduler is not None else None,
    )


def _dtype(asked: str | None, device: str, entry: KnownCheckpoint | None) -> Any:
    """torch's number format for what is asked for, or the usual one."""
    import torch

    usual = entry.dtype if entry is not None else "float16"
    name = asked or (usual if device.startswith("cuda") else "float32")
    if name not in ("float32", "float16", "bfloat16"):
        raise CheckpointError(f"unknown dtype {name!r}; use float32, float16 or bfloat16")
    return getattr(torch, name)


def _single(
    path: Path,
    device: str | None,
    dtype: str | None,
    upscaler: str | None,
    size: tuple[int, int] | None,
    scheduler: str | None,
    variant: str | None,
    offload: str | None,
) -> Model:
    """A checkpoint in one file (`original`)."""
    from textloc.checkpoints import original

    if variant is not None:
        raise CheckpointError(f"{path.name} is one file; leave variant out")
    device = _device(device)
    _be_quiet()
    pipe = original.load(path, _dtype(dtype, device, None))
    beside = path.parent if (path.parent / "model_index.json").is_file() else path / "none"
    loaded = _model(pipe, str(path), None, original.digest(path), beside, None, size, scheduler)
    if upscaler:
        loaded.upscaler = _upscaler(pipe, loaded.family, upscaler, device, offload)
    place(pipe, device, offload)
    return loaded


def _given(
    pipe: Any,
    device: str | None,
    dtype: str | None,
    upscaler: str | None,
    size: tuple[int, int] | None,
    scheduler: str | None,
) -> Model:
    """A loaded pipeline as it is."""
    from textloc.checkpoints import families

    family = families.of_pipeline(pipe)
    denoiser = getattr(pipe, family.DENOISER)
    given.check(pipe, str(getattr(pipe, "_execution_device", denoiser.device)), device, dtype)
    name, revision, folder, entry = given.origin(pipe)
    own = given.shared(pipe)
    own.set_progress_bar_config(disable=True)
    digest = weights.digest(folder) if given.is_still(pipe, folder) else given.digest(pipe)
    model = _model(own, name, revision, digest, folder, entry, size, scheduler)
    if upscaler:
        model.upscaler = _upscaler(own, family, upscaler, model.device, None)
    return model


def _is_file(name: str) -> bool:
    return _exists(name) and Path(name).is_file()


def _is_folder(name: str) -> bool:
    """Whether a name that is none of the table's short ones is a folder on this machine."""
    return not any(entry.name == name for entry in KNOWN) and _exists(name)


_SECOND_CALL = {"num_inference_steps": int, "guidance_scale": float, "noise_level": int}
"""What `call_defaults.json` of a second stage says, if there is one."""


def _upscaler(pipe: Any, family: Family, name: str, device: str, offload: str | None) -> Upscaler:
    """The second stage with the text encoder of the first, which is not downloaded again."""
    if family.enlarge is None:
        raise CheckpointError(f"{type(pipe).__name__} has no second stage; leave the upscaler out")
    shared = {
        "text_encoder": pipe.text_encoder,
        "tokenizer": pipe.tokenizer,
        **dict.fromkeys(("safety_checker", "feature_extractor", "watermarker")),
    }
    folder, _ = _folder(name, None, None, shared)
    files = [file for file in weights.names(folder) if file.partition("/")[0] not in shared]
    variant = weights.variant_of(files, None, name)
    second = _pipeline(folder, variant, pipe.text_encoder.dtype, **shared)
    family.prepare(second)
    place(second, device, offload)
    said = _read_json(folder / "call_defaults.json")
    with _of_call(folder):
        call = {name: kind(said[name]) for name, kind in _SECOND_CALL.items() if name in said}
    return Upscaler(second, family, weights.digest(folder, variant), call)


def _set_scheduler(pipe: Any, name: str) -> None:
    """Give the pipeline another scheduler with its own scheduler's settings."""
    import diffusers

    own = pipe.scheduler
    fitting = {cls.__name__ for cls in own.compatibles} | {type(own).__name__}
    if name not in fitting:
        raise CheckpointError(
            f"{type(own).__name__} cannot be replaced by {name!r}; it can by "
            f"{', '.join(sorted(fitting))}"
        )
    pipe.scheduler = getattr(diffusers, name).from_config(own.config)


def _sized(pipe: Any, family: Family, usual: Sampling, size: tuple[int, int] | None) -> Sampling:
    """The usual call with pictures of this height and width."""
    if size is None:
        return usual
    step = common.step(pipe, getattr(pipe, family.DENOISER))
    if any(side < step or side % step for side in size):
        raise CheckpointError(
            f"the size {size[0]}x{size[1]} does not suit {type(pipe).__name__}: give multiples of "
            f"{step}"
        )
    return replace(usual, height=size[0], width=size[1])


def _device(asked: str | None) -> str:
    import torch

    cuda = torch.cuda.is_available()
    if asked is None:
        if not cuda:
            return "cpu"
        rank = os.environ.get("LOCAL_RANK", "")  # of several processes (`accelerate launch`)
        own = rank.isdigit() and int(rank) < torch.cuda.device_count()
        return f"cuda:{rank}" if own else "cuda"
    try:
        kind = torch.device(asked).type
    except RuntimeError as error:
        raise CheckpointError(f"there is no device {asked!r}; use cpu or cuda") from error
    if kind == "cuda" and not cuda:
        raise CheckpointError("this machine, or its build of torch, has no CUDA device; use cpu")
    return asked


def _folder(
    name: str,
    entry: KnownCheckpoint | None,
    variant: str | None = None,
    passed: Mapping[str, Any] | None = None,
) -> tuple[Path, str | None]:
    """The checkpoint's folder on this machine, downloaded where needed, and its Hub commit."""
    if entry is not None and entry.shipped:
        return _complete(CHECKPOINTS / entry.source), None
    here = entry is None and _exists(name)
    if here and Path(name).is_dir():
        return _complete(Path(name)), None
    if here or (entry is None and not re.fullmatch(r"[\w.-]+/[\w.-]+", name)):
        names = ", ".join(k.name for k in KNOWN)
        raise CheckpointError(
            f"there is no checkpoint {name[:80]!r}: give one of {names}, a diffusers folder, a "
            ".safetensors file, or a Hub name such as owner/model"
        )
    variant = variant or (entry.variant if entry else None)
    return _download(entry.source if entry else name, variant, passed or {})


def _exists(name: str) -> bool:
    try:
        return bool(name) and Path(name).exists()
    except OSError:  # longer than any name
        return False


def _complete(folder: Path) -> Path:
    if not _read_json(folder / "model_index.json"):
        if (folder / "modular_model_index.json").is_file():
            raise CheckpointError(f"{folder.name} cannot be used: {refused.MODULAR}")
        raise CheckpointError(
            f"{folder.name} is no diffusers checkpoint: it has no model_index.json; of a "
            "checkpoint in one file, name the .safetensors file"
        )
    weights.check(folder)
    return folder


def _download(
    source: str, variant: str | None, passed: Mapping[str, Any]
) -> tuple[Path, str | None]:
    """The checkpoint's files but for those of components that are `passed`."""
    from diffusers import DiffusionPipeline

    _be_quiet()
    options = {"use_safetensors": True, "trust_remote_code": False, **passed}
    try:
        try:
            path = Path(DiffusionPipeline.download(source, variant=variant, **options))
        except (OSError, ValueError):
            found = None if variant else _only_variant(source)
            if found is None:
                raise
            path = Path(DiffusionPipeline.download(source, variant=found, **options))
    except hub.failures() as error:
        raise CheckpointError(why_not(source, error)) from error
    return path, path.name if path.parent.name == "snapshots" else None


def _only_variant(source: str) -> str | None:
    """The variant of a repository that has no plain weights."""
    from huggingface_hub import HfApi

    try:
        return weights.variant_of(HfApi().list_repo_files(source), None, source)
    except hub.failures():
        return None  # the first error says why


def why_not(source: str, error: Exception) -> str:
    """What keeps a checkpoint or LoRA from being downloaded, and the next step."""
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
    if told(hub.unreachable()):
        return (
            f"{source} is not on this machine and the Hub cannot be reached; check the network "
            "and HF_HUB_OFFLINE, or use a checkpoint that is here: `textloc models` lists them"
        )
    return f"cannot download {source}: {_first_line(cause)}; is it a diffusers checkpoint?"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(" .")


def _pipeline(folder: Path, variant: str | None, dtype: Any, **components: Any) -> Any:
    from diffusers import DiffusionPipeline

    _be_quiet()
    try:
        with weights.plain(folder) as (place, left_out):
            return DiffusionPipeline.from_pretrained(
                place,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                variant=variant,
                local_files_only=True,
                **{**left_out, **components},
            )
    except CheckpointError:
        raise
    except Exception as error:  # a damaged folder raises almost anything in diffusers
        said = _first_line(error).replace(f"{folder}/", "").replace(str(folder), folder.name)
        if (kinds := weights.quantized(folder)) != "":
            raise CheckpointError(
                f"{folder.name} does not load: {said}. Its weights are quantized ({kinds}), which "
                "needs the package of that name, and for some a GPU"
            ) from error
        raise CheckpointError(
            f"{folder.name} does not load: {said}. Is the download complete, and does it hold "
            "safetensors weights?"
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


def _defaults(folder: Path, entry: KnownCheckpoint | None, pipe: Any, family: Family) -> Sampling:
    """What the folder says, or the table, or else what its pipeline's call takes by itself and the
    size that its denoiser was trained at."""
    given = _read_json(folder / "call_defaults.json", "num_inference_steps", "guidance_scale")
    if given:
        return _of_folder(folder, given, _by_itself(pipe, family))
    if entry is not None:
        return Sampling(entry.steps, entry.guidance, entry.size, entry.size)
    return _by_itself(pipe, family)


def _of_folder(folder: Path, given: dict[str, Any], usual: Sampling) -> Sampling:
    """What `call_defaults.json` says; what it leaves null is as usual."""
    with _of_call(folder):
        steps, guidance = given["num_inference_steps"], given["guidance_scale"]
        sides = [None if given.get(n) is None else int(given[n]) for n in ("height", "width")]
        length = given.get("max_sequence_length")
        return Sampling(
            steps=usual.steps if steps is None else int(steps),
            guidance=usual.guidance if guidance is None else float(guidance),
            height=sides[0],
            width=sides[1],
            text_length=None if length is None else int(length),
        )


@contextmanager
def _of_call(folder: Path) -> Iterator[None]:
    """Values of a folder's `call_defaults.json`, each of its kind; `CheckpointError` for others."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"call_defaults.json of {folder.name} is damaged: {_first_line(error)}; restore the "
            "file"
        ) from error


def _by_itself(pipe: Any, family: Family) -> Sampling:
    """What the pipeline's call takes by itself, and the size that its denoiser was trained at."""
    of_call = inspect.signature(type(pipe).__call__).parameters
    own = family.GUIDANCE  # some calls have two, and some none
    guidance = of_call.get(own) or of_call.get("true_cfg_scale")
    height, width = common.native_size(pipe, getattr(pipe, family.DENOISER))
    return Sampling(
        steps=int(of_call["num_inference_steps"].default),
        guidance=1.0 if guidance is None else float(guidance.default),
        height=height,
        width=width,
    )
