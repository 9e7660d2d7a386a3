"""Editing by several methods in the layout of the paper's Table 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from textloc.errors import CheckpointError
from textloc.reading import metrics

_COLUMNS = (
    ("exact", "exact_target", 2),
    ("OCR F1", "ocr_f1_target", 2),
    ("to source", "ocr_f1_source", 2),
    ("LD", "levenshtein_target", 2),
    ("MSE", "mse", 0),
    ("SSIM", "ssim", 3),
    ("PSNR", "psnr", 1),
    ("MSE out", "mse_outside_text", 0),
    ("SSIM out", "ssim_outside_text", 3),
    ("PSNR out", "psnr_outside_text", 1),
)
_LEGACY = (
    ("OCR F1", "ocr_f1_target_legacy", 2),
    ("to source", "ocr_f1_source_legacy", 2),
    ("MSE", "mse_legacy", 1),
    ("PSNR", "psnr_legacy", 1),
)


def rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a method of an edit document: `name`, `title`, `scores` (`comparison.means`), and the
    cost of a picture, `seconds` and `denoiser_rows` (None where it was not timed)."""
    found = []
    first = {"name": "localized", "title": "Localized patching", "scores": document["scores"]}
    for method in (first, *(one for one in document["methods"] if one["scores"])):
        cost = document["costs"].get(method["name"], {})
        count = cost.get("images") or None
        found.append(
            {
                **{key: method[key] for key in ("name", "title", "scores")},
                "seconds": cost["seconds"] / count if count else None,
                "denoiser_rows": cost["denoiser_rows"] / count if count else None,
            }
        )
    return found


def clip_t(
    document: Mapping[str, Any], images: Mapping[str, Image.Image]
) -> dict[str, float] | None:
    """Mean CLIP-T to the target prompt by method; None where CLIP's weights are not here."""
    pairs = document["request"]["pairs"]
    found = {}
    for method in ({"name": "localized", "edits": document["edits"]}, *document["methods"]):
        edits = method["edits"]
        if not edits:
            continue
        try:
            values = metrics.clip_t(
                [images[edit["image"]] for edit in edits],
                [pairs[edit["pair"]]["target"] for edit in edits],
            )
        except CheckpointError:
            return None
        found[method["name"]] = sum(values) / len(values)
    return found


def failures(document: Mapping[str, Any]) -> list[str]:
    """What localized patching did not bring about: `STOP → LOVE: 'LOVF' (seed 0)`."""
    pairs = document["request"]["pairs"]
    return [
        f"{pairs[edit['pair']]['source_text']} → {pairs[edit['pair']]['target_text']}: "
        f"{edit['read_edit']!r} (seed {edit['seed']})"
        for edit in document["edits"]
        if not edit["exact_target"]
    ]


def table(
    document: Mapping[str, Any],
    legacy: bool = False,
    clip: Mapping[str, float] | None = None,
) -> str:
    """The table for a terminal, with 95 % intervals over pairs; `legacy` adds the columns that the
    paper's release computes (uint8 differences that wrap round, spaces counted as letters)."""
    request = document["request"]
    columns = [*_COLUMNS, *([(f"{t}*", name, digits) for t, name, digits in _LEGACY] * legacy)]
    lines = [
        f"{request['checkpoint']['name']}: {len(request['pairs'])} pairs, seeds "
        f"{', '.join(map(str, request['seeds']))}; layers {document['layers']} from step "
        f"{document['start_step']} of {request['steps']}",
        "",
        "  ".join(
            [f"{'method':18}", *(f"{title:>17}" for title, _, _ in columns)]
            + ([f"{'CLIP-T':>7}"] if clip else [])
            + [f"{'seconds':>8}", f"{'rows':>6}"]
        ),
    ]
    for row in rows(document):
        cells = [_cell(row["scores"][name], digits) for _, name, digits in columns]
        lines.append(
            "  ".join(
                [f"{row['title']:18}", *(f"{cell:>17}" for cell in cells)]
                + ([f"{clip[row['name']]:7.3f}"] if clip else [])
                + [_plain(row["seconds"], 8, 2), _plain(row["denoiser_rows"], 6, 1)]
            )
        )
    lines += [
        "",
        "out: outside of the text boxes of source and edit. rows: denoiser rows a picture.",
    ]
    if legacy:
        lines.append("*: as the paper's release computes it.")
    if wrong := failures(document):
        lines += ["", f"Localized patching failed on {len(wrong)}:", *wrong]
    return "\n".join(lines)


def _cell(values: Sequence[float | None], digits: int) -> str:
    mean, low, high = values
    if mean is None:
        return "-"
    ends = "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{mean:.{digits}f}{ends}"


def _plain(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"
