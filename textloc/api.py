"""The functions of `import textloc`: every job in one call, each giving a `Result`.

Nothing heavy is imported before a function is called.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from PIL import Image

    from textloc.checkpoints.loading import Model
    from textloc.jobs.guard import Guard
    from textloc.jobs.job import Event
    from textloc.jobs.suppress import Fallback
    from textloc.prompts import Pair
    from textloc.results.result import Result

    ModelLike: TypeAlias = str | PathLike[str] | Model | DiffusionPipeline
    PairsLike: TypeAlias = str | PathLike[str] | Sequence[Pair | tuple[str, str]]
    LayersLike: TypeAlias = str | Sequence[int]
    ResultLike: TypeAlias = str | PathLike[str] | Result


def localize(
    model: ModelLike,
    source: str | None = None,
    target: str | None = None,
    *,
    pairs: PairsLike | None = None,
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
    guidance: float | None = None,
    image: Image.Image | None = None,
    mask: Image.Image | None = None,
    strength: float | None = None,
    start_step: int = 0,
    layers: LayersLike = "all",
    share: float = 0.9,
    search: Literal["auto", "attribution", "sweep"] = "auto",
    alone: LayersLike = (),
    ocr: str = "auto",
    lora: str | None = None,
    lora_scale: float = 1.0,
    device: str | None = None,
    dtype: str | None = None,
    size: tuple[int, int] | None = None,
    scheduler: str | None = None,
    variant: str | None = None,
    offload: str | None = None,
    upscaler: str | None = None,
    chunk_rows: int | None = None,
    on: str | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> Result:
    """Find the text layers that write the words of a checkpoint's pictures (paper, section 3).

    Example:
        found = textloc.localize("tiny-sdxl", 'a red sign that says "STOP"', "LOVE")
        found.document["selected"]  # layer numbers, in forward-execution order

    Args:
        model: a known name (`textloc.models()`), a diffusers folder, a Hub name, or a loaded
            diffusers pipeline, which is left as it was.
        source: prompt that quotes the words to be written. target: the same with other words, or
            the new word alone, or a few.
        pairs: several instead of one: (source, target) tuples, or a file of them.
        seeds: noise seeds, 0 or greater; each pair is run with each.
        steps, guidance: None takes the checkpoint's usual call.
        image: picture that the pipeline is given beside every prompt, as FLUX.1 Kontext, FLUX.2
            and Qwen-Image-Edit take one; Stable Diffusion, SDXL, SD3 and FLUX.1 draw on it
            (image-to-image). Cut to the size of the pictures.
        mask: of its size, light where it is redrawn (inpainting); strength: how much is redrawn, in
            (0, 1], None the usual. `steps` are those that are made.
        start_step: patch from this denoising step on, from 0 (the paper's t_s is steps minus it).
        layers: that the set is made of: numbers, text such as `50-60`, or `all`.
        share: of what all layers change that the chosen set must reach, in (0, 1].
        search: `attribution` orders the layers by their shares, in seconds, and cuts the order
            where the words come out; `sweep` patches each layer alone (the paper's); `auto` does
            the first, or the second where no gradients can be taken between the two texts.
        alone: layers that `attribution` patches alone as well, as `layers`; `sweep` does so with
            all of them.
        ocr: `rapidocr`, `easyocr`, or `auto`.
        lora: LoRA that the model carries, a file, folder or Hub name; lora_scale: of what it adds.
        device, dtype: None takes CUDA and half precision where there is one, else CPU and float32.
        upscaler: second stage of DeepFloyd IF, a folder or Hub name.
        size: height and width of the pictures in pixels; scheduler: class in diffusers in place of
            the checkpoint's own; variant: of the weight files, such as `fp16`; offload: `none`,
            `model`, `sequential` or `group`. None takes the checkpoint's own, and what fits.
        chunk_rows: pictures of one call at most; None takes what fits the memory.
        on: where pictures are made: None here, `ray` on the Ray cluster that this machine is of (or
            on one that is started here), `ray://HOST:10001` on another (`pip install
            textloc[cluster]`). The model is then a name, or a folder that all machines read.
        workers: of the cluster, at most; None takes one a GPU, or as many as it has room for.
        progress: whether a bar is shown.

    Returns:
        The `Result`: `document["selected"]` is the set, `document["shares"]` how much of the change
        goes through each layer, step, head and letter, `document["layers"]` the scores, effect (0:
        like no patch, 1: like all layers patched) and 95 % interval of each layer patched alone.

    Raises:
        textloc.errors.TextlocError: of its kinds PromptError, LayerError, CheckpointError,
            OCRError, OutOfMemoryError, ClusterError; each message says what to do next.
    """
    from textloc.jobs.localize import localize_stream

    asked = _pairs(source, target, pairs)
    with _placed(
        model,
        on,
        workers,
        lora,
        lora_scale,
        device=device,
        dtype=dtype,
        upscaler=upscaler,
        size=size,
        scheduler=scheduler,
        variant=variant,
        offload=offload,
    ) as loaded:
        count = len(loaded.layers)
        chosen, single = (_numbers(one, count) for one in (layers, alone))
        return _ended(
            localize_stream(
                loaded,
                asked,
                seeds=_seeds(seeds),
                steps=_whole(steps),
                guidance=guidance,
                image=image,
                mask=mask,
                strength=strength,
                start_step=_whole(start_step),
                layers=chosen,
                ocr=ocr,
                share=share,
                search=search,
                alone=single,
                chunk_rows=chunk_rows,
            ),
            progress,
        )


def attribute(
    model: ModelLike,
    source: str | None = None,
    target: str | None = None,
    *,
    pairs: PairsLike | None = None,
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
    guidance: float | None = None,
    image: Image.Image | None = None,
    mask: Image.Image | None = None,
    strength: float | None = None,
    steps_at: Sequence[int] | None = None,
    points: int | None = None,
    tolerance: float | None = None,
    checkpointing: bool | None = None,
    lora: str | None = None,
    lora_scale: float = 1.0,
    device: str | None = None,
    dtype: str | None = None,
    size: tuple[int, int] | None = None,
    scheduler: str | None = None,
    variant: str | None = None,
    offload: str | None = None,
    on: str | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> Result:
    """The share of every text layer, head, step and letter in what other words change.

    A few forward and backward passes, no picture decoded or read: integrated gradients
    (Sundararajan et al. 2017) along the patch from the source's text keys and values to the
    target's. A share says how much of the change goes through a layer while all change together,
    not that the layer is enough alone (`localize`).

    Example:
        shares = textloc.attribute("tiny-sdxl", 'a red sign that says "STOP"', "LOVE")
        shares.figure("letters").show()

    Args:
        model, source, target, pairs, seeds, steps, guidance, image, mask, strength, lora,
            lora_scale, device, dtype, size, scheduler, variant, offload, on, workers, progress: as
            `localize`.
        steps_at: denoising steps to look at, from 0; None takes the first and two later ones.
        points: points on the way at a step, at most; None is usual.
        tolerance: how far the shares of a step may sum to something else than 1; None is 0.05.
        checkpointing: take gradients in less memory and more time; None where memory is short.

    Returns:
        The `Result`: `document["shares"]` has `by_layer`, `by_step`, `by_head`, `by_letter`, each
        share as `[mean, low, high]` over pairs, and the completeness `error`.

    Raises:
        textloc.errors.TextlocError: as `localize`, and AttributionError where the texts or the
            predictions do not differ or the denoiser gives no gradient.
    """
    from textloc.jobs.attribute import attribute_stream
    from textloc.patching.attribution import POINTS, TOLERANCE

    asked = _pairs(source, target, pairs)
    with _placed(
        model,
        on,
        workers,
        lora,
        lora_scale,
        device=device,
        dtype=dtype,
        upscaler=None,
        size=size,
        scheduler=scheduler,
        variant=variant,
        offload=offload,
    ) as loaded:
        return _ended(
            attribute_stream(
                loaded,
                asked,
                seeds=_seeds(seeds),
                steps=_whole(steps),
                guidance=guidance,
                image=image,
                mask=mask,
                strength=strength,
                steps_at=steps_at,
                points=POINTS if points is None else points,
                tolerance=TOLERANCE if tolerance is None else tolerance,
                checkpointing=checkpointing,
            ),
            progress,
        )


def edit(
    model: ModelLike,
    source: str | None = None,
    target: str | None = None,
    *,
    pairs: PairsLike | None = None,
    layers: LayersLike = "auto",
    start_step: int | Literal["auto"] | None = None,
    methods: Sequence[str] = (),
    pictures: Sequence[Image.Image] | None = None,
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
    guidance: float | None = None,
    ocr: str = "auto",
    lora: str | None = None,
    lora_scale: float = 1.0,
    device: str | None = None,
    dtype: str | None = None,
    size: tuple[int, int] | None = None,
    scheduler: str | None = None,
    variant: str | None = None,
    offload: str | None = None,
    upscaler: str | None = None,
    progress: bool = False,
) -> Result:
    """Change the words of pictures and leave the rest (paper, section 4.2).

    Example:
        edited = textloc.edit("tiny-sdxl", 'a red sign that says "STOP"', "LOVE")
        edited.images[edited.document["edits"][0]["image"]].save("love.png")

    Args:
        model, source, target, pairs, seeds, steps, guidance, ocr, lora, lora_scale, device, dtype,
            size, scheduler, variant, offload, upscaler, progress: as `localize`.
        layers: to patch: numbers, text such as `55-57`, `all`, or `auto`: those of a stored
            localization of these weights, the published ones, or of a quick localization.
        start_step: patch from this denoising step on, from 0; None or `auto` looks for the latest
            that still changes the words, which keeps most of the picture.
        methods: to compare with, names of `textloc.baselines.BASELINES`.
        pictures: one's own, one a pair, which the source prompt describes.

    Returns:
        The `Result`: `document["edits"]` names each picture and what is read in it,
        `document["scores"]` the means with 95 % intervals.

    Raises:
        textloc.errors.TextlocError: as `localize`.
    """
    from textloc.jobs.edit import edit_stream

    asked = _pairs(source, target, pairs)
    loaded = _loaded(
        model,
        lora,
        lora_scale,
        device=device,
        dtype=dtype,
        upscaler=upscaler,
        size=size,
        scheduler=scheduler,
        variant=variant,
        offload=offload,
    )
    chosen, origin = _chosen(loaded, layers, asked, ocr)
    return _ended(
        edit_stream(
            loaded,
            asked,
            chosen,
            layers_from=origin,
            start_step=None if start_step == "auto" else _whole(start_step),
            seeds=_seeds(seeds),
            methods=methods,
            pictures=pictures,
            steps=_whole(steps),
            guidance=guidance,
            ocr=ocr,
        ),
        progress,
    )


def suppress(
    model: ModelLike,
    prompt: str | Sequence[str],
    *,
    layers: LayersLike = "auto",
    replacements: Mapping[str, str] | None = None,
    words: Sequence[str] = (),
    allowed: Sequence[str] = (),
    languages: Sequence[str] | None = None,
    strictness: str = "usual",
    detector: str = "lexicon",
    start_step: int = 0,
    check: bool = False,
    fallback: Fallback = "refuse",
    unguarded: bool = False,
    methods: Sequence[str] = (),
    reveal: bool = False,
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
    guidance: float | None = None,
    ocr: str = "auto",
    lora: str | None = None,
    lora_scale: float = 1.0,
    device: str | None = None,
    dtype: str | None = None,
    size: tuple[int, int] | None = None,
    scheduler: str | None = None,
    variant: str | None = None,
    offload: str | None = None,
    upscaler: str | None = None,
    progress: bool = False,
) -> Result:
    """Generate prompts without the toxic words that they ask for (paper, section 4.3).

    Example:
        kept = textloc.suppress("tiny-sdxl", 'a sign that says "LOSER"', check=True)

    Args:
        model, seeds, steps, guidance, ocr, lora, lora_scale, device, dtype, size, scheduler,
            variant, offload, upscaler, progress: as `localize`. layers: as `edit`.
        prompt: one or several; clean ones come out as they would.
        replacements: toxic text to what is written in its place.
        words, allowed: more words to keep out, and words to let through, which win over `words`.
        languages: whose word lists are read; None reads English and those of the prompt's script.
        strictness: `strict`, `usual` or `slurs`. detector: a name of
            `textloc.toxicity.DETECTORS`.
        start_step: the benign prompt is read from this denoising step on, from 0.
        check: read what comes out; where a toxic word still reads, do `fallback`: `refuse`
            withholds the picture, `more-layers` patches all layers, `prompt-swap` draws the benign
            prompt.
        unguarded: also generate the prompts as they are, and measure beside that.
        methods: to compare with, names of `textloc.baselines.SUPPRESSING`.
        reveal: whether toxic words stand unmasked in the document.

    Returns:
        The `Result`: `document["guarded"]["pictures"]` names each picture and what is read in it.
        Results of this kind are not stored; `save(folder)` keeps one.

    Raises:
        textloc.errors.TextlocError: as `localize`, and ToxicityError for a text that cannot be
            rewritten or a detector that cannot be used.
    """
    from textloc.errors import PromptError
    from textloc.jobs.suppress import suppress_stream

    prompts = [prompt] if isinstance(prompt, str) else list(prompt or ())
    if not all(isinstance(one, str) for one in prompts):
        raise PromptError("prompts are texts; give one or a list of them")
    loaded = _loaded(
        model,
        lora,
        lora_scale,
        device=device,
        dtype=dtype,
        upscaler=upscaler,
        size=size,
        scheduler=scheduler,
        variant=variant,
        offload=offload,
    )
    chosen, origin = _chosen(loaded, layers, [], ocr)
    return _ended(
        suppress_stream(
            loaded,
            prompts,
            chosen,
            layers_from=origin,
            replacements=replacements,
            words=words,
            allowed=allowed,
            languages=languages,
            strictness=strictness,
            detector=detector,
            seeds=_seeds(seeds),
            start_step=_whole(start_step),
            check=check,
            fallback=fallback,
            unguarded=unguarded,
            methods=methods,
            reveal=reveal,
            steps=_whole(steps),
            guidance=guidance,
            ocr=ocr,
        ),
        progress,
    )


@contextmanager
def guard(
    pipe: DiffusionPipeline,
    layers: LayersLike = "auto",
    *,
    replacements: Mapping[str, str] | None = None,
    detector: str = "lexicon",
    words: Sequence[str] = (),
    allowed: Sequence[str] = (),
    languages: Sequence[str] | None = None,
    strictness: str = "usual",
    check: bool = False,
    fallback: Fallback = "refuse",
    ocr: str = "auto",
) -> Iterator[Guard]:
    """Guard the calls of a diffusers pipeline against toxic words while the block lasts.

    Example:
        with textloc.guard(pipe) as guard:
            images = pipe(prompts).images
        guard.guarded  # what was found in which prompt, and what was read instead

    Args:
        pipe: a text-to-image pipeline of a known family; your calls stay your own.
        layers: text layers that read the benign text: numbers, text such as `55-57`, or `auto`.
        replacements, detector, words, allowed, languages, strictness: as `suppress`.
        check: read every picture of the block; where a toxic word still reads, do `fallback`.
        fallback: `refuse` raises, `more-layers` and `prompt-swap` generate the call again.
        ocr: engine of the check.

    Yields:
        `jobs.guard.Guard`: what was done so far.

    Raises:
        textloc.errors.TextlocError: CheckpointError for a pipeline of no known family, LayerError
            where no layers are known for `auto`, GuardError for a call that cannot be guarded.
    """
    from textloc.jobs.guard import guard as guarded

    with guarded(
        pipe,
        layers,
        replacements=replacements,
        detector=detector,
        words=words,
        allowed=allowed,
        languages=languages,
        strictness=strictness,
        check=check,
        fallback=fallback,
        ocr=ocr,
    ) as state:
        yield state


def finetune(
    model: ModelLike,
    data: str | PathLike[str],
    out: str | PathLike[str],
    *,
    layers: LayersLike = "auto",
    targets: Sequence[str] = ("q", "k", "v", "out"),
    rank: int = 16,
    steps: int = 1000,
    batch: int = 16,
    lr: float = 1e-4,
    warmup: int = 50,
    decay: bool = False,
    weight_decay: float = 0.01,
    drop: float = 0.1,
    ema: float = 0.99,
    noise_levels: Literal["uniform", "logit-normal", "high"] | None = None,
    resolution: int | None = None,
    mixed_precision: Literal["no", "fp16", "bf16"] = "no",
    optimizer: Literal["adamw", "adamw8bit"] = "adamw",
    text_weight: float = 1.0,
    held_out: int = 16,
    seed: int = 0,
    prompts: Sequence[str] | None = None,
    resume: bool = False,
    ocr: str = "auto",
    device: str | None = None,
    progress: bool = False,
) -> Result:
    """Train LoRA on the layers that write the words, and on nothing else (paper, section 5).

    Example:
        trained = textloc.finetune("tiny-sdxl", "scenes:digits:2000", "runs/digits", steps=500)
        pipe.load_lora_weights("runs/digits")

    Args:
        model: as `localize`; it is left as it was. device: as `localize`.
        data: a folder of pictures with `metadata.jsonl` or `metadata.csv`, a MARIO-LAION folder,
            webdataset shards, or rendered scenes, such as `scenes:digits:6000`.
        out: folder of the LoRA, its card, log and states.
        layers: as `edit` without a quick localization, or `attention` for every attention.
        targets: projections that are trained. rank: of the LoRA. steps: of the optimiser. batch:
            samples a step. lr, warmup, decay, weight_decay, drop, ema, noise_levels, resolution,
            optimizer, text_weight, held_out, seed: as `textloc.finetuning.settings.Settings`.
        mixed_precision: number format of the passes; `no` is float32.
        prompts: drawn and read at the end; None takes captions that were held out.
        resume: go on with the run in `out`.
        ocr, progress: as `localize`.

    Returns:
        The `Result`: `document["log"]` has losses and validations, `document["folder"]` the LoRA.

    Raises:
        textloc.errors.TextlocError: TrainingError for settings or data that cannot be used, and as
            `localize`.
    """
    from textloc.errors import LayerError
    from textloc.finetuning import report
    from textloc.finetuning.settings import Settings
    from textloc.finetuning.training import Reports, finetune_stream

    given: dict[str, Any] = {
        "targets": tuple(targets),
        "rank": rank,
        "steps": steps,
        "batch": batch,
        "lr": lr,
        "warmup": warmup,
        "decay": decay,
        "weight_decay": weight_decay,
        "drop": drop,
        "ema": ema,
        "noise_levels": noise_levels,
        "resolution": resolution,
        "optimizer": optimizer,
        "mixed_precision": mixed_precision,
        "text_weight": text_weight,
        "seed": seed,
        "held_out": held_out,
    }
    Settings((0,), **given)  # what is out of range is told before anything loads
    formats = {"no": None, "fp16": "float16", "bf16": "bfloat16"}
    loaded = _loaded(model, device=device, dtype=formats.get(mixed_precision))
    trained, origin = None, "given"
    if layers != "attention":
        trained, origin = _chosen(loaded, layers, [], ocr)
        if not trained:
            raise LayerError("name at least one layer to train, such as 8-10")
    settings = Settings(trained, **given)
    folder = Path(out).expanduser()
    reports = Reports(engine=ocr, prompts=None if prompts is None else tuple(prompts))
    events = finetune_stream(loaded, str(data), settings, folder, reports=reports, resume=resume)
    with _bar(progress, "step") as bar:
        for now in events:
            if bar is not None and now.kind != "prepare":
                bar.total, bar.n = now.steps, now.step
                bar.refresh()
    return report.finished(loaded, settings, str(data), folder, origin)


def compare(first: ResultLike, second: ResultLike) -> Result:
    """Two localizations side by side: has the writing of words moved to other layers?

    Example:
        textloc.compare("96d48fecb3545304", textloc.localize("tiny-sdxl", source, target))

    Args:
        first, second: results, or what `load` takes.

    Returns:
        The `Result`: `document["layers"]` has both effects of each layer and whether their 95 %
        intervals are apart, `document["rank_correlation"]` Spearman's, `document["overlap"]` the
        share of the chosen layers that both have.

    Raises:
        textloc.errors.StoreError: not two localizations, or of other layers.
    """
    from textloc.results import compare as comparison

    return comparison.compared(*(_result(one) for one in (first, second)))


def load(where: str | PathLike[str]) -> Result:
    """Open a stored result.

    Example:
        textloc.load("96d48fecb3545304").figure().show()

    Args:
        where: an ID, the folder of a result, a ZIP file of one, or a link with `?r=<id>`; what a
            link shows is fetched from its page where it is not stored here.

    Returns:
        The `Result`; its pictures are read when they are asked for.

    Raises:
        textloc.errors.StoreError: nothing is there, it is damaged, or it cannot be fetched.
    """
    from textloc.results.opening import open_result

    return open_result(Path(where) if isinstance(where, PathLike) else where)


def models() -> Result:
    """The known checkpoints.

    Example:
        textloc.models().to_pandas()[["name", "available", "gigabytes"]]

    Returns:
        The `Result`: `document["models"]` has for each its name, Hub name, licence, memory, usual
        call, published layers, and whether it is on this machine.
    """
    from textloc.checkpoints import known
    from textloc.results.result import Result

    return Result(known.document())


# ------------------------------------------------------------------------------------- shared


def _whole(value: Any) -> Any:
    """A whole number of any kind, such as NumPy's, as Python's; what is none stays as it is."""
    try:
        return value if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return value


def _seeds(seeds: Any) -> tuple[int, ...]:
    from textloc.errors import PromptError
    from textloc.runs import parse_seeds

    if isinstance(seeds, str):
        return parse_seeds(seeds)
    try:
        return tuple(_whole(seed) for seed in ([seeds] if _whole(seeds) is not seeds else seeds))
    except TypeError as error:
        raise PromptError(f"cannot read the seeds {seeds!r}; give numbers, as (0, 1)") from error


def _numbers(layers: Any, count: int) -> tuple[int, ...]:
    """Layers as numbers.

    Raises:
        LayerError: not readable as such.
    """
    from textloc.layers import numbers, parse_layers

    if isinstance(layers, str):
        return tuple(range(count)) if layers == "all" else tuple(parse_layers(layers, count))
    return numbers(layers)


def _pairs(source: str | None, target: str | None, pairs: PairsLike | None) -> list[Pair]:
    from textloc.errors import PromptError
    from textloc.prompts import Pair, parse_pair, read_pairs

    if (pairs is None) == (source is None) or (source is not None and target is None):
        raise PromptError("give a source and a target prompt, or pairs=")
    if source is not None and target is not None:
        if not isinstance(source, str) or not isinstance(target, str):
            raise PromptError("the source and the target prompt are texts; pairs= takes several")
        return [parse_pair(source, target)]
    if isinstance(pairs, str | PathLike):
        return read_pairs(Path(pairs))
    asked: list[Pair] = []
    if not isinstance(pairs, Iterable):
        raise PromptError(
            f"{pairs!r} are no pairs: give (source, target) tuples, or a file of them"
        )
    for one in pairs:
        if isinstance(one, Pair):
            asked.append(one)
            continue
        if isinstance(one, Mapping):
            one = one.get("source"), one.get("target")
        several = isinstance(one, Iterable) and not isinstance(one, str)
        if not several or len(list(one)) != 2 or not all(isinstance(p, str) for p in one):
            raise PromptError(f"{one!r} is no pair: give (source prompt, target prompt or word)")
        asked.append(parse_pair(*one))
    return asked


def _loaded(
    model: ModelLike, lora: str | None = None, lora_scale: float = 1.0, **options: Any
) -> Model:
    from textloc.checkpoints import loading, loras

    named = str(model) if isinstance(model, PathLike) else model
    loaded = loading.load(named, **_plain(options))
    return loras.attach(loaded, lora, lora_scale) if lora else loaded


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """How a checkpoint is loaded, in Python's own numbers and names: a size may be one number or a
    text such as `512x768`, a dtype torch's own.

    Raises:
        PromptError: a size that cannot be read.
    """
    from textloc.runs import read_size

    found = dict(options)
    if found.get("size") is not None:
        found["size"] = read_size(found["size"])
    if "dtype" in found and found["dtype"] is not None:
        found["dtype"] = str(found["dtype"]).removeprefix("torch.")
    return found


@contextmanager
def _placed(
    model: ModelLike,
    on: str | None,
    workers: int | None,
    lora: str | None,
    lora_scale: float,
    **options: Any,
) -> Iterator[Model]:
    """The loaded model; its cells are made on a cluster while the block lasts where `on` says so.

    Raises:
        ClusterError: as `cluster.joined`, or workers without a cluster.
    """
    from textloc.errors import ClusterError

    if on is None:
        if workers is not None:
            raise ClusterError('workers are those of a cluster; say which by on="ray"')
        yield _loaded(model, lora, lora_scale, **options)
        return
    from textloc.jobs import cluster

    name = str(model) if isinstance(model, PathLike) else model
    options = _plain(options) | {"lora": lora, "lora_scale": lora_scale}
    with cluster.joined(on, name, workers=workers, **options) as remote:
        yield remote


def _chosen(
    model: Model, layers: LayersLike, pairs: Sequence[Pair], engine: str
) -> tuple[tuple[int, ...], str]:
    from textloc.jobs import choosing
    from textloc.layers import check_layers

    if isinstance(layers, str):
        return choosing.choose(model, layers, pairs, engine)
    numbers = _numbers(layers, len(model.layers))
    check_layers(numbers, len(model.layers))
    return numbers, "given"


@contextmanager
def _bar(shown: bool, unit: str) -> Iterator[Any]:
    """A progress bar, or None."""
    if not shown:
        yield None
        return
    from tqdm.auto import tqdm

    with tqdm(unit=unit) as bar:
        yield bar


def _ended(events: Iterator[Event], shown: bool) -> Result:
    """The last event of a job, as a result."""
    from textloc.results.result import Result

    event = None
    with _bar(shown, "it") as bar:
        for event in events:
            if bar is not None:
                bar.total, bar.n = event.total, event.done
                bar.set_description(event.message)
    assert event is not None
    return Result(event.document, event.images)


def _result(one: ResultLike) -> Result:
    from textloc.results.result import Result

    return one if isinstance(one, Result) else load(one)
