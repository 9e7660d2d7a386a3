"""`textloc bench`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from textloc.cli import attributing, finetuning
from textloc.cli.common import (
    add_cluster,
    add_json,
    add_loading,
    followed,
    kept,
    opened,
    parse_methods,
    placed,
    printed,
    shown,
)
from textloc.errors import LayerError, PromptError
from textloc.prompts import quoted_text
from textloc.runs import parse_seeds, parse_start


def add(verbs: Any) -> None:
    verb = verbs.add_parser("bench", help="measure")
    suites = verb.add_subparsers(required=True, metavar="SUITE")
    speed = suites.add_parser("speed", help="time the page, the import and the sweep")
    speed.add_argument("--model", default="tiny-sdxl")
    speed.add_argument("--repeats", type=int, default=3, help="interleaved repeats (3)")
    add_json(speed)
    speed.set_defaults(run=_bench_speed)
    swap = suites.add_parser(
        "swap", help="swap template, text, text encoder and quoted tokens separately"
    )
    swap.add_argument("--model", default="tiny-sdxl")
    swap.add_argument("--pairs", type=Path, required=True, help="prompt pairs, unlike templates")
    swap.add_argument("--layers", help="to patch, such as 55-57 (default: the published ones)")
    swap.add_argument("--seeds", default="0")
    add_json(swap)
    add_loading(swap)
    add_cluster(swap)
    swap.set_defaults(run=_bench_swap)
    paper = suites.add_parser(
        "paper", help="localize with the paper's settings, published numbers beside measured"
    )
    paper.add_argument("--model", default="sdxl", choices=("sdxl", "if", "sd3"))
    paper.add_argument("--checkpoint", help="name or folder in place of the paper's own weights")
    paper.add_argument("--pairs", type=Path, help="prompt pairs (default: those that ship)")
    paper.add_argument("--seeds", default="42")
    paper.add_argument("--steps", type=int, help="denoising steps (default: the paper's)")
    add_json(paper)
    add_loading(paper)
    add_cluster(paper)
    paper.set_defaults(run=_bench_paper)
    edit = suites.add_parser(
        "edit", help="edit many pictures by every method (the paper's Table 4)"
    )
    edit.add_argument("--model", default="tiny-sdxl")
    edit.add_argument("--pairs", type=Path, help="prompt pairs (default: the 60 that ship)")
    edit.add_argument("--layers", default="auto", help="auto, all, or numbers such as 55-57")
    edit.add_argument("--start-step", default="0", help="from 0; auto looks for the latest")
    edit.add_argument("--seeds", default="0")
    edit.add_argument("--compare", default="all", help="methods, such as prompt-swap,inpainting")
    edit.add_argument("--legacy", action="store_true", help="also the release's own measures")
    edit.add_argument("--save", action="store_true", help="keep the result in cached_results/")
    add_json(edit)
    add_loading(edit)
    add_cluster(edit)
    edit.set_defaults(run=_bench_edit)
    cost = suites.add_parser("cost", help="time one edit beside a plain generation")
    cost.add_argument("--model", default="tiny-sdxl")
    cost.add_argument("--layers", default="auto", help="auto, all, or numbers such as 55-57")
    cost.add_argument("--repeats", type=int, default=15, help="interleaved rounds (15)")
    cost.add_argument("--compare", default="all", help="methods, such as prompt-swap,inpainting")
    add_json(cost)
    add_loading(cost)
    cost.set_defaults(run=_bench_cost)
    toxic = suites.add_parser("toxic", help="keep toxic words out, by every method")
    toxic.add_argument("--model", default="tiny-sdxl")
    toxic.add_argument("--words", type=Path, required=True, metavar="FILE", help="one a line")
    toxic.add_argument(
        "--mappings", type=Path, required=True, metavar="FILE", help="benign ones, line by line"
    )
    toxic.add_argument("--layers", default="auto")
    toxic.add_argument("--start-step", type=int, default=0)
    toxic.add_argument("--seeds", default="0")
    toxic.add_argument("--compare", default="all", metavar="NAMES")
    toxic.add_argument(
        "--harmless", type=Path, metavar="FILE", help="words that are to stay, one a line"
    )
    toxic.add_argument(
        "--known",
        type=Path,
        metavar="FILE",
        help="other toxic words, which SAFREE and the steering vector are made from",
    )
    toxic.add_argument("--known-mappings", type=Path, metavar="FILE", help="their benign ones")
    toxic.add_argument("--steer", type=float, default=1.0, help="scale of the steering vector (1)")
    toxic.add_argument("--quiet", metavar="NAME", help="LoRA trained on `textloc pairs`")
    add_json(toxic, "write it as JSON, toxic words masked; - for standard output")
    add_loading(toxic)
    add_cluster(toxic)
    toxic.set_defaults(run=_bench_toxic)
    finetuning.add_bench(suites)
    attributing.add_bench(suites)
    guarded = suites.add_parser("guard", help="what a guarded call costs")
    guarded.add_argument("--model", default="tiny-sdxl")
    guarded.add_argument("--layers", default="auto")
    guarded.add_argument("--repeats", type=int, default=15, help="interleaved rounds (15)")
    add_json(guarded)
    add_loading(guarded)
    guarded.set_defaults(run=_bench_guard)
    layers = suites.add_parser("layers", help="count the text layers of every family at full size")
    add_json(layers)
    layers.set_defaults(run=_bench_layers)
    step = suites.add_parser(
        "step", help="time one step at full size with random weights, patched and not"
    )
    step.add_argument("--model", default="sdxl", help="a name that `bench layers` lists")
    step.add_argument("--device", default="cpu", help="cpu or cuda")
    step.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    step.add_argument("--size", type=int, default=512, help="side of the picture in pixels")
    step.add_argument("--repeats", type=int, default=3)
    add_json(step)
    step.set_defaults(run=_bench_step)


def _bench_speed(options: argparse.Namespace) -> None:
    from textloc.bench import speed

    report = speed.measure(options.model, options.repeats)
    printed(report, options.json, lambda: speed.table(report))


def _bench_swap(options: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from textloc.bench import swap
    from textloc.checkpoints import known
    from textloc.layers import parse_layers
    from textloc.prompts import read_pairs

    pairs, seeds = read_pairs(options.pairs), parse_seeds(options.seeds)
    entry = known.find(options.model)
    with placed(options) as model:
        if options.layers:
            layers = parse_layers(options.layers, len(model.layers))
        elif entry is not None and entry.localized:
            layers = entry.localized
        else:
            raise LayerError(
                f"no layers are published for {options.model}; give --layers, such as those that "
                "`textloc localize` names"
            )
        with tqdm(unit="image", disable=None, file=sys.stderr) as bar:
            rows = swap.measure(model, pairs, layers, seeds, on_images=shown(bar))
    printed(rows, options.json, lambda: swap.table(rows, layers))


def _bench_paper(options: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from textloc.bench import paper
    from textloc.paths import WORDS
    from textloc.prompts import read_pairs

    pairs, seeds = read_pairs(options.pairs or WORDS / "pairs.tsv"), parse_seeds(options.seeds)
    with (
        placed(options, options.checkpoint) as model,
        tqdm(unit="image", disable=None, file=sys.stderr) as bar,
    ):
        show = shown(bar)

        def done(what: str, count: int) -> None:
            bar.set_description(what)
            show(count)

        result = paper.measure(options.model, model, pairs, seeds, options.steps, on_images=done)
    printed(result, options.json, lambda: paper.table(result))


def _bench_layers(options: argparse.Namespace) -> None:
    from textloc.bench import layers

    rows = layers.measure()
    printed(rows, options.json, lambda: layers.table(rows))


def _bench_step(options: argparse.Namespace) -> None:
    from textloc.checkpoints.families import full_size

    if options.model not in full_size.DENOISERS:
        names = ", ".join(full_size.DENOISERS)
        raise PromptError(f"there is no full-size {options.model!r}; choose one of {names}")
    if options.size < 64 or options.size % 64 or options.repeats < 1:
        raise PromptError("--size is a multiple of 64, and --repeats at least 1")
    from textloc.bench import step

    row = step.measure(
        options.model,
        options.device,
        options.dtype,
        options.size,
        options.repeats,
        progress=lambda line: print(line, file=sys.stderr),
    )
    printed(row, options.json, lambda: step.table(row))


def _bench_edit(options: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from textloc.bench import edit
    from textloc.jobs import choosing
    from textloc.jobs.edit import edit_stream
    from textloc.paths import WORDS
    from textloc.prompts import read_pairs

    pairs, seeds = read_pairs(options.pairs or WORDS / "edits.tsv"), parse_seeds(options.seeds)
    start, methods = parse_start(options.start_step), parse_methods(options.compare)
    with placed(options) as model:
        layers, origin = choosing.choose(model, options.layers, pairs)
        with tqdm(unit="image", disable=None, file=sys.stderr) as bar:
            event = followed(
                bar,
                edit_stream(
                    model,
                    pairs,
                    layers,
                    layers_from=origin,
                    start_step=start,
                    seeds=seeds,
                    methods=methods,
                ),
            )
    document = event.document
    if options.save:
        kept(event.document, event.images)
    clip = edit.clip_t(document, event.images)
    found = {name: document[name] for name in ("id", "layers", "start_step")}
    found |= {"rows": edit.rows(document), "clip_t": clip, "failures": edit.failures(document)}
    printed(found, options.json, lambda: edit.table(document, options.legacy, clip))


def _bench_cost(options: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from textloc.bench import cost
    from textloc.jobs import choosing
    from textloc.prompts import parse_pair

    pair = parse_pair('a red sign that says "STOP"', "LOVE")
    methods = parse_methods(options.compare)
    model = opened(options)
    layers, _ = choosing.choose(model, options.layers, [pair])
    with tqdm(total=options.repeats, unit="round", disable=None, file=sys.stderr) as bar:
        report = cost.measure(model, pair, layers, options.repeats, methods, on_call=shown(bar))
    printed(report, options.json, lambda: cost.table(report))


def _bench_toxic(options: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from textloc.baselines import SUPPRESSING
    from textloc.bench import toxic
    from textloc.jobs import choosing

    words, benign = toxic.read_lines(options.words), toxic.read_lines(options.mappings)
    methods = [name for name in options.compare.split(",") if name]
    with placed(options) as model:
        layers, origin = choosing.choose(model, options.layers, [])
        with tqdm(unit="image", disable=None, file=sys.stderr) as bar:

            def done(count: int, total: int) -> None:
                bar.total, bar.n = total, count
                bar.refresh()

            document = toxic.measure(
                model,
                words,
                benign,
                layers,
                layers_from=origin,
                seeds=parse_seeds(options.seeds),
                start_step=options.start_step,
                methods=list(SUPPRESSING) if methods == ["all"] else methods,
                rivals=_rivals(options, model, layers),
                harmless=toxic.read_lines(options.harmless) if options.harmless else (),
                on_images=done,
            )
    printed(document, options.json, lambda: toxic.table(document))


def _rivals(options: argparse.Namespace, model: Any, layers: tuple[int, ...]) -> dict[str, Any]:
    """The methods that are made with what the options give them."""
    from textloc.baselines import quieted, safree, steering
    from textloc.bench import toxic

    scales = safree.Safree().scales if hasattr(model.denoiser, "up_blocks") else ()
    found: dict[str, Any] = {"safree": safree.Safree(scales=scales)}
    if (options.known is None) is not (options.known_mappings is None):
        raise PromptError("--known and --known-mappings belong together; give both")
    if options.known is not None:
        words, benign = (toxic.read_lines(p) for p in (options.known, options.known_mappings))
        pairs = tuple(toxic.paired(model, words, benign))
        concept = tuple(quoted_text(source) for source, _ in pairs)
        always = safree.Safree(concept, scales=scales, TITLE="SAFREE, always on")
        found["safree-known"] = always
        found["steering"] = steering.Steering(layers, pairs, options.steer)
    if options.quiet is not None:
        found["quieted"] = quieted.Quieted(options.quiet)
    return found


def _bench_guard(options: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from textloc.bench import guard
    from textloc.jobs import choosing

    model = opened(options)
    layers, _ = choosing.choose(model, options.layers, [])
    with tqdm(total=options.repeats, unit="round", disable=None, file=sys.stderr) as bar:
        report = guard.measure(model, layers, options.repeats, on_call=shown(bar))
    printed(report, options.json, lambda: guard.table(report))
