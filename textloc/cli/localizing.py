"""`textloc localize`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from textloc.cli.common import add_json, add_model, followed, kept, loaded, written
from textloc.errors import PromptError
from textloc.runs import parse_seeds


def add(verbs: Any) -> None:
    verb = verbs.add_parser(
        "localize",
        help="find the layers that write the words",
        description="Patch one text layer at a time from the target prompt's run, read the "
        "pictures, and name the smallest set of layers that changes the words.",
    )
    add_model(verb)
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
    verb.add_argument(
        "--search",
        default="sweep",
        help="attribution: order the layers by their shares; sweep: patch each alone (sweep)",
    )
    verb.add_argument("--ocr", default="auto", help="auto, rapidocr or easyocr")
    verb.add_argument("--upscaler", help="second stage of DeepFloyd IF, a folder or Hub name")
    verb.add_argument("--save", action="store_true", help="keep the result in cached_results/")
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

    model = loaded(options)
    layers = parse_layers(options.layers, len(model.layers)) if options.layers else None
    with tqdm(unit="image", disable=None, file=sys.stderr) as bar:
        event = followed(
            bar,
            localize_stream(
                model,
                pairs,
                seeds=seeds,
                steps=options.steps,
                guidance=options.guidance,
                start_step=options.start_step,
                layers=layers,
                ocr=options.ocr,
                share=options.share,
                search=options.search,
            ),
        )
    document = event.document
    if options.save:
        kept(event.document, event.images)
    if not written(document, options.json):
        print_result(document)


def print_result(document: dict[str, Any]) -> None:
    from textloc.results.sentences import describe

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
