"""The text layers of every family at full size, counted without weights (paper, Table 1).

The denoisers are built on the meta device from the constructor arguments in
`families.full_size`; nothing is downloaded. For DeepFloyd IF the paper counts the projections
of the *picture* in its localized layer; they are shown beside those of the text.
"""

from __future__ import annotations

from typing import Any

from textloc.checkpoints import families, known
from textloc.checkpoints.families import full_size
from textloc.layers import format_layers

SEEDS = ("sdxl", "if", "sd3")
"""The paper's three models, listed first."""


def measure(names: list[str] | None = None) -> list[dict[str, Any]]:
    """One row a checkpoint, the paper's first.

    Returns:
        Rows with `name`, `denoiser` (class), `parameters`, `layers` (number of text layers), `kv`
        (key and value weights of all of them), `shared_kv` (those of them that project the picture
        too, in FLUX's single blocks), `channels` (other ways of the text), and, where
        layers are published, `localized` (numbers), `modules`, `localized_kv`, `share` (of all
        parameters) and for added projections `image_kv` (the paper's count).
    """
    others = [name for name in full_size.DENOISERS if name not in SEEDS]
    return [_row(name) for name in names or [*SEEDS, *others]]


def _row(name: str) -> dict[str, Any]:
    denoiser = full_size.build(name)
    layers = families.text_layers(denoiser)
    parameters = sum(p.numel() for p in denoiser.parameters())
    entry = known.find(name)
    row: dict[str, Any] = {
        "name": name,
        "denoiser": type(denoiser).__name__,
        "parameters": parameters,
        "layers": len(layers),
        "kv": sum(layer.kv_parameters for layer in layers),
        "channels": [channel.name for channel in families.text_channels(denoiser)],
    }
    if shared := sum(layer.kv_parameters for layer in layers if layer.mixed):
        row["shared_kv"] = shared
    if entry is None or entry.localized is None:
        return row
    chosen = [layers[number] for number in entry.localized]
    weights = sum(layer.kv_parameters for layer in chosen)
    row |= {
        "localized": list(entry.localized),
        "modules": [layer.name for layer in chosen],
        "localized_kv": weights,
        "share": weights / parameters,
    }
    modules = [denoiser.get_submodule(layer.name) for layer in chosen]
    if chosen[0].key.endswith("add_k_proj") and chosen[0].static:
        row["image_kv"] = sum(
            projection.weight.numel() for m in modules for projection in (m.to_k, m.to_v)
        )
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for people."""
    head = (
        f"{'model':13} {'parameters':>14} {'text layers':>11} {'K+V of all':>13}  published layers"
    )
    lines = [head]
    for row in rows:
        published = ""
        if "localized" in row:
            published = (
                f"{format_layers(row['localized'])}: {row['localized_kv']:,} K+V weights, "
                f"{100 * row['share']:.2f} %"
            )
        lines.append(
            f"{row['name']:13} {row['parameters']:>14,} {row['layers']:>11} {row['kv']:>13,}  "
            f"{published}".rstrip()
        )
        lines += [f"{'':56}{module}" for module in row.get("modules", ())]
        if "shared_kv" in row:
            lines.append(
                f"{'':56}{row['shared_kv']:,} of these K+V weights project the picture too"
            )
        if "image_kv" in row:
            share = 100 * row["image_kv"] / row["parameters"]
            lines.append(
                f"{'':56}the paper counts the picture's K+V: {row['image_kv']:,}, {share:.2f} %"
            )
    return "\n".join(lines)
