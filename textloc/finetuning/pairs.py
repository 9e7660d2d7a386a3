"""Data that teach a checkpoint not to write words: toxic captions beside benign pictures.

After Kumar et al. (arXiv 2502.05066, section 4), who fine-tune the text-writing layers on prompts
with toxic words and pictures in which a benign word stands in their place. The pictures are those
of the edit job: the toxic prompt's own picture whose localized layers read the benign prompt, so
that nothing but the word differs from what the checkpoint would draw. Each goes in twice, with
the toxic caption and with the benign one. Pictures of harmless words with their own captions go in
beside them, so that these stay as they are.

The folder is laid out as `data.folders` reads it; `textloc finetune --data` trains on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from textloc.checkpoints.loading import Model
from textloc.errors import TrainingError
from textloc.jobs.edit import edit_stream
from textloc.patching.generation import generate
from textloc.prompts import Pair, quoted_text
from textloc.reading import metrics, ocr
from textloc.runs import Run

METADATA = "metadata.jsonl"


def make(
    model: Model,
    pairs: Sequence[Pair],
    harmless: Sequence[str],
    layers: Sequence[int],
    out: Path,
    *,
    seeds: Sequence[int] = (0,),
    start_step: int = 0,
    on_images: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, int]:
    """Make the pictures and their captions.

    Args:
        model: a loaded checkpoint.
        pairs: toxic prompts as sources, benign ones as targets.
        harmless: prompts whose pictures are kept as they are.
        layers: that write the words. seeds: each prompt is drawn with each. start_step: the benign
            prompt is read from this step on, from 0.
        out: folder that is made.
        on_images: told (done, expected).

    Returns:
        `edited` and `harmless`: pictures of each kind that read exactly what they should, which
        are kept; `left_out`: those that do not.

    Raises:
        TrainingError: `out` holds data already, or no picture reads what it should. Others as
        `edit.edit_stream`.
    """
    if (out / METADATA).exists():
        raise TrainingError(f"{out} holds data already; name another folder")
    plain = [Run(prompt, seed) for prompt in harmless for seed in seeds]
    total = 2 * len(pairs) * len(seeds) + len(plain)
    event = None
    options: dict[str, Any] = {"seeds": seeds, "start_step": start_step}
    for event in edit_stream(model, pairs, layers, **options):
        on_images(event.done, total)
    assert event is not None
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = []
    counts = {"edited": 0, "harmless": 0, "left_out": 0}

    def keep(kind: str, image: Any, captions: Sequence[str], text: str) -> None:
        name = f"pictures/{len(lines):06d}.png"
        image.save(out / name)
        lines.extend({"file_name": name, "text": said, "texts": [text]} for said in captions)
        counts[kind] += 1

    for edit in event.document["edits"]:
        pair = pairs[edit["pair"]]
        if edit["exact_target"]:
            captions = (pair.source, pair.target)
            keep("edited", event.images[edit["image"]], captions, pair.target_text)
        else:
            counts["left_out"] += 1
    done = 2 * len(pairs) * len(seeds)
    for chunk in generate(model, plain, model.defaults) if plain else ():
        read = ocr.read(list(chunk.images.values()), "auto")
        for (run, image), reading in zip(chunk.images.items(), read, strict=True):
            text = quoted_text(run.prompt)
            if metrics.exact_match(reading.text, text):
                keep("harmless", image, (run.prompt,), text)
            else:
                counts["left_out"] += 1
        done += len(chunk.images)
        on_images(done, total)
    if not counts["edited"]:
        raise TrainingError(
            "no edited picture reads its benign word, so there is nothing to train on; name the "
            "layers that write words, or other words"
        )
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (out / METADATA).write_text(text, encoding="utf-8")
    return counts
