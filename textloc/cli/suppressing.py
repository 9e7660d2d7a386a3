"""`textloc suppress`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from textloc.cli.common import add_json, add_model, advise, followed, loaded, tell_layers, written
from textloc.cli.editing import print_errors
from textloc.errors import PromptError
from textloc.runs import parse_seeds


def add(verbs: Any) -> None:
    verb = verbs.add_parser("suppress", help="keep toxic words out of pictures")
    add_model(verb)
    verb.add_argument("--prompt", action="append", required=True, help="may be given several times")
    verb.add_argument("--replacement", metavar="TEXT", help="what is written in their place")
    verb.add_argument("--replacements", type=Path, metavar="FILE", help="toxic, tab, benign; lines")
    verb.add_argument("--words", type=Path, metavar="FILE", help="more words to keep out")
    verb.add_argument("--allow", type=Path, metavar="FILE", help="words to let through")
    verb.add_argument("--detector", default="lexicon", help="lexicon (default) or a classifier")
    verb.add_argument(
        "--languages",
        metavar="NAMES",
        help="such as english,german; else English and those of the prompt's script",
    )
    verb.add_argument(
        "--strictness",
        default="usual",
        help="strict (every word), usual (not in harmless company) or slurs",
    )
    verb.add_argument("--layers", default="auto", help="such as 55-57; auto: the localized ones")
    verb.add_argument("--start-step", type=int, default=0, help="patch from this step on (0)")
    verb.add_argument("--seeds", default="0", help="such as 0,1")
    verb.add_argument("--check", action="store_true", help="read what comes out, and fall back")
    verb.add_argument("--fallback", default="refuse", help="refuse, more-layers or prompt-swap")
    verb.add_argument(
        "--compare",
        default="",
        metavar="NAMES",
        help="methods to compare with, or all; generates the prompts as they are, too",
    )
    verb.add_argument("--reveal", action="store_true", help="tell toxic words as they are")
    folder = Path("suppressed")
    verb.add_argument(
        "--out",
        dest="makes",
        type=Path,
        default=folder,
        metavar="FOLDER",
        help=f"of the pictures ({folder}); those of an earlier run in it are replaced",
    )
    verb.add_argument("--steps", type=int)
    verb.add_argument("--guidance", type=float)
    verb.add_argument("--ocr", default="auto")
    add_json(verb, "write the result as JSON; - for standard output")
    verb.add_argument(
        "--html", type=Path, metavar="FILE", help="write it as one HTML file, toxic pictures veiled"
    )
    verb.set_defaults(run=_suppress)


def _suppress(options: argparse.Namespace) -> None:
    seeds = parse_seeds(options.seeds)

    from tqdm.auto import tqdm

    from textloc import toxicity
    from textloc.baselines import SUPPRESSING
    from textloc.jobs import choosing
    from textloc.jobs.suppress import suppress_stream
    from textloc.results.result import Result
    from textloc.toxicity import rewrite, wordlists

    detect: dict[str, Any] = {
        "detector": options.detector,
        "languages": tuple(options.languages.split(",")) if options.languages else None,
        "strictness": options.strictness,
        "words": wordlists.read_file(options.words) if options.words else (),
        "allowed": wordlists.read_file(options.allow) if options.allow else (),
    }
    replacements = rewrite.read_replacements(options.replacements) if options.replacements else {}
    if options.replacement is not None:
        for prompt in options.prompt:
            for finding in toxicity.find_in_prompt(prompt, **detect):
                replacements[finding.text] = options.replacement
    methods = [name for name in options.compare.split(",") if name]
    methods = list(SUPPRESSING) if methods == ["all"] else methods
    if options.makes.exists() and not options.makes.is_dir():
        raise PromptError(f"{options.makes} is no folder; give --out another name")
    model = loaded(options)
    advise(model, options.prompt)
    layers, origin = choosing.choose(model, options.layers, [], options.ocr)
    tell_layers(layers, origin)
    with tqdm(unit="image", disable=None, file=sys.stderr) as bar:
        event = followed(
            bar,
            suppress_stream(
                model,
                options.prompt,
                layers,
                layers_from=origin,
                replacements=replacements,
                seeds=seeds,
                start_step=options.start_step,
                check=options.check,
                fallback=options.fallback,
                methods=methods,
                reveal=options.reveal,
                steps=options.steps,
                guidance=options.guidance,
                ocr=options.ocr,
                **detect,
            ),
        )
    document = event.document
    options.makes.mkdir(parents=True, exist_ok=True)
    # those of an earlier run, whose keys may be others
    for old in options.makes.glob("p[0-9]*-s[0-9]*-*.png"):
        old.unlink()
    for key, image in event.images.items():
        image.save(options.makes / f"{key}.png")
    if options.html is not None:
        print(f"wrote {Result(document, event.images).save_html(options.html)}", file=sys.stderr)
    told = _with_paths(document, options.makes)
    if not written(told, options.json):
        print_result(told)


def _with_paths(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The document with the path of its file in the place of every image key."""

    def told(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: told(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [told(item) for item in value]
        return str(folder / f"{value}.png") if name == "image" and value else value

    found = told(document)
    assert isinstance(found, dict)
    return found


def print_result(document: dict[str, Any]) -> None:
    """What was done, for a terminal."""
    prompts = document["prompts"]
    for number, asked in enumerate(prompts):
        if not asked["toxic"]:
            print(f"{asked['prompt']}: clean, generated as it is")
            continue
        print(f"{asked['prompt']}: {asked['benign']!r} is read by the layers {document['layers']}")
        for one in asked["findings"]:
            print(f"  {one['text']}: {one['severity']}: {one['reason']} (score {one['score']:g})")
        for picture in document["guarded"]["pictures"]:
            if picture["prompt"] == number:
                end = picture["image"] or "withheld"
                fell = f" ({picture['fallback']})" if picture["fallback"] else ""
                print(f"  seed {picture['seed']}: reads {picture['read']!r}{fell}; {end}")
    if document["unguarded"] is not None and document["unguarded"]["scores"]:
        from textloc.bench.toxic import table

        print(f"\n{table(document)}")
        print_errors(document)
