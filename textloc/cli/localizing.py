"""`textloc localize`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from textloc.cli.common import (
    add_cluster,
    add_image,
    add_json,
    add_model,
    advise,
    followed,
    given_picture,
    kept,
    kept_aside,
    placed,
    written,
)
from textloc.errors import PromptError
from textloc.layers import display_layers
from textloc.runs import parse_seeds


def add(verbs: Any) -> None:
    verb = verbs.add_parser(
        "localize",
        help="find the layers that write the words",
        description="Order the text layers by their shares of the change (or, by --search sweep, "
        "patch one at a time), patch sets of them from the target prompt's run, read the pictures, "
        "and name the smallest set that changes the words.",
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
    verb.add_argument("--start-step", type=int, default=0, help="patch from this step on, from 0")
    verb.add_argument("--layers", help="layers to try, such as 0-10 or 3,7 (default: all)")
    verb.add_argument(
        "--share", type=float, default=0.9, help="of the full effect the set must reach (0.9)"
    )
    verb.add_argument(
        "--search",
        default="auto",
        choices=("auto", "attribution", "sweep"),
        help="attribution: order the layers by their shares; sweep: patch each alone, as the paper "
        "does; auto (default): by their shares, or a sweep where no gradients can be taken",
    )
    verb.add_argument(
        "--alone", help="layers that attribution patches alone as well, such as 8-10 or all"
    )
    verb.add_argument("--ocr", default="auto", help="auto, rapidocr or easyocr")
    verb.add_argument("--save", action="store_true", help="keep the result in cached_results/")
    add_cluster(verb)
    add_json(verb, "write the result as JSON; - for standard output")
    verb.set_defaults(run=_localize)


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

    from tqdm.auto import tqdm

    from textloc.jobs.localize import localize_stream
    from textloc.layers import parse_layers

    picture = given_picture(options)
    with placed(options) as model:
        advise(model, (pair.source for pair in pairs))
        count = len(model.layers)
        layers, alone = (
            tuple(range(count)) if text == "all" else parse_layers(text, count) if text else None
            for text in (options.layers, options.alone)
        )
        with tqdm(unit="image", disable=None, file=sys.stderr) as bar:
            event = followed(
                bar,
                localize_stream(
                    model,
                    pairs,
                    seeds=seeds,
                    steps=options.steps,
                    guidance=options.guidance,
                    **picture,
                    start_step=options.start_step,
                    layers=layers,
                    ocr=options.ocr,
                    share=options.share,
                    search=options.search,
                    alone=alone or (),
                ),
            )
    document = event.document
    keep = kept if options.save else kept_aside
    keep(event.document, event.images)
    if not written(document, options.json):
        print_result(document)


def print_result(document: dict[str, Any]) -> None:
    from textloc.results.judging import doubt
    from textloc.results.sentences import describe

    print(describe(document))
    print()
    if document.get("shares"):
        _print_shares(document)
    judged = doubt(document) is None
    wide = max([5, *(len(display_layers(entry["layers"])) for entry in document["sets"])])
    print(f"{'layer':>{wide}}  {'effect':>6}  {'F1 tgt':>6}  {'F1 src':>6}  {'SSIM':>5}  read")
    sets = document["sets"] if document.get("shares") else []
    for name, entry in [
        ("none", document["references"]["source"]),
        *[(str(layer["index"]), layer) for layer in document["layers"]],
        *[
            (display_layers(e["layers"]), e)
            for e in sets
            if 1 < e["size"] < len(sets[-1]["layers"])
        ],
        ("all", document["references"]["all"]),
    ]:
        scores = entry["scores"]
        effect = scores.get("effect") if judged else None
        read = " ".join(repr(r["text"]) for r in entry["read"][:3])
        more = len(entry["read"]) - 3
        chosen = entry.get("layers") == document["selected"]
        mark = "*" if chosen or entry.get("index") in document["selected"] else " "
        print(
            f"{name:>{wide}}{mark} {'' if effect is None else f'{effect:.2f}':>6}  "
            f"{scores['ocr_f1_target']:6.2f}  {scores['ocr_f1_source']:6.2f}  "
            f"{scores['ssim_source']:5.2f}  {read}{f' and {more} more' if more > 0 else ''}"
        )
    timing = document["timing"]
    print(
        f"\nresult {document['id']}: {timing['rows']} pictures, "
        f"{timing['generate_s']:.1f} s to generate, {timing['read_s']:.1f} s to read"
    )


def _print_shares(document: dict[str, Any]) -> None:
    """The layers that carry nine tenths of the change, with their shares, ten at most."""
    found, total = document["shares"], 0.0
    print("layer   share")
    for layer in found["order"][:10]:
        share, low, high = found["by_layer"][layer]
        between = "" if low is None else f" [{low:.2f}, {high:.2f}]"
        print(f"{layer:>5}  {share:6.2f}{between}")
        total += share
        if total >= 0.9:
            break
    print()
