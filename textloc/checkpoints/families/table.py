"""The families as a table: what reads a checkpoint, and the known ones of each.

All of it is said elsewhere: the name and the order of tokens at the top of a family's file, its
denoisers and pipelines in `families`, checkpoints and licences in `known`.
"""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import dataclass

from textloc.checkpoints import families
from textloc.checkpoints.known import KNOWN

_UNET = "UNet2DConditionModel"
_TOKENS = re.compile(r"[Tt]okens are (\[[^\]]+\])")


@dataclass(frozen=True)
class Row:
    """One family.

    name: for people. denoisers, pipelines: classes in diffusers. tokens: their order where the
    picture looks at both; `cross-attention` where it looks at text alone. known: names of
    `known.KNOWN`, each with its licence.
    """

    name: str
    denoisers: tuple[str, ...]
    pipelines: tuple[str, ...]
    tokens: str
    known: tuple[tuple[str, str], ...]


def rows() -> list[Row]:
    """Every family with a file, by name."""
    files: dict[str, list[str]] = {}
    for pipeline, family in families.PIPELINES.items():
        files.setdefault(type(family).__module__, []).append(pipeline)
    return sorted(map(_row, files, files.values()), key=lambda row: row.name.casefold())


def _row(module: str, pipelines: list[str]) -> Row:
    said = " ".join((inspect.getdoc(sys.modules[module]) or "").split())
    read = re.search(r"[Rr]eads `diffusers\.(\w+)`", said)
    denoisers = [
        name
        for name, found in families.DENOISERS.items()
        if any(type(family).__module__ == module for family in found)
    ]
    tokens = _TOKENS.search(said)
    unet = any(families.PIPELINES[name].DENOISER == "unet" for name in pipelines)
    crossed = unet or any(w in said for w in ("ross-attention", "only looked at"))
    return Row(
        name=re.split(r": |\.$", said, maxsplit=1)[0],
        denoisers=tuple(denoisers or ([read[1]] if read else [_UNET])),
        pipelines=tuple(sorted(pipelines, key=lambda name: name.removesuffix("Pipeline"))),
        tokens=tokens[1] if tokens else "cross-attention" if crossed else "",
        known=tuple((k.name, k.licence) for k in KNOWN if k.pipeline in pipelines),
    )


def markdown() -> str:
    """The table for a README."""
    lines = [
        "| family | pipelines | denoiser | tokens | known by name (licence) |",
        "|---|---|---|---|---|",
    ]
    for row in rows():
        known = ", ".join(f"`{name}` ({licence})" for name, licence in row.known)
        columns = (
            row.name,
            ", ".join(name.removesuffix("Pipeline") for name in row.pipelines),
            ", ".join(row.denoisers),
            row.tokens,
            known,
        )
        lines.append(f"| {' | '.join(column or '–' for column in columns)} |")
    return "\n".join(lines)
