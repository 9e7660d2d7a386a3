"""The command line: thin verbs over the package.

Results go to standard output, progress and errors to standard error. Exit status: 0 on success,
2 with a one-line message for bad input, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from textloc import __version__
from textloc.errors import LayerError, PromptError, TextlocError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except TextlocError as error:
        print(f"textloc: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("textloc: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="textloc",
        description="Find the attention layers of a text-to-image model that write the words.",
    )
    parser.add_argument("--version", action="version", version=f"textloc {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_localize(verbs)
    _add_show(verbs)
    models = verbs.add_parser("models", help="list the known checkpoints")
    models.add_argument("--json", action="store_true", help="as JSON")
    models.set_defaults(run=_models)
    _add_bench(verbs)
    serve = verbs.add_parser("serve", help="open the page, as `python app.py` does")
    serve.set_defaults(run=_serve)
    return parser


def _add_localize(verbs: Any) -> None:
    verb = verbs.add_parser(
        "localize",
        help="find the layers that write the words",
        description="Patch one text layer at a time from the target prompt's run, read the "
        "pictures, and name the smallest set of layers that changes the words.",
    )
    verb.add_argument(
        "--model", default="tiny-sdxl", help="known name, folder or Hub name (default: %(default)s)"
    )
    verb.add_argument("--source", help='prompt, such as: a red sign that says "STOP"')
    verb.add_argument("--target", help="the same with another word; one plain word is enough")
    verb.add_argument(
        "--pairs", type=Path, help="file of prompt pairs, tab-separated or JSON lines"
    )
    verb.add_argument(
        "--seeds", default="0", help="noise seeds, such as 0,1 (default: %(default)s)"
    )
    verb.add_argument("--steps", type=int, help="denoising steps (default: the checkpoint's)")
    verb.add_argument("--guidance", type=float, help="guidance scale (default: the checkpoint's)")
    verb.add_argument("--start-step", type=int, default=0, help="patch from this step on, from 0")
    verb.add_argument("--layers", help="layers to try, such as 0-10 or 3,7 (default: all)")
    verb.add_argument(
        "--share", type=float, default=0.9, help="of the full effect the set must reach (0.9)"
    )
    verb.add_argument("--ocr", default="auto", help="auto, rapidocr or easyocr")
    verb.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    verb.add_argument("--dtype", help="float32, float16 or bfloat16")
    verb.add_argument("--upscaler", help="second stage of DeepFloyd IF, a folder or Hub name")
    verb.add_argument("--save", action="store_true", help="keep the result in cached_results/")
    verb.add_argument(
        "--json", metavar="FILE", help="write the result as JSON; - for standard output"
    )
    verb.set_defaults(run=_localize)


def _add_show(verbs: Any) -> None:
    verb = verbs.add_parser("show", help="print a stored result, or list them all")
    verb.add_argument(
        "id", nargs="?", help="16 characters; without it the stored results are listed"
    )
    verb.add_argument("--json", action="store_true", help="the whole document as JSON")
    verb.add_argument("--csv", action="store_true", help="the scores of every layer as CSV")
    verb.add_argument("--zip", type=Path, metavar="FILE", help="pack it with its pictures")
    verb.set_defaults(run=_show)


def _add_bench(verbs: Any) -> None:
    verb = verbs.add_parser("bench", help="measure")
    suites = verb.add_subparsers(required=True, metavar="SUITE")
    speed = suites.add_parser("speed", help="time the page, the import and the sweep")
    speed.add_argument("--model", default="tiny-sdxl")
    speed.add_argument("--repeats", type=int, default=3, help="interleaved repeats (3)")
    speed.add_argument("--json", action="store_true", help="as JSON")
    speed.set_defaults(run=_bench_speed)
    swap = suites.add_parser(
        "swap", help="swap template, text, text encoder and quoted tokens separately"
    )
    swap.add_argument("--model", default="tiny-sdxl")
    swap.add_argument("--pairs", type=Path, required=True, help="prompt pairs, unlike templates")
    swap.add_argument("--layers", help="to patch, such as 55-57 (default: the published ones)")
    swap.add_argument("--seeds", default="0")
    swap.add_argument("--json", action="store_true", help="as JSON")
    swap.set_defaults(run=_bench_swap)
    paper = suites.add_parser(
        "paper", help="localize with the paper's settings, published numbers beside measured"
    )
    paper.add_argument("--model", default="sdxl", choices=("sdxl", "if", "sd3"))
    paper.add_argument("--checkpoint", help="name or folder in place of the paper's own weights")
    paper.add_argument("--pairs", type=Path, help="prompt pairs (default: those that ship)")
    paper.add_argument("--seeds", default="42")
    paper.add_argument("--steps", type=int, help="denoising steps (default: the paper's)")
    paper.add_argument("--json", action="store_true", help="as JSON")
    paper.set_defaults(run=_bench_paper)
    layers = suites.add_parser("layers", help="count the text layers of every family at full size")
    layers.add_argument("--json", action="store_true", help="as JSON")
    layers.set_defaults(run=_bench_layers)
    step = suites.add_parser(
        "step", help="time one step at full size with random weights, patched and not"
    )
    step.add_argument("--model", default="sdxl", help="a name that `bench layers` lists")
    step.add_argument("--device", default="cpu", help="cpu or cuda")
    step.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    step.add_argument("--size", type=int, default=512, help="side of the picture in pixels")
    step.add_argument("--repeats", type=int, default=3)
    step.add_argument("--json", action="store_true", help="as JSON")
    step.set_defaults(run=_bench_step)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read seeds such as `0,1,2`.

    Raises:
        PromptError: not a list of different whole numbers of 0 or more.
    """
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise PromptError(f"cannot read the seeds {text!r}; write numbers, such as 0,1") from error
    if len(set(seeds)) != len(seeds) or min(seeds) < 0 or max(seeds) >= 2**63:
        raise PromptError(f"the seeds {text!r} must differ and be 0 or greater")
    return seeds


def _localize(options: argparse.Namespace) -> None:
    from textloc.prompts import parse_pair, read_pairs

    if (options.pairs is None) == (options.source is None) or (
        options.source is not None and options.target is None
    ):
        raise PromptError("give --source and --target, or --pairs FILE")
    if options.pairs is not None:
        pairs = read_pairs(options.pairs)
    else:
        pairs = [parse_pair(options.source, options.target)]
    seeds = parse_seeds(options.seeds)
    if options.json and options.json != "-" and not Path(options.json).resolve().parent.is_dir():
        raise PromptError(f"there is no folder to write {options.json} in; create it first")

    from tqdm.auto import tqdm

    from textloc import checkpoints, sharing, store
    from textloc.layers import parse_layers
    from textloc.localize import localize_stream

    print(f"loading {options.model}", file=sys.stderr)
    model = checkpoints.load(
        options.model, device=options.device, dtype=options.dtype, upscaler=options.upscaler
    )
    layers = parse_layers(options.layers, len(model.layers)) if options.layers else None
    event = None
    with tqdm(unit="image", disable=None, file=sys.stderr) as bar:
        for event in localize_stream(
            model,
            pairs,
            seeds=seeds,
            steps=options.steps,
            guidance=options.guidance,
            start_step=options.start_step,
            layers=layers,
            ocr=options.ocr,
            share=options.share,
        ):
            bar.total, bar.n = event.total, event.done
            bar.set_description(event.message)
    assert event is not None
    document = event.document
    if options.save:
        print(f"saved {store.save(document, event.images)}", file=sys.stderr)
        link = sharing.permalink("http://127.0.0.1:7860/", document["id"])
        print(f"`python app.py` shows it at {link}", file=sys.stderr)
    if options.json == "-":
        json.dump(document, sys.stdout, ensure_ascii=False)
        print()
        return
    if options.json:
        text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
        Path(options.json).write_text(text, encoding="utf-8")
    _print_result(document)


def _print_result(document: dict[str, Any]) -> None:
    from textloc.summary import describe

    print(describe(document))
    print()
    print(f"{'layer':>5}  {'effect':>6}  {'F1 tgt':>6}  {'F1 src':>6}  {'SSIM':>5}  read")
    for name, entry in [
        ("none", document["references"]["source"]),
        *[(str(layer["index"]), layer) for layer in document["layers"]],
        ("all", document["references"]["all"]),
    ]:
        scores = entry["scores"]
        effect = scores.get("effect")
        read = " ".join(repr(r["text"]) for r in entry["read"][:3])
        more = len(entry["read"]) - 3
        mark = "*" if entry.get("index") in document["selected"] else " "
        print(
            f"{name:>5}{mark} {'' if effect is None else f'{effect:.2f}':>6}  "
            f"{scores['ocr_f1_target']:6.2f}  {scores['ocr_f1_source']:6.2f}  "
            f"{scores['ssim_source']:5.2f}  {read}{f' and {more} more' if more > 0 else ''}"
        )
    timing = document["timing"]
    print(
        f"\nresult {document['id']}: {timing['rows']} pictures, "
        f"{timing['generate_s']:.1f} s to generate, {timing['read_s']:.1f} s to read"
    )


def _show(options: argparse.Namespace) -> None:
    from textloc import sharing, store

    if options.id is None:
        for summary in store.listing():
            state = f"damaged: {summary.damaged}" if summary.damaged else summary.title
            print(f"{summary.id}  {state}")
        return
    document = store.load(options.id).document
    if options.zip is not None:
        print(f"wrote {sharing.export_zip(options.id, options.zip)}", file=sys.stderr)
    elif options.json:
        json.dump(document, sys.stdout, ensure_ascii=False)
        print()
    elif options.csv:
        print(sharing.to_csv(document), end="")
    else:
        _print_result(document)


def _models(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from textloc.known import KNOWN
    from textloc.layers import format_layers

    rows = [{**asdict(entry), "available": entry.available} for entry in KNOWN]
    if options.json:
        json.dump(rows, sys.stdout, ensure_ascii=False)
        print()
        return
    for row in rows:
        state = "here" if row["available"] else "to download"
        gate = ", accept its licence first" if row["gated"] and not row["available"] else ""
        numbers = format_layers(row["localized"] or ()) or "-"
        print(
            f"{row['name']:12}  {state:11}  {row['gigabytes']:5.3g} GB  layers {numbers:5}  "
            f"{row['about']} ({row['licence']}{gate})"
        )
    print(
        "\nGB: weights in memory, in the usual number format; twice that in float32, as on a CPU."
        "\nLayers: published ones that write the words; `textloc localize` finds them for any."
        "\nAny diffusers folder or Hub name (owner/model) of these families works as well."
    )


def _bench_speed(options: argparse.Namespace) -> None:
    from textloc.bench import speed

    report = speed.measure(options.model, options.repeats)
    print(json.dumps(report) if options.json else speed.table(report))


def _bench_swap(options: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from textloc import checkpoints, known
    from textloc.bench import swap
    from textloc.layers import parse_layers
    from textloc.prompts import read_pairs

    pairs, seeds = read_pairs(options.pairs), parse_seeds(options.seeds)
    entry = known.find(options.model)
    model = checkpoints.load(options.model)
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
        rows = swap.measure(model, pairs, layers, seeds, on_images=_shown(bar))
    print(json.dumps(rows) if options.json else swap.table(rows, layers))


def _shown(bar: Any) -> Callable[[int], None]:
    """Shows a count in a progress bar."""

    def done(count: int) -> None:
        bar.n = count
        bar.refresh()

    return done


def _bench_paper(options: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from textloc import checkpoints
    from textloc.bench import paper
    from textloc.paths import WORDS
    from textloc.prompts import read_pairs

    pairs, seeds = read_pairs(options.pairs or WORDS / "pairs.tsv"), parse_seeds(options.seeds)
    model = checkpoints.load(options.checkpoint or options.model)
    with tqdm(unit="image", disable=None, file=sys.stderr) as bar:
        show = _shown(bar)

        def done(what: str, count: int) -> None:
            bar.set_description(what)
            show(count)

        result = paper.measure(options.model, model, pairs, seeds, options.steps, on_images=done)
    print(json.dumps(result) if options.json else paper.table(result))


def _bench_layers(options: argparse.Namespace) -> None:
    from textloc.bench import layers

    rows = layers.measure()
    print(json.dumps(rows) if options.json else layers.table(rows))


def _bench_step(options: argparse.Namespace) -> None:
    from textloc.architectures import full_size

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
    print(json.dumps(row) if options.json else step.table(row))


def _serve(_options: argparse.Namespace) -> None:
    from textloc.ui import page

    page.serve()
