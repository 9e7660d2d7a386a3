"""The model card of a LoRA, and the way to the Hub."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textloc.checkpoints import hub, known
from textloc.checkpoints.loras import ABOUT, FILE
from textloc.errors import TrainingError
from textloc.files import replace_file
from textloc.layers import display_layers
from textloc.version import __version__

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model
    from textloc.finetuning.settings import Settings

_CARD = """# LoRA on {layers} of {base}

Trained by textloc {version} to write better, on {modules} of the denoiser: {layers}, {targets};
rank {rank}, {parameters:,} parameters.

```python
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("{source}")
pipe.load_lora_weights("{here}")
```

| | |
|---|---|
| base | {base} (weights `{digest}`) |
| layers trained | {layers}: {names} |
| data | {place}: {data} |
| steps | {steps} of {batch} samples, rate {lr:g}, seed {seed}, averaged weights |
| loss | {prediction}, noise levels {noise} |

{scores}
"""


def about(
    model: Model, settings: Settings, place: str, report: dict[str, Any], log: Sequence[Any]
) -> dict[str, Any]:
    """What `finetune.json` says."""
    spelling = model.spelling
    return {
        "textloc": __version__,
        "base": {"name": model.name, "revision": model.revision, "digest": model.digest},
        "settings": settings.described(),
        "data": {"place": place, **report},
        "spelling": None if spelling is None else vars(spelling),
        "log": list(log),
    }


def write(
    out: Path,
    model: Model,
    settings: Settings,
    place: str,
    report: dict[str, Any],
    log: Sequence[dict[str, Any]],
) -> None:
    """Write `finetune.json` and the card, `README.md`, into `out`."""
    from huggingface_hub import ModelCard, ModelCardData

    from textloc.finetuning import adapter
    from textloc.finetuning.objective import Objective

    said = json.dumps(about(model, settings, place, report, log), ensure_ascii=False, indent=1)
    replace_file(out / ABOUT, lambda file: file.write_text(said + "\n", encoding="utf-8"))
    layers = "every attention"
    names = "that of the picture to itself too"
    if settings.layers is not None:
        many = "layers" if len(settings.layers) > 1 else "layer"
        layers = f"{many} {display_layers(settings.layers)} of {len(model.layers)}"
        names = ", ".join(f"`{model.layers[i].name}`" for i in sorted(settings.layers))
    objective = Objective(model.pipe.scheduler, settings.noise_levels)
    skipped = sum(report["skipped"].values())
    text = _CARD.format(
        layers=layers,
        names=names,
        base=model.name,
        source=_source(model.name),
        digest=model.digest[:23],
        version=__version__,
        modules=f"{len(adapter.modules(model, settings.layers, settings.targets))} projections",
        targets=", ".join(settings.targets),
        rank=settings.rank,
        parameters=sum(tensor.numel() for tensor in adapter.state(model).values()),
        here=out.name,
        place=place,
        data=f"{report['kept']} samples, {skipped} skipped",
        steps=settings.steps,
        batch=settings.batch,
        lr=settings.lr,
        seed=settings.seed,
        prediction=objective.prediction,
        noise=objective.levels,
        scores=_scores(log),
    )
    head = ModelCardData(
        library_name="diffusers",
        base_model=_source(model.name),
        tags=["text-to-image", "lora", "textloc"],
    )
    content = f"---\n{head.to_yaml()}\n---\n\n{text}"
    ModelCard(content)  # checks it
    replace_file(out / "README.md", lambda file: file.write_text(content, encoding="utf-8"))


def _source(name: str) -> str:
    """What diffusers loads the checkpoint from: a Hub name, or a folder."""
    entry = known.find(name)
    if entry is None:
        return name
    return f"assets/checkpoints/{entry.source}" if entry.shipped else entry.source


def _scores(log: Sequence[dict[str, Any]]) -> str:
    """Table of the validations."""
    lines = [line for line in log if line["kind"] == "validate" and "exact" in line]
    if not lines:
        return "No validation was asked for."
    rows = [f"| {x['step']} | {x['exact']:.2f} | {x['ocr_f1']:.2f} |" for x in lines]
    head = "Validation on captions that were held out, read by OCR:\n\n"
    return head + "\n".join(["| step | read exactly | OCR F1 |", "|---|---|---|", *rows])


def push(out: Path, repository: str) -> str:
    """Upload the LoRA, its card, log and samples to the Hub; returns the address.

    Raises:
        TrainingError: there is nothing to upload, no token, or no network.
    """
    from huggingface_hub import HfApi

    if not (out / FILE).is_file():
        raise TrainingError(f"{out} holds no finished LoRA; run the training to its end first")
    try:
        api = HfApi()
        api.create_repo(repository, exist_ok=True)
        found = api.upload_folder(
            repo_id=repository,
            folder_path=out,
            allow_patterns=[FILE, "README.md", ABOUT, "log.jsonl", "samples/*.png"],
            commit_message="LoRA trained by textloc",
        )
    except (*hub.http_errors(), ValueError) as error:
        raise TrainingError(
            f"cannot upload to {repository}: {str(error).splitlines()[0]}; run `hf auth login` and "
            f"check the network. The LoRA stays in {out}"
        ) from error
    return str(found.commit_url)
