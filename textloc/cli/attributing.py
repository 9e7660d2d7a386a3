"""`textloc attribute`, and the benches of attribution and of the search for layers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from textloc.cli.common import (
    add_cluster,
    add_image,
    add_json,
    add_loading,
    add_model,
    advise,
    followed,
    given_picture,
    kept,
    opened,
    placed,
    printed,
    shown,
    written,
)
from textloc.errors import LayerError, PromptError
from textloc.runs import parse_seeds


def add(verbs: Any) -> None:
    verb = verbs.add_parser(
        "attribute",
        help="the share of every layer, head, step and letter",
        description="Divide what the target's text changes among all text layers, heads, steps and "
        "letters by integrated gradients along the patch. No picture is made and none is read.",
    )
    add_model(verb)
    verb.add_argument("--source", help='prompt, such as: a red sign that says "STOP"')
    verb.add_argument("--target", help="the same with other words; the words alone are enough")
    verb.add_argument(
        "--pairs", type=Path, help="file of prompt pairs, tab-separated or JSON lines"
    )
    verb.add_argument(
        "--seeds", default="0", help="noise seeds, such as 0,1 (default: %(default)s)"
    )
    verb.add_argument("--steps", type=int, help="denoising steps (default: the checkpoint's)")
    verb.add_argument("--guidance", type=float, help="guidance scale (default: the checkpoint's)")
    add_image(verb)
    verb.add_argument(
        "--steps-at",
        metavar="NUMBERS",
        help="steps to look at, from 0, such as 0,3 (default: the first, and after 15 and 40 %%)",
    )
    verb.add_argument(
        "--points",
        type=int,
        default=32,
        help="on the way from one text to the other, at a step at most (default: %(default)s)",
    )
    verb.add_argument(
        "--tolerance",
        type=float,
        default=0.05,
        help="how far the shares may sum to something else than 1 (default: %(default)s)",
    )
    verb.add_argument("--save", action="store_true", help="keep the result in cached_results/")
    add_cluster(verb)
    add_json(verb, "write the result as JSON; - for standard output")
    verb.set_defaults(run=_attribute)


def add_bench(suites: Any) -> None:
    search = suites.add_parser(
        "search", help="find the layers by shares and by a sweep, and compare with patching"
    )
    search.add_argument("--model", default="tiny-sdxl")
    search.add_argument("--pairs", type=Path, help="prompt pairs (default: those that ship)")
    search.add_argument("--count", type=int, help="the first so many of them (default: all)")
    search.add_argument(
        "--compare", type=int, default=20, help="pairs on which rankings are compared (20)"
    )
    search.add_argument(
        "--cells", type=int, default=6, help="pairs on which heads, letters, steps are patched (6)"
    )
    search.add_argument(
        "--exhaustive", type=int, default=0, help="pairs on which all sets are patched (0)"
    )
    search.add_argument("--ocr", default="auto", help="auto, rapidocr or easyocr")
    add_loading(search)
    add_json(search)
    search.set_defaults(run=_bench_search)

    exact = suites.add_parser(
        "attribution", help="how exact shares are, and what they cost, also at full size"
    )
    exact.add_argument("--model", default="tiny-sdxl")
    exact.add_argument("--pairs", type=Path, help="prompt pairs (default: those that ship)")
    exact.add_argument("--count", type=int, default=6, help="the first so many of them (6)")
    exact.add_argument("--steps-at", default="0,3", help="steps to look at, from 0 (0,3)")
    exact.add_argument(
        "--full", metavar="NAME", help="time and memory at full size: a name of `bench layers`"
    )
    exact.add_argument("--device", default="cpu", help="of --full: cpu or cuda")
    exact.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    exact.add_argument("--size", type=int, default=256, help="of --full: side in pixels (256)")
    add_json(exact)
    exact.set_defaults(run=_bench_attribution)


def _bench_attribution(options: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from textloc.bench import attribution
    from textloc.checkpoints import loading
    from textloc.checkpoints.families import full_size
    from textloc.jobs.attribute import check_steps_at
    from textloc.paths import WORDS
    from textloc.prompts import read_pairs

    if options.full is not None:
        if options.full not in full_size.DENOISERS:
            names = ", ".join(full_size.DENOISERS)
            raise PromptError(f"there is no full-size {options.full!r}; choose one of {names}")
        if options.size < 64 or options.size % 64:
            raise PromptError("--size is a multiple of 64")
        row = attribution.full_size(
            options.full,
            options.device,
            options.dtype,
            options.size,
            progress=lambda line: print(line, file=sys.stderr),
        )
        printed(row, options.json, lambda: attribution.full_size_table(row))
        return
    pairs = read_pairs(options.pairs or WORDS / "pairs.tsv")[: options.count]
    if not pairs:
        raise PromptError("--count is at least 1")
    asked = parse_steps(options.steps_at)
    model = loading.load(options.model)
    steps = check_steps_at(asked, model.defaults.steps)
    with tqdm(total=len(pairs) * len(steps), unit="step", disable=None, file=sys.stderr) as bar:
        rows = attribution.points(model, pairs, steps, on_look=shown(bar))
    printed(rows, options.json, lambda: attribution.points_table(model.name, rows))


def _bench_search(options: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from textloc.bench import search
    from textloc.paths import WORDS
    from textloc.prompts import read_pairs

    pairs = read_pairs(options.pairs or WORDS / "pairs.tsv")[: options.count]
    if len(pairs) < 2:
        raise PromptError("give two pairs or more: what is found on one is patched on the others")
    if min(options.compare, options.exhaustive, options.cells) < 0:
        raise PromptError("--compare, --cells and --exhaustive are 0 or more")
    model = opened(options)
    if options.exhaustive and len(model.layers) > search.MOST_EXHAUSTIVE:
        raise PromptError(
            f"{options.model} has {len(model.layers)} text layers, which makes too many sets; "
            f"--exhaustive is for {search.MOST_EXHAUSTIVE} or fewer"
        )
    with tqdm(unit="image", disable=None, file=sys.stderr) as bar:

        def done(what: str, count: int) -> None:
            bar.set_description(what)
            bar.n = count
            bar.refresh()

        result = search.measure(
            model,
            pairs,
            compare=options.compare,
            cells=options.cells,
            exhaustive=options.exhaustive,
            engine=options.ocr,
            on_images=done,
        )
    printed(result, options.json, lambda: search.table(result))


def _attribute(options: argparse.Namespace) -> None:
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
    steps_at = None if options.steps_at is None else parse_steps(options.steps_at)

    from tqdm.auto import tqdm

    from textloc.jobs.attribute import attribute_stream

    picture = given_picture(options)
    with placed(options) as model:
        advise(model, (pair.source for pair in pairs))
        with tqdm(unit="step", disable=None, file=sys.stderr) as bar:
            event = followed(
                bar,
                attribute_stream(
                    model,
                    pairs,
                    seeds=seeds,
                    steps=options.steps,
                    guidance=options.guidance,
                    **picture,
                    steps_at=steps_at,
                    points=options.points,
                    tolerance=options.tolerance,
                ),
            )
    if options.save:
        kept(event.document, event.images)
    if not written(event.document, options.json):
        print_shares(event.document)


def parse_steps(text: str) -> tuple[int, ...]:
    """Read steps such as `0,3`.

    Raises:
        LayerError: not a list of whole numbers.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise LayerError(f"cannot read the steps {text!r}; write numbers, such as 0,3") from error


def print_shares(document: dict[str, Any]) -> None:
    """The shares of the layers by step and letter, for people."""
    from textloc.results.sentences import describe_attribute

    print(describe_attribute(document))
    print()
    found = document["shares"]
    steps = [f"step {entry['step']}" for entry in found["by_step"]]
    print(
        f"{'layer':>5}  {'share':>6}  {'interval':>14}  {'  '.join(f'{s:>7}' for s in steps)}  name"
    )
    for layer in document["layers"]:
        share, low, high = found["by_layer"][layer["index"]]
        between = "" if low is None else f"{low:.2f} to {high:.2f}"
        by_step = (entry["shares"][layer["index"]][0] for entry in found["by_step"])
        shown = "  ".join(f"{value:7.2f}" for value in by_step)
        print(f"{layer['index']:>5}  {share:6.2f}  {between:>14}  {shown}  {layer['name']}")
    cost = document["costs"]["attribution"]
    print(
        f"\nresult {document['id']}: {cost['denoiser_rows']} row-passes of the denoiser, "
        f"{document['timing']['generate_s']:.1f} s"
    )
