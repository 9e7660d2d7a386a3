"""`textloc edit`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from textloc.cli.common import (
    add_json,
    add_model,
    advise,
    followed,
    kept,
    loaded,
    parse_methods,
    tell_layers,
    written,
)
from textloc.errors import PromptError
from textloc.runs import parse_seeds, parse_start


def add(verbs: Any) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "edit",
        help="change the words of a picture, and nothing else",
        description="Generate the source prompt (or take a picture of your own) and change its "
        "words by patching the layers that write them. The result is kept in cached_results/.",
    )
    add_model(verb)
    verb.add_argument("--source", help='prompt, such as: a red sign that says "STOP"')
    verb.add_argument("--target-text", help="what shall be written instead")
    verb.add_argument("--target", help="the whole target prompt, in place of --target-text")
    verb.add_argument(
        "--pairs", type=Path, help="file of prompt pairs, tab-separated or JSON lines"
    )
    verb.add_argument(
        "--image", type=Path, help="edit this picture, which the source prompt describes"
    )
    verb.add_argument(
        "--layers",
        default="auto",
        help="auto (those known to write the words, else a quick localization), all, or numbers "
        "such as 55-57",
    )
    verb.add_argument(
        "--start-step",
        default="auto",
        help="patch from this step on, from 0; auto looks for the latest that changes the words",
    )
    verb.add_argument("--seeds", default="0", help="noise seeds, such as 0,1 (%(default)s)")
    verb.add_argument(
        "--compare", default="", help="other methods on the same seeds: a list of names, or all"
    )
    verb.add_argument("--steps", type=int, help="denoising steps (default: the checkpoint's)")
    verb.add_argument("--guidance", type=float, help="guidance scale (default: the checkpoint's)")
    verb.add_argument("--ocr", default="auto", help="auto, rapidocr or easyocr")
    add_json(verb, "write the result as JSON; - for standard output")
    verb.set_defaults(run=_edit, keeps=True)


def _edit(options: argparse.Namespace) -> None:
    pairs = _pairs(options)
    seeds, start = parse_seeds(options.seeds), parse_start(options.start_step)

    from tqdm.auto import tqdm

    from textloc.jobs import choosing
    from textloc.jobs.edit import edit_stream
    from textloc.pictures import read_picture, sentences
    from textloc.results import export, store

    own = None if options.image is None else [read_picture(options.image)]
    for said in sentences(own[0]) if own else ():
        print(said, file=sys.stderr)
    methods = parse_methods(options.compare)
    model = loaded(options)
    advise(model, (pair.source for pair in pairs))
    with tqdm(unit="image", disable=None, file=sys.stderr) as bar:

        def localizing(done: int, total: int) -> None:
            bar.set_description("no localization is stored: looking for the layers first")
            bar.total, bar.n = total, done
            bar.refresh()

        layers, origin = choosing.choose(
            model, options.layers, pairs, options.ocr, on_progress=localizing
        )
        tell_layers(layers, origin)
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
                pictures=own,
                steps=options.steps,
                guidance=options.guidance,
                ocr=options.ocr,
            ),
        )
    document = event.document
    kept(event.document, event.images)
    told = export.with_paths(document, store.load(document["id"]))
    if not written(told, options.json):
        print_result(told)


def _pairs(options: argparse.Namespace) -> list[Any]:
    from textloc.prompts import parse_pair, read_pairs, replace_text

    if options.pairs is not None:
        if options.source or options.target or options.target_text:
            raise PromptError("give --source and --target-text, or --pairs FILE, not both")
        return list(read_pairs(options.pairs))
    if options.source is None or (options.target is None) == (options.target_text is None):
        raise PromptError("give --source and --target-text (or --target), or --pairs FILE")
    target = options.target
    if target is None:
        target = replace_text(options.source, options.target_text)
    return [parse_pair(options.source, target)]


def print_result(document: dict[str, Any]) -> None:
    """What an edit says, for a terminal."""
    from textloc.bench.edit import rows
    from textloc.results.sentences import describe_edit

    print(describe_edit(document))
    print()
    for edit in document["edits"][:20]:
        print(
            f"seed {edit['seed']}: {edit['read_source']!r} became {edit['read_edit']!r}; "
            f"{edit['image']}"
        )
    if len(document["edits"]) > 20:
        print(f"and {len(document['edits']) - 20} more")
    print(f"\n{'method':17} {'exact':>6} {'F1 tgt':>7} {'F1 src':>7} {'SSIM':>6} {'outside':>8}")
    for row in rows(document):
        scores = row["scores"]
        columns = (
            (6, "exact_target"),
            (7, "ocr_f1_target"),
            (7, "ocr_f1_source"),
            (6, "ssim"),
            (8, "ssim_outside_text"),
        )
        values = [(width, scores[score][0]) for width, score in columns]
        cells = [f"{'-' if v is None else f'{v:.2f}':>{width}}" for width, v in values]
        print(f"{row['name']:17} {' '.join(cells)}")
    print_errors(document)


def print_errors(document: dict[str, Any]) -> None:
    """The methods that could not be compared with."""
    for method in document["methods"]:
        if method.get("error"):
            print(f"{method['name']}: {method['error']}")
