"""`textloc show`, `textloc models` and `textloc serve`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from textloc.cli import editing, localizing
from textloc.cli.common import add_json, kept, printed, written
from textloc.errors import PromptError


def add(verbs: Any) -> None:
    """Add the verbs."""
    _add_show(verbs)
    compare = verbs.add_parser(
        "compare", help="compare two localizations, such as of a checkpoint and its fine-tune"
    )
    compare.add_argument("first", help="ID of a stored localization")
    compare.add_argument("second", help="ID of another (`textloc localize --lora ... --save`)")
    add_json(compare)
    compare.set_defaults(run=_compare)
    models = verbs.add_parser(
        "models", help="list the known checkpoints, or what one of them can draw and spell"
    )
    models.add_argument(
        "name", nargs="?", help="one of them, or a folder: what it draws and spells"
    )
    models.add_argument(
        "--families", action="store_true", help="list the families of checkpoints that work"
    )
    add_json(models)
    models.set_defaults(run=_models)
    serve = verbs.add_parser("serve", help="open the page, as `python app.py` does")
    serve.set_defaults(run=_serve)


def _add_show(verbs: Any) -> None:
    verb = verbs.add_parser("show", help="print a stored result, or list them all")
    verb.add_argument(
        "id", nargs="?", help="16 characters; without it the stored results are listed"
    )
    verb.add_argument(
        "--last", action="store_true", help="the result that was made last, saved or not"
    )
    verb.add_argument("--save", action="store_true", help="keep it in the folder of results")
    add_json(verb, "write the whole document as JSON; - for standard output")
    verb.add_argument("--csv", action="store_true", help="the scores of all layers or edits as CSV")
    verb.add_argument("--zip", type=Path, metavar="FILE", help="pack it with its pictures")
    verb.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="write it as one HTML file that opens without a server and keeps the clicks",
    )
    verb.set_defaults(run=_show)


def _show(options: argparse.Namespace) -> None:
    from textloc.results import export, opening, places, store

    if options.last and options.id is not None:
        raise PromptError("give an ID or --last, not both")
    if options.id is None and not options.last and (options.csv or options.zip or options.html):
        raise PromptError("give the ID of a result (`textloc show` lists them), or --last")
    if options.id is None and not options.last:
        rows = [{**vars(one), "request": dict(one.request)} for one in store.listing()]
        if written(rows, options.json):
            return
        if told := places.send():
            print(f"textloc: {told}", file=sys.stderr)
        for summary in store.listing():
            state = f"damaged: {summary.damaged}" if summary.damaged else summary.title
            print(f"{summary.id}  {state}")
        return
    stored = store.last() if options.last else store.load(options.id)
    document = stored.document
    if options.save:
        images = {key: stored.image(key) for key in stored.image_keys()}
        kept(document, images)
    if options.zip is not None:
        where = export.export_zip(document["id"], options.zip, stored.folder.parent)
        print(f"wrote {where}", file=sys.stderr)
    if options.html is not None:
        where = opening.opened(stored).save_html(options.html)
        print(f"wrote {where}", file=sys.stderr)
    if options.zip is not None or options.html is not None:
        return
    if options.csv:
        print(export.to_csv(document), end="")
    elif not written(document, options.json):
        _PRINT[store.kind(document)](document)


def _compare(options: argparse.Namespace) -> None:
    from textloc.results import compare, store

    found = compare.drift(*(store.load(one).document for one in (options.first, options.second)))
    printed(found, options.json, lambda: compare.table(found))


def _models(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from textloc.checkpoints.known import KNOWN
    from textloc.layers import format_layers

    if options.families:
        from textloc.checkpoints.families import table

        printed([asdict(row) for row in table.rows()], options.json, table.markdown)
        return
    if options.name is not None:
        _model(options.name, options.json)
        return
    rows = [{**asdict(entry), "available": entry.available} for entry in KNOWN]
    if written(rows, options.json):
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
        "\nAny diffusers folder or Hub name (owner/model) of a family works as well: "
        "`textloc models --families`."
    )


def _model(name: str, json_file: str | None) -> None:
    """What one checkpoint is, draws and spells, as far as that is known without loading it."""
    from dataclasses import asdict

    from textloc.checkpoints import known, spelling
    from textloc.errors import CheckpointError
    from textloc.paths import CHECKPOINTS

    entry, folder = known.find(name), Path(name)
    if entry is None and not folder.is_dir():
        names = ", ".join(one.name for one in known.KNOWN)
        raise CheckpointError(f"{name!r} is no known checkpoint and no folder; known are {names}")
    if entry is not None:
        folder = CHECKPOINTS / entry.source
    can = spelling.read(folder) if entry is None or entry.shipped else None
    said = {
        "model": None if entry is None else asdict(entry),
        "spelling": None if can is None else asdict(can),
    }
    if written(said, json_file):
        return
    if entry is not None:
        print(f"{entry.name}: {entry.about} ({entry.licence})")
    if can is None:
        print("What it can draw and spell is not known here.")
        return
    print(f"letters: {can.letters}; words of {can.least} to {can.most} letters")
    if can.objects:
        print("objects:", *can.called(), sep="\n  ")
    if can.colours:
        free = "; a prompt may name none" if can.colourless else ""
        print(f"colours: {', '.join((*can.colours, *can.shades))}{free}")
    if (example := can.works("")) is not None:
        print(f"such as: {example}")


def _serve(_options: argparse.Namespace) -> None:
    from textloc.ui import page

    page.serve()


def _print_lora(document: dict[str, Any]) -> None:
    from textloc.bench import lora
    from textloc.results.sentences import describe_lora

    print(f"{describe_lora(document)}\n\n{lora.table(document)}")


_PRINT = {
    "textloc.localize": localizing.print_result,
    "textloc.edit": editing.print_result,
    "textloc.lora": _print_lora,
}
