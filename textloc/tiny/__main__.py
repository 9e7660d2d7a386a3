"""`python -m textloc.tiny`: train, export and evaluate the tiny checkpoints."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from textloc.errors import PromptError, TextlocError
from textloc.paths import CHECKPOINTS
from textloc.tiny.reproducing import verbs as reproducing

_FAMILIES = ("sdxl", "ldm", "if", "sd3")  # those of recipes.RECIPES, without importing torch


def main() -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args()
    try:
        options.run(options)
    except TextlocError as error:
        print(f"textloc.tiny: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("textloc.tiny: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m textloc.tiny", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    train = verbs.add_parser("train", help="train a checkpoint; resumes what --out holds")
    train.add_argument("family", choices=_FAMILIES)
    train.add_argument("--from", dest="start", help="start from these weights (name or folder)")
    train.add_argument(
        "--teacher", help="learn what this checkpoint predicts at high noise (name or folder)"
    )
    train.add_argument("--batch", type=int, help="pictures a step")
    train.add_argument("--grown", type=int, help="step at which all scenes and words are drawn")
    train.add_argument("--lr", type=float, help="peak learning rate")
    train.add_argument("--sample-every", type=int, default=1000, help="steps between sample grids")
    train.set_defaults(run=_train)

    coder = verbs.add_parser("autoencoder", help="train the autoencoder; resumes what --out holds")
    second = verbs.add_parser("upscaler", help="train stage II of tiny-if, likewise")
    for one in (coder, second):
        one.add_argument("--lr", type=float, default=2e-3, help="peak learning rate")
    for one in (train, coder, second):
        one.add_argument("--out", type=Path, required=True, help="folder of the run")
        one.add_argument("--steps", type=int, help="train up to this step")
        one.add_argument("--minutes", type=float, help="stop after so many minutes")
        one.add_argument("--decay", type=int, default=0, help="last steps with a falling rate")
        one.add_argument("--device", default="cpu", help="cpu or cuda")
        one.add_argument("--seed", type=int, default=0)
    coder.add_argument(
        "--from", dest="start", default="tiny-sdxl", help="checkpoint whose code it speaks"
    )
    coder.add_argument(
        "--denoisers", nargs="*", default=[], help="checkpoints whose predictions it has to draw"
    )
    coder.set_defaults(run=_autoencoder)
    second.add_argument("--first", default="tiny-if", help="the first stage")
    second.set_defaults(run=_upscaler)

    export = verbs.add_parser("export", help="write a run as a diffusers folder")
    export.add_argument("family", choices=(*_FAMILIES, "upscaler"))
    export.add_argument("--run", dest="folder", type=Path, required=True)
    export.add_argument("--vae", type=Path, help="autoencoder folder (default: RUN/vae)")
    export.add_argument("--first", default="tiny-if", help="the first stage of an upscaler")
    export.add_argument("--card", type=Path, help="model card (that of the shipped one)")
    export.add_argument("--out", type=Path, required=True)
    export.set_defaults(run=_export)

    evaluate = verbs.add_parser("evaluate", help="how well a checkpoint spells unseen words")
    evaluate.add_argument("checkpoint", help="shipped name or folder")
    evaluate.add_argument("--words", type=Path, required=True, help="one word a line")
    evaluate.add_argument("--limit", type=int, help="only the first words")
    evaluate.add_argument("--all", action="store_true", help="unseen wordings and the like as well")
    evaluate.add_argument("--ocr", default="auto")
    evaluate.add_argument("--grid", type=Path, help="write the pictures as one PNG")
    evaluate.set_defaults(run=_evaluate)

    edits = verbs.add_parser("edits", help="edit rendered pictures, which no checkpoint made")
    edits.add_argument("checkpoint", help="shipped name or folder")
    edits.add_argument("--words", type=Path, required=True, help="one word a line")
    edits.add_argument("--limit", type=int, help="only the first words")
    edits.add_argument("--layers", default="auto", help="auto, all, or numbers such as 8-10")
    edits.add_argument("--start-step", default="auto", help="from 0; auto looks for the latest")
    edits.add_argument("--compare", default="", help="other methods, or all")
    edits.set_defaults(run=_edits)

    judge = verbs.add_parser("judge", help="train and save the classifier of scenes")
    judge.set_defaults(run=_judge)

    rivals = verbs.add_parser("rivals", help="compare the guard with what people would use instead")
    rivals.add_argument("--data", type=Path, required=True, help="folder of ToxicBench")
    rivals.add_argument("--out", type=Path, required=True, help="what is trained and resumed")
    rivals.add_argument("--model", default="tiny-sdxl")
    rivals.add_argument("--json", type=Path, required=True, help="file that is written")
    rivals.set_defaults(run=_rivals)
    reproducing.add(verbs)
    return parser


def _start(name: str) -> Path:
    shipped = CHECKPOINTS / name
    return shipped if shipped.is_dir() else Path(name)


def _check_ends(options: argparse.Namespace) -> None:
    if options.steps is None and options.minutes is None:
        raise PromptError("give --steps or --minutes, or both")


def _train(options: argparse.Namespace) -> None:
    from textloc.tiny.data import Settings
    from textloc.tiny.train import Trainer

    _check_ends(options)
    given = {k: v for k in ("batch", "lr", "grown") if (v := getattr(options, k)) is not None}
    settings = Settings(family=options.family, seed=options.seed, **given)
    start = _start(options.start) if options.start else None
    teacher = _start(options.teacher) if options.teacher else None
    trainer = Trainer(options.out, settings, options.device, start, teacher)
    trainer.train(options.steps, options.minutes, options.decay, sample=options.sample_every)


def _autoencoder(options: argparse.Namespace) -> None:
    import torch

    from textloc.tiny import autoencoder
    from textloc.tiny.codec import Codec
    from textloc.tiny.teacher import code_file

    _check_ends(options)
    start, device = _start(options.start), torch.device(options.device)
    folders = [_start(name) for name in options.denoisers]
    trainer = autoencoder.Trainer(
        options.out,
        Codec.load(code_file(start)),
        options.seed,
        options.device,
        start / "vae",
        autoencoder.Predicted(folders, device) if folders else None,
    )
    trainer.train(options.steps, options.minutes, options.lr, options.decay)


def _upscaler(options: argparse.Namespace) -> None:
    from textloc.tiny import upscaler

    _check_ends(options)
    trainer = upscaler.Trainer(options.out, _start(options.first), options.seed, options.device)
    trainer.train(options.steps, options.minutes, options.lr, options.decay)


def _export(options: argparse.Namespace) -> None:
    from textloc.tiny import upscaler
    from textloc.tiny.export import export

    family = options.family
    card = f"# tiny-{family}\n\nTrained by textloc.tiny.\n"
    shipped = CHECKPOINTS / f"tiny-{family}" / "README.md"
    if own := options.card or (shipped if shipped.is_file() else None):
        card = own.read_text(encoding="utf-8")
    if family == "upscaler":
        upscaler.export(options.folder, _start(options.first), options.out, card)
    else:
        vae = options.vae or options.folder / "vae"
        export(options.folder, vae, options.out, family, card)


def _evaluate(options: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from textloc.scenes import words
    from textloc.tiny.evaluate import CONDITIONS, report

    listed = words.read_list(options.words)[: options.limit]
    with tqdm(unit="image", disable=None, file=sys.stderr) as bar:

        def done(count: int) -> None:
            bar.n = count
            bar.refresh()

        lines = report(
            options.checkpoint,
            listed,
            conditions=CONDITIONS if options.all else ("plain",),
            engine=options.ocr,
            grid=options.grid,
            on_image=done,
        )
    print("\n".join(lines))


def _edits(options: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from textloc.bench import edit
    from textloc.cli.common import parse_methods, shown
    from textloc.runs import parse_start
    from textloc.scenes import words
    from textloc.tiny import edits

    listed = words.read_list(options.words)[: options.limit]
    with tqdm(unit="image", disable=None, file=sys.stderr) as bar:
        document = edits.measure(
            options.checkpoint,
            listed,
            layers=options.layers,
            start_step=parse_start(options.start_step),
            methods=parse_methods(options.compare),
            on_image=shown(bar),
        )
    print(edit.table(document))
    followed = document["inversions"]
    for name in ("ssim", "correction"):
        values = [one[name] for one in followed if one[name] is not None]
        print(f"{name} of the pictures that came back: {sum(values) / len(values):.3f}")


def _rivals(options: argparse.Namespace) -> None:
    from textloc.tiny import rivals

    found = rivals.compare(options.data, options.out, options.model)
    options.json.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


def _judge(_options: argparse.Namespace) -> None:
    from textloc.tiny import judge

    model = judge.train()
    judge.save(model)
    print(json.dumps({"held_out_accuracy": judge.held_out_accuracy(model)}))


if __name__ == "__main__":
    sys.exit(main())
