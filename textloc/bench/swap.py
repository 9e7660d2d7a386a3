"""What a patch takes along: template and text swapped separately (paper, Table 2), one text encoder
alone, and the quoted tokens alone.

The patched layers read another prompt while everything else follows the source prompt. Of that
other prompt the template (what is in the picture) and the quoted text are swapped one at a time.
`S:T`, for instance, is the source's template with the target's text. The other template is that of
the next pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from textloc.checkpoints.loading import Model
from textloc.errors import PromptError
from textloc.jobs.keeping import Keeping
from textloc.layers import check_layers, format_layers
from textloc.prompts import Pair, replace_text
from textloc.reading import metrics
from textloc.runs import Patch, Run

_WITHOUT = "no patch"


def measure(
    model: Model,
    pairs: Sequence[Pair],
    layers: Sequence[int],
    seeds: Sequence[int] = (0,),
    engine: str = "auto",
    on_images: Callable[[int], None] = lambda _count: None,
    start: int = 0,
) -> list[dict[str, Any]]:
    """Patch the layers with every variant of the prompts.

    Args:
        model: a loaded checkpoint. pairs: at least two, with unlike templates. layers: to patch.
        seeds: each pair is run with each. on_images: called with the number of finished pictures.
        start: step from which is patched, from 0.

    Returns:
        Rows with `name`, `pictures`, and the means with 95 % bootstrap intervals over pairs,
        `[mean, low, high]`: `ocr_f1_source`, `ocr_f1_target` (mean over pictures), `exact_source`,
        `exact_target`, `ssim_source` (to the untouched picture) and `ssim_donor` (to the picture of
        the prompt that is taken from), and as the paper counts `paper_f1_source` and
        `paper_f1_target`: F1 of mean precision and mean recall, by its release's measure.

    Raises:
        PromptError: fewer than two pairs. LayerError: an unknown layer.
    """
    if len(pairs) < 2:
        raise PromptError("give at least two prompt pairs: the other template is the next pair's")
    check_layers(layers, len(model.layers))
    chosen = tuple(layers)
    rows: dict[str, list[tuple[int, Run, Run]]] = {}  # name -> (pair, patched run, donor)
    for number, pair in enumerate(pairs):
        other = pairs[(number + 1) % len(pairs)].source
        for seed in seeds:
            source = Run(pair.source, seed)
            for name, donor, tokens in _variants(model, pair, other, seed):
                patch = Patch(chosen, donor, start=start, tokens=tokens)
                run = source if name == _WITHOUT else source.patched(patch)
                rows.setdefault(name, []).append((number, run, donor))
    every = {run for row in rows.values() for _, *both in row for run in both}
    every |= {run.plain for run in every}
    keeping = Keeping()
    images: dict[Run, Any] = {}
    for chunk in keeping.generate(model, sorted(every, key=repr), model.defaults):
        images.update(chunk.images)
        on_images(len(images))
    runs = list(images)
    readings = keeping.read([images[run] for run in runs], engine)
    texts = {run: reading.text for run, reading in zip(runs, readings, strict=True)}
    return [
        {"name": name, "pictures": len(row), **_scores(row, pairs, images, texts)}
        for name, row in rows.items()
    ]


def _variants(
    model: Model, pair: Pair, other: str, seed: int
) -> list[tuple[str, Run, tuple[int, int] | None]]:
    """Name, prompt to take from, and the tokens to take."""
    target = Run(pair.target, seed)
    found: list[tuple[str, Run, tuple[int, int] | None]] = [
        (_WITHOUT, target, None),
        ("S:T", target, None),
        ("T:S", Run(replace_text(other, pair.source_text), seed), None),
        ("T:T", Run(replace_text(other, pair.target_text), seed), None),
    ]
    encoders = sum(getattr(model.pipe, f"text_encoder{n}", None) is not None for n in ("_2", "_3"))
    for number in range(encoders + 1 if encoders else 0):
        prompts = [pair.target if n == number else pair.source for n in range(encoders + 1)]
        others: dict[str, Any] = {f"prompt_{n + 1}": p for n, p in enumerate(prompts) if n}
        donor = Run(prompts[0], seed, **others)
        found.append((f"S:T, text encoder {number + 1} alone", donor, None))
    span = quoted_tokens(model, pair)
    if span is not None:
        found.append(("S:T, quoted tokens alone", target, span))
    return found


def quoted_tokens(model: Model, pair: Pair) -> tuple[int, int] | None:
    """The tokens of the quoted text, of the longer of both; None where the text tokens are not
    those of one tokenizer, or the templates differ before the text."""
    readers = model.family.readers(model.pipe, model.defaults)
    if not readers or getattr(model.pipe, "text_encoder_3", None) is not None:
        return None
    tokenizer, _ = readers[0]
    spans = [
        _span(tokenizer, prompt, text)
        for prompt, text in ((pair.source, pair.source_text), (pair.target, pair.target_text))
    ]
    if spans[0][0] != spans[1][0]:
        return None
    return spans[0][0], max(stop for _, stop in spans)


def _span(tokenizer: Any, prompt: str, text: str) -> tuple[int, int]:
    """Half-open range of the tokens of `text` in `prompt`."""
    whole = tokenizer(prompt).input_ids
    begin = prompt.index(text)

    def shared(part: str) -> int:
        ids = tokenizer(part).input_ids
        same = [a == b for a, b in zip(ids, whole, strict=False)]
        return same.index(False) if False in same else len(same)

    return shared(prompt[:begin]), shared(prompt[: begin + len(text)])


def _scores(
    row: Sequence[tuple[int, Run, Run]],
    pairs: Sequence[Pair],
    images: dict[Run, Any],
    texts: dict[Run, str],
) -> dict[str, list[float | None]]:
    values: dict[str, list[float]] = {}
    for number, run, donor in row:
        pair, read = pairs[number], texts[run]
        picture = np.asarray(images[run])
        for name, value in {
            "ocr_f1_source": metrics.ocr_precision_recall_f1(read, pair.source_text).f1,
            "ocr_f1_target": metrics.ocr_precision_recall_f1(read, pair.target_text).f1,
            "exact_source": metrics.exact_match(read, pair.source_text),
            "exact_target": metrics.exact_match(read, pair.target_text),
            "ssim_source": metrics.ssim(picture, np.asarray(images[run.plain])),
            "ssim_donor": metrics.ssim(picture, np.asarray(images[donor])),
        }.items():
            values.setdefault(name, []).append(float(value))
    groups = [number for number, *_ in row]
    found = {
        name: list(metrics.bootstrap_interval(column, groups)) for name, column in values.items()
    }
    for side in ("source", "target"):
        both = [(texts[run], getattr(pairs[number], f"{side}_text")) for number, run, _ in row]
        found[f"paper_f1_{side}"] = f1_of_means(both, groups)
    return found


def f1_of_means(read: Sequence[tuple[str, str]], groups: Sequence[int]) -> list[float | None]:
    """OCR F1 as the paper's release counts it, `[mean, low, high]` over groups: of mean precision
    and mean recall of (text read, text wanted)."""
    rows = [metrics.ocr_precision_recall_f1(*one, legacy=True)[:2] for one in read]

    def harmonic(means: Any) -> Any:
        total = means[..., 0] + means[..., 1]
        product = 2 * means[..., 0] * means[..., 1]
        return np.divide(product, total, out=np.zeros_like(product), where=total > 0)

    return list(metrics.bootstrap_interval(rows, groups, statistic=harmonic))


def table(rows: Sequence[dict[str, Any]], layers: Sequence[int]) -> str:
    """The rows for people."""
    heads = {
        "ocr_f1_source": "F1 source",
        "ocr_f1_target": "F1 target",
        "exact_source": "reads source",
        "exact_target": "reads target",
        "ssim_source": "SSIM source",
        "ssim_donor": "SSIM donor",
    }
    pictures = rows[0]["pictures"]
    lines = [f"layers {format_layers(layers)} patched, {pictures} pictures a row"]
    lines.append(f"{'':30}" + "".join(f"{head:>20}" for head in heads.values()))
    for row in rows:
        cells = []
        for name in heads:
            mean, low, high = row[name]
            between = "" if low is None else f" [{low:.2f}, {high:.2f}]"
            cells.append(f"{mean:.2f}{between}")
        lines.append(f"{row['name']:30}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)
