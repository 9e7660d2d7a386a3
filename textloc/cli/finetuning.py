"""`textloc finetune`: train a LoRA on the layers that write the words."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textloc.cli.common import (
    add_json,
    add_loading,
    add_model,
    kept,
    loaded,
    opened,
    printed,
    tell_layers,
)
from textloc.errors import TrainingError
from textloc.runs import parse_seeds

if TYPE_CHECKING:
    from textloc.finetuning.settings import Settings
    from textloc.finetuning.training import Progress


def add(verbs: Any) -> None:
    verb = verbs.add_parser(
        "finetune",
        help="train a LoRA on the layers that write the words",
        description="Train a LoRA on a few attention layers, by default the localized ones. An "
        "interrupted run goes on with --resume; several processes share it by `accelerate launch "
        "-m textloc finetune ...`.",
    )
    verb.add_argument(
        "--model", default="tiny-sdxl", help="known name, folder or Hub name (default: %(default)s)"
    )
    verb.add_argument(
        "--data",
        required=True,
        help="folder of pictures with metadata.jsonl, folder laid out as MARIO-LAION, webdataset "
        "shards (a folder, a .tar or shards/{000..009}.tar), or rendered scenes such as "
        "scenes:digits",
    )
    verb.add_argument("--out", type=Path, required=True, help="folder that the LoRA is written to")
    verb.add_argument(
        "--layers",
        default="localized",
        help="localized, all (every text layer), attention (every attention, that of the picture "
        "to itself too) or numbers such as 55-57 (default: %(default)s)",
    )
    verb.add_argument("--targets", default="q,k,v,out", help="of q,k,v,out (default: all)")
    _add_training(verb)
    _add_data(verb)
    verb.add_argument("--resume", action="store_true", help="go on where a run in --out stopped")
    verb.add_argument("--validate-every", type=int, default=200, help="steps; 0 only at the end")
    verb.add_argument("--save-every", type=int, default=100, help="steps between states")
    verb.add_argument("--log-every", type=int, default=20, help="steps between lines of the log")
    verb.add_argument(
        "--tracker",
        default="tensorboard",
        help="tensorboard, trackio, wandb or none (default: %(default)s, in OUT/logs)",
    )
    verb.add_argument("--prompts", type=Path, help="prompts of the validation, one a line")
    verb.add_argument("--ocr", default="auto", help="auto, rapidocr or easyocr")
    verb.add_argument("--push-to-hub", metavar="NAME", help="upload what is finished to owner/name")
    verb.set_defaults(run=_finetune)
    add_pairs(verbs)


def add_pairs(verbs: Any) -> None:
    """`textloc pairs`."""
    verb = verbs.add_parser(
        "pairs",
        help="make data that teach a checkpoint not to write words",
        description="Make pictures in which toxic words are edited to benign ones, with the toxic "
        "prompts as captions, for `textloc finetune --data FOLDER`.",
    )
    add_model(verb)
    verb.add_argument("--words", type=Path, required=True, metavar="FILE", help="toxic, one a line")
    verb.add_argument(
        "--mappings", type=Path, required=True, metavar="FILE", help="benign ones, line by line"
    )
    verb.add_argument(
        "--harmless", type=Path, metavar="FILE", help="words whose pictures are kept, one a line"
    )
    verb.add_argument("--each", type=int, default=2, help="prompts a toxic word, 1 to 4 (2)")
    verb.add_argument("--layers", default="auto", help="such as 55-57; auto: the localized ones")
    verb.add_argument("--start-step", type=int, default=0, help="patch from this step on (0)")
    verb.add_argument("--seeds", default="0", help="such as 0,1")
    verb.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    verb.set_defaults(run=_pairs)


def _pairs(options: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from textloc.bench import toxic
    from textloc.finetuning import pairs
    from textloc.jobs import choosing
    from textloc.prompts import parse_pair

    words, benign = toxic.read_lines(options.words), toxic.read_lines(options.mappings)
    harmless = toxic.read_lines(options.harmless) if options.harmless else []
    seeds = parse_seeds(options.seeds)
    model = loaded(options)
    asked = [parse_pair(*one) for one in toxic.paired(model, words, benign, options.each)]
    plain = toxic.prompts(model, [harmless[place] for place in toxic.spelled(model, harmless)])
    layers, origin = choosing.choose(model, options.layers, asked)
    tell_layers(layers, origin)
    with tqdm(unit="image", disable=None, file=sys.stderr) as bar:

        def done(count: int, total: int) -> None:
            bar.total, bar.n = total, count
            bar.refresh()

        counts = pairs.make(
            *(model, asked, plain, layers, options.out),
            seeds=seeds,
            start_step=options.start_step,
            on_images=done,
        )
    print(
        f"{counts['edited']} edited and {counts['harmless']} harmless pictures in {options.out}; "
        f"{counts['left_out']} that read otherwise are left out"
    )


def _add_training(verb: Any) -> None:
    add_loading(verb, trained=True)
    verb.add_argument("--rank", type=int, default=16)
    verb.add_argument("--steps", type=int, default=1000)
    verb.add_argument("--batch", type=int, default=16, help="samples a step, of all processes")
    verb.add_argument("--micro-batch", type=int, help="samples a pass; less memory (default: all)")
    verb.add_argument("--lr", type=float, default=1e-4)
    verb.add_argument("--warmup", type=int, default=50, help="steps until the full rate")
    verb.add_argument("--decay", action="store_true", help="let the rate fall to 0 along a cosine")
    verb.add_argument("--drop", type=float, default=0.1, help="share of samples without caption")
    verb.add_argument("--ema", type=float, default=0.99, help="decay of the averaged weights")
    verb.add_argument(
        "--noise-levels", choices=("uniform", "logit-normal", "high"), help="default: usual ones"
    )
    verb.add_argument(
        "--text-weight", type=float, default=1.0, help="of where the text is, in the loss (1)"
    )
    verb.add_argument("--resolution", type=int, help="side in pixels (default: the checkpoint's)")
    verb.add_argument("--mixed-precision", default="no", choices=("no", "fp16", "bf16"))
    verb.add_argument("--optimizer", default="adamw", choices=("adamw", "adamw8bit"))
    verb.add_argument("--gradient-checkpointing", action="store_true", help="less memory, slower")
    verb.add_argument("--seed", type=int, default=0)


def _add_data(verb: Any) -> None:
    verb.add_argument("--cache", type=Path, help="folder of prepared samples (default: OUT/cache)")
    verb.add_argument(
        "--least-agreement",
        type=float,
        default=0.0,
        help="leave out pictures less of whose words, read by OCR or named by the data, stand in "
        "the caption, 0 to 1",
    )
    verb.add_argument("--smallest", type=int, default=0, help="least shorter side in pixels")
    verb.add_argument("--limit", type=int, help="take so many samples at most")


def settings(options: argparse.Namespace, layers: tuple[int, ...] | None) -> Settings:
    """What the options ask for."""
    from textloc.finetuning.settings import Settings

    named = (
        *("rank", "steps", "batch", "lr", "warmup", "decay", "drop", "ema", "noise_levels"),
        *("text_weight", "resolution", "mixed_precision", "optimizer", "seed"),
    )
    given = {name: getattr(options, name) for name in named}
    targets = tuple(part.strip() for part in options.targets.split(",") if part.strip())
    return Settings(layers=layers, targets=targets, **given)


def _finetune(options: argparse.Namespace) -> None:
    prompts = _prompts(options.prompts)
    settings(options, (0,))  # what is out of range is told before anything loads

    from textloc.finetuning import card
    from textloc.finetuning.encoded import Filter
    from textloc.finetuning.training import Reports, finetune_stream
    from textloc.jobs import choosing

    model = opened(options, dtype=_dtype(options.mixed_precision))
    layers, origin = None, "given"
    if options.layers != "attention":
        layers, origin = choosing.choose(model, options.layers, [], options.ocr)
    _say(f"layers {list(layers) if layers else 'of every attention'} ({origin})")
    asked = settings(options, layers)
    which = Filter(options.least_agreement, options.smallest, options.limit, options.ocr)
    reports = Reports(
        every=options.log_every,
        validate=options.validate_every,
        save=options.save_every,
        prompts=prompts,
        engine=options.ocr,
        tracker=None if options.tracker == "none" else options.tracker,
        checkpointing=options.gradient_checkpointing,
        micro=options.micro_batch,
    )
    try:
        follow(
            finetune_stream(
                model,
                options.data,
                asked,
                options.out,
                which=which,
                reports=reports,
                cache=options.cache,
                resume=options.resume,
            )
        )
    except KeyboardInterrupt:
        _say(f"stopped; --resume goes on from the last state in {options.out}")
        raise
    _say(f"written to {options.out}: pipe.load_lora_weights({str(options.out)!r}) loads it")
    if options.push_to_hub:
        print(card.push(options.out, options.push_to_hub))


def follow(stream: Any, begin: str = "") -> Progress | None:
    """Run a training to its end, shown on the terminal; the last validation."""
    from tqdm.auto import tqdm

    last: Progress | None = None
    with tqdm(unit="step", disable=None, file=sys.stderr, desc=begin or None) as bar:
        for now in stream:
            if now.kind == "prepare":
                if now.step:
                    said = f"{begin}{now.step} samples are prepared"
                    if "cache_mb" in now.values:
                        each, size = now.values["mb_a_sample"], now.values["cache_mb"]
                        said += f": {size:,.0f} MB on disk, {each:.2g} MB a sample"
                    tqdm.write(said, file=sys.stderr)
                continue
            bar.total, bar.n = now.steps, now.step
            bar.refresh()
            said = ", ".join(f"{name} {value:.4g}" for name, value in now.values.items())
            tqdm.write(f"{begin}step {now.step}: {said}", file=sys.stderr)
            last = now if now.kind == "validate" else last
    return last


def _dtype(precision: str) -> str:
    """Number format of the frozen weights."""
    return {"no": "float32", "fp16": "float16", "bf16": "bfloat16"}[precision]


def _prompts(path: Path | None) -> tuple[str, ...] | None:
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"cannot read the prompts {path}: {error}") from error
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise TrainingError(f"the file {path} holds no prompt; write one a line")
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def add_bench(suites: Any) -> None:
    """`textloc bench lora`."""
    verb = suites.add_parser(
        "lora", help="LoRA on the localized layers beside LoRA on others (the paper's figures 5-9)"
    )
    verb.add_argument("--model", default="tiny-sdxl")
    verb.add_argument("--data", required=True, help="as `textloc finetune` takes it")
    verb.add_argument(
        "--eval",
        type=Path,
        required=True,
        metavar="FILE",
        help="a group and a prompt a line, tab-separated; the group `variety` is for precision and "
        "recall, the words of the others are read",
    )
    verb.add_argument("--out", type=Path, required=True, help="folder of the runs; goes on there")
    verb.add_argument("--layers", default="localized", help="localized or numbers such as 55-57")
    verb.add_argument("--targets", default="q,k,v,out", help="of q,k,v,out (default: all)")
    verb.add_argument("--choices", default="localized,text,attention,random", help="what to train")
    verb.add_argument("--seeds", default="0,1", help="one run of each choice a seed (0,1)")
    verb.add_argument("--points", type=int, default=3, help="validations of a run (3)")
    verb.add_argument("--pictures", type=int, default=2, help="of each variety prompt (2)")
    _add_training(verb)
    _add_data(verb)
    verb.add_argument("--ocr", default="auto", help="auto, rapidocr or easyocr")
    verb.add_argument("--save", action="store_true", help="keep the result in cached_results/")
    add_json(verb)
    verb.set_defaults(run=_bench_lora)


def _bench_lora(options: argparse.Namespace) -> None:
    from textloc.bench import lora

    prompts = lora.read_prompts(options.eval)
    seeds = parse_seeds(options.seeds)
    chosen = tuple(part for part in options.choices.split(",") if part)
    strange = [name for name in chosen if name not in lora.TITLES or name == "base"]
    if strange or not chosen:
        known = ", ".join(name for name in lora.TITLES if name != "base")
        raise TrainingError(f"unknown choices {', '.join(strange)}; use {known}")
    settings(options, (0,))

    from textloc.finetuning.encoded import Filter
    from textloc.jobs import choosing

    model = opened(options, dtype=_dtype(options.mixed_precision))
    layers, origin = choosing.choose(model, options.layers, [], options.ocr)
    _say(f"localized layers {list(layers)} ({origin})")
    bench = lora.Bench(
        model,
        options.data,
        layers,
        settings(options, layers),
        seeds,
        prompts,
        options.out,
        Filter(options.least_agreement, options.smallest, options.limit, options.ocr),
        options.pictures,
        options.points,
        options.ocr,
        chosen,
    )
    for name, now in bench.run():
        values = ", ".join(f"{key} {value:.3g}" for key, value in now.values.items())
        _say(f"{name}: {now.kind} {now.step} of {now.steps} {values}".rstrip())
    document, images = bench.result()
    if options.save:
        kept(document, images)
    printed(document, options.json, lambda: lora.table(document))
