"""What the verbs share."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textloc import paths
from textloc.errors import ClusterError, PromptError
from textloc.runs import read_size

if TYPE_CHECKING:
    from PIL import Image

    from textloc.checkpoints.loading import Model
    from textloc.jobs.job import Event


def parse_methods(text: str) -> list[str]:
    """Read names of editing methods, such as `prompt-swap,inpainting`, or `all`."""
    from textloc.baselines import BASELINES

    return list(BASELINES) if text == "all" else [name for name in text.split(",") if name]


def add_model(verb: Any) -> None:
    """The options of what is loaded."""
    verb.add_argument(
        "--model", default="tiny-sdxl", help="known name, folder or Hub name (default: %(default)s)"
    )
    verb.add_argument("--lora", help="LoRA that the model carries: a file, folder or Hub name")
    verb.add_argument("--lora-scale", type=float, default=1.0, help="of what the LoRA adds (1)")
    add_loading(verb)


def add_loading(verb: Any, trained: bool = False) -> None:
    """The options of how a checkpoint is loaded, and of its usual call; a training names number
    format and size otherwise."""
    from textloc.checkpoints.memory import OFFLOADS

    verb.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    if not trained:
        verb.add_argument("--dtype", help="float32, float16 or bfloat16")
        verb.add_argument(
            "--size", help="of the pictures in pixels: 512, or height x width: 512x768"
        )
    verb.add_argument("--scheduler", help="class in diffusers, such as DDIMScheduler")
    verb.add_argument("--variant", help="of the weight files, such as fp16")
    verb.add_argument(
        "--offload",
        choices=OFFLOADS,
        help="how weights are held beside a GPU; less memory, slower (default: by what is free)",
    )
    verb.add_argument("--upscaler", help="second stage of DeepFloyd IF, a folder or Hub name")


def add_image(verb: Any) -> None:
    """The option `--image` of verbs that draw beside a picture."""
    verb.add_argument(
        "--image",
        type=Path,
        help="picture that the pipeline is given beside every prompt (FLUX.1 Kontext, FLUX.2, "
        "Qwen-Image-Edit) or draws on (Stable Diffusion, SDXL, SD3, FLUX.1)",
    )
    verb.add_argument(
        "--mask", type=Path, help="picture of the same size, white where --image is redrawn"
    )
    verb.add_argument("--strength", type=float, help="how much of --image is redrawn, in (0, 1]")


def given_picture(options: argparse.Namespace) -> dict[str, Any]:
    """What `--image`, `--mask` and `--strength` give, what was decided about them told."""
    from textloc.pictures import read_picture, sentences

    found: dict[str, Any] = {"strength": options.strength}
    for name in ("image", "mask"):
        path = getattr(options, name)
        found[name] = None if path is None else read_picture(path)
        for said in sentences(found[name]) if path is not None else ():
            print(said, file=sys.stderr)
    return found


def opened(options: argparse.Namespace, name: str | None = None, **given: Any) -> Model:
    """The checkpoint that the options of `add_loading` ask for, `name` in place of theirs; what is
    `given` comes before them."""
    from textloc.checkpoints import loading

    return loading.load(name or options.model, **_loading(options) | given)


def _loading(options: argparse.Namespace) -> dict[str, Any]:
    """What the options of `add_loading` give `loading.load`."""
    size = getattr(options, "size", None)
    asked: dict[str, Any] = {"size": read_size(size) if size else None}
    for option in ("device", "dtype", "scheduler", "variant", "offload", "upscaler"):
        asked[option] = getattr(options, option, None)
    return asked


def loaded(options: argparse.Namespace) -> Model:
    """The model that the options ask for, with its LoRA."""
    from textloc.checkpoints import loras

    print(f"loading {options.model}", file=sys.stderr)
    model = opened(options)
    return loras.attach(model, options.lora, options.lora_scale) if options.lora else model


def add_cluster(verb: Any) -> None:
    """The options of verbs whose cells can be made on a cluster."""
    verb.add_argument(
        "--on",
        metavar="WHERE",
        help="make pictures on a Ray cluster: ray, or ray://HOST:10001 (pip install "
        "textloc[cluster])",
    )
    verb.add_argument(
        "--workers",
        type=int,
        help="of the cluster, at most (default: one a GPU; without GPUs one for as many CPUs as "
        "OMP_NUM_THREADS says)",
    )


@contextmanager
def placed(options: argparse.Namespace, name: str | None = None) -> Iterator[Model]:
    """The model that the options ask for, `name` in place of theirs, with its LoRA if there is one;
    with `--on` its cells are made on a cluster while the block lasts."""
    lora = getattr(options, "lora", None)
    if options.on is None:
        if options.workers is not None:
            raise ClusterError("--workers are those of a cluster; say which by --on ray")
        yield loaded(options) if hasattr(options, "lora") else opened(options, name)
        return
    from textloc.jobs import cluster

    print(f"loading {name or options.model} on {options.on}", file=sys.stderr)
    given = {"lora": lora, "lora_scale": options.lora_scale} if lora else {}
    with (
        contextlib.redirect_stdout(sys.stderr),  # Ray tells there of workers that are lost
        cluster.joined(
            options.on,
            name or options.model,
            workers=options.workers,
            **_loading(options),
            **given,
        ) as model,
    ):
        yield model


def advise(model: Model, prompts: Iterable[str]) -> None:
    """Say of each prompt, once, what the checkpoint does not know of it; nothing is refused."""
    for said in dict.fromkeys(filter(None, map(model.advice, prompts))):
        print(f"textloc: {said}", file=sys.stderr)


def tell_layers(layers: Sequence[int], origin: str) -> None:
    """Say on standard error where chosen layers come from, unless they were given."""
    from textloc.jobs import choosing

    if said := choosing.told(layers, origin):
        print(said, file=sys.stderr)


def shown(bar: Any) -> Callable[[int], None]:
    """Shows a count in a progress bar."""

    def done(count: int) -> None:
        bar.n = count
        bar.refresh()

    return done


def followed(bar: Any, stream: Iterable[Event]) -> Event:
    """Run a job to its end, shown in a progress bar, and say what was found from before; the last
    event."""
    event = None
    for event in stream:
        bar.total, bar.n = event.total, event.done
        bar.set_description(event.message)
    assert event is not None
    if event.found:
        bar.write(
            f"{event.found} of {event.done} were kept from before (`textloc cache`)",
            file=sys.stderr,
        )
    return event


def kept(document: dict[str, Any], images: Mapping[str, Image.Image]) -> None:
    """Store a finished result and say where it is and what shows it."""
    from textloc.results import export, places, store

    print(f"saved {store.save(document, images)}", file=sys.stderr)
    if told := places.send():
        print(f"textloc: {told}", file=sys.stderr)
    link = export.permalink("http://127.0.0.1:7860/", document["id"])
    page = "textloc serve" if paths.INSTALLED else "python app.py"
    print(f"`{page}` shows it at {link}", file=sys.stderr)


def kept_aside(document: dict[str, Any], images: Mapping[str, Image.Image]) -> None:
    """Keep a finished result that nobody asked to save until the next one comes."""
    from textloc.errors import StoreError
    from textloc.results import store

    try:
        store.keep_last(document, images)
    except StoreError as error:
        print(f"textloc: not kept: {error}", file=sys.stderr)
    else:
        print(
            "not saved: `textloc show --last` shows it again, `textloc show --last --save` keeps "
            "it",
            file=sys.stderr,
        )


def add_json(verb: Any, help: str = "write it as JSON; - for standard output") -> None:
    """The option `--json FILE`; `cli.main` checks it before anything is loaded."""
    verb.add_argument("--json", metavar="FILE", help=help)


def printed(document: Any, json_file: str | None, text: Callable[[], str]) -> None:
    """Write a document where `--json` says, and, unless that is standard output, `text` there."""
    if not written(document, json_file):
        print(text())


def written(document: Any, json_file: str | None) -> bool:
    """Write a document where `--json` says; whether that was standard output, which then holds
    nothing else."""
    if json_file == "-":
        whole = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        json.dump(document, sys.stdout, ensure_ascii=not whole)
        print()
        return True
    if json_file:
        text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
        Path(json_file).write_text(text, encoding="utf-8")
    return False


def check_writable(json_file: str | None, keeps: bool = False, makes: Path | None = None) -> None:
    """Check that the file of `--json` can be written, and, where a result is kept, the folder of
    results. makes: a folder that the command makes, which the file may be in.

    Raises:
        PromptError: the file is a folder, has none, or cannot be written. StoreError: the folder of
            results cannot be written.
    """
    if json_file and json_file != "-":
        path = Path(json_file)
        if path.is_dir():
            raise PromptError(f"{json_file} is a folder; name the file to write, such as out.json")
        folder = path.resolve().parent
        if makes is not None and folder == makes.resolve() and not makes.exists():
            return
        if not folder.is_dir():
            raise PromptError(f"there is no folder to write {json_file} in; create it first")
        try:
            if path.exists():
                path.open("r+b").close()
            else:
                tempfile.TemporaryFile(dir=path.resolve().parent).close()
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
            raise PromptError(
                f"{json_file} cannot be written ({why}); name another file"
            ) from error
    if keeps:
        from textloc.results import store

        store.check_writable()
